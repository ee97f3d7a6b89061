//! `escalate`: a step that is a person's work becomes a message that says what to do, never a
//! pretence.

use crate::domain::plan::{Change, Step};
use crate::domain::policy::spec::EscalateSpec;

pub fn plan(spec: &EscalateSpec) -> Step {
    let message = spec.message.clone().unwrap_or_else(|| "a person is needed".to_owned());
    Step {
        action: "escalate".to_owned(),
        summary: format!("tell `{}`: {message}", spec.to),
        reason: "the policy hands this over to people".to_owned(),
        change: Change::Notify { to: spec.to.clone(), message },
    }
}
