//! What nodes tell each other in the heads of forwarded requests and of their answers. Nobody else's words for it pass: a gateway takes
//! these headers out of what clients and guests send.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use scheduler::routes::Key;
use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::local::Identity;
use crate::body::{self, Body};

/// `namespace/name` of the Service that is asked.
const SERVICE: HeaderName = HeaderName::from_static("wctl-service");
/// UID of the pod that is asked for; on an answer name and revision of the one that gave it.
const POD: HeaderName = HeaderName::from_static("wctl-pod");
/// How many services have been called on the way.
const HOPS: HeaderName = HeaderName::from_static("wctl-hops");
/// Milliseconds that the asking side will wait for an answer.
const WITHIN: HeaderName = HeaderName::from_static("wctl-within");
/// `namespace/name` and UID of the pod that calls, where it is a pod.
const CALLER: HeaderName = HeaderName::from_static("wctl-caller");
/// The client named no host, which HTTP/2 cannot say.
const NO_HOST: HeaderName = HeaderName::from_static("wctl-no-host");
/// On an answer: no guest gave it, the body says why.
const REFUSED: HeaderName = HeaderName::from_static("wctl-refused");

const ALL: [HeaderName; 7] = [SERVICE, POD, HOPS, WITHIN, CALLER, NO_HOST, REFUSED];

/// What stands for the host of a request without one.
pub const NOWHERE: &str = "nowhere.invalid";
/// The longest explanation that is read.
pub const LONGEST: usize = 64 << 10;

/// A pod that calls another service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Its namespace and name.
    pub pod: Key,
    /// Its UID.
    pub uid: Arc<str>,
}

/// What a forwarded request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The Service that is asked.
    pub service: Key,
    /// UID of its pod that is asked first.
    pub pod: Arc<str>,
    /// How many services have been called on the way.
    pub hops: u32,
    /// How long the other side waits.
    pub within: Option<Duration>,
    /// Which pod calls, where it is no client of a gateway.
    pub caller: Option<Caller>,
    /// Whether the request named no host.
    pub no_host: bool,
}

impl Terms {
    /// Writes them into a head.
    pub fn put(&self, headers: &mut HeaderMap) {
        clear(headers);
        let text = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        headers.insert(SERVICE, text(&self.service.to_string()));
        headers.insert(POD, text(&self.pod));
        if self.hops > 0 {
            headers.insert(HOPS, HeaderValue::from(self.hops));
        }
        if let Some(within) = self.within {
            headers.insert(WITHIN, HeaderValue::from(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
        }
        if let Some(caller) = &self.caller {
            headers.insert(CALLER, text(&format!("{} {}", caller.pod, caller.uid)));
        }
        if self.no_host {
            headers.insert(NO_HOST, HeaderValue::from_static("1"));
        }
    }

    /// Takes them out of a head; none where it does not say what is asked.
    pub fn take(headers: &mut HeaderMap) -> Option<Terms> {
        let key = |text: &str| text.split_once('/').map(|(namespace, name)| Key::new(namespace, name));
        let mut take = |name: HeaderName| headers.remove(name).and_then(|value| value.to_str().ok().map(str::to_owned));
        let (service, pod) = (take(SERVICE)?, take(POD)?);
        let caller = take(CALLER);
        let caller = match &caller {
            None => None,
            // What cannot be read must not pass for a client.
            Some(text) => {
                let (pod, uid) = text.split_once(' ')?;
                Some(Caller { pod: key(pod)?, uid: uid.into() })
            }
        };
        Some(Terms {
            service: key(&service)?,
            pod: pod.into(),
            hops: take(HOPS).map_or(Some(0), |text| text.parse().ok())?,
            within: take(WITHIN).and_then(|text| text.parse().ok()).map(Duration::from_millis),
            caller,
            no_host: take(NO_HOST).is_some(),
        })
    }
}

/// Takes away what only nodes may say.
pub fn clear(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("wctl-")) {
        ALL.iter().for_each(|name| while headers.remove(name).is_some() {});
    }
}

/// Signs an answer with the pod that gave it.
pub fn sign(headers: &mut HeaderMap, pod: &Identity) {
    clear(headers);
    if let Ok(value) = HeaderValue::from_str(&format!("{} {}", pod.pod, pod.revision)) {
        headers.insert(POD, value);
    }
}

/// Who gave an answer: name and revision of the pod.
pub fn signature(headers: &mut HeaderMap) -> Option<(String, String)> {
    let value = headers.remove(POD)?;
    let (pod, revision) = value.to_str().ok()?.split_once(' ')?;
    Some((pod.to_owned(), revision.to_owned()))
}

/// Whether no guest gave this answer.
pub fn is_refused(headers: &HeaderMap) -> bool {
    headers.contains_key(REFUSED)
}

/// Why no guest gave an answer, between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The word of [`Refusal::reason`].
    pub reason: String,
    /// More of it, for logs.
    pub detail: Option<String>,
    /// The pod that was asked: name and revision.
    pub pod: Option<(String, String)>,
}

