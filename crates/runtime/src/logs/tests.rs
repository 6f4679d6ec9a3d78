//! Logs: what is kept, followed, bounded and dropped.

use super::*;
use crate::sandbox::Level;
use futures::StreamExt;

fn output(logs: &Logs, log: &Arc<PodLog>, restarts: u32) -> Arc<dyn Output> {
    Arc::new(OfInstance { logs: logs.clone(), pod: Arc::default(), restarts, log: log.clone().into() })
}

fn logs(limits: Limits) -> (tempfile::TempDir, Logs) {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = Logs::open(folder.path(), limits).expect("logs");
    (folder, logs)
}

async fn text(log: &Arc<PodLog>, query: Query) -> String {
    let chunks: Vec<_> = log.read(query).collect().await;
    chunks.iter().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect()
}

#[tokio::test]
async fn lines_come_back_by_stream_of_bytes_tail_and_instance() {
    let (_folder, logs) = logs(Limits::default());
    let log = logs.pod("default", "hello-1", "u1");
    output(&logs, &log, 0).write(Stream::Stdout, b"one\ntw");
    output(&logs, &log, 0).write(Stream::Stderr, b"oops\n");
    output(&logs, &log, 0).write(Stream::Stdout, b"o\r\n");
    output(&logs, &log, 1).write(Stream::Stdout, b"three\nunfinished");
    log.flush(true);
    assert_eq!(text(&log, Query::default()).await, "one\noops\ntwo\nthree\nunfinished\n");
    assert_eq!(text(&log, Query { tail: Some(2), ..Query::default() }).await, "three\nunfinished\n");
    assert_eq!(text(&log, Query { previous: true, ..Query::default() }).await, "one\noops\ntwo\n");
    let later = Timestamp::now() + Duration::from_secs(5);
    assert_eq!(text(&log, Query { since: Some(later), ..Query::default() }).await, "");
    let stamped = text(&log, Query { timestamps: true, tail: Some(1), ..Query::default() }).await;
    assert!(stamped.starts_with("20") && stamped.ends_with("Z unfinished\n"), "{stamped}");
}

use jiff::Timestamp;

#[tokio::test]
async fn what_is_logged_is_kept_with_its_level_and_bounded_like_what_is_printed() {
    let (_folder, logs) = logs(Limits { rate: 1, burst: 100_000, ..Limits::default() });
    let log = logs.pod("default", "hello-1", "u1");
    let output = output(&logs, &log, 0);
    let say = |level, context: &str, message: &str| output.log(&Entry { level, context, message });
    output.write(Stream::Stdout, b"half a ");
    say(Level::Warn, "auth", "no such user\nnor group\n");
    output.write(Stream::Stdout, b"line\n");
    say(Level::Info, "", "");
    say(Level::Critical, "", &"ü".repeat(10_000));
    log.flush(true);
    let said = text(&log, Query::default()).await;
    assert!(said.starts_with("WARN auth: no such user\nWARN auth: nor group\nhalf a line\nINFO \nCRITICAL ü"), "{said}");
    assert_eq!((said.matches('ü').count(), said.matches("CRITICAL").count(), log.dropped()), (10_000, 2, 0));
    (0..20).for_each(|_| say(Level::Debug, &"c".repeat(1_000_000), &"x".repeat(10_000)));
    log.flush(true);
    assert!(log.dropped() > 80_000 && size(&log.folder) < 120_000, "{} were dropped", log.dropped());
}

#[tokio::test]
async fn a_follower_sees_each_line_once_across_a_rotation() {
    let (_folder, logs) = logs(Limits { file: 4_000, ..Limits::default() });
    let log = logs.pod("default", "hello-1", "u1");
    let output = output(&logs, &log, 0);
    output.write(Stream::Stdout, b"start\n");
    let mut follower = Box::pin(log.read(Query { follow: true, ..Query::default() }));
    let mut seen = String::new();
    for number in 0..200 {
        output.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        while !seen.contains(&format!("line {number}\n")) {
            let chunk = tokio::time::timeout(Duration::from_secs(20), follower.next()).await.expect("in time").expect("more");
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
    assert!(log.rotations.load(Ordering::Acquire) > 2, "the file went round");
    let want: String = std::iter::once("start\n".to_owned()).chain((0..200).map(|n| format!("line {n}\n"))).collect();
    assert_eq!(seen, want);
}

#[tokio::test]
async fn h11_a_flood_is_cut_counted_and_told() {
    let (_folder, logs) = logs(Limits { rate: 100_000, burst: 10_000, ..Limits::default() });
    let log = logs.pod("default", "noisy", "u1");
    let output = output(&logs, &log, 0);
    (0..100).for_each(|_| output.write(Stream::Stdout, &[b'x'; 1000]));
    output.write(Stream::Stdout, b"\xff\xfe\x1b[2J\n");
    assert!(log.dropped() > 50_000, "{}", log.dropped());
    log.flush(true);
    assert!(size(&log.folder) < 40_000);
    let told = async {
        while !text(&log, Query::default()).await.contains("bytes were dropped: a pod may print 100000 bytes a second") {
            output.write(Stream::Stdout, b"\n");
            log.flush(true);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the loss is told");
}

#[tokio::test]
async fn a_dead_pods_log_is_found_by_name_until_it_is_pruned() {
    let (folder, logs) = logs(Limits { dead: 1_000, ..Limits::default() });
    let log = logs.pod("default", "hello-1", "u1");
    output(&logs, &log, 0).write(Stream::Stdout, b"last words\n");
    logs.retire("u1");
    let found = logs.find("default", "hello-1", "").expect("still there");
    assert_eq!(text(&found, Query::default()).await, "last words\n");
    assert!(logs.find("default", "hello", "").is_none(), "a name is a whole name");
    let big = logs.pod("default", "big", "u2");
    (0..50).for_each(|_| output(&logs, &big, 0).write(Stream::Stdout, &[[b'y'; 99].as_slice(), b"\n"].concat()));
    logs.retire("u2");
    assert!(logs.find("default", "big", "u2").is_none() && logs.find("default", "hello-1", "u1").is_none());
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
}
