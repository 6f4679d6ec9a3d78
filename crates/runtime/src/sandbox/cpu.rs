//! The share of CPU that a pod may have: what its guests run is taken from a bucket that fills at that rate.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::Sleep;

use super::run::Progress;

/// How much of its share a quiet pod may save up: as Linux' own control groups count, a tenth of a second's worth.
const SAVED: Duration = Duration::from_millis(100);

/// One pod's share, for all its guests together.
pub(crate) struct Share {
    /// Thousandths of a core.
    millis: u32,
    level: Mutex<Level>,
    /// Nanoseconds of CPU time that were used.
    used: AtomicU64,
}

/// A share that bounds nothing and is only counted: a thousand cores.
pub(crate) const COUNTED: u32 = 1_000_000;

struct Level {
    /// Nanoseconds of CPU time that may be used; below zero after a guest ran longer than there was.
    left: i64,
    at: Instant,
}

impl Share {
    /// `millis` thousandths of a core.
    pub fn new(millis: u32) -> Arc<Self> {
        let millis = millis.max(1);
        let level = Level { left: saved(millis), at: Instant::now() };
        Arc::new(Self { millis, level: Mutex::new(level), used: AtomicU64::new(0) })
    }

    /// How long to wait until there is something left; none when there is.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let mut level = self.level.lock();
        let passed = i64::try_from(now.saturating_duration_since(level.at).as_nanos()).unwrap_or(i64::MAX);
        let gained = passed.saturating_mul(i64::from(self.millis)) / 1000;
        level.left = level.left.saturating_add(gained).min(saved(self.millis));
        level.at = now;
        let missing = u64::try_from(1_i64.saturating_sub(level.left)).ok().filter(|missing| *missing > 0)?;
        Some(Duration::from_nanos(missing.saturating_mul(1000) / u64::from(self.millis)).max(Duration::from_millis(1)))
    }

    /// CPU time that was used so far.
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn take(&self, used: Duration) {
        self.used.fetch_add(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.level.lock().left -= i64::try_from(used.as_nanos()).unwrap_or(i64::MAX);
    }
}

fn saved(millis: u32) -> i64 {
    i64::try_from(SAVED.as_nanos()).unwrap_or(i64::MAX) / 1000 * i64::from(millis)
}

/// Work that runs only while its pod has CPU time left.
pub(super) struct Metered<F> {
    work: Pin<Box<F>>,
    share: Arc<Share>,
    progress: Arc<Progress>,
    waits: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<F> Metered<F> {
    pub fn new(work: F, share: Arc<Share>, progress: Arc<Progress>) -> Self {
        Self { work: Box::pin(work), share, progress, waits: None }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        loop {
            if let Some((since, sleep)) = &mut this.waits {
                std::task::ready!(sleep.as_mut().poll(context));
                this.progress.hold(since.elapsed());
                this.waits = None;
            }
            let now = Instant::now();
            let Some(wait) = this.share.wait(now) else { break };
            this.waits = Some((now, Box::pin(tokio::time::sleep(wait))));
        }
        let before = used();
        let output = this.work.as_mut().poll(context);
        this.share.take(used().saturating_sub(before));
        output
    }
}

/// CPU time of this thread; where it cannot be had, time, which is more when the machine is busy.
pub(super) fn used() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_used_up_and_fills_at_its_rate() {
        let share = Share::new(200);
        let start = Instant::now();
        assert_eq!(share.wait(start), None);
        share.take(Duration::from_millis(30));
        // 20 ms were saved, so 10 are owed: 50 ms at a fifth of a core.
        let wait = share.wait(start).expect("nothing is left");
        assert!((49..=51).contains(&wait.as_millis()), "{wait:?}");
        assert_eq!(share.wait(start + Duration::from_millis(51)), None);
        assert_eq!(share.wait(start + Duration::from_secs(60)), None);
        share.take(Duration::from_millis(21));
        assert!(share.wait(start + Duration::from_secs(60)).is_some(), "no more than 20 ms are ever saved");
    }

    #[tokio::test]
    async fn spinning_work_gets_its_share_of_a_second_and_no_more() {
        let share = Share::new(200);
        let (begun, mut spun) = (Instant::now(), Duration::ZERO);
        let spin = async {
            while begun.elapsed() < Duration::from_secs(1) {
                let before = used();
                while used().saturating_sub(before) < Duration::from_millis(5) {}
                spun += used().saturating_sub(before);
                tokio::task::yield_now().await;
            }
        };
        let progress = Arc::<Progress>::default();
        Metered::new(spin, share, progress.clone()).await;
        // 200 ms, and what was saved up before.
        assert!((180..=260).contains(&spun.as_millis()), "{spun:?}");
        assert!(progress.held() > Duration::from_millis(600), "{:?}", progress.held());
    }
}
