//! The one thread that writes: collects the commits that wait, makes them durable with one fsync, then answers them all.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::Sender;

use super::disk::{Disk, Failure};
use super::staging::Staging;
use super::{Fault, Opener, Read, Shared, closed, open_database};
use crate::store::{Commit, Error, Event, Guard, LeaseId, Op, Result, Revision};

/// Most requests that share one fsync.
const GROUP: usize = 256;
/// Forgotten changes to look at beside a group, and when nothing else is to be done.
const SWEEP: usize = 256;
const SWEEP_IDLE: usize = 4096;
/// How long a full disk is left alone before the next try.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is told that nothing can be written: a full disk is tried again and again.
const TELL: Duration = Duration::from_secs(60);
/// How long the thread sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What a caller waits for.
pub(super) enum Request {
    Commit { guards: Vec<Guard>, ops: Vec<Op>, answer: Sender<Result<Commit>> },
    Lease { ttl: u64, answer: Sender<Result<LeaseId>> },
    Revoke { lease: LeaseId, answer: Sender<Result<()>> },
    Compact { revision: Revision, answer: Sender<Result<()>> },
}

/// What a request comes to, once its group is durable.
enum Outcome {
    Commit(Commit),
    Lease(LeaseId),
    Done,
    Refused(Error),
}

/// A caller that went away misses its answer, and that is all.
impl Request {
    fn fail(self, error: Error) {
        match self {
            Request::Commit { answer, .. } => drop(answer.send(Err(error))),
            Request::Lease { answer, .. } => drop(answer.send(Err(error))),
            Request::Revoke { answer, .. } | Request::Compact { answer, .. } => drop(answer.send(Err(error))),
        }
    }

    fn answer(self, outcome: Outcome) {
        match (self, outcome) {
            (request, Outcome::Refused(error)) => request.fail(error),
            (Request::Commit { answer, .. }, Outcome::Commit(commit)) => drop(answer.send(Ok(commit))),
            (Request::Lease { answer, .. }, Outcome::Lease(lease)) => drop(answer.send(Ok(lease))),
            (Request::Revoke { answer, .. } | Request::Compact { answer, .. }, _) => drop(answer.send(Ok(()))),
            (request, _) => request.fail(Error::Unavailable("the answer belongs to another request".to_owned())),
        }
    }
}

enum State {
    Writing,
    /// The disk was full; tried again after a while.
    Full {
        why: String,
        since: Instant,
    },
    /// Nothing is acknowledged any more until somebody opens the store anew.
    Unwritable(String),
    Broken(String),
}

