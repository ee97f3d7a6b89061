//! What was decided, held against what a test expects; what differs gets its place.

use super::expect::{Expectation, StandExpectation};
use super::run::Decided;
use super::{Case, CaseFile, Read};
use crate::document::diagnostic::Diagnostic;
use crate::domain::gate::{Gate, Stand};
use crate::domain::nearest::nearest;
use crate::domain::policy::problem::{FieldPath, Problem};

/// Holds what was decided against what a test expects, and points at what differs.
pub fn failures(
    file: &Read<CaseFile>,
    index: usize,
    case: &Case,
    decided: &Decided,
) -> Vec<Diagnostic> {
    let path = FieldPath::of("tests").index(index).key("expect");
    let problems = compare(&case.expect, decided);
    let placed = problems.into_iter().map(|(field, message)| {
        let path = field.iter().fold(path.clone(), |path, part| path.key(part));
        let message = format!("{}: {message}", case.name);
        file.places.diagnostic(&Problem::error("test", path, message), decided.policy.as_deref())
    });
    placed.collect()
}

fn compare(expected: &Expectation, decided: &Decided) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut differs = |field: &[&str], message: String| {
        found.push((field.iter().map(|part| (*part).to_owned()).collect(), message));
    };
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "none".to_owned());
    if let Some(policy) = &expected.policy
        && *policy != word(&decided.policy)
    {
        differs(&["policy"], format!("policy `{}` answers", word(&decided.policy)));
    }
    for (name, part) in &expected.losers {
        match decided.losers.get(name) {
            Some(why) if why.contains(part.as_str()) => {}
            Some(why) => {
                differs(&["losers", name], format!("`{name}` was not taken because {why}"))
            }
            None => differs(&["losers", name], format!("`{name}` was not looked at")),
        }
    }
    if let Some(target) = &expected.target
        && !decided.target.contains(target.as_str())
    {
        differs(&["target"], format!("the target is: {}", decided.target));
    }
    if let Some(cause) = &expected.cause
        && *cause != word(&decided.cause)
    {
        differs(&["cause"], format!("the cause is `{}`", word(&decided.cause)));
    }
    if let Some(plan) = &expected.plan {
        let made = decided.plan.as_deref().unwrap_or_default();
        let fits = plan.len() == made.len()
            && plan.iter().zip(made).all(|(wanted, (action, summary, reason))| {
                wanted.action == *action
                    && wanted.summary.as_ref().is_none_or(|part| summary.contains(part.as_str()))
                    && wanted.reason.as_ref().is_none_or(|part| reason.contains(part.as_str()))
            });
        if !fits {
            let steps = made
                .iter()
                .map(|(action, summary, reason)| format!("{action}: {summary} ({reason})"));
            let steps = steps.collect::<Vec<_>>().join("; ");
            let why = decided.impossible.as_deref().unwrap_or("no plan is made");
            let text = if made.is_empty() { why } else { &steps };
            differs(&["plan"], format!("the plan is: {text}"));
        }
    }
    if let Some(part) = &expected.impossible {
        match &decided.impossible {
            Some(why) if why.contains(part.as_str()) => {}
            Some(why) => differs(&["impossible"], format!("no plan can be made because {why}")),
            None => differs(&["impossible"], "a plan can be made".to_owned()),
        }
    }
    for (name, stand) in &expected.gates {
        gate_differs(name, *stand, decided, &mut differs);
    }
    if let Some(outcome) = &expected.outcome
        && *outcome != decided.outcome
    {
        let reason = match decided.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        differs(&["outcome"], format!("the outcome is `{}`{reason}", decided.outcome));
    }
    if let Some(reason) = &expected.reason
        && !decided.reason.contains(reason.as_str())
    {
        let said = if decided.reason.is_empty() { "none is given" } else { &decided.reason };
        differs(&["reason"], format!("the reason is: {said}"));
    }
    found
}

fn gate_differs(
    name: &str,
    expected: StandExpectation,
    decided: &Decided,
    differs: &mut impl FnMut(&[&str], String),
) {
    let Some(gate) = Gate::ALL.into_iter().find(|gate| gate.name() == name) else {
        let help = nearest(name, Gate::ALL.map(Gate::name));
        let help = help.map(|help| format!("; {help}")).unwrap_or_default();
        return differs(&["gates", name], format!("there is no gate `{name}`{help}"));
    };
    let stands: Vec<_> = decided.gates.iter().filter(|verdict| verdict.gate == gate).collect();
    let stand = |stand: Stand| match stand {
        Stand::Allow => StandExpectation::Allow,
        Stand::Ask => StandExpectation::Ask,
        Stand::Hold { .. } => StandExpectation::Hold,
        Stand::Deny => StandExpectation::Deny,
    };
    // A gate may say several things; the test names one of them.
    if !stands.iter().any(|verdict| stand(verdict.stand) == expected) {
        let said = stands
            .iter()
            .map(|verdict| format!("{}: {}", stand(verdict.stand).name(), verdict.evidence));
        let said = said.collect::<Vec<_>>().join("; ");
        let said = if said.is_empty() { "it was not asked".to_owned() } else { said };
        differs(&["gates", name], format!("gate `{name}` says {said}"));
    }
}
