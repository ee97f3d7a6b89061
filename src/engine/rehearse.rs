//! Rehearsal: the decision without the deed. The same functions as in earnest, so that what is
//! explained is what would happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::action::quota::{self, Quota};
use crate::domain::action::{self, Impossible, Stamp};
use crate::domain::alert::Alert;
use crate::domain::check;
use crate::domain::diagnosis::Conclusion;
use crate::domain::diagnosis::view::View;
use crate::domain::event::{Event, NotChosen, Preview};
use crate::domain::facts::{Fact, Facts};
use crate::domain::gate::ledger::Ledger;
use crate::domain::gate::rails::GuardRails;
use crate::domain::gate::{self, AlertState, Inputs, Monitoring, Ruling, Verdict};
use crate::domain::id::{Digest, IncidentId};
use crate::domain::incident::Incident;
use crate::domain::plan::{Change, PatchChange, Plan, Step};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::compiled::CompiledPolicy;
use crate::domain::policy::spec::{ActionSpec, Mode};
use crate::kubernetes::diff;
use crate::kubernetes::writer::{Again, DryRun, Mark};

use super::board::Board;
use super::collect::{self, CollectError, Surroundings};
use super::{Engine, Shared};

/// Makes and checks a plan.
pub fn plan(
    incident: &Incident,
    cause: String,
    actions: &[ActionSpec],
    facts: &Facts,
) -> Result<Plan, (String, Impossible)> {
    let steps = action::plan(actions, facts, stamp(incident))?;
    let plan = Plan { cause, policy: incident.policy.digest, steps };
    check::check(&plan, &incident.policy.spec, actions, facts)
        .map_err(|violation| ("plan".to_owned(), Impossible::RefusedByCheck { violation }))?;
    Ok(plan)
}

/// Stands for "now" in a plan: fixed for one attempt of one incident, so that the same facts give
/// the same digest however often it is planned.
fn stamp(incident: &Incident) -> Stamp {
    let attempt = incident.fallback.map_or(0, |index| index as i64 + 1);
    let time = incident.opened.saturating_add(jiff::SignedDuration::from_secs(attempt));
    Stamp { time: time.unwrap_or(incident.opened) }
}

/// The digest of the plan that would be made now, if one would.
pub fn digest(
    incident: &Incident,
    policy: &CompiledPolicy,
    facts: &Facts,
    now: Timestamp,
) -> Option<Digest> {
    let spec = &incident.policy.spec;
    let (cause, actions) = match incident.fallback {
        Some(index) => {
            let actions = spec.on_failure.get(index..=index)?;
            (format!("on failure {}: {}", index + 1, actions[0].name()), actions)
        }
        None => {
            let view = View::new(incident.alert(), facts, now);
            let finding = policy.diagnose(&view);
            let Conclusion::Cause { name } = finding.conclusion else { return None };
            let cause = spec.causes.iter().find(|cause| cause.name == name)?;
            (name, cause.actions.as_slice())
        }
    };
    plan(incident, cause, actions, facts).ok().map(|plan| plan.digest())
}

/// What the API server says about a plan.
pub enum Previewed {
    /// This is what it would do.
    Would(Vec<Preview>),
    /// It would refuse this action.
    Impossible(String, Impossible),
    /// The target changed meanwhile.
    Stale(String),
    /// It could not be asked.
    Unavailable(String),
}

/// Sends every step as a server-side dry run.
pub async fn preview(shared: &Shared, incident: &Incident, plan: &Plan) -> Previewed {
    let mut previews = Vec::new();
    let mut quotas = Quotas::default();
    for (index, step) in plan.steps.iter().enumerate() {
        if let Change::Notify { .. } = step.change {
            previews.push(Preview { diff: String::new(), changes: Vec::new() });
            continue;
        }
        let mark = Mark { incident: incident.id.clone(), plan: plan.digest(), step: index };
        match shared.ports.writer.dry_run(step, &mark).await {
            DryRun::Would { before, after } => {
                if let Some(no) = quotas.no(shared, incident, step, &before, &after).await {
                    return no;
                }
                let changes = diff::fields(&before, &after);
                let changes = changes.iter().map(ToString::to_string).collect();
                previews.push(Preview { diff: diff::unified(&before, &after), changes });
            }
            // Busy is no answer to the question: it is asked again.
            DryRun::Refused(refusal) if matches!(refusal.again, Again::Later { .. }) => {
                return Previewed::Unavailable(refusal.to_string());
            }
            DryRun::Refused(refusal) => {
                let message = refusal.to_string();
                let why = Impossible::RefusedByServer { message };
                return Previewed::Impossible(step.action.clone(), why);
            }
            DryRun::Conflict { what } => return Previewed::Stale(what),
            DryRun::Unavailable { why } => return Previewed::Unavailable(why),
        }
    }
    Previewed::Would(previews)
}