/// What a durable group leaves behind.
struct Written {
    outcomes: Vec<Outcome>,
    commits: Vec<(Revision, Vec<Event>)>,
    sweeping: bool,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    open: Opener,
    requests: Receiver<Request>,
    state: State,
    sweeping: bool,
    told: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, disk: Disk, open: Opener, requests: Receiver<Request>) -> Writer {
        // Whatever a former process left unswept is found in the first turn.
        Writer { shared, disk, open, requests, state: State::Writing, sweeping: true, told: None }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            let mut group = match self.requests.recv_timeout(self.patience()) {
                Ok(first) => vec![first],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            group.extend(self.requests.try_iter().take(GROUP - 1));
            let ended = self.shared.leases.ended();
            if !group.is_empty() || !ended.is_empty() || self.sweeping {
                self.turn(group, &ended);
            }
        }
    }

    fn patience(&self) -> Duration {
        let writing = matches!(self.state, State::Writing);
        match self.shared.leases.next_end() {
            _ if writing && self.sweeping => Duration::ZERO,
            Some(end) if writing => end.min(IDLE),
            Some(end) => end.max(RETRY),
            None => IDLE,
        }
    }

    fn turn(&mut self, group: Vec<Request>, ended: &[LeaseId]) {
        self.try_again();
        if let Some(error) = self.refusal() {
            return group.into_iter().for_each(|request| request.fail(error.clone()));
        }
        match self.write(&group, ended) {
            Ok(written) => self.acknowledge(group, ended, written),
            Err(fault) => {
                let error = self.fail(fault);
                group.into_iter().for_each(|request| request.fail(error.clone()));
            }
        }
    }

    /// Stages the group and makes it durable.
    fn write(&self, group: &[Request], ended: &[LeaseId]) -> Read<Written> {
        // redb panics on some damaged pages; that must not end the thread that answers.
        let attempt = AssertUnwindSafe(|| self.write_or_panic(group, ended));
        std::panic::catch_unwind(attempt).unwrap_or_else(|_| Err(Fault::Store(Error::Broken("writing met a damaged page".to_owned()))))
    }

    fn write_or_panic(&self, group: &[Request], ended: &[LeaseId]) -> Read<Written> {
        let database = self.shared.database.read();
        let transaction = database.as_ref().ok_or_else(closed)?.begin_write()?;
        // The transaction keeps the file by itself; the lock would make the readers wait for the disk when the file is replaced.
        drop(database);
        let mut staging = Staging::open(&transaction)?;
        let outcomes = group.iter().map(|request| self.stage(&mut staging, request)).collect::<Read<_>>()?;
        for lease in ended {
            staging.end(*lease)?;
        }
        let sweeping = staging.sweep(if group.is_empty() { SWEEP_IDLE } else { SWEEP })?;
        staging.finish()?;
        let (commits, changed) = (std::mem::take(&mut staging.commits), staging.changed);
        drop(staging);
        if changed {
            transaction.commit()?
        } else {
            transaction.abort()?
        }
        Ok(Written { outcomes, commits, sweeping })
    }

    fn stage(&self, staging: &mut Staging<'_>, request: &Request) -> Read<Outcome> {
        Ok(match request {
            Request::Commit { guards, ops, .. } => match self.dead_lease(ops) {
                Some(lease) => Outcome::Refused(Error::NoLease(lease)),
                None => Outcome::Commit(staging.commit(guards, ops)?),
            },
            Request::Lease { ttl, .. } => Outcome::Lease(staging.lease(*ttl)?),
            Request::Revoke { lease, .. } => {
                if staging.end(*lease)? {
                    Outcome::Done
                } else {
                    Outcome::Refused(Error::NoLease(*lease))
                }
            }
            Request::Compact { revision, .. } => {
                staging.compact(*revision)?;
                Outcome::Done
            }
        })
    }

    fn dead_lease(&self, ops: &[Op]) -> Option<LeaseId> {
        let leases = ops.iter().filter_map(|op| if let Op::Put { lease, .. } = op { *lease } else { None });
        leases.into_iter().find(|lease| !self.shared.leases.lives(*lease))
    }

    fn acknowledge(&mut self, group: Vec<Request>, ended: &[LeaseId], written: Written) {
        self.sweeping = written.sweeping;
        for (revision, events) in &written.commits {
            self.shared.hub.publish(*revision, events);
        }
        ended.iter().for_each(|lease| self.shared.leases.forget(*lease));
        for (request, outcome) in group.into_iter().zip(written.outcomes) {
            match (&request, &outcome) {
                (Request::Lease { ttl, .. }, Outcome::Lease(lease)) => self.shared.leases.begin(*lease, *ttl),
                (Request::Revoke { lease, .. }, Outcome::Done) => self.shared.leases.forget(*lease),
                _ => {}
            }
            request.answer(outcome);
        }
    }

    /// Why nothing can be written now.
    fn refusal(&self) -> Option<Error> {
        match &self.state {
            State::Writing => None,
            State::Full { why, .. } => Some(Error::Unwritable(format!("{why}; free some space, writing goes on by itself then"))),
            State::Unwritable(why) => Some(Error::Unwritable(format!("{why}; check the disk, then restart the server"))),
            State::Broken(why) => Some(Error::Broken(why.clone())),
        }
    }

    /// After a failed write reads go on from the file as it last was durable.
    fn fail(&mut self, fault: Fault) -> Error {
        let why = match fault {
            Fault::Store(Error::Broken(why)) => {
                self.state = State::Broken(why.clone());
                return Error::Broken(why);
            }
            fault => fault.into_error().to_string(),
        };
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            tracing::error!(%why, "the store cannot write");
            self.told = Some(Instant::now());
        }
        self.state = match self.disk.failure() {
            Some(Failure::Full(why)) => State::Full { why, since: Instant::now() },
            Some(Failure::Final(why)) => State::Unwritable(why),
            None => State::Unwritable(why),
        };
        if let Err(error) = self.freeze() {
            tracing::error!(%error, "reading what the store last made durable");
        }
        self.refusal().unwrap_or(Error::Unwritable(String::new()))
    }

    fn freeze(&self) -> Result<()> {
        let frozen = self.disk.frozen().map_err(|error| Error::Unavailable(error.to_string()))?;
        let database = open_database(frozen)?;
        *self.shared.database.write() = Some(database);
        self.announce()
    }

    /// Publishes what turned out to be durable although its commit failed.
    fn announce(&self) -> Result<()> {
        let published = self.shared.hub.published();
        let events =
            self.shared.read_once(|view| Ok(view.replay("", published, view.revision, usize::MAX)?.0)).map_err(Fault::into_error)?;
        for commit in events.chunk_by(|one, other| one.revision == other.revision) {
            self.shared.hub.publish(commit[0].revision, commit);
        }
        Ok(())
    }

    /// Opens the file for writing again if the disk was full a while ago: opening writes, so it shows whether there is room now.
    fn try_again(&mut self) {
        let State::Full { since, .. } = &mut self.state else { return };
        if since.elapsed() < RETRY {
            return;
        }
        *since = Instant::now();
        let opened = (self.open)().and_then(|file| Disk::new(file).map_err(|error| Error::Unavailable(error.to_string())));
        let Ok(disk) = opened else { return };
        if let Ok(database) = open_database(disk.clone()) {
            *self.shared.database.write() = Some(database);
            self.disk = disk;
            self.state = State::Writing;
            tracing::debug!("the store tries to write again");
            if let Err(error) = self.announce() {
                tracing::error!(%error, "reading what the store last made durable");
            }
        }
    }
}
