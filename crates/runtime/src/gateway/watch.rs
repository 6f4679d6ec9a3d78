//! Keeps the gateway's routes as the API has them; while the server is away the last ones stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, ResourceExt};
use scheduler::names;
use scheduler::routes::{self, Claims, Pods};

use super::Gateway;
use crate::agent::watch::{Mirror, watch};

#[allow(clippy::large_enum_variant, reason = "one lives at a time, on its way from a watch into the table")]
enum Change {
    Ingress(Event<Ingress>),
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
}

/// Of each object only what the table needs: the objects themselves are a hundred times as large.
#[derive(Default)]
struct Seen {
    ingresses: Mirror<Claims>,
    /// Their Apps.
    services: Mirror<Option<String>>,
    slices: Mirror<Option<Pods>>,
}

impl Seen {
    fn take(&mut self, change: Change) {
        match change {
            Change::Ingress(event) => drop(self.ingresses.take(event, |ingress| Claims::from(ingress))),
            Change::Service(event) => drop(self.services.take(event, |service| service.labels().get(names::APP).cloned())),
            Change::Slice(event) => drop(self.slices.take(event, Pods::of)),
        }
    }

    fn is_whole(&self) -> bool {
        self.ingresses.is_whole() && self.services.is_whole() && self.slices.is_whole()
    }

    fn table(&self) -> routes::Table {
        let ingresses = self.ingresses.all().map(|(_, claims)| claims);
        let services = self.services.all().map(|(name, _)| name);
        routes::table(ingresses, services, self.slices.all().filter_map(|(_, pods)| pods.as_ref()))
    }

    fn apps(&self) -> BTreeMap<(String, String), String> {
        self.services.all().filter_map(|(name, app)| Some((name.clone(), app.clone()?))).collect()
    }
}

impl Gateway {
    /// Follows Ingresses, Services and EndpointSlices until it is dropped.
    pub async fn follow(self: Arc<Gateway>, client: Client) {
        let ingresses = watch(Api::all(client.clone()), Config::default()).map(Change::Ingress);
        let services = watch(Api::all(client.clone()), Config::default()).map(Change::Service);
        let slices = watch(Api::all(client), Config::default()).map(Change::Slice);
        let all = futures::stream::select_all([ingresses.boxed(), services.boxed(), slices.boxed()]);
        let mut all = std::pin::pin!(all);
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                change = all.next() => match change {
                    Some(change) => seen.take(change),
                    None => return,
                },
                () = self.stale.notified() => {}
            }
            // What is already here goes into the same table: a burst of changes costs one table, not one each.
            while let Some(Some(change)) = all.next().now_or_never() {
                seen.take(change);
            }
            if seen.is_whole() {
                self.route(seen.table(), seen.apps());
            }
        }
    }
}
