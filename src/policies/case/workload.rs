//! Builds one workload from a test's terse facts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::{FactsCase, HealthCase, ManagerCase, RevisionCase, SOURCE, StrategyCase};
use super::pods::{ContainerCase, EventCase, PodCase, TerminationCase};
use crate::domain::facts::{
    Autoscaler, ClusterEvent, Container, ContainerState, DisruptionBudget, Fact, Kind, LogExcerpt,
    Node, Owner, Pod, Replicas, Revision, RevisionHealth, Rollout, RolloutState, Strategy, Target,
    TargetQuery, Termination, VerticalAutoscaler, Workload,
};
use crate::domain::period::Period;

/// A rollout that nobody thinks of any more.
const LONG_AGO: Period = Period::from_mins(7 * 24 * 60);
/// How old an earlier revision is.
const EARLIER: Period = Period::from_mins(30 * 24 * 60);
/// Most pods that are made up.
const MAX_PODS: u32 = 1_000;

struct Builder<'c> {
    case: &'c FactsCase,
    now: Timestamp,
    name: String,
    containers: Vec<Value>,
}

pub(super) fn workload(
    case: &FactsCase,
    now: Timestamp,
    query: Option<&TargetQuery>,
    suffix: &str,
) -> Workload {
    let given = &case.target;
    let one = vec![super::facts::TemplateContainerCase::default()];
    let containers = given.containers.as_ref().unwrap_or(&one);
    let name = given.name_for(query, suffix);
    let containers = containers.iter().map(|container| container.object()).collect();
    let builder = Builder { case, now, name, containers };
    builder.build(given.kind_for(query), given.namespace_for(query))
}