/// The quotas of the namespaces that a plan changes something in, read once a plan.
#[derive(Default)]
struct Quotas(BTreeMap<String, Vec<Quota>>);

impl Quotas {
    /// Why the pods of this step would not be made, if so: the dry run of a workload does not tell.
    async fn no(
        &mut self,
        shared: &Shared,
        incident: &Incident,
        step: &Step,
        before: &Value,
        after: &Value,
    ) -> Option<Previewed> {
        let Change::Patch(PatchChange { object, .. }) = &step.change else { return None };
        let facts =
            incident.facts.iter().flat_map(|facts| facts.targets.iter().chain(&facts.related));
        let workload = facts.into_iter().find(|workload| workload.uid == object.uid)?;
        if !self.0.contains_key(&object.namespace) {
            let quotas = match shared.ports.reader.quotas(&object.namespace).await {
                Ok(quotas) => quotas,
                // Forbidden stays forbidden: a person must hear of it.
                Err(error) if matches!(error.code(), Some(401 | 403)) => {
                    let fact = "whether the namespace's quota has room".to_owned();
                    let why = Impossible::FactUnknown { fact, cause: error.to_string() };
                    return Some(Previewed::Impossible(step.action.clone(), why));
                }
                Err(error) => return Some(Previewed::Unavailable(error.to_string())),
            };
            match quotas.iter().map(Quota::read).collect() {
                Ok(read) => self.0.insert(object.namespace.clone(), read),
                Err(why) => return Some(Previewed::Unavailable(why)),
            };
        }
        let quotas = self.0.get_mut(&object.namespace)?;
        let charged = quota::charge_change(quotas, before, after, workload.replicas.current);
        charged.err().map(|why| Previewed::Impossible(step.action.clone(), why))
    }
}

/// What the gates look at for an incident; nothing when it has no plan.
pub fn inputs<'a>(
    shared: &'a Shared,
    incident: &'a Incident,
    board: &'a Board,
    surroundings: &'a Surroundings,
) -> Option<Inputs<'a>> {
    let policies = shared.policies();
    Some(Inputs {
        incident: &incident.id,
        policy: &incident.policy.name,
        spec: &incident.policy.spec,
        mode_now: policies.get(&incident.policy.name).map(|policy| policy.spec.mode),
        plan: &incident.proposal.as_ref()?.plan,
        facts: incident.facts.as_ref()?,
        rails: &shared.rails,
        ledger: board.ledger(),
        workloads: &surroundings.workloads,
        alert: &surroundings.alert,
        monitoring: &surroundings.monitoring,
        now: shared.clock.now(),
    })
}

/// A whole decision with its reasons, without the deed.
#[derive(Debug)]
pub struct Rehearsal {
    /// The incident as it would stand; absent when no policy answers the alert.
    pub incident: Option<Incident>,
    /// The policies that matched and were not taken.
    pub others: Vec<NotChosen>,
    /// The gates' answer, when there is a plan.
    pub gates: Option<(Ruling, Vec<Verdict>)>,
    /// Why it ends where it ends.
    pub stopped: Option<String>,
}

impl Engine {
    /// Decides about an alert without doing anything: facts are read, the plan is sent as a dry
    /// run, the gates are asked, nothing is noted.
    pub async fn rehearse(&self, alert: &Alert) -> Rehearsal {
        let shared = &*self.shared;
        let policies = shared.policies();
        let (mut rehearsal, policy) = opened(&policies, alert, shared.clock.now());
        if let (Some(incident), Some(policy)) = (&mut rehearsal.incident, policy) {
            match rehearse(shared, incident, &policy).await {
                Ok(answer) => rehearsal.gates = Some(answer),
                Err(why) => rehearsal.stopped = Some(why),
            }
        }
        rehearsal
    }
}

/// The same over facts that were collected before, without a cluster: the API server is not asked
/// what the plan would change, and nothing is known of other workloads and earlier incidents. Now is
/// when the facts were collected.
pub fn rehearse_over(
    facts: Facts,
    alert: &Alert,
    policies: &PolicySet,
    rails: &GuardRails,
) -> Rehearsal {
    let (mut rehearsal, policy) = opened(policies, alert, facts.at);
    if let (Some(incident), Some(policy)) = (&mut rehearsal.incident, policy) {
        match decide_over(facts, incident, &policy, rails) {
            Ok(answer) => rehearsal.gates = Some(answer),
            Err(why) => rehearsal.stopped = Some(why),
        }
    }
    rehearsal
}

