//! Objects as rows: what `kubectl get` and `wctl get` print.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::objects::Part;

use super::claims;
use super::reply::Include;

mod cells;

use cells::{age, count, listed, or_none, ports, text};

/// A column: its title, whether only `-o wide` shows it, and its cell.
struct Column {
    title: &'static str,
    wide: bool,
    cell: fn(&Value, jiff::Timestamp) -> Value,
}

const fn column(title: &'static str, cell: fn(&Value, jiff::Timestamp) -> Value) -> Column {
    Column { title, wide: false, cell }
}

const fn wide(title: &'static str, cell: fn(&Value, jiff::Timestamp) -> Value) -> Column {
    Column { title, wide: true, cell }
}

const NAME: Column = column("Name", |o, _| o["metadata"]["name"].clone());
const AGE: Column = column("Age", |o, now| json!(age(&o["metadata"]["creationTimestamp"], now)));
const CONTAINERS: Column = wide("Containers", |o, _| json!(listed(cells::containers(o), "name")));
const IMAGES: Column = wide("Images", |o, _| json!(cells::images(o)));
const SELECTOR: Column = wide("Selector", |o, _| json!(cells::pairs(&o["spec"]["selector"]["matchLabels"])));

/// What the cells of a Pod are made of, what selectors look at, and its metadata but for `managedFields`: there may be many pods, and
/// most of what is written of each is neither.
pub(super) const PARTS_OF_POD: &[Part] = &[
    Part::of(
        "metadata",
        &[
            Part::whole("name"),
            Part::whole("generateName"),
            Part::whole("namespace"),
            Part::whole("uid"),
            Part::whole("generation"),
            Part::whole("creationTimestamp"),
            Part::whole("deletionTimestamp"),
            Part::whole("deletionGracePeriodSeconds"),
            Part::whole("labels"),
            Part::whole("annotations"),
            Part::whole("ownerReferences"),
            Part::whole("finalizers"),
        ],
    ),
    Part::of(
        "spec",
        &[
            Part::whole("nodeName"),
            Part::whole("restartPolicy"),
            Part::whole("serviceAccountName"),
            Part::of("containers", &[Part::whole("image")]),
        ],
    ),
    Part::of(
        "status",
        &[
            Part::whole("phase"),
            Part::whole("reason"),
            Part::whole("podIP"),
            Part::whole("nominatedNodeName"),
            Part::of("containerStatuses", &[Part::whole("ready"), Part::whole("restartCount"), Part::whole("state")]),
        ],
    ),
];

/// The titles of a kind's columns, and whether only `-o wide` shows each.
pub fn titles(kind: &Kind) -> Vec<(&'static str, bool)> {
    columns(kind).iter().map(|c| (c.title, c.wide)).collect()
}

/// The cells of one object, in the order of [`titles`].
pub fn row(kind: &Kind, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    columns(kind).iter().map(|c| (c.cell)(object, now)).collect()
}

/// One row of a [`table`].
pub(super) fn shown_row(kind: &Kind, object: Value, include: Include, now: jiff::Timestamp) -> Value {
    let mut shown_row = Map::new();
    shown_row.insert("cells".to_owned(), Value::Array(row(kind, &object, now)));
    if let Some(shown) = include.show(object) {
        shown_row.insert("object".to_owned(), shown);
    }
    Value::Object(shown_row)
}

/// A `meta.k8s.io/v1` Table.
pub(super) fn table(kind: &Kind, rows: Vec<Value>, meta: Value) -> Value {
    let shape = |c: &Column| {
        let format = if c.title == "Name" { "name" } else { "" };
        let kind = if matches!(c.title, "Restarts" | "Up-To-Date" | "Available" | "Desired" | "Current" | "Data" | "Revision") {
            "integer"
        } else {
            "string"
        };
        json!({ "name": c.title, "type": kind, "format": format, "description": "", "priority": i32::from(c.wide) })
    };
    let definitions: Vec<Value> = columns(kind).iter().map(shape).collect();
    let mut table = json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": definitions });
    // `json!` would copy what it is given.
    table["rows"] = Value::Array(rows);
    table
}

