//! Which kinds of objects the sandbox serves, and under which names.

/// One kind of object.
#[derive(Debug)]
pub(super) struct ResourceType {
    /// The API group; empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) scope: Scope,
    /// Does the server count `metadata.generation`?
    pub(super) generation: bool,
    pub(super) subresources: &'static [&'static str],
    pub(super) availability: Availability,
}

/// Whether objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Namespaced,
    Cluster,
}

/// Whether a kind is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    BuiltIn,
    /// Only when the scenario installs it, as a custom resource definition.
    Optional,
}

impl PartialEq for ResourceType {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.plural == other.plural
    }
}

impl ResourceType {
    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The name in error texts: `deployments.apps`.
    pub(super) fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Under which name its objects are stored: both event APIs show the same objects.
    pub(super) fn stored_as(&self) -> (&'static str, &'static str) {
        if self.plural == "events" { ("", "events") } else { (self.group, self.plural) }
    }
}

const fn built_in(
    group: &'static str,
    version: &'static str,
    names: (&'static str, &'static str, &'static str),
    short: &'static [&'static str],
    subresources: &'static [&'static str],
    generation: bool,
) -> ResourceType {
    let (plural, singular, kind) = names;
    ResourceType {
        group,
        version,
        plural,
        singular,
        kind,
        short,
        scope: Scope::Namespaced,
        generation,
        subresources,
        availability: Availability::BuiltIn,
    }
}

const fn cluster_wide(mut resource: ResourceType) -> ResourceType {
    resource.scope = Scope::Cluster;
    resource
}

const fn optional(mut resource: ResourceType) -> ResourceType {
    resource.availability = Availability::Optional;
    resource
}

pub(super) static NAMESPACES: ResourceType = cluster_wide(built_in(
    "",
    "v1",
    ("namespaces", "namespace", "Namespace"),
    &["ns"],
    &["status"],
    false,
));
pub(super) static NODES: ResourceType =
    cluster_wide(built_in("", "v1", ("nodes", "node", "Node"), &["no"], &["status"], false));
pub(super) static PODS: ResourceType =
    built_in("", "v1", ("pods", "pod", "Pod"), &["po"], &["status", "log", "eviction"], true);
pub(super) static EVENTS: ResourceType =
    built_in("", "v1", ("events", "event", "Event"), &["ev"], &[], false);
pub(super) static CONFIG_MAPS: ResourceType =
    built_in("", "v1", ("configmaps", "configmap", "ConfigMap"), &["cm"], &[], false);
pub(super) static SECRETS: ResourceType =
    built_in("", "v1", ("secrets", "secret", "Secret"), &[], &[], false);
pub(super) static SERVICES: ResourceType =
    built_in("", "v1", ("services", "service", "Service"), &["svc"], &["status"], false);
pub(super) static SERVICE_ACCOUNTS: ResourceType = built_in(
    "",
    "v1",
    ("serviceaccounts", "serviceaccount", "ServiceAccount"),
    &["sa"],
    &[],
    false,
);
pub(super) static RESOURCE_QUOTAS: ResourceType = built_in(
    "",
    "v1",
    ("resourcequotas", "resourcequota", "ResourceQuota"),
    &["quota"],
    &["status"],
    false,
);
pub(super) static DEPLOYMENTS: ResourceType = built_in(
    "apps",
    "v1",
    ("deployments", "deployment", "Deployment"),
    &["deploy"],
    &["status", "scale"],
    true,
);
pub(super) static REPLICA_SETS: ResourceType = built_in(
    "apps",
    "v1",
    ("replicasets", "replicaset", "ReplicaSet"),
    &["rs"],
    &["status", "scale"],
    true,
);
pub(super) static STATEFUL_SETS: ResourceType = built_in(
    "apps",
    "v1",
    ("statefulsets", "statefulset", "StatefulSet"),
    &["sts"],
    &["status", "scale"],
    true,
);
pub(super) static DAEMON_SETS: ResourceType =
    built_in("apps", "v1", ("daemonsets", "daemonset", "DaemonSet"), &["ds"], &["status"], true);
pub(super) static CONTROLLER_REVISIONS: ResourceType = built_in(
    "apps",
    "v1",
    ("controllerrevisions", "controllerrevision", "ControllerRevision"),
    &[],
    &[],
    false,
);
pub(super) static AUTOSCALERS: ResourceType = built_in(
    "autoscaling",
    "v2",
    ("horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler"),
    &["hpa"],
    &["status"],
    false,
);
pub(super) static DISRUPTION_BUDGETS: ResourceType = built_in(
    "policy",
    "v1",
    ("poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget"),
    &["pdb"],
    &["status"],
    true,
);
pub(super) static EVENTS_V1: ResourceType =
    built_in("events.k8s.io", "v1", ("events", "event", "Event"), &["ev"], &[], false);
pub(super) static LEASES: ResourceType =
    built_in("coordination.k8s.io", "v1", ("leases", "lease", "Lease"), &[], &[], false);
pub(super) static VERTICAL_AUTOSCALERS: ResourceType = optional(built_in(
    "autoscaling.k8s.io",
    "v1",
    ("verticalpodautoscalers", "verticalpodautoscaler", "VerticalPodAutoscaler"),
    &["vpa"],
    &[],
    true,
));
pub(super) static SCALED_OBJECTS: ResourceType = optional(built_in(
    "keda.sh",
    "v1alpha1",
    ("scaledobjects", "scaledobject", "ScaledObject"),
    &["so"],
    &["status"],
    true,
));

/// Every kind, in the order of discovery.
pub(super) static ALL: [&ResourceType; 20] = [
    &NAMESPACES,
    &NODES,
    &PODS,
    &EVENTS,
    &CONFIG_MAPS,
    &SECRETS,
    &SERVICES,
    &SERVICE_ACCOUNTS,
    &RESOURCE_QUOTAS,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &STATEFUL_SETS,
    &DAEMON_SETS,
    &CONTROLLER_REVISIONS,
    &AUTOSCALERS,
    &DISRUPTION_BUDGETS,
    &EVENTS_V1,
    &LEASES,
    &VERTICAL_AUTOSCALERS,
    &SCALED_OBJECTS,
];

/// The kind that is served at `/apis/{group}/{version}/…/{plural}`.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    ALL.into_iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The kind of a manifest.
pub(super) fn of_manifest(api_version: &str, kind: &str) -> Option<&'static ResourceType> {
    ALL.into_iter().find(|r| r.kind == kind && r.api_version() == api_version)
}

/// A kind by its plural, singular or short name; the first in discovery order wins.
pub(super) fn by_name(name: &str) -> Option<&'static ResourceType> {
    ALL.into_iter().find(|r| {
        r.plural == name || r.singular == name || r.short.contains(&name) || r.qualified() == name
    })
}

/// A kind by its group (of an `apiVersion`) and kind, as owner and scale references have it.
pub(super) fn of_reference(api_version: &str, kind: &str) -> Option<&'static ResourceType> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    ALL.into_iter().find(|r| r.kind == kind && r.group == group)
}
