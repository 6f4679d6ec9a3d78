//! How lists and maps merge: for each type of an object, which of its fields hold what, and by which keys.
//!
//! Strategic merge, server-side apply and the published schemas all read this one table. Types are named as in Kubernetes'
//! schemas, without the package: `DeploymentSpec`, `PodSpec`. What has no row merges by its shape: an object field by field, a
//! list as a whole.

use crate::kinds::Kind;

/// How the owners of a field share it (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// An object, field by field (`granular`).
    Fields,
    /// A list or an object that has one owner (`atomic`).
    Whole,
    /// A list whose items are values, each owned by itself (`set`).
    Values,
    /// A list of objects that are told apart by these fields (`map`, `x-kubernetes-list-map-keys`).
    Keys(&'static [&'static str]),
}

/// One field of a type.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The type that has the field.
    pub of: &'static str,
    /// Its name in the manifest.
    pub field: &'static str,
    /// The type of its value, or of the items of its list; `""` where none of their fields stands here.
    pub holds: &'static str,
    /// How its owners share it.
    pub sharing: Sharing,
    /// `x-kubernetes-patch-merge-key`: what tells the items apart in a strategic merge.
    pub merge_key: Option<&'static str>,
    /// `x-kubernetes-patch-strategy`: `merge`, `retainKeys`, `merge,retainKeys`; `""` where none is named.
    pub strategy: &'static str,
}

impl Row {
    /// Whether a strategic merge merges the list's items instead of replacing the list.
    pub fn merges(&self) -> bool {
        self.strategy.split(',').any(|word| word == "merge")
    }
}

/// The row of a field, where there is one.
pub fn row(of: &str, field: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.field == field && row.of == of)
}

/// The type that an object of a kind is.
pub fn root(kind: &Kind) -> &'static str {
    kind.kind
}

/// A field that holds an object of the type `holds`.
const fn object(of: &'static str, field: &'static str, holds: &'static str) -> Row {
    Row { of, field, holds, sharing: Sharing::Fields, merge_key: None, strategy: "" }
}

