//! Where a guest runs: within the task of its request, and on threads of low priority once it turns out to take long.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use http::Response;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::WasiBody;

use super::Failure;
use super::budget::Budget;
use super::cpu::{self, Metered};
use super::state::Grants;

/// Ticks that a guest may run through in its request's own task. Requests that are done sooner never pay for a change of thread, and one that
/// is not holds up its neighbours no longer.
const TICKS: u32 = 2;

/// What is known of a call while the guest works on it.
#[derive(Default)]
pub(crate) struct Progress {
    answer: Mutex<Option<Answer>>,
    answered: AtomicBool,
    ticks: AtomicU32,
    asked: AtomicWaker,
    /// Nanoseconds.
    held: AtomicU64,
}

/// The response's head, with a body that streams on while the guest runs; or the guest's own error code.
pub(crate) type Answer = Result<Response<WasiBody>, String>;

impl Progress {
    /// The guest has answered.
    pub fn answer(&self, answer: Answer) {
        self.answered.store(true, Ordering::Relaxed);
        *self.answer.lock() = Some(answer);
        self.asked.wake();
    }

    /// Whether an answer waits to be taken.
    pub fn has_answer(&self) -> bool {
        self.answer.lock().is_some()
    }

    /// Whether the guest has answered, be the answer on its way already.
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The answer, once.
    pub fn take(&self) -> Option<Answer> {
        self.answer.lock().take()
    }

    /// The guest was still running when the engine's clock ticked.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// The guest has waited for its share of CPU.
    pub fn hold(&self, time: Duration) {
        self.held.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the guest has waited for its share of CPU.
    pub fn held(&self) -> Duration {
        Duration::from_nanos(self.held.load(Ordering::Relaxed))
    }

    fn is_long(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) >= TICKS
    }
}

/// A guest's work to its end. Dropping it ends the guest wherever it is.
pub(super) struct Run<T> {
    place: Place<T>,
    progress: Arc<Progress>,
    /// Whether it gives way to others when it takes long.
    moves: bool,
}

enum Place<T> {
    /// In the task that polls.
    Here(Work<T>),
    /// On a thread of low priority.
    Aside(Aside<T>),
    /// Between the two, or at its end.
    Nowhere,
}

/// A guest's work, and where the time that it runs is counted; none where the work counts it itself.
struct Work<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    counted: Option<Arc<Budget>>,
    /// It runs on threads that give way to others, so that time alone says little of the CPU that it had.
    aside: bool,
}

impl<T> Future for Work<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let Some(budget) = &this.counted else { return this.future.as_mut().poll(context) };
        // The thread's own clock is a call into the system: several times as dear as the time, and no truer for what is done within a tick.
        if this.aside {
            let before = cpu::used();
            let polled = this.future.as_mut().poll(context);
            budget.spend(cpu::used().saturating_sub(before));
            return polled;
        }
        let before = Instant::now();
        let polled = this.future.as_mut().poll(context);
        budget.spend(before.elapsed());
        polled
    }
}

struct Aside<T> {
    done: oneshot::Receiver<T>,
    task: AbortHandle,
}

impl<T> Drop for Aside<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a guest's work ends with if the host's own code fails meanwhile.
pub(super) trait Lost: Send + 'static {
    /// The end in that case.
    fn lost(failure: Failure) -> Self;
}

impl<T: Lost> Run<T> {
    /// `work` for a pod with these grants; `progress` is what it tells of its ticks.
    pub fn new(work: impl Future<Output = T> + Send + 'static, progress: Arc<Progress>, grants: &Grants) -> Self {
        let work = match &grants.share {
            Some(share) => Work { future: Box::pin(Metered::new(work, share.clone(), progress.clone())), counted: None, aside: false },
            None => Work { future: Box::pin(work), counted: Some(grants.budget.clone()), aside: false },
        };
        Self { place: Place::Here(work), progress, moves: grants.host.neighbours }
    }

    /// Has the answer wake `context`: what runs elsewhere is not polled by the one who waits for it.
    pub fn listen(&self, context: &Context<'_>) {
        if matches!(self.place, Place::Aside(_)) {
            self.progress.asked.register(context.waker());
        }
    }

    fn move_aside(&mut self, threads: &Handle) {
        if let Place::Here(mut work) = std::mem::replace(&mut self.place, Place::Nowhere) {
            work.aside = true;
            let (tell, done) = oneshot::channel();
            // Nobody listens once the request is over; then the guest has been aborted.
            let task = threads.spawn(async move { tell.send(work.await).map_err(drop) });
            self.place = Place::Aside(Aside { done, task: task.abort_handle() });
        }
    }
}

