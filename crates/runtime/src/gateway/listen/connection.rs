//! What is known of each open connection, and when it has to go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use futures::task::AtomicWaker;
use http::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Limits;
use super::offer::{Offer, Offers};

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Answer what is under way, then close.
    Finish = 1,
    /// Close now.
    Break = 2,
}

/// Times are milliseconds since `start`; 0 is never.
pub struct Connection {
    /// The port that it came to, where that is a Service's; else 0.
    port: u16,
    start: Instant,
    /// When a byte last came.
    read: AtomicU64,
    /// Since when an unfinished head has been coming in.
    head: AtomicU64,
    /// Since when the other side has taken nothing.
    blocked: AtomicU64,
    /// When the last request ended.
    rested: AtomicU64,
    in_flight: AtomicU32,
    requests: AtomicU32,
    http2: AtomicBool,
    /// The body under way ends with the connection, as in HTTP/1.0.
    ends_bare: AtomicBool,
    broken: AtomicBool,
    order: AtomicU8,
    told: Notify,
    offers: Offers,
    /// The reader, once the client has closed its side.
    pub parting: AtomicWaker,
}

/// A request under way on a connection.
pub struct Flight {
    connection: Arc<Connection>,
    /// On HTTP/2 only: elsewhere an answer that nobody takes blocks the connection, which shows.
    offer: Option<Arc<Offer>>,
}

impl Flight {
    /// A part of the answer was handed on, or is ready to be; or (`false`) the guest has to make it first.
    pub fn offers(&self, ready: bool) {
        if let Some(offer) = &self.offer {
            offer.set(if ready { self.connection.now() } else { 0 });
        }
    }

    /// The body was cut short. Where only the end of the connection tells the end of a body, the connection has to end in a way that no
    /// one takes for a good one.
    pub fn broken(&self) {
        self.connection.broken.store(self.connection.ends_bare.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.connection.rested.store(self.connection.now(), Ordering::Relaxed);
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.connection.parting.wake();
    }
}

impl Connection {
    fn new(port: u16) -> Connection {
        Connection {
            port,
            start: Instant::now(),
            read: AtomicU64::new(0),
            head: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            rested: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            http2: AtomicBool::new(false),
            ends_bare: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            order: AtomicU8::new(0),
            told: Notify::new(),
            offers: Offers::default(),
            parting: AtomicWaker::new(),
        }
    }

    fn now(&self) -> u64 {
        1 + self.start.elapsed().as_millis() as u64
    }

    /// A request's head is there.
    pub fn begin(self: &Arc<Connection>, version: Version) -> Flight {
        self.head.store(0, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if version <= Version::HTTP_10 {
            self.ends_bare.store(true, Ordering::Relaxed);
        }
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        }
        let offer = (version == Version::HTTP_2).then(|| self.offers.make());
        Flight { connection: self.clone(), offer }
    }

    /// Tells it to go; a harder order replaces a softer one.
    pub fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8 {
            self.told.notify_one();
        }
    }

    /// Done when it is told to go, once for each order.
    pub async fn order(&self) -> Order {
        self.told.notified().await;
        if self.order.load(Ordering::Acquire) == Order::Break as u8 { Order::Break } else { Order::Finish }
    }

    /// Bytes came.
    pub fn has_read(&self) {
        let now = self.now();
        self.read.store(now, Ordering::Relaxed);
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    /// Bytes went, or could not.
    pub fn has_written(&self, blocked: bool) {
        if !blocked {
            if self.blocked.load(Ordering::Relaxed) != 0 {
                self.blocked.store(0, Ordering::Relaxed);
            }
        } else if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether requests are under way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Whether it has to end in a way that no one takes for a good one.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn facts(&self) -> Facts {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        Facts {
            now: self.now(),
            read: get(&self.read),
            head: get(&self.head),
            blocked: get(&self.blocked),
            rested: get(&self.rested),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            http2: self.http2.load(Ordering::Relaxed),
            offered: self.offers.oldest(),
        }
    }
}

/// A connection at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    now: u64,
    read: u64,
    head: u64,
    blocked: u64,
    rested: u64,
    in_flight: u32,
    requests: u32,
    http2: bool,
    /// Since when some answer on HTTP/2 has not been taken on.
    offered: u64,
}

/// What a connection has to do by the limits.
fn verdict(facts: &Facts, limits: &Limits) -> Option<Order> {
    let since = |then: u64| facts.now.saturating_sub(then);
    let (head, idle, stall) = (limits.head.as_millis() as u64, limits.idle.as_millis() as u64, limits.stall.as_millis() as u64);
    if facts.blocked != 0 && since(facts.blocked) > stall {
        return Some(Order::Break);
    }
    if facts.offered != 0 && since(facts.offered) > stall {
        // Its other requests may be good ones: they get as long again to end, and later ones go to a new connection.
        return Some(if since(facts.offered) > 2 * stall { Order::Break } else { Order::Finish });
    }
    if facts.in_flight > 0 {
        return None;
    }
    if facts.requests == 0 {
        return (facts.now > head).then_some(Order::Break);
    }
    // On HTTP/2 bytes without a request are pings and settings too, so only idleness counts there.
    if !facts.http2 && facts.head != 0 && since(facts.head) > head {
        return Some(Order::Break);
    }
    (since(facts.rested.max(facts.head)) > idle).then_some(Order::Finish)
}

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: Arc<Open>,
}

