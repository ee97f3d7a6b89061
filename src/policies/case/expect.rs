//! What a test of policies expects. What is left out is not looked at.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What must be decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expectation {
    /// The policy that answers; `none` when none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why another policy was not taken, by its name: a part of the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub losers: BTreeMap<String, String>,
    /// The target: `namespace/Kind/name`, or a part of why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The cause that holds; `none` when none does; `unknown` when it cannot be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The steps of the plan, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<StepExpectation>>,
    /// A part of why no plan can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impossible: Option<String>,
    /// What single gates say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, StandExpectation>,
    /// What happens: `acts`, `asks`, `holds`, or how the incident ends (`dry-run`, `denied`,
    /// `impossible`, `undiagnosed`, `no-policy`, `off`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// A part of the reason with which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepExpectation {
    /// The action's name.
    pub action: String,
    /// A part of its summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// A part of its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What one gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StandExpectation {
    /// Go on.
    Allow,
    /// Only with a person's approval.
    Ask,
    /// Not yet.
    Hold,
    /// No.
    Deny,
}

impl StandExpectation {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}
