//! A briefing: what a person who is called to an incident has to know, and what that person can do
//! about it now, as data. Every receiver renders this one model; none looks into an incident itself,
//! so that all of them say the same.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approval;
use super::diagnosis::Conclusion;
use super::event::Outcome;
use super::explain;
use super::gate::{Gate, Ruling, Stand};
use super::id::{Digest, IncidentId};
use super::incident::{Incident, Phase};
use super::plan::Change;
use super::policy::spec::{ActionSpec, Mode};

mod evidence;
#[cfg(test)]
mod tests;

/// Alerts that are shown by name: one message must stay one screen, whatever joins the incident.
const ALERTS: usize = 5;
/// Annotations that explain an alert in a sentence, in the order of preference.
const EXPLAINING: [&str; 3] = ["summary", "description", "message"];
/// Annotations with addresses, by the conventions of Prometheus' mixins, and what they are called.
const ADDRESSES: [(&str, &str); 3] =
    [("runbook_url", "Runbook"), ("dashboard_url", "Dashboard"), ("grafana_url", "Grafana")];
/// Longer addresses are no links that a person follows, and Slack takes no longer ones in a button.
const ADDRESS: usize = 2000;

/// What a person has to know about an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Briefing {
    /// Which incident.
    pub incident: IncidentId,
    /// After how many of its events this was true.
    pub version: u64,
    /// What fired on what, in one line.
    pub headline: String,
    /// Where it stands.
    pub standing: Standing,
    /// The same in a sentence, with who and until when.
    pub status: String,
    /// What happens next, and when.
    pub next: String,
    /// The alerts, the first one first; at most five.
    pub alerts: Vec<AlertLine>,
    /// How many more there are.
    pub more_alerts: usize,
    /// What the first alert's author says about it.
    pub explanation: Option<String>,
    /// The first alert's label `severity`.
    pub severity: Option<String>,
    /// Since when the first alert fires.
    pub since: Timestamp,
    /// What it is about.
    pub target: String,
    /// In which namespace, when that is known.
    pub namespace: Option<String>,
    /// The policy that answers.
    pub policy: String,
    /// The policy's mode.
    pub mode: Mode,
    /// What was found, in a sentence; absent while it is looked for.
    pub cause: Option<String>,
    /// What it rests on.
    pub evidence: Vec<String>,
    /// What would be done, or was.
    pub plan: Option<PlanBrief>,
    /// What the plan touches besides doing good.
    pub blast_radius: Vec<String>,
    /// The gates that do not simply let it pass, with their reasons.
    pub concerns: Vec<String>,
    /// The question to people, while there is one.
    pub question: Option<QuestionBrief>,
    /// What a person can do now.
    pub offers: Vec<Offer>,
    /// Where to look.
    pub links: Vec<Link>,
}

/// Where an incident stands, as far as it matters to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It is being looked at.
    Looking,
    /// Gates hold it.
    Held,
    /// A person put it off.
    Snoozed,
    /// People are asked.
    Waiting,
    /// Steps are carried out.
    Executing,
    /// The resolution is watched.
    Verifying,
    /// It could not be resolved; people are called.
    Escalating,
    /// It is over.
    Ended(Outcome),
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertLine {
    /// Its name.
    pub name: String,
    /// Its other labels, as `name="value"`.
    pub labels: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ended.
    pub resolved: Option<Timestamp>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanBrief {
    /// What an approval binds to.
    pub digest: Digest,
    /// In one sentence.
    pub sentence: String,
    /// Step by step.
    pub steps: Vec<StepBrief>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepBrief {
    /// What it does.
    pub summary: String,
    /// Why this and not something else.
    pub reason: String,
    /// What the API server says that it changes, as a unified diff; may be empty.
    pub diff: String,
}

/// A question to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuestionBrief {
    /// About which plan.
    pub digest: Digest,
    /// Until when.
    pub expires: Timestamp,
    /// How many different people are needed.
    pub quorum: u32,
    /// Who agreed so far.
    pub given: Vec<String>,
    /// The groups that may decide; nobody named means every approver.
    pub groups: Vec<String>,
}

/// What a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Offer {
    /// Agree with the plan.
    Approve,
    /// Say no to it.
    Refuse,
    /// Put the question off.
    Snooze,
    /// End a snooze.
    AskNow,
    /// Stop it.
    Abort,
}