impl Why {
    /// Of what happened on this node.
    pub fn of(refusal: &Refusal, pod: Option<&Identity>, detail: Option<String>) -> Why {
        let pod = pod.filter(|pod| !pod.pod.is_empty()).map(|pod| (pod.pod.clone(), pod.revision.clone()));
        Why { reason: refusal.reason().to_owned(), detail, pod }
    }

    /// As an answer.
    pub fn answer(&self) -> Response<Body> {
        let mut why = self.clone();
        // Longer ones would not be read.
        if let Some(detail) = why.detail.as_mut().filter(|detail| detail.len() > LONGEST / 8) {
            let end = (0..=LONGEST / 8).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
            detail.truncate(end);
        }
        let mut response = Response::new(body::full(serde_json::to_vec(&why).unwrap_or_default()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(REFUSED, HeaderValue::from_static("1"));
        response
    }

    /// What it means here.
    pub fn refusal(&self) -> Refusal {
        let known = [
            Refusal::NoEndpoint,
            Refusal::Busy,
            Refusal::Trap,
            Refusal::NoAnswer,
            Refusal::BadAnswer,
            Refusal::Deadline,
            Refusal::Loop,
            Refusal::Starting,
            Refusal::Waking,
            Refusal::Unreachable,
        ];
        let found = known.into_iter().find(|refusal| refusal.reason() == self.reason);
        found.unwrap_or_else(|| match self.reason.as_str() {
            "forbidden" => Refusal::Forbidden("the app may not call this service".into()),
            _ => Refusal::NoAnswer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            service: Key::new("shop", "shop-user"),
            pod: "u-1".into(),
            hops: 3,
            within: Some(Duration::from_millis(1500)),
            caller: Some(Caller { pod: Key::new("shop", "web-1"), uid: "u-2".into() }),
            no_host: true,
        }
    }

    #[test]
    fn what_one_node_writes_the_other_reads_and_the_guest_does_not_see() {
        let mut headers = HeaderMap::new();
        headers.insert("wctl-caller", HeaderValue::from_static("shop/forged u-9"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        terms().put(&mut headers);
        assert_eq!(Terms::take(&mut headers), Some(terms()));
        assert_eq!(headers.len(), 1, "{headers:?}");
        let plain = Terms { hops: 0, within: None, caller: None, no_host: false, ..terms() };
        headers.insert("wctl-caller", HeaderValue::from_static("shop/forged u-9"));
        plain.put(&mut headers);
        assert_eq!(Terms::take(&mut headers), Some(plain));
    }

    #[test]
    fn a_caller_that_cannot_be_read_is_not_taken_for_a_client() {
        let mut headers = HeaderMap::new();
        terms().put(&mut headers);
        headers.insert("wctl-caller", HeaderValue::from_static("nonsense"));
        assert_eq!(Terms::take(&mut headers), None);
    }

    #[test]
    fn refusals_keep_their_meaning_from_node_to_node() {
        for refusal in [Refusal::Busy, Refusal::Trap, Refusal::Deadline, Refusal::NoEndpoint, Refusal::Loop] {
            assert_eq!(Why::of(&refusal, None, None).refusal(), refusal);
        }
        let forbidden = Why::of(&Refusal::Forbidden("x".into()), None, None).refusal();
        assert_eq!(forbidden.status(), StatusCode::FORBIDDEN);
    }
}
