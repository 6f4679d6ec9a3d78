//! W3C trace context (level 1): `traceparent` and `tracestate` of a request, continued or begun. On the way of every request: one header value
//! is made, its digits by hand.

use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, Request};

use crate::sandbox::Trace;

/// Names trace and span.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems keep beside that.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` 32 digits `-` 16 digits `-` 2 digits.
const LENGTH: usize = 55;
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
/// Longest `tracestate` that is passed on; the standard asks for as much.
const MAX_STATE: usize = 512;

/// A request's place in its trace, as the guest is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its `traceparent`, with a span of its own.
    pub parent: HeaderValue,
    /// Whether the trace began elsewhere, so that its `tracestate` means something.
    continued: bool,
}

impl Place {
    /// The next span of the trace that these headers tell of, or the first of a new one.
    pub fn of(headers: &HeaderMap) -> Place {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let told = parents.next().filter(|_| parents.next().is_none()).and_then(|value| read(value.as_bytes()));
        let mut text = told.unwrap_or_else(begin);
        digits(&mut text[SPAN], nonzero(rand::random()));
        // Digits and `-` are always a header value.
        let parent = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Place { parent, continued: told.is_some() }
    }

    /// Tells the guest: what was malformed goes, and `tracestate` with it.
    pub fn put(&self, headers: &mut HeaderMap) {
        let keeps_state = || headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum::<usize>() <= MAX_STATE;
        if headers.contains_key(TRACESTATE) && !(self.continued && keeps_state()) {
            while headers.remove(TRACESTATE).is_some() {}
        }
        headers.insert(TRACEPARENT, self.parent.clone());
    }
}

/// The 32 digits of the trace in a `traceparent` of ours.
pub fn id(parent: &HeaderValue) -> &str {
    parent.to_str().ok().and_then(|text| text.get(TRACE)).unwrap_or_default()
}

/// What a guest's own requests inherit: the trace, unless the guest names one itself.
pub fn inherit<B>(request: &mut Request<B>, trace: &Trace) {
    let headers = request.headers_mut();
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    if let Some(parent) = &trace.parent {
        headers.insert(TRACEPARENT, parent.clone());
        if let (Some(state), false) = (&trace.state, headers.contains_key(TRACESTATE)) {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

/// What the requests of a guest that got these headers inherit.
pub fn inherited(headers: &HeaderMap, id: HeaderValue, hops: u32) -> Trace {
    // Of several values the first is passed on; together they may have another meaning to nobody but their own systems.
    Trace { id, hops, parent: headers.get(TRACEPARENT).cloned(), state: headers.get(TRACESTATE).cloned() }
}

/// A well-formed `traceparent` as one of version 00; of a later version the fields that both have.
fn read(value: &[u8]) -> Option<[u8; LENGTH]> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let known: [u8; LENGTH] = known.try_into().ok()?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let shaped = known.iter().enumerate().all(|(at, byte)| if matches!(at, 2 | 35 | 52) { *byte == b'-' } else { is_digit(byte) });
    let ends = if &known[..2] == b"00" { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
    let zero = |range: std::ops::Range<usize>| known[range].iter().all(|byte| *byte == b'0');
    if !shaped || !ends || &known[..2] == b"ff" || zero(TRACE) || zero(SPAN) {
        return None;
    }
    let mut text = known;
    text[..2].copy_from_slice(b"00");
    // Of the flags only the last bit, `sampled`, has a meaning in version 00.
    text[53..].copy_from_slice(if matches!(known[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f') { b"01" } else { b"00" });
    Some(text)
}

/// A new trace. It is marked as sampled: whether to record it is for the guest to decide, and most libraries record no more than they are told.
fn begin() -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    let draw: u128 = rand::random();
    digits(&mut text[3..19], nonzero((draw >> 64) as u64));
    digits(&mut text[19..35], draw as u64);
    text
}

fn nonzero(draw: u64) -> u64 {
    draw.max(1)
}

fn digits(out: &mut [u8], value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = DIGITS[(value >> (60 - 4 * at)) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parents: &[&str], state: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).expect("a value"));
        }
        headers.insert(TRACESTATE, HeaderValue::from_str(state).expect("a value"));
        headers
    }

    fn put(parents: &[&str], state: &str) -> (String, Option<String>) {
        let mut headers = headers(parents, state);
        Place::of(&headers).put(&mut headers);
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().expect("text").to_owned());
        (text(TRACEPARENT).expect("always one"), text(TRACESTATE))
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let (parent, state) = put(&[GOOD], "vendor=1");
        assert_eq!((&parent[..36], &parent[52..], state.as_deref()), (&GOOD[..36], "-01", Some("vendor=1")));
        assert_ne!(parent[SPAN], GOOD[SPAN]);
        assert_eq!(id(&HeaderValue::from_str(&parent).expect("a value")), "4bf92f3577b34da6a3ce929d0e0e4736");
        let (unsampled, _) = put(&[&GOOD.replace("-01", "-fe")], "");
        assert!(unsampled.ends_with("-00"), "{unsampled}");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc{}-what-else", &GOOD[2..]);
        assert!(put(&[&later], "").0.starts_with(&GOOD[..36]));
        assert!(!put(&[&later.replace("-what", "what")], "").0.contains(&GOOD[TRACE]));
    }

    #[test]
    fn what_is_malformed_is_replaced_and_its_state_dropped() {
        let zero_trace = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
        let (upper, long, short) = (GOOD.to_uppercase(), format!("{GOOD}-"), &GOOD[..54]);
        let (other, forbidden) = (GOOD.replace('b', "g"), GOOD.replacen("00", "ff", 1));
        let bad = ["", "-", short, &long, &upper, &zero_trace, &zero_span, &other, &forbidden, &GOOD.replace('-', "_")];
        for parents in bad.iter().map(|one| vec![*one]).chain([vec![GOOD, GOOD], vec![]]) {
            let (parent, state) = put(&parents, "vendor=1");
            assert!(read(parent.as_bytes()).is_some() && parent.ends_with("-01"), "{parents:?}: {parent}");
            assert!(!parent.contains(&GOOD[TRACE]) && state.is_none(), "{parents:?}: {parent} {state:?}");
        }
        assert_eq!(put(&[GOOD], &"x".repeat(513)).1, None);
    }

    #[test]
    fn no_two_new_traces_are_one() {
        assert_ne!(put(&[], "").0[TRACE], put(&[], "").0[TRACE]);
    }

    #[test]
    fn a_guest_that_names_its_own_trace_is_left_alone() {
        let trace = inherited(&headers(&[GOOD], "a=1"), HeaderValue::from_static("7"), 0);
        let mut own = Request::builder().header(TRACEPARENT, "own").body(()).expect("a request");
        inherit(&mut own, &trace);
        assert!(own.headers()[TRACEPARENT] == "own" && !own.headers().contains_key(TRACESTATE));
        let mut none = Request::new(());
        inherit(&mut none, &trace);
        assert!(none.headers()[TRACEPARENT] == GOOD && none.headers()[TRACESTATE] == "a=1");
    }
}