/// A place to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub title: String,
    /// Its address, http or https.
    pub url: String,
}

impl Link {
    /// A link, if `url` is an address that a person can safely follow.
    pub fn new(title: &str, url: &str) -> Option<Self> {
        let web = url.starts_with("https://") || url.starts_with("http://");
        let odd = |c: char| c.is_control() || c.is_whitespace() || "<>|\"'`\\".contains(c);
        let fits = url.len() <= ADDRESS && !url.contains(odd);
        (web && fits).then(|| Self { title: title.to_owned(), url: url.to_owned() })
    }
}

impl Briefing {
    /// The briefing about `incident`.
    pub fn of(incident: &Incident) -> Self {
        let alert = incident.alert();
        let text = |name: &&str| alert.annotations.get(*name).cloned();
        let alerts = incident.alerts.iter().take(ALERTS).map(alert_line).collect();
        let wanted = incident.wanted.as_ref().ok();
        Self {
            incident: incident.id.clone(),
            version: incident.version,
            headline: format!("{} on {}", alert.name(), incident.target_name()),
            standing: standing(incident),
            status: status(incident),
            next: next(incident),
            alerts,
            more_alerts: incident.alerts.len().saturating_sub(ALERTS),
            explanation: EXPLAINING.iter().find_map(text),
            severity: alert.labels.get("severity").cloned(),
            since: alert.starts_at,
            target: incident.target_name(),
            namespace: wanted.map(|wanted| wanted.namespace.clone()),
            policy: incident.policy.name.clone(),
            mode: incident.policy.spec.mode,
            cause: incident.finding.as_ref().map(explain::cause),
            evidence: incident.facts.as_ref().map(evidence::lines).unwrap_or_default(),
            plan: plan(incident),
            blast_radius: blast_radius(incident),
            concerns: concerns(incident),
            question: question(incident),
            offers: offers(incident),
            links: links(incident),
        }
    }
}

fn alert_line(attached: &super::incident::Attached) -> AlertLine {
    let alert = &attached.alert;
    let labels = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
    AlertLine {
        name: alert.name().to_owned(),
        labels: labels.join(" "),
        since: alert.starts_at,
        resolved: attached.resolved,
    }
}

fn standing(incident: &Incident) -> Standing {
    match &incident.phase {
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating => Standing::Looking,
        Phase::Held { .. } if incident.snooze.is_some() => Standing::Snoozed,
        // A cause that is looked for again is no gate.
        Phase::Held { .. } if incident.gates.is_none() => Standing::Looking,
        Phase::Held { .. } => Standing::Held,
        Phase::Asking => Standing::Waiting,
        Phase::Executing { .. } => Standing::Executing,
        Phase::Verifying { .. } => Standing::Verifying,
        Phase::GivenUp { .. } => Standing::Escalating,
        Phase::Closed { outcome, .. } => Standing::Ended(*outcome),
    }
}