/// A list of objects, told apart by `keys`; a strategic merge looks at the first of them alone.
const fn list(of: &'static str, field: &'static str, holds: &'static str, keys: &'static [&'static str]) -> Row {
    Row { of, field, holds, sharing: Sharing::Keys(keys), merge_key: Some(keys[0]), strategy: "merge" }
}

/// An object that is written as a whole.
const fn whole(of: &'static str, field: &'static str) -> Row {
    Row { of, field, holds: "", sharing: Sharing::Whole, merge_key: None, strategy: "" }
}

/// A list of values, each for itself.
const fn values(of: &'static str, field: &'static str) -> Row {
    Row { of, field, holds: "", sharing: Sharing::Values, merge_key: None, strategy: "merge" }
}

impl Row {
    const fn with(self, strategy: &'static str) -> Row {
        Row { strategy, ..self }
    }

    const fn shared(self, sharing: Sharing) -> Row {
        Row { sharing, ..self }
    }
}

/// All rows.
pub static ROWS: &[Row] = &[
    // What every object has.
    object("Deployment", "metadata", "ObjectMeta"),
    object("ReplicaSet", "metadata", "ObjectMeta"),
    object("ControllerRevision", "metadata", "ObjectMeta"),
    object("DaemonSet", "metadata", "ObjectMeta"),
    object("StatefulSet", "metadata", "ObjectMeta"),
    object("Pod", "metadata", "ObjectMeta"),
    object("Service", "metadata", "ObjectMeta"),
    object("Node", "metadata", "ObjectMeta"),
    object("Namespace", "metadata", "ObjectMeta"),
    object("ConfigMap", "metadata", "ObjectMeta"),
    object("Secret", "metadata", "ObjectMeta"),
    object("ServiceAccount", "metadata", "ObjectMeta"),
    object("Event", "metadata", "ObjectMeta"),
    object("Job", "metadata", "ObjectMeta"),
    object("CronJob", "metadata", "ObjectMeta"),
    object("HorizontalPodAutoscaler", "metadata", "ObjectMeta"),
    object("Ingress", "metadata", "ObjectMeta"),
    object("EndpointSlice", "metadata", "ObjectMeta"),
    object("Lease", "metadata", "ObjectMeta"),
    object("App", "metadata", "ObjectMeta"),
    object("Policy", "metadata", "ObjectMeta"),
    object("RouteClaim", "metadata", "ObjectMeta"),
    values("ObjectMeta", "finalizers"),
    list("ObjectMeta", "ownerReferences", "OwnerReference", &["uid"]),
    // Deployments and what they are made of.
    object("Deployment", "spec", "DeploymentSpec"),
    object("Deployment", "status", "DeploymentStatus"),
    whole("DeploymentSpec", "selector"),
    object("DeploymentSpec", "template", "PodTemplateSpec"),
    object("DeploymentSpec", "strategy", "DeploymentStrategy").with("retainKeys"),
    object("DeploymentStrategy", "rollingUpdate", "RollingUpdateDeployment"),
    list("DeploymentStatus", "conditions", "DeploymentCondition", &["type"]),
    object("ReplicaSet", "spec", "ReplicaSetSpec"),
    object("ReplicaSet", "status", "ReplicaSetStatus"),
    whole("ReplicaSetSpec", "selector"),
    object("ReplicaSetSpec", "template", "PodTemplateSpec"),
    list("ReplicaSetStatus", "conditions", "ReplicaSetCondition", &["type"]),
    object("PodTemplateSpec", "metadata", "ObjectMeta"),
    object("PodTemplateSpec", "spec", "PodSpec"),
    // Pods.
    object("Pod", "spec", "PodSpec"),
    object("Pod", "status", "PodStatus"),
    list("PodSpec", "containers", "Container", &["name"]),
    list("PodSpec", "initContainers", "Container", &["name"]),
    list("PodSpec", "ephemeralContainers", "EphemeralContainer", &["name"]),
    list("PodSpec", "volumes", "Volume", &["name"]).with("merge,retainKeys"),
    list("PodSpec", "imagePullSecrets", "LocalObjectReference", &["name"]),
    list("PodSpec", "hostAliases", "HostAlias", &["ip"]),
    list("PodSpec", "topologySpreadConstraints", "TopologySpreadConstraint", &["topologyKey", "whenUnsatisfiable"]),
    list("PodSpec", "resourceClaims", "PodResourceClaim", &["name"]).with("merge,retainKeys"),
    list("PodSpec", "schedulingGates", "PodSchedulingGate", &["name"]),
    whole("PodSpec", "nodeSelector"),
    whole("TopologySpreadConstraint", "labelSelector"),
    list("PodStatus", "conditions", "PodCondition", &["type"]),
    list("PodStatus", "podIPs", "PodIP", &["ip"]),
    Row { of: "PodStatus", field: "hostIPs", holds: "HostIP", sharing: Sharing::Whole, merge_key: Some("ip"), strategy: "merge" },
    list("Container", "env", "EnvVar", &["name"]),
    list("Container", "ports", "ContainerPort", &["containerPort", "protocol"]),
    list("Container", "volumeMounts", "VolumeMount", &["mountPath"]),
    list("Container", "volumeDevices", "VolumeDevice", &["devicePath"]),
    object("Container", "resources", "ResourceRequirements"),
    object("ResourceRequirements", "limits", ""),
    Row { of: "ResourceRequirements", field: "claims", holds: "", sharing: Sharing::Keys(&["name"]), merge_key: None, strategy: "" },
    object("EnvVar", "valueFrom", "EnvVarSource"),
    whole("EnvVarSource", "configMapKeyRef"),
    whole("EnvVarSource", "secretKeyRef"),
    whole("EnvVarSource", "fieldRef"),
    whole("EnvVarSource", "resourceFieldRef"),
    // Services and routes.
    object("Service", "spec", "ServiceSpec"),
    object("Service", "status", "ServiceStatus"),
    list("ServiceSpec", "ports", "ServicePort", &["port", "protocol"]),
    whole("ServiceSpec", "selector"),
    list("ServiceStatus", "conditions", "Condition", &["type"]),
    object("Ingress", "spec", "IngressSpec"),
    object("IngressSpec", "defaultBackend", "IngressBackend"),
    whole("IngressBackend", "resource"),
    values("Endpoint", "addresses"),
    // Nodes and namespaces.
    object("Node", "spec", "NodeSpec"),
    object("Node", "status", "NodeStatus"),
    values("NodeSpec", "podCIDRs"),
    list("NodeStatus", "conditions", "NodeCondition", &["type"]),
    list("NodeStatus", "addresses", "NodeAddress", &["type"]),
    object("Namespace", "status", "NamespaceStatus"),
    list("NamespaceStatus", "conditions", "NamespaceCondition", &["type"]),
    list("ServiceAccount", "secrets", "ObjectReference", &["name"]),
    // Jobs and scaling.
    object("Job", "spec", "JobSpec"),
    object("Job", "status", "JobStatus"),
    whole("JobSpec", "selector"),
    object("JobSpec", "template", "PodTemplateSpec"),
    list("JobStatus", "conditions", "JobCondition", &["type"]).shared(Sharing::Whole),
    object("CronJob", "spec", "CronJobSpec"),
    object("CronJobSpec", "jobTemplate", "JobTemplateSpec"),
    object("JobTemplateSpec", "metadata", "ObjectMeta"),
    object("JobTemplateSpec", "spec", "JobSpec"),
    object("HorizontalPodAutoscaler", "spec", "HorizontalPodAutoscalerSpec"),
    object("HorizontalPodAutoscaler", "status", "HorizontalPodAutoscalerStatus"),
    list("HorizontalPodAutoscalerStatus", "conditions", "HorizontalPodAutoscalerCondition", &["type"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn each_field_has_one_row_and_each_row_can_be_reached() {
        let mut seen = BTreeSet::new();
        let roots: BTreeSet<&str> = KINDS.iter().map(|kind| root(kind)).chain(["Endpoint", "ResourceRequirements"]).collect();
        for one in ROWS {
            assert!(seen.insert((one.of, one.field)), "{}.{} stands there twice", one.of, one.field);
            assert!(roots.contains(one.of) || ROWS.iter().any(|other| other.holds == one.of), "nothing holds a {}", one.of);
            assert!(one.merge_key.is_none() || one.merges(), "{}.{}", one.of, one.field);
        }
        assert!(KINDS.iter().all(|kind| row(root(kind), "metadata").is_some()));
    }

    #[test]
    fn containers_merge_by_name_and_a_selector_as_a_whole() {
        let containers = row("PodSpec", "containers").unwrap();
        assert_eq!((containers.merge_key, containers.holds, containers.merges()), (Some("name"), "Container", true));
        assert_eq!(row("DeploymentSpec", "selector").map(|row| row.sharing), Some(Sharing::Whole));
        assert_eq!(row("Container", "ports").map(|row| row.sharing), Some(Sharing::Keys(&["containerPort", "protocol"])));
    }
}
