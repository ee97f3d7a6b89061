//! The facts as a page shows them: each with where it came from and how old it was.

use jiff::Timestamp;

use super::one_line;
use crate::cli::page::Page;
use crate::cli::table::Tone;
use crate::domain::explain::{ago, clock};
use crate::domain::facts::{Fact, Facts, Pod, Revision};
use crate::kubernetes::reader::pods::failure;

/// Entries of a list that are shown by name.
const SHOWN: usize = 5;

/// Every fact with where it came from and how old it was.
pub fn facts(page: &mut Page, facts: &Facts) {
    page.heading(&format!("facts of {}", clock(facts.at)));
    for workload in facts.targets.iter().chain(&facts.related) {
        let counts = workload.replicas;
        page.line(&workload.target.to_string());
        let ready = format!("{} of {} ready", counts.ready, counts.desired);
        let rollout = match workload.rollout.started {
            Some(started) => format!("; newest revision since {}", clock(started)),
            None => String::new(),
        };
        page.detail(Tone::Usual, &format!("replicas: {ready}{rollout}"));
        if !workload.rollout.message.is_empty() {
            page.detail(Tone::Usual, &format!("rollout: {}", workload.rollout.message));
        }
        let mut fact = |name: &str, text: String| {
            page.detail(Tone::Usual, &format!("{name}: {text}"));
        };
        fact("revisions", told(&workload.revisions, facts.at, |it| numbered(it)));
        fact("pods", told(&workload.pods, facts.at, |it| pods(it)));
        fact(
            "events",
            told(&workload.events, facts.at, |it| {
                let warnings = it.iter().filter(|event| event.severity == "Warning");
                let reasons: Vec<_> = warnings.take(SHOWN).map(|it| it.reason.as_str()).collect();
                if reasons.is_empty() {
                    format!("{}, no warning", it.len())
                } else {
                    format!("{}, warnings: {}", it.len(), reasons.join(", "))
                }
            }),
        );
        fact("logs", told(&workload.logs, facts.at, |it| format!("{} excerpts", it.len())));
        fact(
            "autoscaler",
            told(&workload.autoscaler, facts.at, |it| {
                format!("{} ({} to {})", it.name, it.min, it.max)
            }),
        );
        fact(
            "disruption budgets",
            told(&workload.budgets, facts.at, |it| {
                let each =
                    it.iter().map(|it| format!("{} ({} may go)", it.name, it.disruptions_allowed));
                listed(each.collect())
            }),
        );
        fact(
            "nodes",
            told(&workload.nodes, facts.at, |it| {
                let troubled = it.iter().filter(|node| !node.ready || !node.trouble.is_empty());
                let names: Vec<_> = troubled.map(|node| node.name.clone()).collect();
                format!("{}, in trouble: {}", it.len(), listed(names))
            }),
        );
    }
    for (name, fact) in &facts.queries {
        let text = told(fact, facts.at, ToString::to_string);
        page.line(&format!("query {name}: {text}"));
    }
}

fn listed(names: Vec<String>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn numbered(revisions: &[Revision]) -> String {
    let each = revisions.iter().take(SHOWN).map(|it| {
        let mark = if it.current { ", current" } else { "" };
        format!("{} (since {}{mark})", it.number, clock(it.created))
    });
    listed(each.collect())
}

fn pods(pods: &[Pod]) -> String {
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let restarts: i64 = pods.iter().map(Pod::restarts).sum();
    let failing = pods.iter().filter_map(failure).next();
    let failing = failing.map_or_else(String::new, |why| format!("; {why}"));
    format!("{}, {ready} ready, {restarts} restarts{failing}", pods.len())
}

/// A fact in words, with its source and its age when the facts were complete.
fn told<T>(fact: &Fact<T>, at: Timestamp, value: impl Fn(&T) -> String) -> String {
    let age = ago(fact.at(), at);
    let source = one_line(fact.source());
    match fact {
        Fact::Known { value: known, .. } => format!("{} ({source}, {age})", value(known)),
        Fact::Absent { .. } => format!("none ({source}, {age})"),
        Fact::Unknown { why, .. } => format!("unknown: {why} ({source}, {age})"),
    }
}