#[derive(Default)]
struct Open {
    all: Mutex<(u64, HashMap<u64, Arc<Connection>>)>,
    none: Notify,
    order: AtomicU8,
}

/// A connection's place among the open ones.
pub struct Entered {
    open: Arc<Open>,
    key: u64,
    connection: Arc<Connection>,
}

impl Entered {
    /// The connection.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut all = self.open.all.lock();
        all.1.remove(&self.key);
        if all.1.is_empty() {
            self.open.none.notify_waiters();
        }
    }
}

impl Connections {
    /// A new one, at the port of a Service or (0) at no such.
    pub fn enter(&self, port: u16) -> Entered {
        let connection = Arc::new(Connection::new(port));
        let mut all = self.open.all.lock();
        all.0 += 1;
        let key = all.0;
        all.1.insert(key, connection.clone());
        match self.open.order.load(Ordering::Acquire) {
            0 => {}
            1 => connection.tell(Order::Finish),
            _ => connection.tell(Order::Break),
        }
        Entered { open: self.open.clone(), key, connection }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.all.lock().1.len()
    }

    /// Tells all that are open, and all that still come.
    pub fn tell_all(&self, order: Order) {
        self.open.order.fetch_max(order as u8, Ordering::AcqRel);
        self.open.all.lock().1.values().for_each(|connection| connection.tell(order));
    }

    /// Tells those that are open at the port of a Service.
    pub fn tell_port(&self, port: u16, order: Order) {
        self.open.all.lock().1.values().filter(|connection| connection.port == port).for_each(|connection| connection.tell(order));
    }

    /// Done when none is left.
    pub async fn empty(&self) {
        loop {
            let none = self.open.none.notified();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }

    /// Makes the one that is idle longest go; `false` when none is idle.
    pub fn evict(&self) -> bool {
        let all = self.open.all.lock();
        let gone = |connection: &Connection| connection.order.load(Ordering::Relaxed) == Order::Break as u8;
        let idle = all.1.values().filter(|connection| connection.in_flight.load(Ordering::Relaxed) == 0 && !gone(connection));
        let oldest = idle.max_by_key(|connection| {
            let facts = connection.facts();
            facts.now.saturating_sub(facts.rested.max(facts.read))
        });
        oldest.map(|connection| connection.tell(Order::Break)).is_some()
    }

    /// Ends those that break a limit.
    pub fn sweep(&self, limits: &Limits) {
        for connection in self.open.all.lock().1.values() {
            if let Some(order) = verdict(&connection.facts(), limits) {
                connection.tell(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: Facts, want: Option<Order>) {
        assert_eq!(verdict(&facts, &Limits::default()), want, "{facts:?}");
    }

    #[test]
    fn n1_a_head_that_takes_longer_than_ten_seconds_breaks_the_connection() {
        check(Facts { now: 9_000, read: 9_000, head: 1, ..Facts::default() }, None);
        check(Facts { now: 10_001, read: 10_000, head: 1, ..Facts::default() }, Some(Order::Break));
        let second = Facts { requests: 1, rested: 1_000, ..Facts::default() };
        check(Facts { now: 30_000, read: 30_000, head: 29_000, ..second }, None);
        check(Facts { now: 40_000, read: 39_999, head: 29_000, ..second }, Some(Order::Break));
    }

    #[test]
    fn a_quiet_connection_may_stay_for_its_idle_time_and_http2_pings_do_not_break_it() {
        let quiet = Facts { requests: 3, rested: 1_000, ..Facts::default() };
        check(Facts { now: 70_000, ..quiet }, None);
        check(Facts { now: 76_001, ..quiet }, Some(Order::Finish));
        check(Facts { now: 60_000, head: 2_000, read: 60_000, http2: true, ..quiet }, None);
    }

    #[test]
    fn n3_a_reader_that_takes_nothing_is_cut_off_but_a_slow_guest_is_waited_for() {
        let busy = Facts { requests: 1, in_flight: 1, ..Facts::default() };
        check(Facts { now: 900_000, ..busy }, None);
        check(Facts { now: 31_000, blocked: 500, ..busy }, Some(Order::Break));
    }

    #[test]
    fn n11_an_answer_that_nobody_takes_ends_its_connection_softly_then_hard() {
        let busy = Facts { requests: 1, in_flight: 1, http2: true, offered: 500, ..Facts::default() };
        check(Facts { now: 30_000, ..busy }, None);
        check(Facts { now: 31_000, ..busy }, Some(Order::Finish));
        check(Facts { now: 61_000, ..busy }, Some(Order::Break));
    }

    #[test]
    fn n5_the_longest_idle_connection_makes_room() {
        let all = Connections::default();
        let busy = all.enter(0);
        assert!(!{
            let _flight = busy.connection().begin(Version::HTTP_11);
            all.evict()
        });
        assert!(all.evict(), "once its request is over it is idle");
    }
}