fn status(incident: &Incident) -> String {
    match &incident.phase {
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating => "It is being looked at".to_owned(),
        Phase::Held { until } => match (&incident.snooze, &incident.finding) {
            (Some(snooze), _) => {
                format!("{} put it off until {}", snooze.by.name, explain::clock(snooze.until))
            }
            (None, Some(finding)) if incident.gates.is_none() => match &finding.conclusion {
                Conclusion::Cause { .. } => "It is being looked at".to_owned(),
                Conclusion::Unknown { .. } | Conclusion::NoCause => {
                    format!("It is looked at again at {}", explain::clock(*until))
                }
            },
            (None, _) => {
                format!("Gates hold it; they are asked again at {}", explain::clock(*until))
            }
        },
        Phase::Asking => asked(incident),
        Phase::Executing { step, attempt, .. } => {
            let steps = incident.proposal.iter().flat_map(|it| &it.plan.steps);
            let all: Vec<_> = steps.map(|step| step.summary.as_str()).collect();
            let again = if *attempt > 1 { format!(" (try {attempt})") } else { String::new() };
            let now = all.get(*step).copied().unwrap_or("the last step");
            format!("Step {} of {}{again}: {now}", step + 1, all.len())
        }
        Phase::Verifying { since, .. } => {
            let until = since.saturating_add(incident.policy.spec.verify.within.get());
            let until = explain::clock(until.unwrap_or(*since));
            format!("The change is made; it is watched until {until} at the latest")
        }
        Phase::GivenUp { outcome, reason } => {
            format!("{}: {reason}. This is a person's work now", sentence(*outcome))
        }
        Phase::Closed { outcome, reason, .. } => format!("{}: {reason}", sentence(*outcome)),
    }
}

