//! Each gate with each of its stands and what a person reads, and the ruling over all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::rails::GuardRails;
use super::*;
use crate::domain::action::{self, Stamp};
use crate::domain::event::{Event, Outcome, Stream};
use crate::domain::facts::{
    DisruptionBudget, Kind, Owner, Replicas, RolloutState, VerticalAutoscaler, Workload,
};
use crate::domain::policy::spec::{FreezeSpec, InProgress, NoHeadroom, OwnedElsewhere};
use crate::domain::testing::*;

/// Everything that the gates look at, owned.
struct World {
    spec: PolicySpec,
    mode_now: Option<Mode>,
    facts: Facts,
    rails: GuardRails,
    ledger: Ledger,
    workloads: Fact<u32>,
    alert: AlertState,
    monitoring: Monitoring,
    written: Value,
    plan: Option<Plan>,
}

impl World {
    fn new() -> Self {
        Self {
            spec: policy(Vec::new()),
            mode_now: Some(Mode::Auto),
            facts: facts([workload(Kind::Deployment, "agent")]),
            rails: GuardRails::default(),
            ledger: Ledger::default(),
            workloads: known(10),
            alert: AlertState::Firing,
            monitoring: Monitoring::Sane("the watchdog was seen".to_owned()),
            written: json!({"restart": {}}),
            plan: None,
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::new();
        change(&mut world);
        world
    }

    fn target(&mut self) -> &mut Workload {
        &mut self.facts.targets[0]
    }

    fn note(&mut self, number: u64, seconds: i64, event: &Event) {
        self.ledger.note(&Stream::Incident(incident_id(number)), later(seconds), event);
    }

    /// Another incident that changed `name` so many seconds ago, by `policy`.
    fn changed(&mut self, number: u64, name: &str, policy_name: &str, seconds: i64) {
        let workload = workload(Kind::Deployment, name);
        let spec = policy(Vec::new());
        let steps = action::plan(&[action(json!({"restart": {}}))], &facts([workload]), STAMP);
        let plan = plan_of(steps.expect("a plan"));
        let digest = plan.digest();
        self.note(number, -seconds, &opened(number, policy_name, spec));
        let targets = vec![target(Kind::Deployment, name)];
        self.note(number, -seconds, &Event::TargetsFound { targets });
        let plan = Box::new(plan);
        self.note(number, -seconds, &Event::PlanProposed { plan, digest, previews: Vec::new() });
        self.note(number, -seconds, &Event::StepStarted { digest, step: 0, attempt: 1 });
    }

    fn closed(&mut self, number: u64, outcome: Outcome) {
        let reason = "over".to_owned();
        self.note(number, 0, &Event::IncidentClosed { outcome, reason });
    }

    fn decide(&self) -> (Ruling, Vec<Verdict>) {
        let made = || {
            let steps = action::plan(&[action(self.written.clone())], &self.facts, STAMP);
            plan_of(steps.expect("a plan"))
        };
        let plan = self.plan.clone().unwrap_or_else(made);
        decide(&Inputs {
            incident: &incident_id(1),
            policy: "agent-down",
            spec: &self.spec,
            mode_now: self.mode_now,
            plan: &plan,
            facts: &self.facts,
            rails: &self.rails,
            ledger: &self.ledger,
            workloads: &self.workloads,
            alert: &self.alert,
            monitoring: &self.monitoring,
            now: NOW,
        })
    }

    fn says(&self, gate: Gate) -> String {
        let (_, verdicts) = self.decide();
        let own = verdicts.iter().filter(|verdict| verdict.gate == gate);
        let word = |stand: Stand| match stand {
            Stand::Allow => "allow".to_owned(),
            Stand::Ask => "ask".to_owned(),
            Stand::Hold { until } => format!("hold {}s", until.duration_since(NOW).as_secs()),
            Stand::Deny => "deny".to_owned(),
        };
        let said: Vec<_> = own.map(|it| format!("{}: {}", word(it.stand), it.evidence)).collect();
        said.join(" | ")
    }
}

fn budget(disruptions_allowed: i64) -> DisruptionBudget {
    DisruptionBudget { name: "agent".to_owned(), disruptions_allowed }
}

fn without_headroom(then: NoHeadroom) -> World {
    World::with(|w| {
        w.target().budgets = known(vec![budget(0)]);
        w.spec.gates.disruption_budget = then;
    })
}

const STAMP: Stamp = Stamp { time: NOW };

#[test]
fn each_gate_says_its_stand_and_what_it_rests_on() {
    use Gate::*;
    let other = incident_id(2);
    let freeze = |starts: &str| FreezeSpec {
        name: "weekend".to_owned(),
        starts: starts.to_owned(),
        lasts: "1d".parse().expect("a period"),
        zone: "UTC".to_owned(),
    };
    let replicas =
        |ready: i64| Replicas { desired: 4, current: 4, updated: 4, ready, available: ready };
    let cases: Vec<(Gate, World)> = vec![
        (Mode, World::new()),
        (Mode, World::with(|w| w.rails.mode = super::Mode::Approval)),
        (Mode, World::with(|w| w.mode_now = None)),
        (Mode, World::with(|w| w.spec.mode = super::Mode::Off)),
        (KillSwitch, World::new()),
        (
            KillSwitch,
            World::with(|w| {
                let (by, reason) = (person("alice"), "database move".to_owned());
                let event = Event::KillSwitchSet { on: true, by, reason };
                w.ledger.note(&Stream::Control, NOW, &event);
            }),
        ),
        (ProtectedNamespace, World::new()),
        (
            ProtectedNamespace,
            World::with(|w| {
                w.rails.protected_namespaces.insert(NAMESPACE.to_owned());
            }),
        ),
        (OptOut, World::new()),
        (
            OptOut,
            World::with(|w| {
                w.target().object["metadata"]["annotations"] =
                    json!({"orderly.dev/remediate": "False"});
            }),
        ),
        (OneIncident, World::new()),
        (OneIncident, World::with(|w| w.changed(2, "agent", "other", 9_000))),
        (Cooldown, World::new()),
        (
            Cooldown,
            World::with(|w| {
                w.changed(2, "agent", "other", 60);
                w.closed(2, Outcome::Fixed);
            }),
        ),
        (
            Cooldown,
            World::with(|w| {
                w.changed(2, "agent", "other", 900);
                w.closed(2, Outcome::Fixed);
            }),
        ),
        (Cooldown, World::with(|w| w.changed(1, "agent", "agent-down", 60))),
        (ActionLimit, World::with(|w| w.changed(2, "x", "agent-down", 60))),
        (
            ActionLimit,
            World::with(|w| {
                for number in 2..5 {
                    w.changed(number, &format!("x{number}"), "agent-down", 60);
                }
            }),
        ),
        (ActionLimit, World::with(|w| w.spec.gates.limit.actions = 0)),
        (MinReady, World::new()),
        (
            MinReady,
            World::with(|w| {
                w.spec.gates.min_ready_percent = 50;
                w.target().replicas = replicas(2);
            }),
        ),
        (
            MinReady,
            World::with(|w| {
                w.spec.gates.min_ready_percent = 51;
                w.target().replicas = replicas(2);
            }),
        ),
        (
            MinReady,
            World::with(|w| {
                w.spec.gates.min_ready_percent = 50;
                w.target().replicas = replicas(0);
            }),
        ),
        (DisruptionBudget, World::new()),
        (DisruptionBudget, World::with(|w| w.target().budgets = known(vec![budget(1)]))),
        (DisruptionBudget, World::with(|w| w.target().budgets = known(vec![budget(0)]))),
        (DisruptionBudget, without_headroom(NoHeadroom::Hold)),
        (DisruptionBudget, without_headroom(NoHeadroom::Deny)),
        (DisruptionBudget, without_headroom(NoHeadroom::Allow)),
        (
            DisruptionBudget,
            World::with(|w| {
                w.target().budgets = known(vec![budget(0)]);
                w.target().replicas = replicas(0);
            }),
        ),
        (DisruptionBudget, World::with(|w| w.target().budgets = unknown("403"))),
        (
            DisruptionBudget,
            World::with(|w| {
                w.target().budgets = known(vec![budget(0)]);
                w.written = json!({"scale": {"by": 1}});
            }),
        ),
        (Budget, World::new()),
        (
            Budget,
            World::with(|w| {
                w.rails.budget.targets = 1;
                w.changed(2, "x", "other", 60);
            }),
        ),
        (
            Budget,
            World::with(|w| {
                w.changed(2, "x", "other", 60);
                w.workloads = known(4);
            }),
        ),
        (Budget, World::with(|w| w.workloads = unknown("403"))),
        (
            Budget,
            World::with(|w| {
                w.rails.budget.targets = 1;
                w.changed(2, "x", "other", 9_000);
            }),
        ),
        (Storm, World::new()),
        (
            Storm,
            World::with(|w| {
                w.rails.storm.incidents = 1;
                w.changed(2, "x", "other", 60);
            }),
        ),
        (
            Storm,
            World::with(|w| {
                w.spec.mode = super::Mode::Approval;
                w.rails.storm.incidents = 1;
                w.changed(2, "x", "other", 60);
            }),
        ),
        (Breaker, World::new()),
        (
            Breaker,
            World::with(|w| {
                for number in 2..5 {
                    w.changed(number, "x", "agent-down", 60);
                    w.closed(number, Outcome::NotFixed);
                }
            }),
        ),
        (Freeze, World::new()),
        (Freeze, World::with(|w| w.spec.gates.freeze.push(freeze("0 0 * * *")))),
        (Freeze, World::with(|w| w.rails.freeze.push(freeze("always")))),
        (Ownership, World::new()),
        (
            Ownership,
            World::with(|w| {
                w.target().owners = vec![Owner::ArgoCd { application: "agents".to_owned() }];
            }),
        ),
        (
            Ownership,
            World::with(|w| {
                w.spec.gates.owned_elsewhere = OwnedElsewhere::Deny;
                w.target().owners =
                    vec![Owner::FluxKustomization { name: "flux/agents".to_owned() }];
            }),
        ),
        (
            Ownership,
            World::with(|w| {
                w.written = json!({"setResources": {"container": "agent", "limits": {"memory": {"to": "1Gi"}}}});
                let (name, mode) = ("vpa".to_owned(), "Auto".to_owned());
                w.target().vertical_autoscaler = known(VerticalAutoscaler { name, mode });
            }),
        ),
        (Ownership, World::with(|w| w.target().vertical_autoscaler = unknown("403"))),
        (Rollout, World::new()),
        (
            Rollout,
            World::with(|w| {
                w.target().rollout.state = RolloutState::Unobserved;
                w.target().rollout.message = "waiting for the controller".to_owned();
            }),
        ),
        (
            Rollout,
            World::with(|w| {
                w.spec.gates.rollout_in_progress = InProgress::Deny;
                w.target().rollout.state = RolloutState::Progressing;
                w.target().replicas.updated = 1;
                w.target().rollout.message = "1 of 3 new pods".to_owned();
            }),
        ),
        (
            Rollout,
            World::with(|w| {
                w.target().rollout.state = RolloutState::Unobserved;
                w.written = json!({"rollback": {}});
            }),
        ),
        (StillFiring, World::new()),
        (StillFiring, World::with(|w| w.alert = AlertState::NotConfigured)),
        (StillFiring, World::with(|w| w.alert = AlertState::Silenced("alice".to_owned()))),
        (StillFiring, World::with(|w| w.alert = AlertState::Inhibited("NodeDown".to_owned()))),
        (StillFiring, World::with(|w| w.alert = AlertState::NotFound)),
        (StillFiring, World::with(|w| w.alert = AlertState::Unknown("a time-out".to_owned()))),
        (Monitoring, World::new()),
        (Monitoring, World::with(|w| w.monitoring = super::Monitoring::Unchecked)),
        (
            Monitoring,
            World::with(|w| w.monitoring = super::Monitoring::InDoubt("stale".to_owned())),
        ),
    ];
    let said: Vec<_> = cases
        .iter()
        .map(|(gate, world)| format!("{} {}", gate.name(), world.says(*gate)))
        .collect();
    let said = said.join("\n").replace(other.as_str(), "OTHER");
    insta::assert_snapshot!(said, @r###"
    mode allow: the policy's mode is `auto`
    mode ask: the policy's mode is `auto`, but the configuration allows at most `approval`
    mode deny: policy `agent-down` is no longer loaded, or was switched off
    mode deny: the policy's mode is `off`
    kill-switch allow: the kill switch is off
    kill-switch deny: alice turned the kill switch on at 2026-11-22 03:00:00 UTC: database move
    protected-namespace allow: namespace `ai-agents` is not protected
    protected-namespace deny: namespace `ai-agents` is protected by the configuration
    opt-out allow: ai-agents/Deployment/agent does not opt out
    opt-out deny: ai-agents/Deployment/agent is annotated `orderly.dev/remediate: "false"`
    one-incident allow: no other incident works on the target
    one-incident hold 15s: incident OTHER works on ai-agents/Deployment/agent already
    cooldown allow: no other incident changed the target in the last 15m
    cooldown hold 840s: incident OTHER changed ai-agents/Deployment/agent at 2026-11-22 02:59:00 UTC; the cool-down is 15m
    cooldown allow: no other incident changed the target in the last 15m
    cooldown allow: no other incident changed the target in the last 15m
    action-limit allow: 1 of 3 changes by this policy in 1h are used
    action-limit hold 3541s: 3 of 3 changes by this policy in 1h are used
    action-limit deny: 0 of 0 changes by this policy in 1h are used
    min-ready allow: the change takes no pod away, or the policy asks for no minimum
    min-ready allow: 2 of 4 pods of ai-agents/Deployment/agent are ready; 50 % are asked for
    min-ready hold 15s: 2 of 4 pods of ai-agents/Deployment/agent are ready; 51 % are asked for
    min-ready allow: no pod of ai-agents/Deployment/agent is ready: there is nothing to lose
    disruption-budget allow: no PodDisruptionBudget is short of headroom
    disruption-budget allow: no PodDisruptionBudget is short of headroom
    disruption-budget ask: PodDisruptionBudget `agent` lets no pod of ai-agents/Deployment/agent go now
    disruption-budget hold 15s: PodDisruptionBudget `agent` lets no pod of ai-agents/Deployment/agent go now
    disruption-budget deny: PodDisruptionBudget `agent` lets no pod of ai-agents/Deployment/agent go now
    disruption-budget allow: PodDisruptionBudget `agent` lets no pod of ai-agents/Deployment/agent go now
    disruption-budget allow: no pod of ai-agents/Deployment/agent is ready: there is nothing to lose
    disruption-budget ask: how many pods of ai-agents/Deployment/agent may go could not be found out: 403
    disruption-budget allow: the change takes no pod away
    budget allow: 0 of 10 targets in 1h are used, over all policies | allow: 0 of 10 workloads in `ai-agents` were changed in 1h; 30 % are allowed (at least one)
    budget hold 3541s: 1 of 1 targets in 1h are used, over all policies
    budget allow: 1 of 10 targets in 1h are used, over all policies | hold 3541s: 1 of 4 workloads in `ai-agents` were changed in 1h; 30 % are allowed (at least one)
    budget allow: 0 of 10 targets in 1h are used, over all policies | hold 15s: how many workloads `ai-agents` has could not be found out: 403
    budget hold 15s: 1 of 1 targets in 1h are used, over all policies
    storm allow: incidents opened in 5m: 0; the storm brake sets at 20
    storm hold 241s: incidents opened in 5m: 1; the storm brake sets at 1
    storm ask: incidents opened in 5m: 1; the storm brake sets at 1
    breaker allow: the policy's fixes help, as far as is known (0 of 3 ineffective in a row)
    breaker ask: the last 3 fixes of this policy did not help; from 3 on a person must approve (reset: `orderly breaker reset`)
    freeze allow: no freeze window is open
    freeze hold 75600s: freeze window `weekend` is open until 2026-11-23 00:00:00 UTC
    freeze hold 15s: freeze window `weekend` cannot be read and counts as open: `always` is not a cron expression: Invalid pattern: Pattern must have between 5 and 7 fields.
    ownership allow: nobody else manages the target
    ownership ask: Argo CD application `agents` manages ai-agents/Deployment/agent and may undo the change
    ownership deny: Flux Kustomization `flux/agents` manages ai-agents/Deployment/agent and may undo the change
    ownership ask: VerticalPodAutoscaler `vpa` (Auto) manages ai-agents/Deployment/agent and may undo the change
    ownership ask: who sets the resources of ai-agents/Deployment/agent could not be found out: 403
    rollout allow: no rollout is under way
    rollout hold 15s: a rollout of ai-agents/Deployment/agent is under way: waiting for the controller
    rollout deny: a rollout of ai-agents/Deployment/agent is under way: 1 of 3 new pods
    rollout allow: a rollout of ai-agents/Deployment/agent is under way, and the plan ends it by a rollback
    still-firing allow: Alertmanager says that the alert fires and is not silenced
    still-firing allow: no Alertmanager is configured; by the last webhook the alert fires
    still-firing hold 15s: the alert is silenced by alice: a person has it in hand
    still-firing hold 15s: the alert is inhibited by NodeDown
    still-firing hold 15s: Alertmanager no longer has the alert; waiting for its `resolved`
    still-firing hold 15s: whether the alert still fires could not be found out: a time-out
    monitoring allow: monitoring is sane: the watchdog was seen
    monitoring allow: no check of monitoring itself is configured
    monitoring hold 15s: monitoring itself is in doubt: stale
    "###);
}

#[test]
fn an_object_that_nobody_looked_at_is_never_waved_through() {
    let mut world = World::new();
    let steps = action::plan(&[action(json!({"restart": {}}))], &world.facts, STAMP);
    world.plan = Some(plan_of(steps.expect("a plan")));
    assert_eq!(world.decide().0, Ruling::Act);
    world.facts.targets.clear();
    assert!(matches!(world.decide().0, Ruling::Hold { .. }));
    world.rails.protected_namespaces.insert(NAMESPACE.to_owned());
    assert_eq!(world.decide().0, Ruling::Deny);
}

#[test]
fn a_message_to_people_waits_for_no_gate_but_a_silence() {
    let told = || {
        World::with(|w| {
            w.written = json!({"escalate": {"to": "oncall"}});
            w.monitoring = Monitoring::InDoubt("stale".to_owned());
            let (by, reason) = (person("alice"), "stop".to_owned());
            let event = Event::KillSwitchSet { on: true, by, reason };
            w.ledger.note(&Stream::Control, NOW, &event);
        })
    };
    assert_eq!(told().decide().0, Ruling::Act);
    let mut silenced = told();
    silenced.alert = AlertState::Silenced("alice".to_owned());
    assert!(matches!(silenced.decide().0, Ruling::Hold { .. }));
    let mut off = told();
    off.mode_now = None;
    assert_eq!(off.decide().0, Ruling::Deny);
    off.mode_now = Some(Mode::DryRun);
    assert_eq!(off.decide().0, Ruling::Preview);
}

#[test]
fn the_most_careful_mode_of_the_three_rules() {
    for policy in [Mode::Off, Mode::DryRun, Mode::Approval, Mode::Auto] {
        for ceiling in [Mode::Off, Mode::DryRun, Mode::Approval, Mode::Auto] {
            for now in
                [None, Some(Mode::Off), Some(Mode::DryRun), Some(Mode::Approval), Some(Mode::Auto)]
            {
                let world = World::with(|w| {
                    w.spec.mode = policy;
                    w.rails.mode = ceiling;
                    w.mode_now = now;
                });
                let expected = match policy.min(ceiling).min(now.unwrap_or(Mode::Off)) {
                    Mode::Off => Ruling::Deny,
                    Mode::DryRun => Ruling::Preview,
                    Mode::Approval => Ruling::Ask,
                    Mode::Auto => Ruling::Act,
                };
                assert_eq!(world.decide().0, expected, "{policy:?} {ceiling:?} {now:?}");
            }
        }
    }
}

#[test]
fn a_hold_always_ends_after_now() {
    // A cool-down that ends this instant must not hold until this instant.
    for seconds in [0, 1, 899, 900, 901] {
        let world = World::with(|w| {
            w.changed(2, "agent", "other", seconds);
            w.closed(2, Outcome::Fixed);
        });
        for verdict in world.decide().1 {
            if let Stand::Hold { until } = verdict.stand {
                assert!(until > NOW, "{verdict:?}");
            }
        }
    }
}

fn stand() -> impl Strategy<Value = Stand> {
    prop_oneof![
        Just(Stand::Allow),
        Just(Stand::Ask),
        (1i64..900).prop_map(|seconds| Stand::Hold { until: later(seconds) }),
        Just(Stand::Deny),
    ]
}

proptest! {
    #[test]
    fn a_no_beats_a_wait_and_a_wait_beats_a_question(
        stands in prop::collection::vec(stand(), 0..20),
        auto in any::<bool>(),
    ) {
        let verdict = |stand: &Stand| Verdict {
            gate: Gate::Mode,
            stand: *stand,
            evidence: Evidence::KillSwitchOff,
        };
        let verdicts: Vec<_> = stands.iter().map(verdict).collect();
        let latest = stands.iter().filter_map(|stand| match stand {
            Stand::Hold { until } => Some(*until),
            _ => None,
        }).max();
        let expected = if stands.contains(&Stand::Deny) {
            Ruling::Deny
        } else if let Some(until) = latest {
            Ruling::Hold { until }
        } else if !auto || stands.contains(&Stand::Ask) {
            Ruling::Ask
        } else {
            Ruling::Act
        };
        let mode = if auto { Mode::Auto } else { Mode::Approval };
        prop_assert_eq!(rule(mode, &verdicts), expected);
        prop_assert_eq!(rule(Mode::DryRun, &verdicts), Ruling::Preview);
        prop_assert_eq!(rule(Mode::Off, &verdicts), Ruling::Deny);
    }

    /// Invariant 7: with any one fact unknown, `auto` never acts by itself.
    #[test]
    fn nothing_unknown_is_taken_for_a_yes(which in 0usize..5) {
        let world = World::with(|w| match which {
            0 => w.workloads = unknown("x"),
            1 => w.alert = AlertState::Unknown("x".to_owned()),
            2 => w.monitoring = Monitoring::InDoubt("x".to_owned()),
            3 => w.target().vertical_autoscaler = unknown("x"),
            _ => w.target().rollout.state = RolloutState::Unobserved,
        });
        prop_assert_ne!(world.decide().0, Ruling::Act);
    }

    #[test]
    fn limits_of_any_size_are_an_answer_not_a_panic(
        seconds in any::<u32>(),
        number in any::<u32>(),
        percent in any::<u8>(),
        huge in any::<i64>(),
    ) {
        let period = crate::domain::period::Period::from_secs(seconds);
        let longest = format!("{}s", i64::MAX).parse().expect("a period");
        let world = World::with(|w| {
            w.changed(2, "agent", "agent-down", 60);
            w.spec.gates.cooldown = if percent.is_multiple_of(2) { longest } else { period };
            w.spec.gates.limit.per = longest;
            w.spec.gates.limit.actions = number;
            w.spec.gates.min_ready_percent = percent;
            w.rails.budget.per = period;
            w.rails.budget.namespace_percent = percent;
            w.rails.budget.targets = number;
            w.rails.storm.within = longest;
            w.rails.storm.incidents = number;
            w.workloads = known(number);
            w.target().replicas = Replicas { desired: huge, current: huge, updated: huge, ready: huge, available: huge };
        });
        let (_, verdicts) = world.decide();
        prop_assert!(verdicts.len() >= Gate::ALL.len());
    }
}
