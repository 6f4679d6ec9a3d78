//! Kubernetes manifests to an app file: Deployments become services, Services and Ingresses their routes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Converted, Filled, Service, Unfit, file, is_offered, items, plain_name, scalar, text};
use crate::app::documents::Document;

/// All objects, and what was said of them.
struct Reading<'a> {
    objects: Vec<&'a Value>,
    notes: Vec<String>,
    /// Objects whose content is in the app file now: kind and name.
    used: Vec<(String, String)>,
}

pub(super) fn app(documents: &[Document], name: &str) -> Result<Converted, Unfit> {
    let objects: Vec<&Value> = documents.iter().flat_map(|document| flat(&document.value)).collect();
    let mut reading = Reading { objects, notes: Vec::new(), used: Vec::new() };
    let deployments = reading.of("Deployment");
    let mut services: Vec<Service> = deployments.iter().map(|deployment| reading.service(deployment)).collect();
    for (service, deployment) in services.iter_mut().zip(&deployments) {
        reading.routes(service, deployment);
        reading.scaler(service);
    }
    reading.leftovers();
    let instance = deployments.first().and_then(|one| {
        ["app.kubernetes.io/part-of", "app.kubernetes.io/instance"].iter().find_map(|label| one["metadata"]["labels"][*label].as_str())
    });
    let app = match services.as_slice() {
        [one] => one.name.clone(),
        _ => plain_name(instance.unwrap_or(name)),
    };
    let namespace = deployments.first().and_then(|one| text(one, "/metadata/namespace")).filter(|namespace| *namespace != "default");
    let rollout = deployments.first().map(|one| rollout(one)).unwrap_or_default();
    file(&app, namespace, &services, rollout, reading.notes)
}

/// The items of a `List`, or the object itself.
fn flat(value: &Value) -> Vec<&Value> {
    match value["items"].as_array() {
        Some(items) if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.iter().collect(),
        _ => vec![value],
    }
}

fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

