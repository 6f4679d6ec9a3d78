//! What the audit log is told of a request to the API.

use http::{Extensions, HeaderMap, Method, request};
use serde_json::{Map, Value};

use crate::audit::{self, Line};
use crate::kinds::SECRET;

use super::path::{self, Place, Target};
use super::{Api, Peer};

/// A request under way that will be told.
pub(crate) struct Noted {
    line: Line,
    target: Option<Target>,
    before: Option<Value>,
    /// Of who only reads, or reports what is its own, it is told when that was refused; who it was is found out then.
    refused: Option<(HeaderMap, Extensions)>,
}

impl Noted {
    /// What is to be told of a request, and what it is about as that is now. What agents report of their own, again and again, is not.
    pub(crate) async fn before(api: &Api, head: &request::Parts) -> Option<Noted> {
        api.0.audit.get()?;
        // A WebSocket begins with a GET, also where more is done than reading.
        let reads = matches!(head.method, Method::GET | Method::HEAD) && !head.uri.path().ends_with("/portforward");
        let who = if reads { None } else { api.who(&head.headers, &head.extensions).await.ok() };
        let unseen = reads || who.as_ref().is_some_and(|who| who.node_name().is_some());
        let refused = unseen.then(|| (head.headers.clone(), head.extensions.clone()));
        let line = Line {
            time: jiff::Timestamp::now().to_string(),
            who: who.map(|who| who.name).unwrap_or_default(),
            from: head.extensions.get::<Peer>().map(|peer| peer.0),
            method: head.method.to_string(),
            path: head.uri.path().chars().take(1000).collect(),
            code: 0,
            diff: Map::new(),
        };
        let named = |place| match place {
            Place::Resource(target) if target.name.is_some() => Some(target),
            _ => None,
        };
        let target = if unseen { None } else { path::parse(head.uri.path()).ok().and_then(named) };
        let before = state(api, target.as_ref()).await;
        Some(Noted { line, target, before, refused })
    }

    /// Tells it, with what has changed.
    pub(crate) async fn after(mut self, api: &Api, code: u16) {
        let Some(audit) = api.0.audit.get() else { return };
        if let Some((headers, extensions)) = &self.refused {
            if !matches!(code, 401 | 403) {
                return;
            }
            self.line.who = api.who(headers, extensions).await.map(|who| who.name).unwrap_or_default();
        }
        self.line.code = code;
        if (200..300).contains(&code) {
            let after = state(api, self.target.as_ref()).await;
            let secret = self.target.as_ref().is_some_and(|target| target.kind == &SECRET);
            self.line.diff = audit::diff(self.before.as_ref(), after.as_ref(), secret);
        }
        audit.add(self.line);
    }
}

async fn state(api: &Api, target: Option<&Target>) -> Option<Value> {
    let target = target?;
    let name = target.name.as_deref()?;
    api.0.objects.get(target.kind, target.namespace(), name).await.ok().flatten().map(|object| object.0)
}
