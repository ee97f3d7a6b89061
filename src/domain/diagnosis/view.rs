//! How facts appear to expressions: the public contract that `docs/FACTS.md` documents.
//!
//! What is unknown is not there at all, so that every use of it is an error and the expression's
//! verdict is unknown; it is never an empty list or a zero (invariant 7). What is absent is empty.

use std::collections::{BTreeMap, HashMap};

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString};
use cel::common::types::{CelDuration, CelMapKey, CelTimestamp};
use cel::common::value::Val;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use crate::domain::alert::{Alert, AlertStatus, Labels};
use crate::domain::facts::{
    ClusterEvent, Container, ContainerState, Fact, Facts, LogExcerpt, Owner, Pod, Revision,
    RevisionHealth, Rollout, RolloutState, Strategy, Termination, Workload,
};
use crate::domain::quantity::Quantity;

/// A value of the expression language.
type Cel = Box<dyn Val>;

/// The facts of one incident as an expression sees them.
#[derive(Debug)]
pub struct View {
    values: BTreeMap<&'static str, Cel>,
    unknown: BTreeMap<String, String>,
    queries: BTreeMap<String, Cel>,
}

impl View {
    /// What `alert` and `facts` say at `now`.
    pub fn new(alert: &Alert, facts: &Facts, now: Timestamp) -> Self {
        let mut view =
            Self { values: BTreeMap::new(), unknown: BTreeMap::new(), queries: BTreeMap::new() };
        view.put("now", instant(now));
        view.put("alert", alert_object(alert));
        view.put("labels", texts(&alert.labels));
        view.put("annotations", texts(&alert.annotations));
        view.put("targets", list(facts.targets.iter().map(|target| workload(target, now))));
        view.put("related", list(facts.related.iter().map(|target| workload(target, now))));
        view.put_queries(&facts.queries);
        match facts.targets.as_slice() {
            [] => view.put_nothing("the policy's target was not found"),
            [target] => {
                view.put("target", workload(target, now));
                view.put("rollout", rollout(&target.rollout, now));
                view.put_list("revisions", &target.revisions, |found| revision(found, now));
                view.put_one("autoscaler", &target.autoscaler, |found| {
                    object([
                        ("name", text(&found.name)),
                        ("min", whole(found.min)),
                        ("max", whole(found.max)),
                    ])
                });
                view.put_one("verticalAutoscaler", &target.vertical_autoscaler, |found| {
                    object([("name", text(&found.name)), ("mode", text(&found.mode))])
                });
                view.put_lists(std::slice::from_ref(target), now);
            }
            several => {
                let count = several.len();
                let why = format!("the policy's selector found {count} workloads; use `targets`");
                for name in ["target", "rollout", "revisions", "autoscaler", "verticalAutoscaler"] {
                    view.put_unknown(name, &why);
                }
                view.put_lists(several, now);
            }
        }
        view
    }

    /// The value of a variable, unless it is unknown.
    pub(super) fn value(&self, name: &str) -> Option<&dyn Val> {
        self.values.get(name).map(AsRef::as_ref)
    }

    /// The answer to a query, unless it is absent or unknown.
    pub(super) fn query(&self, name: &str) -> Option<&dyn Val> {
        self.queries.get(name).map(AsRef::as_ref)
    }

    /// Why a variable (`pods`, `queries.NAME`) is unknown, when it is.
    pub fn why_unknown(&self, name: &str) -> Option<&str> {
        self.unknown.get(name).map(String::as_str)
    }

    /// Every unknown variable with its reason.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unknown.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }

    fn put(&mut self, name: &'static str, value: Cel) {
        self.values.insert(name, value);
    }

    fn put_unknown(&mut self, name: &str, why: &str) {
        self.unknown.insert(name.to_owned(), why.to_owned());
    }

    fn put_nothing(&mut self, why: &str) {
        for variable in super::vocabulary::VARIABLES {
            if !self.values.contains_key(variable.name) {
                self.put_unknown(variable.name, why);
            }
        }
    }

