//! The status of a policy object: whether it is in force, why not, and what it did.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::domain::event::Outcome;
use crate::domain::policy::problem::Severity;
use crate::engine::board::Record;
use crate::policies::loader::Judged;

/// Longest message of a condition, in characters: an object's status is no log.
const MAX_MESSAGE: usize = 4_000;
/// Findings that are told of one object; the rest is counted.
const MAX_FINDINGS: usize = 10;

/// The status that the object should have; `record` is what its policy did.
///
/// Two conditions that are never both true, so that `kubectl wait --for=condition=Rejected` works
/// as well as `--for=condition=Accepted`.
pub fn status_of(judged: &Judged, record: &Record, now: Timestamp) -> Value {
    let generation = judged.resource.generation;
    let refused = judged.refused();
    let reason = refused.map_or_else(|| "Valid".to_owned(), |found| camel_case(found.code));
    let message = message(judged);
    let condition = |kind: &str, holds: bool| {
        let word = if holds { "True" } else { "False" };
        json!({
            "type": kind,
            "status": word,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": since(&judged.resource.status, kind, word, now),
        })
    };
    let mut status = json!({
        "observedGeneration": generation,
        "conditions": [
            condition("Accepted", refused.is_none()),
            condition("Rejected", refused.is_some()),
        ],
        "matched": record.matched,
        "outcomes": outcomes(record),
    });
    if let Some(in_force) = &judged.in_force {
        status["inForce"] = json!({
            "version": in_force.digest.short(),
            "mode": in_force.mode,
            "since": seconds(in_force.since),
        });
    }
    if let Some(at) = record.last_match {
        status["lastMatch"] = json!(seconds(at));
    }
    if let Some(outcome) = record.last_outcome {
        status["lastOutcome"] = json!(outcome.name());
    }
    status
}

/// A merge patch that makes `before` what `status` is; nothing when it is that already.
pub fn patch(before: &Value, status: Value) -> Option<Value> {
    if *before == status {
        return None;
    }
    let mut patch = status;
    if let (Some(before), Some(after)) = (before.as_object(), patch.as_object_mut()) {
        for gone in before.keys() {
            after.entry(gone.clone()).or_insert(Value::Null);
        }
        if let Some(Value::Object(outcomes)) = before.get("outcomes") {
            let now = after.entry("outcomes").or_insert_with(|| json!({}));
            for gone in outcomes.keys() {
                if now.get(gone).is_none() {
                    now[gone] = Value::Null;
                }
            }
        }
    }
    Some(json!({ "status": patch }))
}

fn message(judged: &Judged) -> String {
    let refused = judged.refused().is_some();
    let told = judged.findings.iter().filter(|found| !refused || found.severity == Severity::Error);
    let told: Vec<_> = told.map(|found| found.by_field()).collect();
    let mut lines: Vec<_> = told.iter().take(MAX_FINDINGS).cloned().collect();
    if told.len() > MAX_FINDINGS {
        lines.push(format!("and {} more", told.len() - MAX_FINDINGS));
    }
    match (refused, &judged.in_force) {
        (true, Some(older)) => {
            lines.push(format!("version {} stays in force", older.digest.short()));
        }
        (true, None) => {}
        (false, _) if lines.is_empty() => lines.push("in force".to_owned()),
        (false, _) => lines.insert(0, "in force; worth a look".to_owned()),
    }
    lines.join("\n").chars().take(MAX_MESSAGE).collect()
}

/// Since when the condition has this status: a change of words is no transition.
fn since(before: &Value, kind: &str, word: &str, now: Timestamp) -> Value {
    let conditions = before["conditions"].as_array().into_iter().flatten();
    let mut same = conditions.filter(|it| it["type"] == kind && it["status"] == word);
    let since = same.find_map(|it| it["lastTransitionTime"].as_str());
    since.map_or_else(|| json!(seconds(now)), |since| json!(since))
}

/// Kubernetes' times have no fractions.
fn seconds(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.to_string()
}