impl Builder<'_> {
    fn build(&self, kind: Kind, namespace: String) -> Workload {
        let given = &self.case.target;
        let pods = self.pods();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let ready = count(pods.iter().filter(|pod| pod.ready).count());
        let desired = given.replicas.map_or(count(pods.len()), i64::from);
        let total = count(pods.len());
        let newest = self.revision_name(self.current_number());
        let is_newest = |pod: &&Pod| pod.revision.as_ref() == Some(&newest);
        let updated = count(pods.iter().filter(is_newest).count());
        let strategy = match given.strategy {
            None | Some(StrategyCase::RollingUpdate) => Strategy::RollingUpdate { partition: 0 },
            Some(StrategyCase::Recreate) => Strategy::Recreate,
            Some(StrategyCase::OnDelete) => Strategy::OnDelete,
        };
        let generation = given.generation.unwrap_or(1);
        let uid = format!("uid-of-{}", self.name);
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": kind.to_string(),
            "metadata": {
                "name": self.name,
                "namespace": namespace,
                "uid": uid,
                "generation": generation,
                "labels": given.labels,
                "annotations": given.annotations,
            },
            "spec": {
                "replicas": desired,
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.template(&[]),
            },
        });
        let started = self.ago(self.rollout_age());
        let rollout = &self.case.rollout;
        Workload {
            target: Target { kind, namespace, name: self.name.clone() },
            uid,
            resource_version: "1".to_owned(),
            generation,
            object,
            replicas: Replicas { desired, current: total, updated, ready, available: ready },
            strategy,
            paused: given.paused,
            rollout: Rollout {
                state: rollout.state.map_or(RolloutState::Complete, |state| state.state()),
                message: rollout.message.clone(),
                started: Some(started),
            },
            revisions: self.fact("revisions", self.revisions(ready == desired)),
            events: self.fact("events", self.events(&pods)),
            logs: self.fact("logs", self.logs(&pods)),
            pods: self.fact("pods", pods),
            autoscaler: self.optional("autoscaler", self.autoscaler()),
            budgets: self.fact("budgets", self.budgets()),
            vertical_autoscaler: self.optional("verticalAutoscaler", self.vertical()),
            owners: self.owners(),
            nodes: self.fact("nodes", self.nodes()),
        }
    }

    fn ago(&self, period: Period) -> Timestamp {
        self.now.saturating_sub(period.get()).unwrap_or(Timestamp::MIN)
    }

    fn rollout_age(&self) -> Period {
        self.case.rollout.age.unwrap_or(LONG_AGO)
    }

    fn fact<T>(&self, name: &str, value: T) -> Fact<T> {
        let (source, at) = (SOURCE.to_owned(), self.now);
        if self.case.is_unknown(name) {
            let why = "the test says so".to_owned();
            return Fact::Unknown { source, at, why };
        }
        Fact::Known { value, source, at }
    }

    fn optional<T>(&self, name: &str, value: Option<T>) -> Fact<T> {
        let (source, at) = (SOURCE.to_owned(), self.now);
        match value {
            Some(value) => self.fact(name, value),
            None if self.case.is_unknown(name) => {
                Fact::Unknown { source, at, why: "the test says so".to_owned() }
            }
            None => Fact::Absent { source, at },
        }
    }

    /// The pod template, with other images where they are given.
    fn template(&self, images: &[String]) -> Value {
        let mut containers = self.containers.clone();
        for (container, image) in containers.iter_mut().zip(images) {
            container["image"] = json!(image);
        }
        json!({"metadata": {"labels": {"app": self.name}}, "spec": {"containers": containers}})
    }

    fn revisions(&self, all_ready: bool) -> Vec<Revision> {
        let only = [RevisionCase {
            number: 1,
            images: Vec::new(),
            age: None,
            current: true,
            health: None,
            served_for: None,
        }];
        let given = self.case.revisions.as_deref().unwrap_or(&only);
        let marked = given.iter().any(|revision| revision.current);
        let all = given.iter().enumerate().map(|(position, revision)| {
            let current = if marked { revision.current } else { position == 0 };
            let age = if current { self.rollout_age() } else { EARLIER };
            let created = self.ago(revision.age.unwrap_or(age));
            let health = match (revision.health, revision.served_for) {
                (Some(HealthCase::Available), _) => RevisionHealth::Available,
                (Some(HealthCase::Verified), _) => RevisionHealth::Verified { at: created },
                (Some(HealthCase::Failing), _) => {
                    RevisionHealth::Failing { evidence: "the test says so".to_owned() }
                }
                (None, Some(served)) => {
                    let until = created.saturating_add(served.get()).unwrap_or(self.now);
                    RevisionHealth::Served { since: created, until }
                }
                (None, None) if current && all_ready => RevisionHealth::Available,
                (Some(HealthCase::Unknown), _) | (None, None) => RevisionHealth::Unknown,
            };
            Revision {
                number: revision.number,
                name: self.revision_name(revision.number),
                created,
                template: self.template(&revision.images),
                current,
                health,
                change_cause: None,
            }
        });
        all.collect()
    }

    fn current_number(&self) -> i64 {
        let revisions = self.case.revisions.as_deref().unwrap_or_default();
        let current = revisions.iter().find(|revision| revision.current);
        current.or(revisions.first()).map_or(1, |revision| revision.number)
    }

    fn revision_name(&self, number: i64) -> String {
        format!("{}-{number}", self.name)
    }

    fn pods(&self) -> Vec<Pod> {
        let given = &self.case.pods;
        let described = u32::try_from(given.len()).unwrap_or(MAX_PODS);
        let wanted = self.case.target.replicas.unwrap_or(described.max(1)).min(MAX_PODS);
        let healthy = PodCase::default();
        let missing = wanted.saturating_sub(described) as usize;
        let all = given.iter().chain(std::iter::repeat_n(&healthy, missing));
        all.enumerate().map(|(position, pod)| self.pod(position, pod)).collect()
    }

    fn pod(&self, position: usize, given: &PodCase) -> Pod {
        let name = given.name.clone();
        let name = name.unwrap_or_else(|| format!("{}-{}", self.name, position + 1));
        let number = given.revision.unwrap_or_else(|| self.current_number());
        let containers = match &given.containers {
            Some(containers) => containers
                .iter()
                .enumerate()
                .map(|(at, container)| self.container(at, container, given.ready))
                .collect(),
            None => {
                let running = ContainerCase::default();
                let all = 0..self.containers.len();
                all.map(|at| self.container(at, &running, given.ready)).collect()
            }
        };
        Pod {
            uid: format!("uid-of-{name}"),
            name,
            phase: given.phase.clone().unwrap_or_else(|| "Running".to_owned()),
            reason: given.reason.clone(),
            ready: given.ready,
            terminating: given.terminating,
            created: self.ago(given.age.unwrap_or_else(|| self.rollout_age())),
            node: Some(given.node.clone().unwrap_or_else(|| "node-1".to_owned())),
            unschedulable: given.unschedulable.clone(),
            revision: Some(self.revision_name(number)),
            containers,
        }
    }

    fn container(&self, position: usize, given: &ContainerCase, ready: bool) -> Container {
        let named = |name: &String| {
            self.containers.iter().find(|container| container["name"] == json!(name))
        };
        let template = given.name.as_ref().map_or(self.containers.get(position), named);
        let field = |field: &str| {
            let text = template.and_then(|template| template.get(field)?.as_str());
            text.unwrap_or("agent").to_owned()
        };
        let amounts = |field: &str| {
            let amounts =
                template.and_then(|template| template.pointer(&format!("/resources/{field}")));
            amounts
                .and_then(|amounts| serde_json::from_value(amounts.clone()).ok())
                .unwrap_or_default()
        };
        let state = match (&given.waiting, &given.terminated) {
            (Some(waiting), _) => ContainerState::Waiting {
                reason: waiting.reason.clone(),
                message: waiting.message.clone(),
            },
            (None, Some(ended)) => ContainerState::Terminated(self.termination(ended)),
            (None, None) => ContainerState::Running { since: None },
        };
        Container {
            name: given.name.clone().unwrap_or_else(|| field("name")),
            init: given.init,
            image: given.image.clone().unwrap_or_else(|| field("image")),
            ready: given.ready.unwrap_or(ready),
            restarts: given.restarts,
            state,
            last_terminated: given.last_terminated.as_ref().map(|ended| self.termination(ended)),
            limits: amounts("limits"),
            requests: amounts("requests"),
        }
    }

    fn termination(&self, given: &TerminationCase) -> Termination {
        let usual = match given.reason.as_str() {
            "OOMKilled" => 137,
            "Completed" => 0,
            _ => 1,
        };
        Termination {
            reason: given.reason.clone(),
            exit_code: given.exit_code.unwrap_or(usual),
            finished: Some(self.ago(given.age.unwrap_or(Period::from_mins(2)))),
            message: given.message.clone(),
        }
    }

    fn events(&self, pods: &[Pod]) -> Vec<ClusterEvent> {
        let first = pods.first().map_or(String::new(), |pod| format!("Pod/{}", pod.name));
        let event = |given: &EventCase| ClusterEvent {
            severity: given.severity.clone().unwrap_or_else(|| "Warning".to_owned()),
            reason: given.reason.clone(),
            regarding: given.regarding.clone().unwrap_or_else(|| first.clone()),
            note: given.note.clone(),
            count: given.count,
            last: Some(self.ago(given.age.unwrap_or(Period::from_mins(1)))),
        };
        self.case.events.iter().map(event).collect()
    }

    fn logs(&self, pods: &[Pod]) -> Vec<LogExcerpt> {
        let pod = pods.first().map_or("", |pod| &pod.name);
        let container = self.containers.first().and_then(|first| first["name"].as_str());
        let all = self.case.logs.iter().map(|given| LogExcerpt {
            pod: given.pod.clone().unwrap_or_else(|| pod.to_owned()),
            container: given.container.clone().or(container.map(str::to_owned)).unwrap_or_default(),
            previous: given.previous,
            text: given.text.clone(),
        });
        all.collect()
    }

    fn autoscaler(&self) -> Option<Autoscaler> {
        self.case.autoscaler.as_ref().map(|given| Autoscaler {
            name: given.name.clone().unwrap_or_else(|| self.name.clone()),
            uid: format!("uid-of-autoscaler-{}", self.name),
            resource_version: "1".to_owned(),
            min: given.min,
            max: given.max,
            scaled_object: given.scaled_object.clone(),
        })
    }

    fn vertical(&self) -> Option<VerticalAutoscaler> {
        let given = self.case.vertical_autoscaler.as_ref()?;
        Some(VerticalAutoscaler { name: given.name.clone(), mode: given.mode.clone() })
    }

    fn budgets(&self) -> Vec<DisruptionBudget> {
        let all = self.case.budgets.iter().map(|given| DisruptionBudget {
            name: given.name.clone(),
            disruptions_allowed: given.disruptions_allowed,
        });
        all.collect()
    }

    fn owners(&self) -> Vec<Owner> {
        let all = self.case.owners.iter().map(|given| {
            let name = given.name.clone();
            match given.manager {
                ManagerCase::ArgoCD => Owner::ArgoCd { application: name },
                ManagerCase::Flux => Owner::FluxKustomization { name },
                ManagerCase::Helm => Owner::Helm { release: name },
                ManagerCase::Controller => {
                    let (kind, name) = given.name.split_once('/').unwrap_or(("", &given.name));
                    Owner::Controller { kind: kind.to_owned(), name: name.to_owned() }
                }
            }
        });
        all.collect()
    }

    fn nodes(&self) -> Vec<Node> {
        match &self.case.nodes {
            Some(given) => given
                .iter()
                .map(|node| Node {
                    name: node.name.clone(),
                    ready: node.ready,
                    trouble: node.trouble.clone(),
                })
                .collect(),
            None => {
                vec![Node { name: "node-1".to_owned(), ready: true, trouble: Vec::new() }]
            }
        }
    }
}