    fn put_queries(&mut self, queries: &BTreeMap<String, Fact<f64>>) {
        for (name, answer) in queries {
            match answer {
                Fact::Known { value, .. } => {
                    self.queries.insert(name.clone(), Box::new(CelDouble::from(*value)));
                }
                Fact::Absent { .. } => {}
                Fact::Unknown { why, .. } => self.put_unknown(&format!("queries.{name}"), why),
            }
        }
        let known = self.queries.iter().map(|(name, value)| (name.clone(), value.clone()));
        let known = named(known.collect::<Vec<_>>());
        self.put("queries", known);
    }

    fn put_one<T>(&mut self, name: &'static str, fact: &Fact<T>, convert: impl Fn(&T) -> Cel) {
        match fact {
            Fact::Known { value, .. } => self.put(name, convert(value)),
            Fact::Absent { .. } => self.put(name, Box::new(CelNull)),
            Fact::Unknown { why, .. } => self.put_unknown(name, why),
        }
    }

    fn put_list<T>(
        &mut self,
        name: &'static str,
        fact: &Fact<Vec<T>>,
        convert: impl Fn(&T) -> Cel,
    ) {
        self.put_union(name, [fact].into_iter(), convert);
    }

    fn put_union<'f, T: 'f>(
        &mut self,
        name: &'static str,
        facts: impl Iterator<Item = &'f Fact<Vec<T>>>,
        convert: impl Fn(&T) -> Cel,
    ) {
        let mut all = Vec::new();
        for fact in facts {
            match fact {
                Fact::Known { value, .. } => all.extend(value.iter().map(&convert)),
                Fact::Absent { .. } => {}
                Fact::Unknown { why, .. } => return self.put_unknown(name, why),
            }
        }
        self.put(name, list(all));
    }

    fn put_lists(&mut self, targets: &[Workload], now: Timestamp) {
        let all = targets.iter();
        self.put_union("pods", all.clone().map(|t| &t.pods), |found| pod(found, now));
        self.put_union("events", all.clone().map(|t| &t.events), |found| event(found, now));
        self.put_union("logs", all.clone().map(|t| &t.logs), log);
        self.put_union("budgets", all.clone().map(|t| &t.budgets), |found| {
            object([
                ("name", text(&found.name)),
                ("disruptionsAllowed", whole(found.disruptions_allowed)),
            ])
        });
        self.put_union("nodes", all.clone().map(|t| &t.nodes), |found| {
            object([
                ("name", text(&found.name)),
                ("ready", truth(found.ready)),
                ("trouble", list(found.trouble.iter().map(|trouble| text(trouble)))),
            ])
        });
        self.put("owners", list(all.flat_map(|t| &t.owners).map(owner)));
    }
}

fn truth(value: bool) -> Cel {
    Box::new(CelBool::from(value))
}

fn whole(value: i64) -> Cel {
    Box::new(CelInt::from(value))
}

fn text(value: &str) -> Cel {
    Box::new(CelString::from(value.to_owned()))
}

fn optional_text(value: Option<&String>) -> Cel {
    text(value.map_or("", String::as_str))
}

fn instant(value: Timestamp) -> Cel {
    let nanos = u32::try_from(value.subsec_nanosecond()).unwrap_or(0);
    let time = chrono::DateTime::from_timestamp(value.as_second(), nanos).unwrap_or_default();
    Box::new(CelTimestamp::from(time.fixed_offset()))
}

/// The time from `since` to `now`; a clock that is a little ahead gives no negative age.
fn age(since: Timestamp, now: Timestamp) -> Cel {
    length(now.duration_since(since).max(SignedDuration::ZERO))
}

fn length(value: SignedDuration) -> Cel {
    let nanos = u32::try_from(value.subsec_nanos()).unwrap_or(0);
    let duration = chrono::TimeDelta::new(value.as_secs(), nanos).unwrap_or_default();
    Box::new(CelDuration::from(duration))
}

fn list(items: impl IntoIterator<Item = Cel>) -> Cel {
    Box::new(CelList::from(items.into_iter().collect::<Vec<_>>()))
}

