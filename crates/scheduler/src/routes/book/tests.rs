//! Routes by stories, and against a book that is written anew.

use super::*;
use crate::routes::{Claim, matches, normal_host};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use proptest::prelude::*;
use serde_json::json;

fn ingress(book: &mut Book, name: &str, created: &str, host: &str, rules: &[(&str, &str)]) {
    let paths: Vec<_> = rules
        .iter()
        .map(|(path, service)| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}))
        .collect();
    let ingress: Ingress = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
        "spec": {"rules": [{"host": host, "http": {"paths": paths}}]},
    }))
    .expect("an ingress");
    book.ingress(Key::of(&ingress.metadata), Some(Claims::from(&ingress)));
}

/// Of a Service that is reached inside the cluster alone.
fn front(app: &str) -> Front {
    Front { app: app.into(), ports: Box::new([80]), callers: Box::default(), place: None }
}

fn slice(book: &mut Book, service: &str, pods: &[(&str, bool)]) {
    let endpoints: Vec<_> = pods
        .iter()
        .map(|(pod, ready)| json!({"addresses": ["fe80::1"], "conditions": {"ready": ready}, "nodeName": "edge-1", "targetRef": {"kind": "Pod", "uid": pod}}))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": service, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv6", "endpoints": endpoints, "ports": [{"port": 80}],
    }))
    .expect("a slice");
    book.slice(Key::of(&slice.metadata), Pods::of(&slice));
}

/// Which Service gets a request, as a gateway looks it up: the most exact host first.
fn find(book: &Book, host: &str, path: &str) -> Option<Key> {
    let host = normal_host(host);
    let parent = host.split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
    let on = |host: &str| book.routes(host).into_iter().find(|route| matches(&route.path, route.exact, path));
    on(&host).or_else(|| on(&parent)).or_else(|| on("")).map(|route| route.service)
}

/// Where each request goes: `host/path → service`.
fn check(book: &Book, requests: &str) {
    for line in requests.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expect) = line.split_once(" → ").expect("host/path → service");
        let (host, path) = request.split_at(request.find('/').expect("a path"));
        let found = find(book, host, path);
        assert_eq!(found.as_ref().map_or("404", Key::name), expect, "{request}");
    }
}

#[test]
fn the_longest_prefix_of_whole_elements_wins() {
    let mut book = Book::default();
    ingress(&mut book, "shop", "2026-01-01T00:00:00Z", "Shop.localhost", &[("/", "web"), ("/users", "user"), ("/users/new/", "signup")]);
    check(
        &book,
        "shop.localhost/ → web
         shop.localhost:8080/users → user
         SHOP.localhost./users/1 → user
         shop.localhost/usersx → web
         shop.localhost/users/new → signup
         shop.localhost/users/newer → user
         other.localhost/ → 404",
    );
}

#[test]
fn wildcards_stand_for_one_label_and_an_exact_host_comes_first() {
    let mut book = Book::default();
    ingress(&mut book, "any", "2026-01-01T00:00:00Z", "*.example.com", &[("/", "any")]);
    ingress(&mut book, "one", "2026-01-02T00:00:00Z", "one.example.com", &[("/x", "one")]);
    ingress(&mut book, "rest", "2026-01-02T00:00:00Z", "", &[("/", "rest")]);
    check(
        &book,
        "one.example.com/x → one
         one.example.com/y → any
         two.example.com/x → any
         a.two.example.com/ → rest
         example.com/ → rest",
    );
}

#[test]
fn the_older_ingress_keeps_a_route_until_it_goes() {
    let mut book = Book::default();
    ingress(&mut book, "a", "2026-01-02T00:00:00Z", "shop.localhost", &[("/users/", "new")]);
    check(&book, "shop.localhost/users → new");
    ingress(&mut book, "b", "2026-01-01T00:00:00Z", "shop.localhost", &[("/users", "old")]);
    check(&book, "shop.localhost/users → old");
    book.ingress(Key::new("default", "b"), None);
    check(&book, "shop.localhost/users → new");
}

#[test]
fn only_ready_pods_of_a_service_that_exists_are_endpoints() {
    let mut book = Book::default();
    let web = Key::new("default", "web");
    slice(&mut book, "web", &[("2", true), ("1", true), ("3", false)]);
    assert_eq!(book.backend(&web), None);
    book.service(web.clone(), Some(front("")));
    let backend = book.backend(&web).expect("a backend");
    let pods: Vec<&str> = backend.endpoints.iter().map(|e| &*e.pod).collect();
    assert_eq!(pods, ["1", "2"]);
    assert_eq!(&*backend.endpoints[0].address, "[fe80::1]:80");
}

#[test]
fn a_change_touches_what_it_is_about_and_nothing_else() {
    let mut book = Book::default();
    for n in ["a", "b"] {
        ingress(&mut book, n, "2026-01-01T00:00:00Z", n, &[("/", n)]);
        book.service(Key::new("default", n), Some(front("")));
        slice(&mut book, n, &[(n, true)]);
    }
    book.take_changes();
    slice(&mut book, "a", &[("a", true)]);
    assert_eq!(book.take_changes(), Changes::default(), "nothing is other than it was");
    slice(&mut book, "a", &[("a", false)]);
    let services = BTreeSet::from([Key::new("default", "a")]);
    assert_eq!(book.take_changes(), Changes { services: services.clone(), ..Changes::default() });
    book.touch_pod("a");
    assert_eq!(book.take_changes(), Changes::default(), "no Service lists it any more");
    book.touch_pod("b");
    assert_eq!(book.take_changes().services, BTreeSet::from([Key::new("default", "b")]));
    book.ingress(Key::new("default", "a"), None);
    assert_eq!(book.take_changes().hosts, BTreeSet::from(["a".into()]));
}