fn columns(kind: &Kind) -> &'static [Column] {
    match kind.kind {
        "App" => {
            const {
                &[
                    NAME,
                    column("Phase", |o, _| or_none(&o["status"]["phase"])),
                    column("Ready", |o, _| json!(cells::app_ready(o))),
                    column("Revision", |o, _| o["metadata"]["generation"].clone()),
                    AGE,
                    column("Message", |o, _| json!(text(&o["status"]["message"]))),
                    wide("Services", |o, _| json!(cells::app_services(o))),
                ]
            }
        }
        "Policy" => const { &[NAME, AGE] },
        "RouteClaim" => {
            const {
                &[
                    NAME,
                    column("Host", |o, _| or_none(&o["spec"]["host"])),
                    column("Path", |o, _| or_none(&o["spec"]["path"])),
                    column("App", |o, _| json!(claims::owner(o))),
                    AGE,
                ]
            }
        }
        "Deployment" => {
            const {
                &[
                    NAME,
                    column("Ready", |o, _| json!(cells::deployment_ready(o))),
                    column("Up-To-Date", |o, _| json!(cells::awake(o, "updatedReplicas"))),
                    column("Available", |o, _| json!(cells::awake(o, "availableReplicas"))),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "ReplicaSet" => {
            const {
                &[
                    NAME,
                    column("Desired", |o, _| json!(count(&o["spec"]["replicas"]))),
                    column("Current", |o, _| json!(count(&o["status"]["replicas"]))),
                    column("Ready", |o, _| json!(count(&o["status"]["readyReplicas"]))),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "Pod" => {
            const {
                &[
                    NAME,
                    column("Ready", |o, _| json!(cells::pod_ready(o))),
                    column("Status", |o, _| json!(cells::pod_status(o))),
                    column("Restarts", |o, _| json!(count(&o["status"]["containerStatuses"][0]["restartCount"]))),
                    AGE,
                    wide("IP", |o, _| or_none(&o["status"]["podIP"])),
                    wide("Node", |o, _| or_none(&o["spec"]["nodeName"])),
                    wide("Nominated Node", |o, _| or_none(&o["status"]["nominatedNodeName"])),
                    wide("Readiness Gates", |_, _| json!("<none>")),
                    wide("Image", |o, _| json!(cells::typed_image(o))),
                ]
            }
        }
        "Job" => {
            const {
                &[
                    NAME,
                    column("Status", |o, _| json!(cells::job_status(o))),
                    column("Completions", |o, _| json!(cells::job_completions(o))),
                    column("Duration", |o, now| json!(cells::job_duration(o, now))),
                    AGE,
                    CONTAINERS,
                    IMAGES,
                    SELECTOR,
                ]
            }
        }
        "HorizontalPodAutoscaler" => {
            const {
                &[
                    NAME,
                    column("Reference", |o, _| {
                        json!(format!("{}/{}", text(&o["spec"]["scaleTargetRef"]["kind"]), text(&o["spec"]["scaleTargetRef"]["name"])))
                    }),
                    column("Targets", |o, _| json!(cells::targets(o))),
                    column("MinPods", |o, _| json!(o["spec"]["minReplicas"].as_i64().unwrap_or(1))),
                    column("MaxPods", |o, _| json!(count(&o["spec"]["maxReplicas"]))),
                    column("Replicas", |o, _| json!(count(&o["status"]["currentReplicas"]))),
                    AGE,
                ]
            }
        }
        "CronJob" => {
            const {
                &[
                    NAME,
                    column("Schedule", |o, _| or_none(&o["spec"]["schedule"])),
                    column("Timezone", |o, _| or_none(&o["spec"]["timeZone"])),
                    column("Suspend", |o, _| json!(if o["spec"]["suspend"] == true { "True" } else { "False" })),
                    column("Active", |o, _| json!(o["status"]["active"].as_array().map_or(0, Vec::len))),
                    column("Last Schedule", |o, now| match o["status"]["lastScheduleTime"].as_str() {
                        Some(_) => json!(cells::age(&o["status"]["lastScheduleTime"], now)),
                        None => json!("<none>"),
                    }),
                    AGE,
                    wide("Containers", |o, _| json!(listed(&o["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"], "name"))),
                    wide("Images", |o, _| json!(listed(&o["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"], "image"))),
                ]
            }
        }
        "Service" => {
            const {
                &[
                    NAME,
                    column("Type", |o, _| or_none(&o["spec"]["type"])),
                    column("Cluster-IP", |o, _| or_none(&o["spec"]["clusterIP"])),
                    column("External-IP", |o, _| json!(cells::external(o))),
                    column("Port(s)", |o, _| json!(ports(&o["spec"]["ports"]))),
                    AGE,
                    wide("Selector", |o, _| json!(cells::pairs(&o["spec"]["selector"]))),
                ]
            }
        }
        "Node" => {
            const {
                &[
                    NAME,
                    column("Status", |o, _| json!(cells::node_status(o))),
                    column("Roles", |o, _| json!(cells::roles(o))),
                    AGE,
                    column("Version", |o, _| json!(text(&o["status"]["nodeInfo"]["kubeletVersion"]))),
                    wide("Internal-IP", |o, _| json!(cells::address(o, "InternalIP"))),
                    wide("External-IP", |o, _| json!(cells::address(o, "ExternalIP"))),
                    wide("OS-Image", |o, _| or_none(&o["status"]["nodeInfo"]["osImage"])),
                    wide("Kernel-Version", |o, _| or_none(&o["status"]["nodeInfo"]["kernelVersion"])),
                    wide("Container-Runtime", |o, _| or_none(&o["status"]["nodeInfo"]["containerRuntimeVersion"])),
                    wide("Memory", |o, _| or_none(&o["status"]["allocatable"]["memory"])),
                    wide("CPU", |o, _| or_none(&o["status"]["allocatable"]["cpu"])),
                ]
            }
        }
        "Namespace" => const { &[NAME, column("Status", |o, _| or_none(&o["status"]["phase"])), AGE] },
        "ConfigMap" => const { &[NAME, column("Data", |o, _| json!(cells::entries(o, &["data", "binaryData"]))), AGE] },
        "Secret" => {
            const { &[NAME, column("Type", |o, _| or_none(&o["type"])), column("Data", |o, _| json!(cells::entries(o, &["data"]))), AGE] }
        }
        "ServiceAccount" => const { &[NAME, AGE] },
        "Event" => {
            const {
                &[
                    column("Last Seen", |o, now| json!(cells::last_seen(o, now))),
                    column("Type", |o, _| or_none(&o["type"])),
                    column("Reason", |o, _| or_none(&o["reason"])),
                    column("Object", |o, _| json!(cells::involved(o))),
                    column("Message", |o, _| json!(text(&o["message"]).trim())),
                    wide("Source", |o, _| json!(cells::source(o))),
                    wide("Count", |o, _| json!(count(&o["count"]).max(1))),
                    wide("Name", |o, _| o["metadata"]["name"].clone()),
                ]
            }
        }
        "Ingress" => {
            const {
                &[
                    NAME,
                    column("Class", |o, _| or_none(&o["spec"]["ingressClassName"])),
                    column("Hosts", |o, _| json!(cells::hosts(o))),
                    column("Address", |o, _| json!(listed(&o["status"]["loadBalancer"]["ingress"], "ip"))),
                    column("Ports", |_, _| json!("80")),
                    AGE,
                    wide("Routes", |o, _| json!(cells::routes(o))),
                ]
            }
        }
        "ControllerRevision" => {
            const {
                &[
                    NAME,
                    column("Controller", |o, _| json!(cells::controller(o))),
                    column("Revision", |o, _| json!(count(&o["revision"]))),
                    AGE,
                ]
            }
        }
        "EndpointSlice" => {
            const {
                &[
                    NAME,
                    column("AddressType", |o, _| or_none(&o["addressType"])),
                    column("Ports", |o, _| json!(ports(&o["ports"]))),
                    column("Endpoints", |o, _| json!(cells::endpoints(o))),
                    AGE,
                ]
            }
        }
        "Lease" => const { &[NAME, column("Holder", |o, _| or_none(&o["spec"]["holderIdentity"])), AGE] },
        _ => const { &[NAME, AGE] },
    }
}
