//! An incident as a page that a person at 03:00 understands: what fired, what it is about, why, what
//! would be or was done, what the gates say, what happened, and what to type next.
//!
//! Shows; decides nothing. The words come from the domain.

mod facts;
mod next;

pub use facts::facts;

use super::incidents::outcome_tone;
use super::page::Page;
use super::table::Tone;
use crate::domain::alert::Alert;
use crate::domain::diagnosis::{Conclusion, Finding};
use crate::domain::event::{Outcome, Preview};
use crate::domain::explain::{clock, meaning, mode};
use crate::domain::gate::evidence::mode_name;
use crate::domain::gate::{Ruling, Stand, Verdict};
use crate::domain::id::Digest;
use crate::domain::incident::{Flight, Incident, Phase};
use crate::domain::plan::{Change, Plan};
use crate::domain::policy::spec::Mode;
use crate::domain::resolution::Progress;
use crate::http::api::{HistoryLine, IncidentDetail, ProposalView};

/// The annotations that explain an alert, by the conventions of Prometheus' mixins.
const EXPLAINING: [&str; 5] = ["summary", "description", "message", "runbook_url", "dashboard_url"];
/// As wide as the longest name of a gate.
const GATE_WIDTH: usize = 19;
/// As wide as `waiting`.
const STAND_WIDTH: usize = 7;

/// Everything about one incident.
pub fn whole(page: &mut Page, detail: &IncidentDetail) {
    let incident = &*detail.incident;
    let (name, target) = (incident.alert().name(), incident.target_name());
    page.title(&format!("incident {}: {name} on {target}", incident.id));
    let tone = match &incident.phase {
        Phase::Closed { outcome, .. } | Phase::GivenUp { outcome, .. } => outcome_tone(*outcome),
        Phase::Asking | Phase::Held { .. } => Tone::Attention,
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating
        | Phase::Executing { .. }
        | Phase::Verifying { .. } => Tone::Usual,
    };
    page.toned(tone, &detail.summary.standing);
    alerts(page, incident);
    policy(page, incident);
    target_section(page, incident);
    cause(page, incident);
    if let Some(proposal) = &detail.proposal {
        plan_section(page, proposal);
    }
    if let Some(gated) = &incident.gates {
        gates(page, gated.ruling, &gated.verdicts);
    }
    approvals(page, incident);
    verification(page, incident);
    timeline(page, &detail.history);
    next::section(page, incident);
}

fn alerts(page: &mut Page, incident: &Incident) {
    page.heading("alert");
    for (index, attached) in incident.alerts.iter().enumerate() {
        alert(page, &attached.alert, index == 0);
        if let Some(at) = attached.resolved {
            page.detail(Tone::Good, &format!("resolved {}", clock(at)));
        }
    }
}

/// One alert; with its explaining texts when it is the first.
pub fn alert(page: &mut Page, alert: &Alert, explained: bool) {
    page.line(&format!("{} since {}", alert.name(), clock(alert.starts_at)));
    let labels = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
    if !labels.is_empty() {
        page.detail(Tone::Faint, &labels.join(" "));
    }
    if explained {
        for name in EXPLAINING {
            if let Some(text) = alert.annotations.get(name) {
                page.detail(Tone::Usual, &format!("{name}: {text}"));
            }
        }
    }
}

/// Which policy answers, and why no other.
pub fn policy(page: &mut Page, incident: &Incident) {
    let (policy, spec) = (&incident.policy, &incident.policy.spec);
    page.heading("policy");
    let (name, means) = (mode_name(spec.mode), mode(spec.mode));
    let version = policy.digest.short();
    page.line(&format!("{}, mode {name} ({means}), version {version}", policy.name));
    for other in &incident.others {
        page.detail(Tone::Faint, &format!("not {}: {}", other.policy, other.why));
    }
}

/// What it is about, and how that stands.
pub fn target_section(page: &mut Page, incident: &Incident) {
    page.heading("target");
    match &incident.wanted {
        Ok(wanted) if incident.targets.is_empty() => {
            page.line(&format!("{wanted} (not found yet)"))
        }
        Ok(_) => {}
        Err(why) => page.toned(Tone::Attention, why),
    }
    for target in &incident.targets {
        let seen = incident.facts.iter().flat_map(|facts| &facts.targets);
        let mut seen = seen.filter(|workload| workload.target == *target).map(|workload| {
            let (ready, desired) = (workload.replicas.ready, workload.replicas.desired);
            let rollout = match workload.rollout.message.as_str() {
                "" => "rollout complete".to_owned(),
                missing => missing.to_owned(),
            };
            format!(": {ready} of {desired} pods ready, {rollout}")
        });
        page.line(&format!("{target}{}", seen.next_back().unwrap_or_default()));
    }
}

