//! Code that nobody asks for goes back to its file: thousands of apps that sleep must not hold the memory of those that work.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use wasmtime::component::Component;

/// How often code is looked at.
pub const LOOK: Duration = Duration::from_secs(10);
/// After so many looks without a request in between it is at rest.
const QUIET: u32 = 3;
/// Bytes of code at rest that stay in memory for as long as that is plenty.
const WARM: usize = 64 << 20;

/// When code was asked last, roughly.
#[derive(Debug, Default)]
pub struct Rest {
    asked: AtomicBool,
    quiet: AtomicU32,
    aside: AtomicBool,
}

impl Rest {
    /// Somebody asks.
    pub fn ask(&self) {
        // A load is shared between cores where a store is not.
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// A look at it: for how many looks it has been at rest, unless it is not or was put aside.
    pub fn look(&self) -> Option<u32> {
        if self.asked.swap(false, Ordering::Relaxed) {
            self.quiet.store(0, Ordering::Relaxed);
            self.aside.store(false, Ordering::Relaxed);
            return None;
        }
        let quiet = self.quiet.load(Ordering::Relaxed).saturating_add(1);
        self.quiet.store(quiet, Ordering::Relaxed);
        (quiet >= QUIET && !self.aside.load(Ordering::Relaxed)).then_some(quiet)
    }

    /// It is put aside now.
    pub fn put_aside(&self) {
        self.aside.store(true, Ordering::Relaxed);
    }
}

/// Of what is at rest, for how many looks and with how many bytes, that which goes back to its file: all of it where memory is short, else
/// what was asked longest ago beyond [`WARM`].
pub fn going<T>(mut at_rest: Vec<(u32, usize, T)>, short: bool) -> impl Iterator<Item = T> {
    at_rest.sort_by_key(|(quiet, ..)| *quiet);
    let mut warm = 0;
    at_rest.into_iter().filter_map(move |(_, bytes, code)| {
        warm += bytes;
        (short || warm > WARM).then_some(code)
    })
}

/// Bytes of a component's code.
pub fn size(component: &Component) -> usize {
    let image = component.image_range();
    image.end.addr().saturating_sub(image.start.addr())
}

/// Gives the pages of a component's code back to the system, which reads them again from the file when they are needed.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe call gives advice on memory")]
pub fn put_aside(component: &Component) {
    let image = component.image_range();
    let start = image.start.cast_mut().cast();
    let length = image.end.addr().saturating_sub(image.start.addr());
    // SAFETY: the range is mapped for as long as the component is there, and this advice changes where its pages are kept, never
    // what they hold.
    if let Err(error) = unsafe { rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxPageOut) } {
        tracing::debug!(%error, "code stays in memory");
    }
}

/// Other systems take pages of files back by themselves.
#[cfg(not(target_os = "linux"))]
pub fn put_aside(_: &Component) {}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use std::io::Write as _;

    #[test]
    fn code_is_at_rest_once_it_was_quiet_until_it_is_put_aside_and_again_after_it_was_asked() {
        let rest = Rest::default();
        rest.ask();
        let looks = |n: usize| (0..n).map(|_| rest.look()).collect::<Vec<_>>();
        assert_eq!(looks(6), [None, None, None, Some(3), Some(4), Some(5)]);
        rest.put_aside();
        assert_eq!(looks(2), [None, None]);
        rest.ask();
        assert_eq!(looks(5), [None, None, None, Some(3), Some(4)]);
    }

    #[test]
    fn code_goes_when_memory_is_short_or_when_there_is_much_of_it() {
        let gone = |short| going(vec![(9, WARM / 2, "oldest"), (3, WARM / 2, "newest"), (5, WARM / 2, "older")], short).collect::<Vec<_>>();
        assert_eq!(gone(true), ["newest", "older", "oldest"]);
        assert_eq!(gone(false), ["oldest"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn code_that_was_put_aside_is_no_longer_resident_and_still_there() {
        // Not in a temporary folder, which may be one in memory.
        let program = std::env::current_exe().expect("this program");
        let folder = tempfile::tempdir_in(program.parent().expect("its folder")).expect("a folder");
        let engine = wasmtime::Engine::default();
        // What no compiler makes shorter, and what is run through once.
        let body: String = (1..10_000).map(|n| format!("i32.const {} i32.mul i32.const {n} i32.xor ", 2 * n + 1)).collect();
        let text = format!(
            "(component (core module $m (func (export \"f\") (param i32) (result i32) local.get 0 {body})) (core instance $i (instantiate $m)) (func (export \"f\") (param \"n\" s32) (result s32) (canon lift (core func $i \"f\"))))"
        );
        let path = folder.path().join("code");
        let code = Component::new(&engine, text).and_then(|component| component.serialize()).expect("compiled");
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(&code).and_then(|()| file.sync_all()).expect("written");
        #[allow(unsafe_code, reason = "code that this test compiled")]
        // SAFETY: it was made in the lines above.
        let component = unsafe { Component::deserialize_file(&engine, &path) }.expect("mapped");
        let call = || {
            let mut store = wasmtime::Store::new(&engine, ());
            let instance = wasmtime::component::Linker::new(&engine).instantiate(&mut store, &component).expect("an instance");
            let f = instance.get_typed_func::<(i32,), (i32,)>(&mut store, "f").expect("its function");
            f.call(&mut store, (1,)).expect("an answer").0
        };
        let before = call();
        let resident = resident(&path);
        put_aside(&component);
        assert!(self::resident(&path) * 2 < resident, "{} of {resident} kB", self::resident(&path));
        assert_eq!(call(), before);
    }

    /// Kilobytes of this file that are mapped and in memory.
    #[cfg(target_os = "linux")]
    fn resident(file: &std::path::Path) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("maps");
        let (mut mine, mut sum) = (false, 0);
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            match words.next().unwrap_or_default() {
                "Rss:" if mine => sum += words.next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0),
                field if field.ends_with(':') => {}
                _ => mine = line.ends_with(file.to_str().expect("a path")),
            }
        }
        sum
    }
}
