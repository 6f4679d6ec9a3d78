//! What the engine does when the disk fails it: a disk in memory that forgets, tears, refuses and flips.

use std::io;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A disk: what was synced is there after a power cut, what was only written may be.
#[derive(Debug, Clone, Default)]
struct Platter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    seen: Vec<u8>,
    /// What a power cut cannot take.
    durable: Vec<u8>,
    /// Written since the last sync.
    pending: Vec<Change>,
    sync_fails: bool,
    full: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Len(len) => bytes.resize(*len, 0),
            Change::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// What a disk writes as one.
const SECTOR: usize = 512;

impl Platter {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change.apply(&mut state.seen);
        state.pending.push(change);
        Ok(())
    }

    /// The disk after a power cut now: any of the sectors written since the last sync, in any order, may be there or not.
    fn power_cut(&self, random: &mut StdRng) -> Platter {
        let state = self.0.lock();
        let mut left = state.durable.clone();
        for change in &state.pending {
            match change {
                Change::Len(len) if *len < left.len() => {}
                Change::Len(_) => change.apply(&mut left),
                Change::Write(offset, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate().filter(|_| random.random()) {
                        Change::Write(offset + n * SECTOR, sector.to_vec()).apply(&mut left);
                    }
                }
            }
        }
        Platter::holding(left)
    }

    fn holding(bytes: Vec<u8>) -> Platter {
        Platter(Arc::new(Mutex::new(State { seen: bytes.clone(), durable: bytes, ..State::default() })))
    }

    fn open(&self) -> Result<Redb> {
        let platter = self.clone();
        Redb::open_with(Arc::new(move || Ok(Arc::new(platter.clone()))))
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let found = state.seen.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.sync_fails {
            return Err(io::Error::other("the device is gone"));
        }
        state.durable = state.seen.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset as usize, data.to_vec()))
    }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: None }
}

async fn write(store: &Redb, key: &str, value: &str) -> Result<Commit> {
    store.commit(Vec::new(), vec![put(key, value)]).await
}

async fn value(store: &Redb, key: &str) -> Option<String> {
    store.get(key).await.unwrap().1.map(|item| String::from_utf8_lossy(&item.value).into_owned())
}