/// One change of one of a few objects, so that they meet often.
#[derive(Debug, Clone)]
enum Step {
    Ingress(u8, Option<Vec<(u8, u8, u8)>>, u8),
    Service(u8, Option<u8>),
    Slice(u8, Option<(u8, Vec<u8>)>),
    OnlyIngresses(Vec<u8>),
    OnlySlices(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let few = || 0u8..4;
    let claims = prop::option::of(prop::collection::vec((few(), few(), few()), 0..4));
    prop_oneof![
        (few(), claims, few()).prop_map(|(name, claims, born)| Step::Ingress(name, claims, born)),
        (few(), prop::option::of(few())).prop_map(|(name, app)| Step::Service(name, app)),
        (few(), prop::option::of((few(), prop::collection::vec(few(), 0..4)))).prop_map(|(name, pods)| Step::Slice(name, pods)),
        prop::collection::vec(few(), 0..4).prop_map(Step::OnlyIngresses),
        prop::collection::vec(few(), 0..4).prop_map(Step::OnlySlices),
    ]
}

fn key(n: u8) -> Key {
    Key::new("default", &n.to_string())
}

fn text(n: u8) -> Arc<str> {
    n.to_string().into()
}

fn take(book: &mut Book, step: Step) {
    match step {
        Step::Ingress(name, claims, born) => {
            let claim = |(host, path, service)| {
                let route = Route { path: format!("/{path}").into(), exact: path == 3, service: key(service) };
                Claim { host: text(host), route }
            };
            let claims = claims.map(|claims| Claims {
                born: born.into(),
                app: if born == 0 { "".into() } else { text(born) },
                claims: claims.into_iter().map(claim).collect(),
            });
            book.ingress(key(name), claims);
        }
        Step::Service(name, app) => book.service(key(name), app.map(|app| front(&text(app)))),
        Step::Slice(name, pods) => {
            let endpoint = |pod| Endpoint { pod: text(pod), node: "edge-1".into(), address: "".into() };
            let pods = pods.map(|(service, pods)| Pods {
                service: key(service),
                endpoints: pods.into_iter().map(endpoint).collect(),
                canary: None,
                bare: Box::default(),
            });
            book.slice(key(name), pods);
        }
        Step::OnlyIngresses(names) => book.only_ingresses(&names.into_iter().map(key).collect()),
        Step::OnlySlices(names) => book.only_slices(&names.into_iter().map(key).collect()),
    }
}

/// Everything that can be asked.
type Answers = (Vec<Vec<Route>>, Vec<Vec<Route>>, Vec<Option<Backend>>, Vec<BTreeSet<Key>>);

fn answers(book: &mut Book) -> Answers {
    let touched = |pod| {
        book.touch_pod(&text(pod));
        book.take_changes().services
    };
    let touched = (0..4).map(touched).collect();
    let hosts = (0..4).map(|host| book.routes(&text(host))).collect();
    let apps = (0..4).map(|app| book.routes_of_app(&key(app))).collect();
    (hosts, apps, (0..4).map(|service| book.backend(&key(service))).collect(), touched)
}

#[test]
fn an_ingress_that_is_too_large_is_refused_and_what_is_there_stays_counted() {
    let mut book = Book::default();
    let key = |n: usize| Key::new("default", &n.to_string());
    let claims = |routes: usize, path: &str| {
        let claim = |n: usize| {
            let route = Route { path: format!("{path}/{n}").into(), exact: false, service: Key::new("default", "web") };
            Claim { host: "a.example".into(), route }
        };
        Claims { born: 0, app: "".into(), claims: (0..routes).map(claim).collect() }
    };
    assert!(book.refuses(&key(0), &claims(MOST_OF_ONE + 1, "")).is_some_and(|why| why.contains("1001 routes")));
    assert!(book.refuses(&key(0), &claims(1, &"/a".repeat(LONGEST))).is_some_and(|why| why.contains("1024 bytes")));
    for n in 0..MOST_OF_ALL / MOST_OF_ONE {
        assert_eq!(book.refuses(&key(n), &claims(MOST_OF_ONE, "")), None);
        book.ingress(key(n), Some(claims(MOST_OF_ONE, "")));
    }
    assert!(book.refuses(&key(MOST_OF_ALL), &claims(1, "")).is_some_and(|why| why.contains("200000 routes already")));
    assert_eq!(book.refuses(&key(0), &claims(MOST_OF_ONE, "/other")), None, "as many as before");
    book.ingress(key(1), None);
    assert_eq!(book.refuses(&key(MOST_OF_ALL), &claims(1, "")), None);
}

proptest! {
    #[test]
    fn a_book_that_was_kept_is_one_that_was_written_anew(steps in prop::collection::vec(step(), 1..40)) {
        let mut book = Book::default();
        for step in steps {
            let before = answers(&mut book);
            take(&mut book, step);
            let changes = book.take_changes();
            let after = answers(&mut book);
            for n in 0..4u8 {
                let at = usize::from(n);
                prop_assert!(before.0[at] == after.0[at] || changes.hosts.contains(&text(n)), "host {n} changed untold");
                prop_assert!(before.1[at] == after.1[at] || changes.apps.contains(&key(n)), "app {n} changed untold");
                prop_assert!(before.2[at] == after.2[at] || changes.services.contains(&key(n)), "service {n} changed untold");
            }
            let mut anew = Book::default();
            book.ingresses.clone().into_iter().for_each(|(key, claims)| anew.ingress(key, Some(claims)));
            book.services.clone().into_iter().for_each(|(key, app)| anew.service(key, Some(app)));
            book.slices.clone().into_iter().for_each(|(key, pods)| anew.slice(key, Some(pods)));
            anew.take_changes();
            prop_assert_eq!(answers(&mut anew), after);
        }
    }
}