fn has_all(labels: &Value, selector: Option<&Map<String, Value>>) -> bool {
    selector.is_some_and(|selector| !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

fn rollout(deployment: &Value) -> Filled {
    let mut out = Filled::default();
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    for (ours, theirs) in [("surge", "maxSurge"), ("unavailable", "maxUnavailable")] {
        if !rolling[theirs].is_null() {
            out.put(ours, rolling[theirs].clone());
        }
    }
    if let Some(seconds) = deployment["spec"]["progressDeadlineSeconds"].as_u64() {
        out.put("deadline", format!("{seconds}s"));
    }
    out
}

impl<'a> Reading<'a> {
    fn of(&self, kind: &str) -> Vec<&'a Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).copied().collect()
    }

    fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    /// An object's values, which are written into the app file.
    fn values(&mut self, kind: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let found = self.of(kind).into_iter().find(|object| name_of(object) == name)?;
        self.used.push((kind.to_owned(), name.to_owned()));
        let data = found["data"].as_object().into_iter().flatten();
        Some(data.filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect())
    }

    fn service(&mut self, deployment: &'a Value) -> Service {
        let name = plain_name(name_of(deployment));
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mut service = Service { name: name.clone(), replicas: deployment["spec"]["replicas"].as_u64(), ..Service::default() };
        service.origin.put("image", text(container, "/image").unwrap_or_default());
        self.note(format!(
            "{name}: its image must be a component; push one with `wctl push FILE.wasm {}`",
            text(container, "/image").unwrap_or("NAME")
        ));
        for other in items(pod, "/containers").iter().skip(1).chain(items(pod, "/initContainers")) {
            let other = text(other, "/name").unwrap_or_default();
            self.note(format!("{name}: the container {other} is left out, since a pod runs one component; make it a service of its own"));
        }
        service.args = items(container, "/args").iter().filter_map(scalar).collect();
        if !items(container, "/command").is_empty() {
            self.note(format!("{name}: `command` is left out, since a component has one entry point"));
        }
        self.environment(&mut service, container);
        self.probe(&mut service, container);
        for amount in ["memory", "cpu"] {
            let resources = &container["resources"];
            if let Some(limit) = scalar(&resources["limits"][amount]).or_else(|| scalar(&resources["requests"][amount])) {
                service.limits.put(amount, limit);
            }
        }
        service.require =
            pod["nodeSelector"].as_object().into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), scalar(v)?))).collect();
        let topology = text(pod, "/topologySpreadConstraints/0/topologyKey").and_then(|key| key.rsplit('/').next());
        service.spread = topology.map(|key| if key == "hostname" { "node" } else { key }.to_owned());
        self.mounts(&service.name, pod);
        service
    }

    fn mounts(&mut self, name: &str, pod: &Value) {
        for volume in items(pod, "/volumes") {
            let volume = text(volume, "/name").unwrap_or_default();
            self.note(format!("{name}: the volume {volume} is left out; what shall outlive a pod goes under `uses.volumes`, with a size"));
        }
        for (field, what) in [("hostNetwork", "network"), ("hostPID", "processes")] {
            if pod[field] == true {
                self.note(format!("{name}: `{field}` is left out, since a component does not see its node's {what}"));
            }
        }
        if pod["containers"][0]["securityContext"]["privileged"] == true {
            self.note(format!("{name}: `privileged` is left out, since nothing in a sandbox can be privileged"));
        }
        if !pod["affinity"].is_null() {
            self.note(format!("{name}: `affinity` is left out; write `place`"));
        }
    }

    fn environment(&mut self, service: &mut Service, container: &Value) {
        let name = service.name.clone();
        for from in items(container, "/envFrom") {
            let prefix = text(from, "/prefix").unwrap_or_default();
            if let Some(map) = text(from, "/configMapRef/name") {
                match self.values("ConfigMap", map) {
                    Some(values) => {
                        service.env.extend(values.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value.replace('$', "$$"))))
                    }
                    None => self.note(format!("{name}: the ConfigMap {map} is not among the files, so its variables are missing")),
                }
            }
            if let Some(secret) = text(from, "/secretRef/name") {
                match self.values("Secret", secret) {
                    Some(values) => values.into_keys().for_each(|key| self.secret(service, &format!("{prefix}{key}"), secret)),
                    None => self.note(format!("{name}: the Secret {secret} is not among the files; list its keys under `uses.secrets`")),
                }
            }
        }
        for variable in items(container, "/env") {
            let Some(key) = text(variable, "/name") else { continue };
            let from = &variable["valueFrom"];
            if from.is_null() {
                service.env.insert(key.to_owned(), scalar(&variable["value"]).unwrap_or_default().replace('$', "$$"));
            } else if let Some(secret) = text(from, "/secretKeyRef/name") {
                self.used.push(("Secret".to_owned(), secret.to_owned()));
                self.secret(service, key, secret);
            } else if let (Some(map), Some(entry)) = (text(from, "/configMapKeyRef/name"), text(from, "/configMapKeyRef/key")) {
                match self.values("ConfigMap", map).and_then(|mut values| values.remove(entry)) {
                    Some(value) => drop(service.env.insert(key.to_owned(), value.replace('$', "$$"))),
                    None => self.note(format!("{name}: the variable {key} comes from {map}, which is not among the files")),
                }
            } else {
                self.note(format!("{name}: the variable {key} is left out; a guest knows its pod as HOSTNAME"));
            }
        }
    }

    fn secret(&mut self, service: &mut Service, key: &str, secret: &str) {
        let name = &service.name;
        let sentence = format!("{name}: {key} comes from the Secret {secret}; keep it with `wctl secret set {key}`");
        service.secrets.push(key.to_owned());
        self.note(sentence);
    }

    fn probe(&mut self, service: &mut Service, container: &Value) {
        let given = ["readinessProbe", "livenessProbe"].into_iter().map(|probe| &container[probe]).find(|probe| !probe.is_null());
        let Some(probe) = given else { return };
        if probe["httpGet"].is_null() {
            return self
                .note(format!("{}: its probe is left out, since a guest is probed by HTTP; write `probe: {{ path: / }}`", service.name));
        }
        service.probe.put("path", text(probe, "/httpGet/path").unwrap_or("/"));
        for (ours, theirs) in [("every", "periodSeconds"), ("timeout", "timeoutSeconds")] {
            if let Some(seconds) = probe[theirs].as_u64() {
                service.probe.put(ours, format!("{seconds}s"));
            }
        }
        if let Some(times) = probe["failureThreshold"].as_u64() {
            service.probe.put("fail", times);
        }
    }

    fn routes(&mut self, service: &mut Service, deployment: &Value) {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let own: Vec<String> = self
            .of("Service")
            .iter()
            .filter(|s| has_all(labels, s["spec"]["selector"].as_object()))
            .map(|s| name_of(s).to_owned())
            .collect();
        for ingress in self.of("Ingress") {
            for rule in items(ingress, "/spec/rules") {
                for path in items(rule, "/http/paths") {
                    if !text(path, "/backend/service/name").is_some_and(|backend| own.iter().any(|name| name == backend)) {
                        continue;
                    }
                    self.used.push(("Ingress".to_owned(), name_of(ingress).to_owned()));
                    let host = text(rule, "/host").unwrap_or_default();
                    let path = text(path, "/path").unwrap_or("/");
                    let route = format!("{host}{}", if path == "/" && !host.is_empty() { "" } else { path });
                    if !service.route.contains(&route) {
                        service.route.push(route);
                    }
                }
            }
            if !items(ingress, "/spec/tls").is_empty() {
                let sentence = format!("the Ingress {} asks for TLS; put a proxy that ends TLS in front of the gateway", name_of(ingress));
                if !self.notes.contains(&sentence) {
                    self.note(sentence);
                }
            }
        }
        if service.route.is_empty() && !own.is_empty() {
            let name = &service.name;
            let sentence = format!(
                "{name}: no Ingress leads to it; other services reach it as http://{name}.internal once they list it under `uses.call`, and a `route` makes it public"
            );
            self.note(sentence);
        }
        self.used.extend(own.into_iter().map(|name| ("Service".to_owned(), name)));
    }

    fn scaler(&mut self, service: &mut Service) {
        let scalers = self.of("HorizontalPodAutoscaler");
        let Some(scaler) =
            scalers.into_iter().find(|hpa| text(hpa, "/spec/scaleTargetRef/name").map(plain_name).as_ref() == Some(&service.name))
        else {
            return;
        };
        let (min, max) = (scaler["spec"]["minReplicas"].as_u64().unwrap_or(1), scaler["spec"]["maxReplicas"].as_u64().unwrap_or(1));
        if is_offered("scale") {
            service.scale = Some((min, max));
            self.used.push(("HorizontalPodAutoscaler".to_owned(), name_of(scaler).to_owned()));
        }
    }

    /// What has no place in an app file.
    fn leftovers(&mut self) {
        for object in self.objects.clone() {
            let (kind, name) = (text(object, "/kind").unwrap_or_default(), name_of(object));
            let used = kind == "Deployment" || self.used.iter().any(|(k, n)| k == kind && n == name);
            if !used {
                self.note(format!(
                    "{kind} {name} has no place in an app file; `wctl deploy -f` takes it as it is, where its kind is served"
                ));
            }
        }
    }
}
