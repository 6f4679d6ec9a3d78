//! The rules of the store, which every engine keeps. An engine joins by a variant of [`Engine`].

#![allow(clippy::disallowed_methods, reason = "only the pure core may not ask the clock or draw lots")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use scheduler::store::etcd::Etcd;
use scheduler::store::memory::Memory;
use scheduler::store::redb::Redb;
use scheduler::store::{Commit, Error, Event, Guard, Item, LeaseId, Op, Result, Revision, Store};

mod chance;
mod etcd_server;
mod faults;
mod history;
mod kill;
mod leases;
mod watches;
mod writes;

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine under test; opened again it holds what it held.
enum Engine {
    Memory(Memory),
    Redb(tempfile::TempDir),
    Etcd(etcd_server::Servers),
}

impl Engine {
    fn memory() -> Engine {
        Engine::Memory(Memory::new())
    }

    fn redb() -> Engine {
        Engine::Redb(tempfile::tempdir().unwrap())
    }

    /// None where etcd is not installed.
    async fn etcd() -> Option<Engine> {
        if etcd_server::is_here() { Some(Engine::Etcd(etcd_server::Servers::start(1).await)) } else { None }
    }

    /// Opens it; whatever it was opened as before must be dropped.
    fn open(&self) -> Arc<dyn Store> {
        match self {
            Engine::Memory(memory) => Arc::new(memory.clone()),
            Engine::Redb(folder) => Arc::new(Redb::open(folder.path().join("state.redb")).unwrap()),
            Engine::Etcd(servers) => {
                let opened = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(Etcd::open(&servers.options())));
                Arc::new(opened.unwrap())
            }
        }
    }
}

/// One test for each engine of each rule.
macro_rules! rules {
    ($($module:ident: $($rule:ident)+;)+) => {
        mod memory { $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() { crate::$module::$rule(&crate::Engine::memory()).await }
        )+)+ }
        mod redb { $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() { crate::$module::$rule(&crate::Engine::redb()).await }
        )+)+ }
        mod etcd { $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() { if let Some(engine) = crate::Engine::etcd().await { crate::$module::$rule(&engine).await } }
        )+)+ }
    };
}

rules! {
    writes:
        a_new_store_is_empty
        an_item_knows_when_it_was_made_and_changed
        guards_hold_or_nothing_happens
        all_ops_of_a_commit_have_one_revision
        what_changes_nothing_makes_no_revision
        limits_are_etcds
        a_value_is_any_bytes
        sixty_four_callers_count_without_loss;
    history:
        a_list_is_in_order_and_only_of_its_prefix
        all_pages_show_one_revision
        pages_of_forgotten_history_are_refused
        compaction_keeps_what_is_current
        everything_is_there_after_a_restart;
    watches:
        a_watch_tells_each_change_once_in_order
        a_watch_begins_at_any_revision
        a_watch_of_forgotten_history_ends_with_compacted
        c35_a_watch_resumes_after_a_restart_with_previous_values
        a_slow_watcher_misses_nothing
        each_of_many_watchers_gets_its_own
        every_watcher_sees_bookmarks
        watchers_and_writers_together_lose_nothing;
    leases:
        keys_go_with_their_lease
        a_kept_lease_lives
        a_key_put_again_leaves_its_lease
        a_dead_lease_takes_no_keys
        a_lease_may_hold_more_keys_than_a_commit
        a_restart_gives_a_lease_its_whole_time;
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: None }
}

fn put_leased(key: &str, value: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: Some(lease) }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.to_owned() }
}

/// Commits without guards.
async fn write(store: &dyn Store, ops: Vec<Op>) -> Revision {
    match store.commit(Vec::new(), ops).await.unwrap() {
        Commit::Done(revision) => revision,
        Commit::Conflict(key) => panic!("a conflict on {key} without guards"),
    }
}

async fn item(store: &dyn Store, key: &str) -> Option<Item> {
    store.get(key).await.unwrap().1
}

/// `key=value` of everything under a prefix.
async fn all(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix, 0, None).await.unwrap().items.iter().map(text).collect()
}

fn text(item: &Item) -> String {
    format!("{}={}", item.key, String::from_utf8_lossy(&item.value))
}

/// The next event, as `revision.ordinal key=value (was value)`.
async fn next(watch: &mut BoxStream<'static, Result<Event>>) -> String {
    tell(&next_event(watch).await)
}

async fn next_event(watch: &mut BoxStream<'static, Result<Event>>) -> Event {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("no event came").expect("the watch ended").unwrap()
}

fn tell(event: &Event) -> String {
    let now = event.item.as_ref().map_or_else(|| format!("{} gone", event.key()), text);
    let was = event.previous.as_ref().map_or(String::new(), |was| format!(" (was {})", String::from_utf8_lossy(&was.value)));
    format!("{}.{} {now}{was}", event.revision, event.ordinal)
}
