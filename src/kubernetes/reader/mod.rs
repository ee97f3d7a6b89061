//! Collects the facts about a workload. Has no way to write.
//!
//! Each part is a `Fact` with its source and time; a part that fails makes that fact unknown, not
//! the whole (invariant 7). Converting is pure and lives in the files beside this one.

mod collect;
pub mod convert;
pub mod history;
pub mod logs;
pub mod mask;
pub mod ownership;
pub mod pods;
pub mod rollout;

use serde_json::Value;

use super::connection::{CallError, ReadConnection};
use super::{json, path};
use crate::domain::facts::{Kind, Target, TargetBy, TargetQuery, Workload};

/// Reads from one cluster.
#[derive(Clone, Debug)]
pub struct Reader {
    connection: ReadConnection,
}

/// Why a workload could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not there.
    #[error("`{0}` does not exist: check the namespace and name that the policy makes")]
    NotFound(Target),
    /// The call failed.
    #[error("cannot read `{target}`: {error}")]
    Call {
        /// Which workload.
        target: Target,
        /// Why not.
        error: CallError,
    },
    /// It has a form that is not understood.
    #[error("cannot use `{target}`: {what}")]
    Strange {
        /// Which workload.
        target: Target,
        /// What is strange.
        what: String,
    },
}

/// Why targets could not be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing there.
    #[error("`{0}` does not exist: it may be gone already")]
    NotFound(String),
    /// The pod belongs to something else.
    #[error("pod `{pod}` belongs to {owner}, but the policy's target is a {kind}")]
    OtherOwner {
        /// Which pod.
        pod: String,
        /// `Kind/name` of its owner, or `nothing`.
        owner: String,
        /// What was wanted.
        kind: Kind,
    },
    /// More than the policy allows.
    #[error("{query} finds {found} workloads, more than {max}: narrow the selector or raise `max`")]
    TooMany {
        /// What was wanted.
        query: String,
        /// How many there are.
        found: usize,
        /// How many may be.
        max: u32,
    },
    /// The call failed.
    #[error("cannot look for the target: {0}")]
    Call(#[from] CallError),
}

impl Reader {
    /// Reads through `connection`.
    pub fn new(connection: ReadConnection) -> Self {
        Self { connection }
    }

    /// The connection that it reads through.
    pub fn connection(&self) -> &ReadConnection {
        &self.connection
    }

    /// Collects everything about a workload; its parts at the same time.
    pub async fn workload(&self, target: &Target) -> Result<Workload, ReadError> {
        collect::workload(&self.connection, target).await
    }

    /// The live object, raw; nothing when it is not there.
    pub async fn object(&self, target: &Target) -> Result<Option<Value>, CallError> {
        let path = path::workload(target.kind, &target.namespace, &target.name);
        match self.connection.get(&path).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ResourceQuotas of a namespace, raw.
    pub async fn quotas(&self, namespace: &str) -> Result<Vec<Value>, CallError> {
        self.connection.list(&path::namespaced("v1", namespace, "resourcequotas"), &[]).await
    }

    /// Finds the workloads that a policy names; none is a [`FindError`].
    pub async fn find(&self, query: &TargetQuery) -> Result<Vec<Target>, FindError> {
        let TargetQuery { kind, namespace, by, max } = query;
        let (kind, namespace) = (*kind, namespace.as_str());
        let target =
            |name: &str| Target { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let not_found = || FindError::NotFound(query.to_string());
        match by {
            TargetBy::Name(name) => match self.object(&target(name)).await? {
                Some(_) => Ok(vec![target(name)]),
                None => Err(not_found()),
            },
            TargetBy::Selector(selector) => {
                let path = path::namespaced("apps/v1", namespace, kind.plural());
                let found = self.connection.list(&path, &[("labelSelector", selector)]).await?;
                let mut targets: Vec<_> =
                    found.iter().map(|object| target(json::name(object))).collect();
                targets.sort();
                match targets.len() {
                    0 => Err(not_found()),
                    found if u32::try_from(found).is_ok_and(|found| found <= *max) => Ok(targets),
                    found => Err(FindError::TooMany { query: query.to_string(), found, max: *max }),
                }
            }
            TargetBy::OwnerOfPod(pod) => match self.owner_of_pod(namespace, pod).await {
                Ok(Some((owner, name))) if owner == kind.to_string() => Ok(vec![target(&name)]),
                Ok(other) => Err(FindError::OtherOwner {
                    pod: pod.clone(),
                    owner: other.map_or_else(
                        || "nothing".to_owned(),
                        |(kind, name)| format!("`{kind}/{name}`"),
                    ),
                    kind,
                }),
                Err(error) if error.is_not_found() => Err(not_found()),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Kind and name of the top-most controller that this module knows how to climb to.
    async fn owner_of_pod(
        &self,
        namespace: &str,
        pod: &str,
    ) -> Result<Option<(String, String)>, CallError> {
        let pod = self.connection.get(&path::object("v1", namespace, "pods", pod)).await?;
        let Some((kind, name)) = controller_name(&pod) else { return Ok(None) };
        if kind != "ReplicaSet" {
            return Ok(Some((kind, name)));
        }
        let path = path::object("apps/v1", namespace, "replicasets", &name);
        let replica_set = self.connection.get(&path).await?;
        Ok(Some(controller_name(&replica_set).unwrap_or((kind, name))))
    }
}

fn controller_name(object: &Value) -> Option<(String, String)> {
    let owner = json::controller(object)?;
    Some((json::owned(owner, &["kind"]), json::owned(owner, &["name"])))
}