/// Commits again and again until it is done, for half a minute.
async fn write_in_the_end(store: &Redb, key: &str, value: &str) -> Commit {
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match write(store, key, value).await {
            Ok(done) => return done,
            Err(Error::Unwritable(_)) if std::time::Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c11_after_a_failed_fsync_nothing_is_acknowledged_until_it_is_opened_anew() {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    write(&store, "/a", "1").await.unwrap();
    platter.0.lock().sync_fails = true;
    let failed = write(&store, "/a", "2").await;
    assert!(matches!(failed, Err(Error::Unwritable(_))), "{failed:?}");
    platter.0.lock().sync_fails = false;
    for _ in 0..3 {
        let failed = write(&store, "/b", "1").await;
        assert!(matches!(failed, Err(Error::Unwritable(_))), "a later fsync tells nothing about the one that failed: {failed:?}");
    }
    assert_eq!(store.get("/a").await.unwrap().0, 1, "what was not acknowledged is not shown");
    assert_eq!(value(&store, "/a").await.unwrap(), "1");
    assert_eq!(store.list("", 0, None).await.unwrap().items.len(), 1);
    assert_eq!(store.watch("", 0).next().await.unwrap().unwrap().revision, 1);
    drop(store);
    let store = platter.open().unwrap();
    write(&store, "/b", "2").await.unwrap();
    assert_eq!(value(&store, "/b").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn c13_a_full_disk_refuses_writes_until_there_is_room() {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    let lease = store.lease(600).await.unwrap();
    write(&store, "/a", "1").await.unwrap();
    let mut watch = store.watch("/", 1);
    for round in 0..3 {
        platter.0.lock().full = true;
        for _ in 0..3 {
            let failed = write(&store, "/a", "no").await;
            assert!(matches!(&failed, Err(Error::Unwritable(why)) if why.contains("free some space")), "{failed:?}");
        }
        let before = if round == 0 { "1".to_owned() } else { format!("round {}", round - 1) };
        assert_eq!(value(&store, "/a").await.unwrap(), before, "reads go on");
        assert!(store.keep(lease).await.unwrap(), "and so do leases");
        platter.0.lock().full = false;
        let done = write_in_the_end(&store, "/a", &format!("round {round}")).await;
        assert_eq!(done, Commit::Done(round + 2), "what was refused did not happen");
        assert_eq!(watch.next().await.unwrap().unwrap().revision, round + 2, "a watch goes on through it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_power_cut_tears_only_what_was_not_acknowledged() {
    const ROUNDS: usize = 60;
    let mut random = StdRng::seed_from_u64(12);
    for round in 0..ROUNDS {
        let platter = Platter::default();
        let store = Arc::new(platter.open().unwrap());
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (store, acknowledged) = (store.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    for n in 0.. {
                        let key = format!("/{writer}/{n}");
                        let Ok(Commit::Done(_)) = store.commit(Vec::new(), vec![put(&key, "1"), put(&format!("{key}/twin"), "1")]).await
                        else {
                            return;
                        };
                        acknowledged.lock().push(key);
                    }
                })
            })
            .collect();
        let wanted = random.random_range(1..40);
        while acknowledged.lock().len() < wanted {
            tokio::task::yield_now().await;
        }
        // The list first: whatever is acknowledged later may be on the platter, and must not be asked for.
        let told = acknowledged.lock().clone();
        let left = platter.power_cut(&mut random);
        writers.iter().for_each(|writer| writer.abort());
        let after = left.open().unwrap_or_else(|error| panic!("round {round}: {error}"));
        for key in told {
            assert_eq!(value(&after, &key).await.as_deref(), Some("1"), "round {round}: {key} was acknowledged");
        }
        let all = after.list("", 0, None).await.unwrap();
        assert_eq!(all.items.len() as u64, all.revision * 2, "round {round}: each commit is there whole");
    }
}

/// Everything that can be asked of it, or the first error.
async fn read_all(store: &Redb) -> Result<(Page, Vec<Event>)> {
    let page = store.list("", 0, None).await?;
    for item in &page.items {
        store.get(&item.key).await?;
    }
    let mut events = Vec::new();
    let mut watch = store.watch("", 0);
    while events.last().is_none_or(|event: &Event| event.revision < page.revision) {
        events.push(watch.next().await.unwrap_or_else(|| Err(Error::Unavailable("it ended".to_owned())))?);
    }
    Ok((page, events))
}

async fn filled() -> (Vec<u8>, (Page, Vec<Event>)) {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    for n in 0..40 {
        write(&store, &format!("/{}", n % 15), &format!("value {n} {}", "x".repeat(n * 20))).await.unwrap();
    }
    let all = read_all(&store).await.unwrap();
    drop(store);
    let bytes = platter.0.lock().durable.clone();
    (bytes, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_flipped_bit_is_never_served() {
    let (bytes, right) = filled().await;
    let mut random = StdRng::seed_from_u64(120);
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut refused = 0;
    for _ in 0..150 {
        let at = written[random.random_range(0..written.len())];
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << random.random_range(0..8);
        let read = match Platter::holding(flipped).open() {
            Ok(store) => read_all(&store).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(all) => assert!(all == right, "a flip at {at} was served"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "only {refused} of the flips met anything that was in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_bit_that_flips_while_it_runs_is_found_when_it_is_read() {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    write(&store, "/a", "a value that can be found").await.unwrap();
    // As a disk would, but where redb's own checks cannot see it.
    let transaction = store.shared.database.read().as_ref().unwrap().begin_write().unwrap();
    {
        let mut records = transaction.open_table(view::RECORDS).unwrap();
        let place = record::Place::new(1, 0).0;
        let mut bytes = records.get(place).unwrap().unwrap().value().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        records.insert(place, bytes.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    assert!(matches!(store.get("/a").await, Err(Error::Broken(_))));
    assert!(matches!(store.list("", 0, None).await, Err(Error::Broken(_))));
    assert!(matches!(store.watch("", 0).next().await, Some(Err(Error::Broken(_)))));
    assert!(matches!(write(&store, "/a", "2").await, Err(Error::Broken(_))), "what stood there is not known, so nothing replaces it");
    assert!(matches!(write(&store, "/b", "2").await, Err(Error::Broken(_))), "and nothing is acknowledged any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_a_file_cut_short_is_refused() {
    let (bytes, _) = filled().await;
    for keep in [1, 100, 4096, bytes.len() / 4, bytes.len() / 2] {
        let opened = Platter::holding(bytes[..keep].to_vec()).open();
        assert!(matches!(opened, Err(Error::Broken(_))), "{keep} bytes: {:?}", opened.err());
    }
    let opened = Platter::holding(b"this is some other file, not a store at all".repeat(200)).open();
    assert!(matches!(opened, Err(Error::Broken(_))), "{:?}", opened.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_store_is_refused_unharmed() {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    write(&store, "/a", "1").await.unwrap();
    drop(store);
    let stamp = |format: u64| {
        let database = open_database(platter.clone()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert(FORMAT, format).unwrap();
        transaction.commit().unwrap();
    };
    stamp(KNOWN_FORMAT + 1);
    let refused = platter.open().err();
    assert!(matches!(refused, Some(Error::Newer { found: 2, known: 1 })), "{refused:?}");
    stamp(KNOWN_FORMAT);
    assert_eq!(value(&platter.open().unwrap(), "/a").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_not_opened_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.redb");
    let store = Redb::open(&file).unwrap();
    let second = Redb::open(&file).err();
    assert!(matches!(&second, Some(Error::Unavailable(why)) if why.contains("another process has it open")), "{second:?}");
    drop(store);
    Redb::open(&file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_history_gives_its_room_back() {
    let platter = Platter::default();
    let store = platter.open().unwrap();
    let records = || {
        let transaction = store.shared.database.read().as_ref().unwrap().begin_read().unwrap();
        redb::ReadableTableMetadata::len(&transaction.open_table(view::RECORDS).unwrap()).unwrap()
    };
    for n in 0..100 {
        write(&store, "/often", &n.to_string()).await.unwrap();
        write(&store, &format!("/{n}"), "x").await.unwrap();
        store.commit(Vec::new(), vec![Op::Delete { key: format!("/{n}") }]).await.unwrap();
    }
    assert_eq!(records(), 300);
    store.compact(300).await.unwrap();
    while records() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(value(&store, "/often").await.as_deref(), Some("99"));
}
