//! What a person means by `deploy`, `pod/x`, `shop` or `shop/user`.

use anyhow::{Result, anyhow, bail};
use scheduler::kinds::{self, KINDS, Kind};
use scheduler::names;
use serde_json::Value;

use crate::cluster::{Cluster, Pick, name_of};
use crate::exit::Usage;

/// The kind that a word names.
pub fn kind(word: &str) -> Result<&'static Kind> {
    Kind::named(word).ok_or_else(|| {
        let known = KINDS.iter().map(|kind| kind.plural).collect::<Vec<_>>().join(", ");
        Usage(format!("there is no kind `{word}`; the kinds are {known}")).into()
    })
}

/// The kinds of a list with commas; `all` is what an app is made of.
pub fn kinds(words: &str) -> Result<Vec<&'static Kind>> {
    if words == "all" {
        return Ok(vec![&kinds::APP, &kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::POD, &kinds::SERVICE, &kinds::INGRESS]);
    }
    words.split(',').map(kind).collect()
}

/// `KIND/NAME`, or `KIND` and names beside it.
pub fn objects(word: &str, names: &[String]) -> Result<(&'static Kind, Vec<String>)> {
    match word.split_once('/') {
        None => Ok((kind(word)?, names.to_vec())),
        Some((word, name)) if names.is_empty() => Ok((kind(word)?, vec![name.to_owned()])),
        Some(_) => bail!(Usage(format!("write either `{word}` or a kind and names, not both"))),
    }
}

/// An app, or one service of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The app.
    pub app: String,
    /// One of its services; all of them without.
    pub service: Option<String>,
}

impl Part {
    /// `shop` or `shop/user`.
    pub fn parse(text: &str) -> Result<Part> {
        let (app, service) = match text.split_once('/') {
            Some((app, service)) => (app, Some(service)),
            None => (text, None),
        };
        if app.is_empty() || service.is_some_and(|service| service.is_empty() || service.contains('/')) {
            bail!(Usage(format!("`{text}` is neither APP nor APP/SERVICE")));
        }
        Ok(Part { app: app.to_owned(), service: service.map(str::to_owned) })
    }

    /// Everything that belongs to it.
    pub fn pick(&self) -> Pick {
        let service = self.service.iter().map(|service| format!(",{}={service}", names::SERVICE)).collect::<String>();
        Pick::labels(format!("{}={}{service}", names::APP, self.app))
    }

    /// Its Deployments, at least one, or the only one of that name; an error that names what there is instead.
    pub async fn deployments(&self, cluster: &Cluster) -> Result<Vec<Value>> {
        let found = cluster.items(&kinds::DEPLOYMENT, Some(&cluster.namespace), &self.pick()).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        // A Deployment that was made without an app is called by its own name.
        match &self.service {
            None => match cluster.get(&kinds::DEPLOYMENT, &cluster.namespace, &self.app).await? {
                Some(own) => Ok(vec![own]),
                None => Err(self.missing(cluster).await?),
            },
            Some(_) => Err(self.missing(cluster).await?),
        }
    }

    /// Its only Deployment; an error that names the services if there are several.
    pub async fn deployment(&self, cluster: &Cluster) -> Result<Value> {
        let mut found = self.deployments(cluster).await?;
        if found.len() > 1 {
            bail!("{} has several services; name one of {}", self.app, services(&found).join(", "));
        }
        Ok(found.remove(0))
    }

    async fn missing(&self, cluster: &Cluster) -> Result<anyhow::Error> {
        let namespace = &cluster.namespace;
        let whole = Part { app: self.app.clone(), service: None };
        let all = cluster.items(&kinds::DEPLOYMENT, Some(namespace), &whole.pick()).await?;
        if let (Some(service), false) = (&self.service, all.is_empty()) {
            return Ok(anyhow!("{} has no service {service}; it has {}", self.app, services(&all).join(", ")));
        }
        let apps = cluster.items(&kinds::APP, Some(namespace), &Pick::default()).await?;
        let there = apps.iter().map(name_of).collect::<Vec<_>>().join(", ");
        let there = if there.is_empty() { "there are none".to_owned() } else { format!("there is {there}") };
        Ok(anyhow!("there is no app {} in namespace {namespace}; {there}", self.app))
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{}/{service}", self.app),
            None => f.write_str(&self.app),
        }
    }
}

/// The pods of a part: by its labels, or by those that its Deployment chooses them by where no app made it.
pub fn pods_of(part: &Part, deployments: &[Value]) -> Pick {
    match deployments {
        [own] if own["metadata"]["labels"][names::APP].is_null() => {
            let labels = own["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
            let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            Pick::labels(labels.collect::<Vec<_>>().join(","))
        }
        _ => part.pick(),
    }
}

fn services(deployments: &[Value]) -> Vec<String> {
    deployments.iter().map(part_of).collect()
}

/// `shop/user` for what an app owns, the object's own name for anything else.
pub fn part_of(object: &Value) -> String {
    let labels = &object["metadata"]["labels"];
    match (labels[names::APP].as_str(), labels[names::SERVICE].as_str()) {
        (Some(app), Some(service)) if app != service => format!("{app}/{service}"),
        (Some(app), _) => app.to_owned(),
        _ => name_of(object).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_apps_or_services_of_apps() {
        assert_eq!(Part::parse("shop").unwrap().to_string(), "shop");
        assert_eq!(Part::parse("shop/user").unwrap().service.as_deref(), Some("user"));
        for bad in ["", "/", "shop/", "/user", "a/b/c"] {
            assert!(Part::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_have_many_names() {
        assert_eq!(kind("deploy").unwrap().kind, "Deployment");
        assert_eq!(kinds("po,svc").unwrap().len(), 2);
        let unknown = kind("pood").unwrap_err();
        assert!(unknown.downcast_ref::<Usage>().is_some() && unknown.to_string().contains("pods"), "{unknown}");
        assert_eq!(objects("pod/a", &[]).unwrap().1, ["a"]);
        assert!(objects("pod/a", &["b".into()]).is_err());
    }
}
