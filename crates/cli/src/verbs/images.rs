//! `wctl images`: what the embedded registry holds under names.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use artifact::Reference;
use http::Method;
use scheduler::kinds;
use serde_json::{Value, json};

use crate::args::{Format, Globals, Images};
use crate::cluster::{Cluster, Pick};
use crate::print::{self, Table, harmless};
use crate::verbs::build::size;

/// How many names are asked for at a time.
const PAGE: usize = 100;

/// One tag.
struct Image {
    repository: String,
    tag: String,
    digest: String,
    bytes: u64,
}

/// Lists repositories with their tags, and with the digests that apps use without one.
pub async fn run(globals: &Globals, images: Images) -> Result<()> {
    let cluster = Cluster::connect(globals).await?;
    let used = used(&cluster).await?;
    let mut found = Vec::new();
    for repository in repositories(&cluster).await? {
        let tagged = tags(&cluster, &repository).await?;
        let pinned = used.iter().filter(|reference| reference.repository() == repository);
        let pinned: Vec<_> =
            pinned.filter(|reference| !tagged.iter().any(|image| reference.to_string().ends_with(&image.digest))).collect();
        found.extend(tagged);
        for reference in pinned {
            // A revision may outlive what it names.
            if let Ok(resolved) = cluster.registry.resolve(reference).await {
                found.push(Image {
                    repository: repository.clone(),
                    tag: String::new(),
                    digest: resolved.digest.to_string(),
                    bytes: resolved.size,
                });
            }
        }
    }
    match images.output.output {
        Format::Table | Format::Wide => people(&found),
        Format::Name => found.iter().for_each(|image| print::line(name(image))),
        format => {
            let one =
                |image: &Image| json!({"repository": image.repository, "tag": image.tag, "digest": image.digest, "size": image.bytes});
            print::value(&json!({"items": found.iter().map(one).collect::<Vec<_>>()}), format)?;
        }
    }
    Ok(())
}

fn people(found: &[Image]) {
    if found.is_empty() {
        print::note("the server's registry is empty; push with `wctl push FILE.wasm NAME:TAG`");
    }
    let mut table = Table::new(["repository", "tag", "digest", "size"]);
    for image in found {
        let digest = image.digest.get(..19).unwrap_or(&image.digest);
        let tag = if image.tag.is_empty() { "-" } else { &image.tag };
        table.row([harmless(&image.repository).into_owned(), harmless(tag).into_owned(), digest.to_owned(), size(image.bytes)]);
    }
    table.print();
}

fn name(image: &Image) -> String {
    if image.tag.is_empty() { format!("{}@{}", image.repository, image.digest) } else { format!("{}:{}", image.repository, image.tag) }
}

/// What the revisions of all apps name in the embedded registry.
async fn used(cluster: &Cluster) -> Result<BTreeSet<Reference>> {
    let revisions = cluster.items(&kinds::CONTROLLER_REVISION, None, &Pick::default()).await?;
    let services = revisions.iter().flat_map(|revision| revision["data"]["spec"]["services"].as_object().into_iter().flatten());
    let references = services.filter_map(|(_, service)| service["image"].as_str()?.parse::<Reference>().ok());
    Ok(references.filter(|reference| reference.registry().is_none()).collect())
}

async fn repositories(cluster: &Cluster) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let mut query = vec![("n", PAGE.to_string())];
        query.extend(all.last().map(|last| ("last", last.clone())));
        let page = cluster.json(Method::GET, "/v2/_catalog", &query, None).await.context("listing the registry")?;
        let names: Vec<String> = strings(&page["repositories"]);
        let more = names.len() == PAGE;
        all.extend(names);
        if !more {
            return Ok(all);
        }
    }
}

async fn tags(cluster: &Cluster, repository: &str) -> Result<Vec<Image>> {
    let place: Reference = repository.parse().with_context(|| format!("reading the name {repository}"))?;
    let list = cluster.json(Method::GET, &format!("/v2/{}/tags/list", place.repository()), &[], None).await;
    let tags = strings(&list.with_context(|| format!("listing {repository}"))?["tags"]);
    let mut images = Vec::new();
    for tag in &tags {
        let resolved = cluster.registry.resolve(&place.tagged(tag)?).await?;
        images.push(Image {
            repository: repository.to_owned(),
            tag: tag.clone(),
            digest: resolved.digest.to_string(),
            bytes: resolved.size,
        });
    }
    Ok(images)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