fn sentence(outcome: Outcome) -> String {
    let meaning = explain::meaning(outcome);
    let mut letters = meaning.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn asked(incident: &Incident) -> String {
    let again = match incident.stale {
        0 => String::new(),
        _ => "The target changed, so it was planned again. ".to_owned(),
    };
    let Some(question) = &incident.question else { return format!("{again}It is being asked") };
    let until = explain::clock(question.expires);
    let names: Vec<_> = question.given.iter().map(|given| given.by.name.as_str()).collect();
    match names.as_slice() {
        [] if question.quorum <= 1 => format!("{again}Waits for approval until {until}"),
        [] => format!("{again}Waits for {} approvals until {until}", question.quorum),
        names => {
            let (given, quorum) = (names.len(), question.quorum);
            format!("{again}{given} of {quorum} approved ({}); until {until}", names.join(", "))
        }
    }
}

fn next(incident: &Incident) -> String {
    let spec = &incident.policy.spec;
    let verify = format!("then it is verified within {}", spec.verify.within);
    let missed = match spec.on_failure.get(incident.fallback.map_or(0, |index| index + 1)) {
        Some(ActionSpec::Escalate(to)) => format!("if that fails, `{}` is told", to.to),
        Some(action) => format!("if that fails, `{}` is tried", action.name()),
        None => "if that fails, people are told".to_owned(),
    };
    match &incident.phase {
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating => "A cause is looked for, and a plan is made".to_owned(),
        Phase::Held { .. } if incident.snooze.is_some() => {
            "Then it is looked at again and asked anew; until then nothing is done".to_owned()
        }
        Phase::Held { .. } => "Nothing is changed while a gate holds it".to_owned(),
        Phase::Asking => {
            let told = match super::escalation::next(incident) {
                Some(at) => format!("; people are called at {}", explain::clock(at)),
                None => String::new(),
            };
            format!(
                "Approved, it is carried out at once, {verify}; {missed}. Without an answer nothing is changed{told}"
            )
        }
        Phase::Executing { .. } => format!("The steps are carried out, {verify}; {missed}"),
        Phase::Verifying { progress, .. } => {
            let states: Vec<_> = progress.criteria.iter().map(ToString::to_string).collect();
            let states = states.join("; ");
            if states.is_empty() { missed } else { format!("{states}. Otherwise: {missed}") }
        }
        Phase::GivenUp { .. } => match super::escalation::next(incident) {
            Some(at) => format!("People are called at {}", explain::clock(at)),
            None => "Nobody else is called".to_owned(),
        },
        Phase::Closed { .. } => "Nothing".to_owned(),
    }
}

fn plan(incident: &Incident) -> Option<PlanBrief> {
    let proposal = incident.proposal.as_ref()?;
    let diff = |index: usize| proposal.previews.get(index).map(|it| it.diff.clone());
    let steps = proposal.plan.steps.iter().enumerate().map(|(index, step)| StepBrief {
        summary: step.summary.clone(),
        reason: step.reason.clone(),
        diff: diff(index).unwrap_or_default(),
    });
    Some(PlanBrief {
        digest: proposal.digest,
        sentence: explain::summary(&proposal.plan),
        steps: steps.collect(),
    })
}

/// What the plan takes away for a moment, and what is left of the budgets.
fn blast_radius(incident: &Incident) -> Vec<String> {
    let Some(proposal) = &incident.proposal else { return Vec::new() };
    let mut lines = Vec::new();
    for step in &proposal.plan.steps {
        match &step.change {
            Change::Patch(change) if change.replaces_pods => {
                let facts = incident.facts.iter().flat_map(|facts| &facts.targets);
                let found = facts.into_iter().find(|it| it.uid == change.object.uid);
                lines.push(evidence::replaced(&change.object.name, found));
            }
            Change::Patch(change) => {
                lines.push(format!("no running pod of {} is touched", change.object.name));
            }
            Change::DeletePods(change) => {
                let (pods, name) = (change.pods.len(), &change.owner.name);
                lines.push(format!("deletes {}", evidence::pods_of(pods, name)));
            }
            Change::Notify { .. } => {}
        }
    }
    let verdicts = incident.gates.iter().flat_map(|gated| &gated.verdicts);
    let budgets = verdicts.filter(|verdict| verdict.gate == Gate::Budget);
    lines.extend(budgets.map(|verdict| verdict.evidence.to_string()));
    lines
}

fn concerns(incident: &Incident) -> Vec<String> {
    let Some(gated) = &incident.gates else { return Vec::new() };
    let heard = |stand: Stand| match (gated.ruling, stand) {
        (_, Stand::Deny | Stand::Hold { .. }) => true,
        // That the mode asks is no concern.
        (Ruling::Ask, Stand::Ask) => true,
        (_, Stand::Ask | Stand::Allow) => false,
    };
    let all = gated.verdicts.iter().filter(|it| heard(it.stand) && it.gate != Gate::Mode);
    all.map(|verdict| format!("{}: {}", verdict.gate.name(), verdict.evidence)).collect()
}

fn question(incident: &Incident) -> Option<QuestionBrief> {
    let question = incident.question.as_ref()?;
    let spec = &incident.policy.spec.approval;
    let steps = incident.proposal.iter().flat_map(|proposal| &proposal.plan.steps);
    let mut groups: Vec<_> =
        steps.flat_map(|step| approval::approvers(spec, &step.action)).cloned().collect();
    groups.sort();
    groups.dedup();
    matches!(incident.phase, Phase::Asking).then(|| QuestionBrief {
        digest: question.digest,
        expires: question.expires,
        quorum: question.quorum,
        given: question.given.iter().map(|given| given.by.name.clone()).collect(),
        groups,
    })
}

fn offers(incident: &Incident) -> Vec<Offer> {
    if incident.abort.is_some() {
        return Vec::new();
    }
    match &incident.phase {
        Phase::Asking => vec![Offer::Approve, Offer::Refuse, Offer::Snooze],
        Phase::Held { .. } if incident.snooze.is_some() => vec![Offer::AskNow, Offer::Abort],
        Phase::Held { .. } if incident.gates.is_some() => vec![Offer::Snooze, Offer::Abort],
        Phase::Executing { .. } | Phase::Verifying { .. } | Phase::GivenUp { .. } => {
            vec![Offer::Abort]
        }
        // A moment, or nothing any more.
        Phase::Held { .. }
        | Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating
        | Phase::Closed { .. } => Vec::new(),
    }
}

fn links(incident: &Incident) -> Vec<Link> {
    let alert = incident.alert();
    let runbook = incident.policy.spec.runbook.as_deref();
    let mut links: Vec<_> = runbook.and_then(|url| Link::new("Runbook", url)).into_iter().collect();
    for (annotation, title) in ADDRESSES {
        let url = alert.annotations.get(annotation);
        let known = links.iter().any(|link| link.title == title);
        links.extend(url.filter(|_| !known).and_then(|url| Link::new(title, url)));
    }
    links.extend(Link::new("Prometheus", &alert.generator_url));
    links
}
