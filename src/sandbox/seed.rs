//! What a sandbox contains at the start.
//!
//! The demo's history is not made up: it is lived through. The manifests are applied at their
//! times in the past and the controllers play everything up to now, so that revisions, ages,
//! restarts and events agree with each other.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::{Cluster, Pace};
use super::object;
use super::patch::PatchKind;
use super::resources::{self, NODES, Scope};
use super::{SandboxError, scenario_write};

/// The nodes.
const NODE_NAMES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// How old the cluster is.
const CLUSTER_AGE: SignedDuration = SignedDuration::from_hours(24 * 34);
/// What is in place before anything else.
const NAMESPACES: &str = include_str!("seed/namespaces.yaml");
/// The demo's workloads in their first version.
const WORKLOADS: &str = include_str!("seed/workloads.yaml");
/// What is in trouble when the demo begins.
const TROUBLE: &str = include_str!("seed/trouble.yaml");

/// The nodes and the usual namespaces, nothing else.
pub(super) fn bare(cluster: &mut Cluster, now: Timestamp) -> Result<(), SandboxError> {
    found(cluster, before(now, CLUSTER_AGE))?;
    cluster.work(now);
    Ok(())
}

fn found(cluster: &mut Cluster, born: Timestamp) -> Result<(), SandboxError> {
    for name in ["default", "kube-system", "kube-public"] {
        let namespace = json!({"metadata": {"name": name}});
        create(cluster, &resources::NAMESPACES, "", namespace, born)?;
    }
    for name in NODE_NAMES {
        create(cluster, &NODES, "", node(name, born), born)?;
    }
    Ok(())
}

/// The demo's cluster: see the manifests beside this file.
pub(super) fn demo(cluster: &mut Cluster, now: Timestamp) -> Result<(), SandboxError> {
    let pace = std::mem::replace(&mut cluster.pace, Pace::REAL);
    let born = before(now, CLUSTER_AGE);
    cluster.worked_until = born;
    found(cluster, born)?;
    for (ago, deed) in demo_history() {
        let at = before(now, ago);
        cluster.work(at);
        deed.repeat(cluster, at)?;
    }
    cluster.work(now);
    cluster.pace = pace;
    cluster.hurry_pods(now, pace.backoff_limit);
    Ok(())
}

/// What somebody did in the demo's cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Manifests were applied.
    Applied(&'static str),
    /// A Deployment was changed by a strategic merge patch.
    Patched {
        /// The Deployment's namespace.
        namespace: &'static str,
        /// The Deployment's name.
        name: &'static str,
        /// The patch.
        patch: Value,
    },
}

impl Deed {
    fn repeat(&self, cluster: &mut Cluster, at: Timestamp) -> Result<(), SandboxError> {
        match self {
            Self::Applied(manifests) => apply(cluster, manifests, at),
            Self::Patched { namespace, name, patch } => {
                let kind = &resources::DEPLOYMENTS;
                let patch = (PatchKind::Strategic, patch);
                cluster
                    .patch(kind, (namespace, name), patch, true, &scenario_write(at))
                    .map(drop)
                    .map_err(|error| SandboxError::refused(kind.kind, namespace, name, &error))
            }
        }
    }
}

/// What happened in the demo's cluster and how long ago, oldest first: whoever repeats it elsewhere
/// has the same cluster there.
pub fn demo_history() -> Vec<(SignedDuration, Deed)> {
    let release = |version: &str| Deed::Patched {
        namespace: "ai-agents",
        name: "support-agent-deployment",
        patch: json!({
            "metadata": {"annotations": {"kubernetes.io/change-cause": format!("release {version}")}},
            "spec": {"template": {"spec": {"containers": [{
                "name": "agent",
                "image": format!("registry.example.com/agents/support-agent:{version}"),
            }]}}},
        }),
    };
    vec![
        (CLUSTER_AGE, Deed::Applied(NAMESPACES)),
        (SignedDuration::from_hours(24 * 19), Deed::Applied(WORKLOADS)),
        (SignedDuration::from_hours(24 * 6), release("v1.4.1")),
        (SignedDuration::from_mins(22), Deed::Applied(TROUBLE)),
        (SignedDuration::from_mins(8), release("v1.5.0")),
    ]
}

/// Creates or updates the objects of a YAML stream.
pub(super) fn apply(
    cluster: &mut Cluster,
    manifests: &str,
    now: Timestamp,
) -> Result<(), SandboxError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests)
        .map_err(|error| SandboxError::Manifest(Box::new(error)))?;
    for manifest in documents.into_iter().filter(Value::is_object) {
        let (version, kind) =
            (object::text(&manifest, "/apiVersion"), object::text(&manifest, "/kind"));
        let kind = resources::of_manifest(version, kind)
            .ok_or_else(|| SandboxError::UnknownKind(format!("{version} {kind}")))?;
        let name = object::name(&manifest).to_owned();
        let namespace = match (kind.scope, object::namespace(&manifest)) {
            (Scope::Cluster, _) => String::new(),
            (Scope::Namespaced, "") => "default".to_owned(),
            (Scope::Namespaced, given) => given.to_owned(),
        };
        if cluster.store.get(kind, &namespace, &name).is_none() {
            create(cluster, kind, &namespace, manifest, now)?;
            continue;
        }
        let patch = (PatchKind::Strategic, &manifest);
        cluster
            .patch(kind, (&namespace, &name), patch, true, &scenario_write(now))
            .map_err(|error| SandboxError::refused(kind.kind, &namespace, &name, &error))?;
    }
    Ok(())
}

fn create(
    cluster: &mut Cluster,
    kind: &'static resources::ResourceType,
    namespace: &str,
    manifest: Value,
    now: Timestamp,
) -> Result<(), SandboxError> {
    let name = object::name(&manifest).to_owned();
    // The status of nodes belongs to the kubelet, which is ours to play.
    let status = manifest.get("status").cloned();
    cluster
        .create(kind, namespace, manifest, &scenario_write(now))
        .map_err(|error| SandboxError::refused(kind.kind, namespace, &name, &error))?;
    if let Some(status) = status {
        cluster.store.modify(kind, namespace, &name, |object| object["status"] = status);
    }
    Ok(())
}

fn node(name: &str, now: Timestamp) -> Value {
    let at = object::rfc3339(now);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": at, "lastTransitionTime": at,
        })
    };
    let capacity = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
    json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        }},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.12.0",
                "osImage": "Orderly sandbox", "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.36.2", "kubeProxyVersion": "", "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    })
}

fn before(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.saturating_sub(span).unwrap_or(now)
}