fn named(entries: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    let entries = entries.into_iter().map(|(name, value)| (CelMapKey::from(name), value));
    Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
}

fn object(fields: impl IntoIterator<Item = (&'static str, Cel)>) -> Cel {
    let fields = fields.into_iter().map(|(name, value)| (CelMapKey::from(name), value));
    Box::new(CelMap::from(fields.collect::<HashMap<_, _>>()))
}

fn texts(labels: &Labels) -> Cel {
    named(labels.iter().map(|(name, value)| (name.clone(), text(value))))
}

fn alert_object(alert: &Alert) -> Cel {
    let status = match alert.status {
        AlertStatus::Firing => "firing",
        AlertStatus::Resolved => "resolved",
    };
    object([
        ("name", text(alert.name())),
        ("status", text(status)),
        ("startsAt", instant(alert.starts_at)),
    ])
}

fn workload(found: &Workload, now: Timestamp) -> Cel {
    let metadata = |name: &str| {
        let entries = found.object.pointer(&format!("/metadata/{name}")).and_then(Json::as_object);
        let entries = entries.into_iter().flatten();
        named(entries.filter_map(|(name, value)| Some((name.clone(), text(value.as_str()?)))))
    };
    let containers = found.object.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Json::as_array).into_iter().flatten();
    let strategy = match found.strategy {
        Strategy::RollingUpdate { .. } => "RollingUpdate",
        Strategy::Recreate => "Recreate",
        Strategy::OnDelete => "OnDelete",
    };
    let replicas = object([
        ("desired", whole(found.replicas.desired)),
        ("current", whole(found.replicas.current)),
        ("updated", whole(found.replicas.updated)),
        ("ready", whole(found.replicas.ready)),
        ("available", whole(found.replicas.available)),
    ]);
    object([
        ("kind", text(&found.target.kind.to_string())),
        ("namespace", text(&found.target.namespace)),
        ("name", text(&found.target.name)),
        ("generation", whole(found.generation)),
        ("paused", truth(found.paused)),
        ("strategy", text(strategy)),
        ("replicas", replicas),
        ("labels", metadata("labels")),
        ("annotations", metadata("annotations")),
        ("containers", list(containers.map(template_container))),
        ("rollout", rollout(&found.rollout, now)),
    ])
}

fn template_container(container: &Json) -> Cel {
    let field = |name: &str| text(container.get(name).and_then(Json::as_str).unwrap_or(""));
    let amounts = |name: &str| {
        let amounts = container.pointer(&format!("/resources/{name}")).and_then(Json::as_object);
        let amounts = amounts.into_iter().flatten();
        named(amounts.filter_map(|(name, amount)| {
            let amount: Quantity = match amount {
                Json::String(amount) => amount.parse().ok()?,
                Json::Number(amount) => amount.to_string().parse().ok()?,
                Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
            };
            Some((name.clone(), text(&amount.to_string())))
        }))
    };
    object([
        ("name", field("name")),
        ("image", field("image")),
        ("limits", amounts("limits")),
        ("requests", amounts("requests")),
    ])
}

fn rollout(found: &Rollout, now: Timestamp) -> Cel {
    let state = match found.state {
        RolloutState::Complete => "complete",
        RolloutState::Progressing => "progressing",
        RolloutState::Stuck => "stuck",
        RolloutState::Unobserved => "unobserved",
        RolloutState::Untracked => "untracked",
    };
    let fixed = [("state", text(state)), ("message", text(&found.message))];
    object(fixed.into_iter().chain(found.started.map(|started| ("age", age(started, now)))))
}