/// The incident that the alert would open.
fn opened(
    policies: &PolicySet,
    alert: &Alert,
    now: Timestamp,
) -> (Rehearsal, Option<Arc<CompiledPolicy>>) {
    let choice = policies.choose(alert);
    let others: Vec<_> = choice
        .losers
        .iter()
        .map(|it| NotChosen { policy: it.policy.name.clone(), why: it.why.to_string() })
        .collect();
    let Some(policy) = choice.winner else {
        let stopped = Some("no policy matches the alert".to_owned());
        return (Rehearsal { incident: None, others, gates: None, stopped }, None);
    };
    let opened = Event::IncidentOpened {
        alert: alert.clone(),
        policy: Box::new(policy.snapshot()),
        others: others.clone(),
        target: policy.resolve_target(alert).map_err(|error| error.to_string()),
    };
    let incident = Incident::open(&IncidentId::of(alert.episode()), now, &opened);
    (Rehearsal { incident, others, gates: None, stopped: None }, Some(policy))
}

fn decide_over(
    facts: Facts,
    incident: &mut Incident,
    policy: &CompiledPolicy,
    rails: &GuardRails,
) -> Result<(Ruling, Vec<Verdict>), String> {
    let now = facts.at;
    in_force(policy, rails)?;
    let query = incident.wanted.clone()?;
    if let Some(other) = facts.targets.iter().map(|it| &it.target).find(|it| !query.fits(it)) {
        return Err(format!("the facts are about {other}, and the alert is about {query}"));
    }
    let targets = facts.targets.iter().map(|workload| workload.target.clone()).collect();
    incident.apply(now, &Event::TargetsFound { targets });
    incident.apply(now, &Event::FactsCollected { facts: Box::new(facts.clone()) });
    let plan = conclude(incident, policy, &facts, now)?;
    let (digest, previews) = (plan.digest(), Vec::new());
    incident.apply(now, &Event::PlanProposed { plan: Box::new(plan.clone()), digest, previews });
    let not_asked = || "no cluster was asked".to_owned();
    let inputs = Inputs {
        incident: &incident.id,
        policy: &policy.name,
        spec: &policy.spec,
        mode_now: Some(policy.spec.mode),
        plan: &plan,
        facts: &facts,
        rails,
        ledger: &Ledger::default(),
        workloads: &Fact::Unknown { source: not_asked(), at: now, why: not_asked() },
        alert: &AlertState::NotConfigured,
        monitoring: &Monitoring::Unchecked,
        now,
    };
    Ok(gate::decide(&inputs))
}

fn in_force(policy: &CompiledPolicy, rails: &GuardRails) -> Result<(), String> {
    match policy.spec.mode.min(rails.mode) {
        Mode::Off => Err(format!("policy `{}` is switched off", policy.name)),
        Mode::DryRun | Mode::Approval | Mode::Auto => Ok(()),
    }
}

/// The plan that answers the facts, or why there is none.
fn conclude(
    incident: &mut Incident,
    policy: &CompiledPolicy,
    facts: &Facts,
    now: Timestamp,
) -> Result<Plan, String> {
    let view = View::new(incident.alert(), facts, now);
    let finding = policy.diagnose(&view);
    incident.apply(now, &Event::CauseFound { finding: finding.clone() });
    let name = match finding.conclusion {
        Conclusion::Cause { name } => name,
        Conclusion::Unknown { name, why } => {
            return Err(format!("whether `{name}` is the cause cannot be decided: {why}"));
        }
        Conclusion::NoCause => return Err("none of the policy's causes holds".to_owned()),
    };
    let cause = policy.spec.causes.iter().find(|cause| cause.name == name);
    let actions = cause.map_or(&[][..], |cause| cause.actions.as_slice());
    plan(incident, name, actions, facts).map_err(impossible)
}

fn impossible((action, why): (String, Impossible)) -> String {
    format!("`{action}` cannot be done: {why}")
}

async fn rehearse(
    shared: &Shared,
    incident: &mut Incident,
    policy: &CompiledPolicy,
) -> Result<(Ruling, Vec<Verdict>), String> {
    let said = |error| match error {
        CollectError::Gone(why) | CollectError::Unavailable(why) => why,
    };
    let now = shared.clock.now();
    in_force(policy, &shared.rails)?;
    let query = incident.wanted.clone()?;
    let targets = collect::locate(shared, &query).await.map_err(said)?;
    incident.apply(now, &Event::TargetsFound { targets });
    let facts = collect::facts(shared, incident, policy).await.map_err(said)?;
    incident.apply(now, &Event::FactsCollected { facts: Box::new(facts.clone()) });
    let plan = conclude(incident, policy, &facts, now)?;
    let previews = match preview(shared, incident, &plan).await {
        Previewed::Would(previews) => previews,
        Previewed::Impossible(action, why) => return Err(impossible((action, why))),
        Previewed::Stale(why) | Previewed::Unavailable(why) => return Err(why),
    };
    let digest = plan.digest();
    incident.apply(now, &Event::PlanProposed { plan: Box::new(plan), digest, previews });
    let surroundings = collect::surroundings(shared, incident).await;
    let board = shared.board();
    let inputs = inputs(shared, incident, &board, &surroundings);
    inputs.map(|inputs| gate::decide(&inputs)).ok_or_else(|| "there is no plan".to_owned())
}
