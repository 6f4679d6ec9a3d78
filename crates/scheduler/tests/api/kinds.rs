//! `docs/kubernetes.md` and the API say the same: the table is what is served, and each row of it is tried.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kubernetes.md");
const HEAD: &str = "| kind | in URLs | short | namespaced | verbs | parts |\n|---|---|---|---|---|---|\n";

/// The rows that the API's own discovery makes.
async fn rows(client: &Client) -> String {
    let groups = client.get("/apis").await.ok();
    let versions = groups["groups"].as_array().unwrap().iter().map(|g| g["preferredVersion"]["groupVersion"].as_str().unwrap().to_owned());
    let mut out = String::new();
    for version in std::iter::once("v1".to_owned()).chain(versions) {
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let list = client.get(&root).await.ok();
        let resources = list["resources"].as_array().unwrap();
        let words = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        for resource in resources {
            let name = resource["name"].as_str().unwrap();
            if name.contains('/') {
                continue;
            }
            let parts =
                resources.iter().filter_map(|r| r["name"].as_str()?.strip_prefix(&format!("{name}/"))).collect::<Vec<_>>().join(" ");
            let kind = resource["kind"].as_str().unwrap();
            let namespaced = if resource["namespaced"] == true { "yes" } else { "no" };
            let (short, verbs) = (words(&resource["shortNames"]), words(&resource["verbs"]));
            let _ = writeln!(out, "| `{kind}` | `{root}/…/{name}` | {short} | {namespaced} | {verbs} | {parts} |");
        }
    }
    out
}

#[tokio::test]
async fn the_page_has_the_kinds_that_are_served() {
    let cluster = Cluster::start().await;
    let page = std::fs::read_to_string(PAGE).unwrap().replace("\r\n", "\n");
    let (before, rest) = page.split_once(HEAD).expect("the page has its table");
    let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
    let rows = rows(&cluster.admin()).await;
    if rest[..end] != rows {
        std::fs::write(PAGE, format!("{before}{HEAD}{rows}{}", &rest[end..])).unwrap();
        panic!("docs/kubernetes.md was not in step with what is served; its table has been written anew");
    }
}

/// Each row of the page, with what it says of the kind; whatever is listed has to work, and nothing else may.
#[tokio::test]
async fn each_row_of_the_page_is_true() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let rows: Vec<Vec<String>> = page
        .lines()
        .skip_while(|line| !line.starts_with("|---|"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut watched = Vec::new();
    for row in rows {
        let [kind, url, _, namespaced, verbs, _] = row.as_slice() else { panic!("{row:?}") };
        let path = url.replace("/…", if namespaced == "yes" { "/namespaces/default" } else { "" });
        let has = |verb: &str| verbs.split(' ').any(|one| one == verb);
        let served = |code: u16| !matches!(code, 404 | 405);
        // Dry runs of an object with a name and nothing else: refused for what it lacks, or made; never unknown to the server.
        let object = json!({ "metadata": { "name": "nobody" } });
        let list = client.get(&path).await;
        assert_eq!(served(list.code.as_u16()), has("list"), "list {kind}: {}", list.body);
        if has("watch") {
            watched.push(format!("{path}?watch=true&timeoutSeconds=1&resourceVersion=0"));
        }
        let made = client.post(&format!("{path}?dryRun=All"), object.clone()).await;
        assert_eq!(served(made.code.as_u16()), has("create"), "create {kind}: {}", made.body);
        let name = format!("{path}/nobody");
        for (verb, answer) in [
            ("get", client.get(&name).await),
            ("update", client.put(&format!("{name}?dryRun=All"), object.clone()).await),
            ("patch", client.merge(&format!("{name}?dryRun=All"), json!({})).await),
            ("delete", client.delete(&format!("{name}?dryRun=All")).await),
        ] {
            // A name that nobody has is told by its object; a verb that is not served by 405, or as a path that leads nowhere.
            let about = answer.body["details"]["name"] == "nobody";
            let known = about || served(answer.code.as_u16());
            assert_eq!(known, has(verb), "{verb} {kind}: {} {}", answer.code, answer.body);
        }
    }
    for answer in futures::future::join_all(watched.iter().map(|path| client.get(path))).await {
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
}