impl<T: Lost> Future for Run<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        if let Place::Here(work) = &mut this.place {
            // A fault of the host's own must cost this request alone; what it left half done goes with its sandbox.
            let polled = std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(work).poll(context)));
            let finished = polled.unwrap_or_else(|_| Poll::Ready(T::lost(host_failed())));
            if finished.is_ready() {
                this.place = Place::Nowhere;
                return finished;
            }
            let Some(threads) = (this.moves && this.progress.is_long()).then(threads).flatten() else { return Poll::Pending };
            this.move_aside(threads);
        }
        let Place::Aside(aside) = &mut this.place else { return Poll::Pending };
        let finished = std::task::ready!(Pin::new(&mut aside.done).poll(context));
        this.place = Place::Nowhere;
        Poll::Ready(finished.unwrap_or_else(|_| T::lost(host_failed())))
    }
}

fn host_failed() -> Failure {
    Failure::Trap { message: "the host failed while it ran the guest".into(), backtrace: String::new() }
}

/// Threads for guests that take long, made with the first of them. Without such threads they stay where they are.
fn threads() -> Option<&'static Handle> {
    static THREADS: OnceLock<Option<Runtime>> = OnceLock::new();
    let made = THREADS.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        let made = builder.thread_name("long-guests").on_thread_start(lower_priority).enable_all().build();
        made.inspect_err(|error| tracing::warn!(%error, "no threads for guests that take long: they slow the others down")).ok()
    });
    made.as_ref().map(Runtime::handle)
}

/// Gives way to all other threads of the machine. On Linux a nice value belongs to a thread; elsewhere to the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "guests that take long have the priority of all others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Lost for &'static str {
        fn lost(_: Failure) -> Self {
            "lost"
        }
    }

    fn run(work: impl Future<Output = &'static str> + Send + 'static, progress: &Arc<Progress>) -> Run<&'static str> {
        run_counted(work, progress, &Budget::new(1, 0))
    }

    fn run_counted(
        work: impl Future<Output = &'static str> + Send + 'static,
        progress: &Arc<Progress>,
        budget: &Arc<Budget>,
    ) -> Run<&'static str> {
        let work = Work { future: Box::pin(work), counted: Some(budget.clone()), aside: false };
        Run { place: Place::Here(work), progress: progress.clone(), moves: true }
    }

    #[tokio::test]
    async fn the_time_that_a_guest_runs_is_counted_wherever_it_runs_and_no_other() {
        let (progress, budget) = (Arc::new(Progress::default()), Budget::new(1, 0));
        let spin = |time: Duration| {
            let since = Instant::now();
            while since.elapsed() < time {}
        };
        let inner = progress.clone();
        let work = async move {
            spin(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
            inner.tick();
            inner.tick();
            tokio::task::yield_now().await;
            let begun = cpu::used();
            while cpu::used().saturating_sub(begun) < Duration::from_millis(20) {}
            "done"
        };
        let (mut run, since) = (run_counted(work, &progress, &budget), Instant::now());
        assert_eq!((&mut run).await, "done");
        let spent = budget.spent();
        assert!(spent >= Duration::from_millis(40) && spent < since.elapsed().saturating_sub(Duration::from_millis(40)), "{spent:?}");
    }

    #[tokio::test]
    async fn a_long_guest_is_moved_and_goes_on_unpolled() {
        let progress = Arc::new(Progress::default());
        let (inner, (go, wait)) = (progress.clone(), oneshot::channel::<()>());
        let work = async move {
            inner.tick();
            inner.tick();
            let _ = wait.await;
            inner.answer(Err(std::thread::current().name().unwrap_or_default().to_owned()));
            "done"
        };
        let mut run = run(work, &progress);
        assert!(futures::poll!(&mut run).is_pending());
        assert!(matches!(run.place, Place::Aside(_)));
        let answered = std::future::poll_fn(|context| {
            run.listen(context);
            if progress.has_answer() { Poll::Ready(()) } else { Poll::Pending }
        });
        let told = async {
            tokio::task::yield_now().await;
            go.send(()).unwrap();
        };
        let both = async { tokio::join!(answered, told) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is told of the answer without polling the guest");
        assert_eq!(progress.take().unwrap().unwrap_err(), "long-guests");
        assert_eq!(run.await, "done");
    }

    #[tokio::test]
    async fn a_short_guest_stays() {
        let progress = Arc::new(Progress::default());
        progress.tick();
        let mut run = run(std::future::pending(), &progress);
        assert!(futures::poll!(&mut run).is_pending());
        assert!(matches!(run.place, Place::Here(_)), "one tick may hit anyone");
    }

    #[tokio::test]
    async fn dropping_a_long_guest_ends_it_and_a_failing_host_is_told_of() {
        let progress = Arc::new(Progress::default());
        progress.tick();
        progress.tick();
        let (held, gone) = oneshot::channel::<()>();
        let work = async move {
            let _held = held;
            std::future::pending().await
        };
        let mut pending = run(work, &progress);
        assert!(futures::poll!(&mut pending).is_pending());
        drop(pending);
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the guest ends").unwrap_err();

        let (go, wait) = oneshot::channel::<()>();
        let mut fails = run(async move { wait.await.map(|()| "unreached").expect("nobody sends") }, &progress);
        assert!(futures::poll!(&mut fails).is_pending());
        drop(go);
        assert_eq!(fails.await, "lost");
    }
}
