//! Keeps the gateway's routes as the API has them; while the server is away the last ones stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, ResourceExt};
use scheduler::{names, routes};

use super::Gateway;
use crate::agent::watch::{Mirror, watch};

#[allow(clippy::large_enum_variant, reason = "one lives at a time, on its way from a watch into the table")]
enum Change {
    Ingress(Event<Ingress>),
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
}

#[derive(Default)]
struct Seen {
    ingresses: Mirror<Ingress>,
    services: Mirror<Service>,
    slices: Mirror<EndpointSlice>,
}

impl Seen {
    fn take(&mut self, change: Change) {
        match change {
            Change::Ingress(event) => drop(self.ingresses.take(event)),
            Change::Service(event) => drop(self.services.take(event)),
            Change::Slice(event) => drop(self.slices.take(event)),
        }
    }

    fn is_whole(&self) -> bool {
        self.ingresses.is_whole() && self.services.is_whole() && self.slices.is_whole()
    }

    fn table(&self) -> routes::Table {
        let ingresses: Vec<_> = self.ingresses.values().collect();
        let services: Vec<_> = self.services.values().collect();
        let slices: Vec<_> = self.slices.values().collect();
        routes::table(&ingresses, &services, &slices)
    }

    fn apps(&self) -> BTreeMap<(String, String), String> {
        let app = |service: &Service| {
            let app = service.labels().get(names::APP)?.clone();
            Some(((service.namespace().unwrap_or_default(), service.name_any()), app))
        };
        self.services.values().filter_map(app).collect()
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
