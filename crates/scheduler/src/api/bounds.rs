//! How many routes there may be: what every gateway has to hold is bounded before it is stored.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::kinds::INGRESS;
use crate::objects::Object;
use crate::routes::{MOST_OF_ALL, MOST_OF_ONE};

use super::status::{Cause, Refusal, Result};
use super::{Api, admit, reply};

/// Routes of one namespace, so that none takes the room of the others.
const MOST_OF_NAMESPACE: usize = 20_000;
/// How long a count holds. Between two counts what comes is added and what goes is not taken off, so that the next count is the truth.
const HOLDS: Duration = Duration::from_secs(60);

/// The routes that this server knows of. Others may add some meanwhile: gateways have a bound of their own.
#[derive(Default)]
pub(super) struct Routes(Mutex<Option<Count>>);

struct Count {
    at: Instant,
    of: HashMap<String, usize>,
    all: usize,
}

/// How many routes an Ingress asks for.
fn routes(ingress: &Object) -> usize {
    let rules = ingress.spec()["rules"].as_array().into_iter().flatten();
    rules.map(|rule| rule["http"]["paths"].as_array().map_or(0, Vec::len)).sum()
}

/// 422 or 403 where an Ingress asks for more routes than there may be. One that asks for no more than before passes.
pub(super) async fn check(api: &Api, object: &Object, old: Option<&Object>) -> Result<()> {
    if object.kind() != "Ingress" {
        return Ok(());
    }
    let (asked, had) = (routes(object), old.map_or(0, routes));
    if asked <= had {
        return Ok(());
    }
    if asked > MOST_OF_ONE {
        let what = format!("{asked} paths are more than the {MOST_OF_ONE} that one Ingress may have; make several of it");
        return Err(admit::wrong(object, Cause::invalid("spec.rules", what)));
    }
    let more = asked - had;
    let known = api.0.routes.add(object.namespace(), more);
    if known.is_none_or(|fits| !fits) {
        api.0.routes.set(count(api).await?);
        if api.0.routes.add(object.namespace(), more) == Some(false) {
            let what = format!(
                "the namespace {} may have {MOST_OF_NAMESPACE} routes and the cluster {MOST_OF_ALL}, and {more} more are too many; delete some that nobody needs",
                object.namespace()
            );
            return Err(Refusal::forbidden(&INGRESS, object.name(), &what));
        }
    }
    Ok(())
}

async fn count(api: &Api) -> Result<Count> {
    let all = api.0.objects.list(&INGRESS, None, 0, None).await.map_err(|e| reply::refusal(&INGRESS, "", e))?;
    let mut count = Count { at: Instant::now(), of: HashMap::new(), all: 0 };
    for ingress in &all.items {
        *count.of.entry(ingress.namespace().to_owned()).or_default() += routes(ingress);
        count.all += routes(ingress);
    }
    Ok(count)
}

impl Routes {
    fn set(&self, count: Count) {
        *self.0.lock() = Some(count);
    }

    /// Counts routes in, and whether they fit; none where it has been too long since they were counted.
    fn add(&self, namespace: &str, more: usize) -> Option<bool> {
        let mut known = self.0.lock();
        let count = known.as_mut().filter(|count| count.at.elapsed() < HOLDS)?;
        let own = count.of.entry(namespace.to_owned()).or_default();
        if *own + more > MOST_OF_NAMESPACE || count.all + more > MOST_OF_ALL {
            return Some(false);
        }
        *own += more;
        count.all += more;
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_share_and_the_others_have_theirs() {
        let routes = Routes::default();
        assert_eq!(routes.add("a", 1), None, "nobody has counted yet");
        routes.set(Count { at: Instant::now(), of: HashMap::from([("a".to_owned(), MOST_OF_NAMESPACE - 1)]), all: MOST_OF_ALL - 3 });
        assert_eq!((routes.add("a", 2), routes.add("a", 1), routes.add("a", 1)), (Some(false), Some(true), Some(false)));
        assert_eq!((routes.add("b", 2), routes.add("b", 1)), (Some(true), Some(false)));
    }
}
