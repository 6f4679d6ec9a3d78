//! What every object passes on its way in: the envelope, the fields, the defaults, what must hold within it, and the policy.

use serde_json::{Value, json};

use crate::kinds::{NAMESPACE, POLICY, SERVICE};
use crate::names;
use crate::objects::{Object, Write};

use super::path::Query;
use super::status::{Cause, Refusal, Result};
use super::{Api, Target, access, bounds, defaults, fields, grants, node_ports, patch, policy, reply, validate};
use crate::auth::Identity;

/// Most levels of an object.
const DEEPEST: usize = 64;

/// How a request wants its object looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Everything but the commit.
    pub(super) dry_run: bool,
    /// What becomes of fields that nobody knows.
    pub(super) unknown: Unknown,
}

/// `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Ignore,
    Warn,
    Refuse,
}

impl Manner {
    pub(super) fn of(query: &Query) -> Result<Manner> {
        let dry_run = match query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => return Err(Refusal::bad_request(format!("dryRun must be All, not {other:?}"))),
        };
        let unknown = match query.get("fieldValidation") {
            None | Some("Warn") => Unknown::Warn,
            Some("Ignore") => Unknown::Ignore,
            Some("Strict") => Unknown::Refuse,
            Some(other) => return Err(Refusal::bad_request(format!("fieldValidation must be Ignore, Warn or Strict, not {other:?}"))),
        };
        Ok(Manner { dry_run, unknown })
    }
}

/// Makes what a client sent an object of the target's kind, in its namespace and with its name; what says otherwise is refused.
pub(super) fn envelope(target: &Target, mut value: Value) -> Result<Object> {
    // What is stored must be readable again, also inside a list, by parsers that stop at a depth of 128.
    if patch::is_deeper(&value, DEEPEST) {
        return Err(Refusal::bad_request(format!("the object has more than {DEEPEST} levels")));
    }
    defaults::without_nulls(&mut value);
    let kind = target.kind;
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        match value.get(field).and_then(Value::as_str) {
            None | Some("") => value[field] = json!(expected),
            Some(given) if given == expected => {}
            Some(given) => return Err(Refusal::bad_request(format!("the object's {field} is {given:?}, but this URL takes {expected:?}"))),
        }
    }
    let mut object = Object(value);
    if object.0.get("metadata").is_some_and(|m| !m.is_object()) {
        return Err(Refusal::bad_request("metadata must be an object"));
    }
    let given = object.namespace().to_owned();
    match target.namespace.as_deref().filter(|_| kind.namespaced) {
        Some(namespace) if given.is_empty() || given == namespace => {
            object.metadata_mut().insert("namespace".to_owned(), json!(namespace));
        }
        Some(namespace) => {
            return Err(Refusal::bad_request(format!("the object's namespace is {given:?}, but the URL's is {namespace:?}")));
        }
        None if kind.namespaced => return Err(Refusal::bad_request("objects of this kind are written in a namespace")),
        None => {
            object.metadata_mut().remove("namespace");
        }
    }
    if let Some(name) = &target.name {
        let given = object.name().to_owned();
        if !given.is_empty() && given != *name {
            return Err(Refusal::bad_request(format!("the object's name is {given:?}, but the URL's is {name:?}")));
        }
        object.metadata_mut().insert("name".to_owned(), json!(name));
    }
    for ours in ["managedFields", "selfLink"] {
        object.metadata_mut().remove(ours);
    }
    Ok(object)
}

/// `generateName: web-` becomes a name with five more characters.
pub(super) fn generate_name(object: &mut Object) {
    // Without vowels, so that no words come about, and without what looks like another.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let prefix = object.0.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !object.name().is_empty() || prefix.is_empty() {
        return;
    }
    let prefix: String = prefix.chars().take(58).collect();
    let tail: String = (0..5).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect();
    object.metadata_mut().insert("name".to_owned(), json!(format!("{prefix}{tail}")));
}

/// Checks an object and fills in its defaults; gives warnings. `old` is what it replaces.
pub(super) async fn check(api: &Api, who: &Identity, manner: Manner, object: &mut Object, old: Option<&Object>) -> Result<Vec<String>> {
    let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
    let name = object.name().to_owned();
    if kind == &POLICY {
        access::is_admin(
            who,
            kind,
            &name,
            "a namespace's policy is the ceiling of what its deployers may ask for, so only an admin writes it",
        )?;
    }
    let found = fields::check(kind, &object.0);
    if manner.unknown == Unknown::Refuse && !found.unknown.is_empty() {
        let unknown: Vec<String> = found.unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        return Err(Refusal::bad_request(format!("strict decoding error: {}", unknown.join(", "))));
    }
    let mut warnings = found.warnings;
    if manner.unknown == Unknown::Warn {
        warnings.extend(found.unknown.iter().map(|path| format!("unknown field \"{path}\"")));
    }
    let mut causes = found.refused;
    if causes.is_empty() {
        defaults::fill(kind, &mut object.0);
        if kind == &SERVICE {
            node_ports::keep(&mut object.0, old.map(|o| &o.0));
        }
        causes = validate::check(kind, &object.0, old.map(|o| &o.0));
        causes.extend(policy::malformed(kind, &object.0));
        causes.extend(grants::malformed(kind, &object.0));
        causes.extend(grants::of_service(kind, &object.0));
        causes.extend(node_ports::malformed(kind, &object.0));
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid(kind, &name, causes));
    }
    policy::enforce(api, who, object, old).await?;
    bounds::check(api, object, old).await?;
    Ok(warnings)
}

/// New objects need a namespace that is there and is not going. Gives what has to be in the same commit, so that this is still so then.
pub(super) async fn namespace_is_there(api: &Api, object: &Object) -> Result<Option<Write>> {
    let name = object.namespace();
    if name.is_empty() {
        return Ok(None);
    }
    let found = api.0.objects.get(&NAMESPACE, "", name).await.map_err(|e| reply::refusal(&NAMESPACE, name, e))?;
    let found = found.ok_or_else(|| Refusal::not_found(&NAMESPACE, name))?;
    if found.deletion_timestamp().is_some() {
        let kind = object.known_kind().map_err(|e| Refusal::bad_request(e.to_string()))?;
        return Err(Refusal::forbidden(
            kind,
            object.name(),
            &format!("the namespace {name} is being deleted, so nothing new can be made in it"),
        ));
    }
    Ok(Some(Write::same(&NAMESPACE, &found)))
}

/// What a new object has as its status: what the server says, not what the client sent.
pub(super) fn first_status(object: &mut Object) {
    let status = match object.kind() {
        // An agent that registers its node says at once what the node has.
        "Node" => return,
        "Pod" => Some(json!({ "phase": "Pending" })),
        "Namespace" => Some(json!({ "phase": "Active" })),
        _ => None,
    };
    if let Some(map) = object.0.as_object_mut() {
        map.remove("status");
        if let Some(status) = status {
            map.insert("status".to_owned(), status);
        }
    }
}

/// A refusal of one field.
pub(super) fn wrong(object: &Object, cause: Cause) -> Refusal {
    match object.known_kind() {
        Ok(kind) => Refusal::invalid(kind, object.name(), vec![cause]),
        Err(error) => Refusal::bad_request(error.to_string()),
    }
}

/// Whether an App made this object.
pub(super) fn app_of(object: &Object) -> Option<(&str, &str)> {
    let owner =
        object.controller().filter(|o| o["kind"] == "App" && o["apiVersion"].as_str().is_some_and(|v| v.starts_with(names::GROUP)))?;
    Some((owner["name"].as_str()?, owner["uid"].as_str()?))
}
