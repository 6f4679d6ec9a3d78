//! The paths of one host and which Service each leads to.

use std::collections::HashMap;

use scheduler::routes::{Key, Route, matches};

/// Routes of one host: the longest that matches has the request, and of two as long the exact one.
pub struct Paths {
    longest_first: Box<[Route]>,
    /// By path and exactness, where looking at one after the other would be slow.
    index: Option<HashMap<(Box<str>, bool), Key>>,
}

/// Up to how many routes are looked at one after the other.
const FEW: usize = 16;

impl Paths {
    /// Of these routes, longest first; none without any.
    pub fn new(longest_first: Vec<Route>) -> Option<Paths> {
        let index = (longest_first.len() > FEW).then(|| {
            let entry = |route: &Route| ((Box::from(&*route.path), route.exact), route.service.clone());
            longest_first.iter().map(entry).collect()
        });
        (!longest_first.is_empty()).then(|| Paths { longest_first: longest_first.into(), index })
    }

    /// The Service for a path without its query.
    pub fn find(&self, path: &str) -> Option<&Key> {
        match &self.index {
            Some(index) => looked_up(index, path),
            None => self.longest_first.iter().find(|route| matches(&route.path, route.exact, path)).map(|route| &route.service),
        }
    }
}

fn looked_up<'i>(index: &'i HashMap<(Box<str>, bool), Key>, path: &str) -> Option<&'i Key> {
    let at = |path: &str, exact| index.get(&(Box::from(path), exact));
    if let Some(found) = at(path, true) {
        return Some(found);
    }
    // Prefixes are kept without a slash at the end, but for the root.
    let ends = std::iter::once(path.len()).chain(path.rmatch_indices('/').map(|(end, _)| end));
    let rooted = path.is_empty() || path.starts_with('/');
    ends.filter(|end| *end > 0).find_map(|end| at(&path[..end], false)).or_else(|| at("/", false).filter(|_| rooted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use scheduler::routes::normal_path;

    fn routes(paths: &[(String, bool)]) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for (at, (path, exact)) in paths.iter().enumerate() {
            let path = normal_path(path, *exact);
            if !routes.iter().any(|route| *route.path == *path && route.exact == *exact) {
                routes.push(Route { path: path.into(), exact: *exact, service: Key::new("default", &at.to_string()) });
            }
        }
        routes.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(b.exact.cmp(&a.exact)));
        routes
    }

    proptest! {
        #[test]
        fn an_index_finds_what_a_look_at_all_finds(
            paths in prop::collection::vec(("/[ab/]{0,6}", any::<bool>()), 0..60), asked in prop::collection::vec("/?[ab/*]{0,7}", 1..20),
        ) {
            let Some(indexed) = Paths::new(routes(&paths)) else { return Ok(()) };
            let plain = Paths { longest_first: routes(&paths).into(), index: None };
            for path in asked {
                prop_assert_eq!(indexed.find(&path), plain.find(&path), "{}", path);
            }
        }
    }
}