fn revision(found: &Revision, now: Timestamp) -> Cel {
    let (health, served) = match &found.health {
        RevisionHealth::Available => ("available", None),
        RevisionHealth::Verified { .. } => ("verified", None),
        RevisionHealth::Served { until, since } => ("served", Some(age(*since, *until))),
        RevisionHealth::Failing { .. } => ("failing", None),
        RevisionHealth::Unknown => ("unknown", None),
    };
    let containers = found.template.pointer("/spec/containers").and_then(Json::as_array);
    let images = containers.into_iter().flatten();
    let images = images.filter_map(|container| Some(text(container.get("image")?.as_str()?)));
    let fixed = [
        ("number", whole(found.number)),
        ("current", truth(found.current)),
        ("age", age(found.created, now)),
        ("images", list(images)),
        ("health", text(health)),
        ("changeCause", optional_text(found.change_cause.as_ref())),
    ];
    object(fixed.into_iter().chain(served.map(|served| ("servedFor", served))))
}

fn pod(found: &Pod, now: Timestamp) -> Cel {
    object([
        ("name", text(&found.name)),
        ("phase", text(&found.phase)),
        ("reason", optional_text(found.reason.as_ref())),
        ("ready", truth(found.ready)),
        ("terminating", truth(found.terminating)),
        ("restarts", whole(found.restarts())),
        ("age", age(found.created, now)),
        ("node", optional_text(found.node.as_ref())),
        ("unschedulable", optional_text(found.unschedulable.as_ref())),
        ("containers", list(found.containers.iter().map(|found| container(found, now)))),
    ])
}

fn container(found: &Container, now: Timestamp) -> Cel {
    let nothing = ("", "");
    let (running, (reason, message), terminated) = match &found.state {
        ContainerState::Waiting { reason, message } => {
            (false, (reason.as_str(), message.as_str()), None)
        }
        ContainerState::Running { .. } => (true, nothing, None),
        ContainerState::Terminated(termination) => (false, nothing, Some(termination)),
    };
    let amounts = |amounts: &BTreeMap<String, Quantity>| {
        named(amounts.iter().map(|(name, amount)| (name.clone(), text(&amount.to_string()))))
    };
    object([
        ("name", text(&found.name)),
        ("init", truth(found.init)),
        ("image", text(&found.image)),
        ("ready", truth(found.ready)),
        ("restarts", whole(found.restarts)),
        ("running", truth(running)),
        ("waiting", object([("reason", text(reason)), ("message", text(message))])),
        ("terminated", termination(terminated, now)),
        ("lastTerminated", termination(found.last_terminated.as_ref(), now)),
        ("limits", amounts(&found.limits)),
        ("requests", amounts(&found.requests)),
    ])
}

/// No exit code that a process can have.
const NOT_ENDED: i64 = -1;

fn termination(found: Option<&Termination>, now: Timestamp) -> Cel {
    let fixed = [
        ("reason", text(found.map_or("", |found| &found.reason))),
        ("exitCode", whole(found.map_or(NOT_ENDED, |found| found.exit_code))),
        ("message", text(found.map_or("", |found| &found.message))),
    ];
    let ended = found.and_then(|found| found.finished);
    object(fixed.into_iter().chain(ended.map(|ended| ("age", age(ended, now)))))
}

fn event(found: &ClusterEvent, now: Timestamp) -> Cel {
    let fixed = [
        ("type", text(&found.severity)),
        ("reason", text(&found.reason)),
        ("regarding", text(&found.regarding)),
        ("note", text(&found.note)),
        ("count", whole(found.count)),
    ];
    object(fixed.into_iter().chain(found.last.map(|last| ("age", age(last, now)))))
}

fn log(found: &LogExcerpt) -> Cel {
    object([
        ("pod", text(&found.pod)),
        ("container", text(&found.container)),
        ("previous", truth(found.previous)),
        ("text", text(&found.text)),
    ])
}

fn owner(found: &Owner) -> Cel {
    let (manager, name) = match found {
        Owner::ArgoCd { application } => ("ArgoCD", application.clone()),
        Owner::FluxKustomization { name } | Owner::FluxHelmRelease { name } => {
            ("Flux", name.clone())
        }
        Owner::Helm { release } => ("Helm", release.clone()),
        Owner::Controller { kind, name } => ("Controller", format!("{kind}/{name}")),
    };
    object([("manager", text(manager)), ("name", text(&name))])
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