fn outcomes(record: &Record) -> Value {
    let counts = record.outcomes.iter();
    let counts: Map<_, _> =
        counts.map(|(outcome, count)| (Outcome::name(*outcome).to_owned(), json!(count))).collect();
    Value::Object(counts)
}

/// `unknown-field` as a condition's reason: `UnknownField`.
fn camel_case(code: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
    };
    code.split('-').map(word).collect::<Vec<String>>().concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::document::diagnostic::Diagnostic;
    use crate::policies::resource::{PolicyResource, ResourceKind};

    const NOON: Timestamp = Timestamp::constant(1_767_614_400, 5);
    const LATER: Timestamp = Timestamp::constant(1_767_618_000, 0);

    fn judged(status: Value, findings: Vec<Diagnostic>) -> Judged {
        let object = json!({
            "metadata": {"name": "a", "namespace": "b", "generation": 7}, "status": status,
        });
        let resource = PolicyResource::read(ResourceKind::Namespaced, &object).expect("a name");
        Judged { resource, name: "b/a".to_owned(), in_force: None, findings }
    }

    fn error() -> Diagnostic {
        let path = Path::new("RemediationPolicy/b/a");
        let mut found = Diagnostic::of_file(path, "unknown-field", "there is no `x`");
        found.field = "spec.causes[0].when".to_owned();
        found.character = Some(4);
        found
    }

    #[test]
    fn exactly_one_of_the_two_conditions_is_true_and_says_where_the_mistake_is() {
        let good = status_of(&judged(Value::Null, vec![]), &Record::default(), NOON);
        let bad = status_of(&judged(Value::Null, vec![error()]), &Record::default(), NOON);
        let words = |status: &Value| {
            let words = |it: &Value| format!("{} {} {}", it["type"], it["status"], it["reason"]);
            let conditions = status["conditions"].as_array().expect("a list");
            conditions.iter().map(words).collect::<Vec<_>>().join(", ").replace('"', "")
        };
        assert_eq!(words(&good), "Accepted True Valid, Rejected False Valid");
        assert_eq!(words(&bad), "Accepted False UnknownField, Rejected True UnknownField");
        let message = &bad["conditions"][0]["message"];
        assert_eq!(message, "spec.causes[0].when, character 4: there is no `x`");
        assert_eq!(bad["conditions"][0]["observedGeneration"], 7);
        assert_eq!(bad["conditions"][0]["lastTransitionTime"], "2026-01-05T12:00:00Z");
    }

    #[test]
    fn a_condition_keeps_its_date_until_it_turns_and_nothing_new_writes_nothing() {
        let first = status_of(&judged(Value::Null, vec![]), &Record::default(), NOON);
        let again = status_of(&judged(first.clone(), vec![]), &Record::default(), LATER);
        assert_eq!(patch(&first, again), None);
        let turned = status_of(&judged(first.clone(), vec![error()]), &Record::default(), LATER);
        let at = |status: &Value| status["conditions"][0]["lastTransitionTime"].clone();
        assert!(at(&first) == "2026-01-05T12:00:00Z" && at(&turned) == "2026-01-05T13:00:00Z");
    }

    #[test]
    fn counts_are_those_of_the_record_and_what_is_gone_is_taken_away() {
        let record = Record {
            matched: 3,
            last_match: Some(NOON),
            last_outcome: Some(Outcome::Fixed),
            outcomes: BTreeMap::from([(Outcome::Fixed, 2), (Outcome::DryRun, 1)]),
        };
        let status = status_of(&judged(Value::Null, vec![]), &record, NOON);
        assert_eq!(status["outcomes"], json!({"fixed": 2, "dry-run": 1}));
        assert_eq!(status["lastOutcome"], "fixed");
        // A new journal knows nothing of what an older one counted.
        let fresh = status_of(&judged(status.clone(), vec![]), &Record::default(), NOON);
        let mut merged = json!({ "status": status });
        json_patch::merge(&mut merged, &patch(&status, fresh.clone()).expect("a change"));
        assert_eq!(merged["status"], fresh);
    }
}
