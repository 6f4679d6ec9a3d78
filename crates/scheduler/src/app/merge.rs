//! Several `-f` files become one, as Compose joins them: maps join, lists are appended, anything else is replaced by the later.

use super::keys::{ORIGINS, SERVICE};
use super::mistake::Found;
use super::problem::{Problem, shown};
use super::tree::{Entry, Kind, Merge, Node};

/// Two names are two apps, as whoever comes from kubectl means them, and not one that is renamed. `app: !override b` renames it.
pub(crate) fn one_app(base: &Node, later: &Node, found: &mut Found) {
    let named = |node: &'_ Node| Some((node.get("app")?.text()?.to_owned(), node.get("app")?.at));
    let renamed = later.get("app").is_some_and(|app| app.merge != Merge::Join);
    let (Some((one, at)), Some((other, later_at))) = (named(base), named(later)) else { return };
    // What a variable will be is not known yet.
    if one == other || renamed || one.contains('$') || other.contains('$') {
        return;
    }
    let message = format!("these files are of two apps, {} and {}; deploy them one by one", shown(&one), shown(&other));
    found.push_with(later_at, "app", Problem::new(message), at.map(|at| (at, "the first is named here")));
}

/// Puts a later file over an earlier one.
pub(crate) fn over(base: &mut Node, later: Node) {
    join(base, later, &mut Vec::new());
}

fn join(base: &mut Node, later: Node, path: &mut Vec<String>) {
    let appended = !matches!(path.last().map(String::as_str), Some("args"));
    match (&mut base.kind, later.kind, later.merge) {
        (Kind::Map(entries), Kind::Map(new), Merge::Join) => {
            if is_service(path) {
                drop_rivals(entries, &new);
            }
            new.into_iter().for_each(|entry| join_entry(entries, entry, path));
        }
        (Kind::List(items), Kind::List(new), Merge::Join) if appended => {
            for item in new {
                if !items.iter().any(|old| same(old, &item)) {
                    items.push(item);
                }
            }
        }
        // `env:` with nothing below it takes nothing away; `!reset` does.
        (Kind::Map(_) | Kind::List(_), Kind::Null, Merge::Join) => {}
        (_, kind, merge) => *base = Node { at: later.at, kind, merge },
    }
}

fn join_entry(entries: &mut Vec<Entry>, later: Entry, path: &mut Vec<String>) {
    let known = entries.iter().position(|entry| entry.key == later.key);
    match known {
        Some(i) if later.value.merge == Merge::Reset => {
            entries.remove(i);
        }
        Some(i) => {
            path.push(later.key);
            join(&mut entries[i].value, later.value, path);
            entries[i].key_at = later.key_at;
            path.pop();
        }
        None if later.value.merge == Merge::Reset => {}
        None => entries.push(later),
    }
}

/// The top, which may be a service in the short form, or `services.NAME`.
fn is_service(path: &[String]) -> bool {
    path.is_empty() || (path.len() == 2 && path[0] == "services")
}

/// A later `image` stands for an earlier `build`, and a later `scale` for earlier `replicas`.
fn drop_rivals(entries: &mut Vec<Entry>, later: &[Entry]) {
    for rivals in [&ORIGINS[..], &["replicas", "scale"]] {
        if later.iter().any(|entry| rivals.contains(&entry.key.as_str())) {
            let given = |key: &str| later.iter().any(|entry| entry.key == key);
            entries.retain(|entry| !rivals.contains(&entry.key.as_str()) || given(&entry.key));
        }
    }
}

fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Scalar { text: a, .. }, Kind::Scalar { text: b, .. }) => a == b,
        (Kind::List(a), Kind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Kind::Map(a), Kind::Map(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && same(&a.value, &b.value)),
        _ => false,
    }
}

/// Turns the short form into the long one: what a service may say at the top goes to a service named like the app.
pub(crate) fn lengthen(file: &mut Node, found: &mut Found) {
    let is_own = |key: &str| key != "env" && SERVICE.iter().any(|own| own.name == key);
    let long = file.get("services").is_some();
    // Without a name that is found missing elsewhere; the service is looked at all the same.
    let name = file.get("app").and_then(Node::text).unwrap_or("app").to_owned();
    let at = file.at;
    let Some(entries) = file.entries_mut() else { return };
    if long {
        for entry in entries.iter().filter(|entry| is_own(&entry.key)) {
            let message = format!("`{}` belongs to a service: move it below one of `services`, or take `services` away", entry.key);
            found.push(entry.key_at, &entry.key, Problem::new(message));
        }
        return entries.retain(|entry| !is_own(&entry.key));
    }
    let app_at = entries.iter().find(|entry| entry.key == "app").and_then(|entry| entry.value.at).or(at);
    let (own, rest) = std::mem::take(entries).into_iter().partition(|entry| is_own(&entry.key));
    *entries = rest;
    let service = Entry { key: name, key_at: app_at, value: Node::new(app_at, Kind::Map(own)) };
    entries.push(Entry { key: "services".into(), key_at: app_at, value: Node::new(app_at, Kind::Map(vec![service])) });
}