/// Each cause of the policy and what the facts say of it.
pub fn cause(page: &mut Page, incident: &Incident) {
    page.heading("cause");
    let Some(finding) = &incident.finding else {
        page.line("not looked for yet");
        return;
    };
    let spec = &incident.policy.spec;
    let width = spec.causes.iter().map(|cause| cause.name.chars().count()).max().unwrap_or(0);
    for cause in &spec.causes {
        let considered = finding.considered.iter().find(|it| it.cause == cause.name);
        let when = cause.when.as_deref().map_or_else(|| "always".to_owned(), one_line);
        let (tone, verdict) = match considered {
            Some(considered) => (cause_tone(finding, &cause.name), considered.verdict.as_str()),
            None => (Tone::Faint, "not looked at: an earlier one decides"),
        };
        page.marked(tone, &cause.name, width, &format!("{verdict}\nwhen {when}"));
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cause_tone(finding: &Finding, cause: &str) -> Tone {
    match &finding.conclusion {
        Conclusion::Cause { name } if name == cause => Tone::Good,
        Conclusion::Unknown { name, .. } if name == cause => Tone::Attention,
        Conclusion::Cause { .. } | Conclusion::Unknown { .. } | Conclusion::NoCause => Tone::Faint,
    }
}

/// The plan with its reasons and what the API server says it changes.
pub fn plan_section(page: &mut Page, proposal: &ProposalView) {
    plan(page, proposal.digest, &proposal.plan, &proposal.previews);
}

/// The same from its parts.
pub fn plan(page: &mut Page, digest: Digest, plan: &Plan, previews: &[Preview]) {
    page.heading(&format!("plan {} for `{}`", digest.short(), plan.cause));
    for (index, step) in plan.steps.iter().enumerate() {
        page.line(&format!("{}. {}", index + 1, step.summary));
        page.detail(Tone::Usual, &format!("because {}", step.reason));
        match &step.change {
            Change::Notify { to, message } => {
                page.detail(Tone::Usual, &format!("`{to}` is told: {message}"));
            }
            Change::Patch(change) => match previews.get(index) {
                Some(preview) if !preview.diff.is_empty() => page.diff(&preview.diff),
                Some(_) => page.detail(Tone::Faint, "the API server says that nothing changes"),
                None => page.detail(Tone::Usual, &format!("patch {}", change.patch.body())),
            },
            Change::DeletePods(change) => {
                let pods: Vec<_> = change.pods.iter().map(|(name, _)| name.as_str()).collect();
                page.detail(Tone::Usual, &format!("deletes {}", pods.join(", ")));
            }
        }
    }
}

/// What follows from the gates, and what each of them rests on.
pub fn gates(page: &mut Page, ruling: Ruling, verdicts: &[Verdict]) {
    let follows = match ruling {
        Ruling::Act => "all let it pass".to_owned(),
        Ruling::Ask => "a person must approve".to_owned(),
        Ruling::Preview => "dry run: it stops here".to_owned(),
        Ruling::Hold { until } => format!("held, asked again at {}", clock(until)),
        Ruling::Deny => "denied".to_owned(),
    };
    page.heading(&format!("gates: {follows}"));
    for verdict in verdicts {
        let (tone, stand) = match verdict.stand {
            Stand::Allow => (Tone::Good, "pass"),
            Stand::Ask => (Tone::Attention, "ask"),
            Stand::Hold { .. } => (Tone::Attention, "hold"),
            Stand::Deny => (Tone::Bad, "deny"),
        };
        let name = verdict.gate.name();
        let gap = " ".repeat(GATE_WIDTH.saturating_sub(name.len()));
        page.marked(tone, stand, STAND_WIDTH, &format!("{name}{gap}  {}", verdict.evidence));
    }
}

fn approvals(page: &mut Page, incident: &Incident) {
    let Some(question) = &incident.question else { return };
    page.heading("approval");
    let (given, quorum) = (question.given.len(), question.quorum);
    let digest = question.digest.short();
    let (asked, expires) = (clock(question.asked), clock(question.expires));
    page.line(&format!("{given} of {quorum} for plan {digest}, asked {asked}, until {expires}"));
    let approvers = &incident.policy.spec.approval.approvers;
    if !approvers.is_empty() {
        page.line(&format!("may be given by: {}", approvers.join(", ")));
    }
    for given in &question.given {
        let (name, path) = (&given.by.name, &given.by.path);
        page.toned(Tone::Good, &format!("{name} approved at {} ({path})", clock(given.at)));
    }
}

fn verification(page: &mut Page, incident: &Incident) {
    match &incident.phase {
        Phase::Executing { step, attempt, flight } => {
            page.heading("steps");
            let how = match flight {
                Flight::Ready => "is next",
                Flight::Unknown => "was sent; its outcome is being looked at",
            };
            page.line(&format!("step {} {how} (try {})", step + 1, (*attempt).max(1)));
        }
        Phase::Verifying { since, progress, .. } => {
            let within = incident.policy.spec.verify.within;
            page.heading("verification");
            page.line(&format!("since {}, within {within}", clock(*since)));
            criteria(page, progress);
        }
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating
        | Phase::Held { .. }
        | Phase::Asking
        | Phase::GivenUp { .. }
        | Phase::Closed { .. } => {}
    }
}

fn criteria(page: &mut Page, progress: &Progress) {
    for state in &progress.criteria {
        let (tone, since) = match state.since {
            Some(since) => (Tone::Good, format!(" since {}", clock(since))),
            None => (Tone::Attention, String::new()),
        };
        let text = format!("{}\nmust hold for {}{since}", state.evidence, state.hold);
        page.marked(tone, state.criterion.name(), STAND_WIDTH, &text);
    }
}

fn timeline(page: &mut Page, history: &[HistoryLine]) {
    page.heading("timeline");
    for entry in history {
        page.line(&format!("{}  {}", clock(entry.at), entry.line));
    }
}

/// What an ending means, for a page and for the decision that was only rehearsed.
pub fn ending(mode: Mode, ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Act => "the plan would be carried out at once",
        Ruling::Ask => "people would be asked to approve the plan",
        Ruling::Preview => "dry run: the plan would be shown and nothing changed",
        Ruling::Hold { .. } => "it would be held and the gates asked again",
        Ruling::Deny => match mode {
            Mode::Off => "nothing: it is switched off",
            Mode::DryRun | Mode::Approval | Mode::Auto => {
                "nothing would be changed and people would be told"
            }
        },
    }
}

/// What an outcome means.
fn outcome_line(outcome: Outcome) -> String {
    format!("{}: {}", outcome.name(), meaning(outcome))
}
