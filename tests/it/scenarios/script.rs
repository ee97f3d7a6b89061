//! What a scenario file may say.

use std::collections::BTreeMap;

use orderly::domain::gate::rails::GuardRails;
use orderly::domain::period::Period;
use orderly::domain::policy::spec::Mode;
use serde::Deserialize;
use serde_json::Value;

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, for people.
    #[allow(dead_code, reason = "for people who read the file")]
    pub summary: String,
    #[serde(default)]
    pub cluster: Cluster,
    pub policies: Vec<Policy>,
    #[serde(default)]
    pub rails: GuardRails,
    /// The gates ask the sandbox's Alertmanager.
    #[serde(default)]
    pub alertmanager: bool,
    #[serde(default)]
    pub queries: Vec<Query>,
    pub steps: Vec<Step>,
}

/// What is in the cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Nothing but nodes, instead of the demo's workloads.
    #[serde(default)]
    pub empty: bool,
    /// Applied at the start, on top.
    #[serde(default)]
    pub manifests: String,
    /// How long all of it has stood when the scenario begins.
    #[serde(default)]
    pub age: Period,
}

/// A policy: a file of the repository, or inline, with what is different here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    pub file: Option<String>,
    #[serde(default)]
    pub inline: Option<Value>,
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Merged over the policy's `spec`.
    #[serde(default)]
    pub spec: Option<Value>,
}

/// The answer to Prometheus queries that contain a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    pub contains: String,
    /// While a pod of this workload serves this image the answer is `bad`.
    #[serde(default)]
    pub serves: Option<Serves>,
    #[serde(default)]
    pub bad: f64,
    pub good: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Serves {
    pub namespace: String,
    pub workload: String,
    pub image: String,
}

/// One thing that happens.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Step {
    /// An alert begins to fire; `name` is what later steps call it.
    Fire {
        name: String,
        labels: BTreeMap<String, String>,
    },
    /// Alertmanager delivers an alert once more, so many times.
    Repeat {
        name: String,
        times: usize,
    },
    /// An alert ends.
    Resolve {
        name: String,
    },
    /// Time passes until the alert's incident is in this phase.
    Until {
        name: String,
        phase: String,
    },
    /// So much time passes.
    Pass(Period),
    /// A person approves; `digestOf` names the plan that they saw, by its number.
    Approve {
        name: String,
        by: String,
        #[serde(default)]
        digest_of: Option<usize>,
    },
    Refuse {
        name: String,
        by: String,
        reason: String,
    },
    Abort {
        name: String,
        by: String,
        reason: String,
    },
    KillSwitch {
        on: bool,
        by: String,
        reason: String,
    },
    ResetBreaker {
        policy: String,
        by: String,
        reason: String,
    },
    /// Somebody deploys.
    SetImage {
        resource: String,
        namespace: String,
        workload: String,
        container: String,
        image: String,
    },
    /// Somebody changes an object.
    Patch {
        resource: String,
        namespace: String,
        name: String,
        patch: Value,
    },
    /// Alertmanager silences these labels for so long.
    Silence {
        labels: BTreeMap<String, String>,
        lasts: Period,
    },
    /// The service dies with the next commit of this kind of event, which is stored or not; then it
    /// is started again.
    Crash {
        kind: String,
        stored: bool,
    },
    /// The service dies now, and is started again.
    Restart,
    /// The connection breaks at the next request: before or after it is carried out.
    Drop {
        verb: String,
        resource: String,
        carried_out: bool,
    },
    /// The image of the first container must contain this.
    ExpectImage {
        resource: String,
        namespace: String,
        workload: String,
        contains: String,
    },
    /// So many requests have changed the cluster, Events left out.
    ExpectWrites(usize),
}
