//! Large components: code that is made in a moment first, and the optimised code in its place once that is there.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use artifact::inspect::{self, World};
use bytes::Bytes;

use super::code::{Code, Version};
use super::compile::Haste;
use super::{Cache, Error};
use crate::engine::{Kind, Tier};

/// Components of so many bytes and more get baseline code first: optimising a megabyte takes about half a second on two cores. None where
/// the baseline compiler does not run.
pub const FROM: Option<usize> = if cfg!(all(unix, target_arch = "x86_64")) { Some(4 << 20) } else { None };

/// A component's bytes, once more.
pub(super) type Again = Box<dyn FnOnce() -> Option<Bytes> + Send>;

impl Cache {
    /// Baseline code of a component, with optimised code to come; none where it is not worth while or cannot be made.
    pub(super) async fn baseline(&self, kind: Kind, layer: artifact::Digest, wasm: &Bytes, again: Again) -> Option<Arc<Code>> {
        if !self.0.baseline.is_some_and(|from| wasm.len() >= from && serves(wasm)) {
            return None;
        }
        let baseline = Kind { tier: Tier::Baseline, ..kind };
        let component = match self.load(layer, baseline).await {
            Ok(Some(component)) => component,
            _ => match self.compile(layer, baseline, wasm.clone(), Haste::Now).await {
                Ok(component) => component,
                Err(error) => {
                    tracing::debug!(%error, "no baseline code");
                    return None;
                }
            },
        };
        let code = Code::new(layer, component, baseline);
        tokio::spawn(self.clone().improve(Arc::downgrade(&code), layer, kind, again));
        Some(code)
    }

    /// Puts optimised code in place of the baseline's, unless nobody needs it any more.
    async fn improve(self, code: Weak<Code>, layer: artifact::Digest, kind: Kind, again: Again) {
        // One after the other, each with all cores.
        let Ok(_turn) = self.0.improving.acquire().await else { return };
        if code.strong_count() == 0 {
            return;
        }
        let improved = async {
            let missing = move || Error::Compile { layer, message: "its bytes are gone".into() };
            let wasm = super::blocking(move || again().ok_or_else(missing)).await?;
            let component = self.compile(layer, kind, wasm, Haste::Leisure).await?;
            let version = Version::new(component, kind);
            let (inner, linking) = (self.0.clone(), version.clone());
            super::blocking(move || inner.engines.link(&linking).map_err(move |message| Error::Compile { layer, message })).await?;
            Ok::<_, Error>(version)
        };
        let version = match improved.await {
            Ok(version) => version,
            Err(error) => {
                tracing::warn!(%error, %layer, "it goes on with baseline code, which is slower");
                return;
            }
        };
        if let Some(code) = code.upgrade() {
            code.replace(version);
        }
        self.0.counts.compiled.fetch_add(1, Ordering::Relaxed);
        self.0.folder.remove(&layer, Kind { tier: Tier::Baseline, ..kind });
        tracing::info!(%layer, "optimised code took the baseline's place");
    }
}

/// Whether each request calls it anew: what runs on and on would keep the code it began with.
fn serves(wasm: &[u8]) -> bool {
    inspect::inspect(wasm).is_ok_and(|inspection| matches!(inspection.world, World::Http02 | World::Http03))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Compiler;
    use crate::engine::{Config, Engines};
    use crate::keyvalue::{Buckets, Limits};
    use crate::sandbox::{self, Failure, Guest, Host, PodIdentity, Spec};
    use crate::wasi::outgoing::Client;
    use std::time::Duration;

    const SPINS: &str = include_str!("../../tests/guests/spins_at_start.wat");

    async fn start(engines: &Engines, code: Arc<Code>) -> Result<Guest, sandbox::Error> {
        let pod = PodIdentity { namespace: "default".into(), app: None, service: "a".into(), name: "a-1".into(), uid: "1".into() };
        let spec = Spec { time: Duration::from_millis(300), memory: 64 << 20, ..Spec::new(pod) };
        let buckets = Arc::new(Buckets::in_memory(Limits::default()).expect("buckets"));
        let client = Arc::new(Client::new(Vec::new()).expect("a client"));
        Guest::prepare(engines, code, spec, Host { neighbours: true, ..Host::quiet(buckets, client) }).await
    }

    #[tokio::test]
    async fn baseline_code_is_bounded_as_any_other_and_makes_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let engines = Engines::new(Config::single());
        let cache = Cache::open(dir.path(), engines.clone(), Compiler::InProcess, FROM.map(|_| 1)).expect("a cache");
        if FROM.is_none() {
            return;
        }
        let turn = cache.0.improving.acquire().await.expect("a turn");
        let mut made = Vec::new();
        for (work, says) in [
            ("(loop (br 0))", "longer than its limit"),
            ("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))", "longer than its limit"),
            ("(call 0)", "call stack exhausted"),
            ("unreachable", "unreachable"),
            ("(i32.store (i32.const 65536) (i32.const 1))", "out of bounds"),
        ] {
            let text = SPINS.replace("(loop (br 0))", work);
            let code = cache.prepare_bytes(wat::parse_str(text).expect("a component").into(), 64 << 20).await.expect("code");
            assert_eq!(code.kind().tier, Tier::Baseline, "{work}");
            let error = start(&engines, code.clone()).await.err().expect("it never starts");
            let sandbox::Error::Start { failure, .. } = error else { panic!("{work}: {error}") };
            let told = match failure {
                Failure::Trap { message, .. } => message,
                other => other.to_string(),
            };
            assert!(told.contains(says), "{work}: {told}");
            made.push(code);
        }
        let good = SPINS.replace("(loop (br 0))", "");
        let code = cache.prepare_bytes(wat::parse_str(good).expect("a component").into(), 64 << 20).await.expect("code");
        start(&engines, code.clone()).await.expect("it starts");
        let names = || std::fs::read_dir(dir.path().join("code")).expect("files").flatten().map(|file| file.file_name());
        let baselines = || names().filter(|name| name.to_string_lossy().contains("baseline")).count();
        assert_eq!(baselines(), 2 * 6, "code and checksum each");
        made.clear();
        drop(turn);
        let improved = async {
            while code.kind().tier == Tier::Baseline || baselines() != 2 * 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), improved).await.expect("optimised code comes, and the baseline's goes");
        start(&engines, code).await.expect("it starts");
        // Only what is still in use is worth the work.
        assert_eq!(names().count(), 2 * 6, "nothing else was optimised");
    }

    #[tokio::test]
    async fn small_components_and_commands_are_optimised_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let engines = Engines::new(Config::single());
        let cache = Cache::open(dir.path(), engines, Compiler::InProcess, Some(1 << 20)).expect("a cache");
        let small = wat::parse_str(SPINS).expect("a component");
        assert!(serves(&small));
        assert!(!serves(b"\0asm\x0d\0\x01\0"), "a library serves nobody");
        assert_eq!(cache.prepare_bytes(small.into(), 64 << 20).await.expect("code").kind().tier, Tier::Optimized);
    }
}
