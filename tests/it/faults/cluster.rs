//! Every Kubernetes write of a remediation, failing in every way.

use orderly::domain::event::Outcome;
use orderly::sandbox::{Fault, FaultMatch, FaultOutcome};
use serde_json::json;

use super::{Cell, Operator, matrix, policy};

/// Where something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    DryRun,
    Patch,
    Scale,
    DeletePod,
    Event,
}

const POINTS: [Point; 5] =
    [Point::DryRun, Point::Patch, Point::Scale, Point::DeletePod, Point::Event];

/// What happens to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Forbidden,
    Conflict,
    TooMany,
    InternalError,
    Unavailable,
    DroppedBefore,
    DroppedAfter,
    SlowBefore,
    SlowAfter,
}

const FATES: [Fate; 9] = [
    Fate::Forbidden,
    Fate::Conflict,
    Fate::TooMany,
    Fate::InternalError,
    Fate::Unavailable,
    Fate::DroppedBefore,
    Fate::DroppedAfter,
    Fate::SlowBefore,
    Fate::SlowAfter,
];

/// How often it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Once,
    Always,
}

impl Fate {
    fn outcome(self) -> FaultOutcome {
        let status = |code, retry_after| FaultOutcome::Status {
            code,
            message: "by script".to_owned(),
            retry_after,
        };
        match self {
            Self::Forbidden => status(403, None),
            Self::Conflict => status(409, None),
            Self::TooMany => status(429, Some(7)),
            Self::InternalError => status(500, None),
            Self::Unavailable => status(503, Some(3)),
            Self::DroppedBefore => FaultOutcome::DropBefore,
            Self::DroppedAfter => FaultOutcome::DropAfter,
            Self::SlowBefore => FaultOutcome::HoldBefore,
            Self::SlowAfter => FaultOutcome::HoldAfter,
        }
    }

    /// Whether the request is carried out although nobody says so.
    fn applies(self) -> bool {
        matches!(self, Self::DroppedAfter | Self::SlowAfter)
    }
}

impl Point {
    fn requests(self) -> FaultMatch {
        match self {
            Self::DryRun => {
                FaultMatch { dry_run: Some(true), ..FaultMatch::write("patch", "deployments") }
            }
            Self::Patch => FaultMatch::write("patch", "deployments"),
            Self::Scale => FaultMatch::write("patch", "deployments/scale"),
            Self::DeletePod => FaultMatch::write("delete", "pods"),
            Self::Event => FaultMatch::write("create", "events"),
        }
    }

    fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::DeletePod => ("statefulsets", "db"),
            Self::DryRun | Self::Patch | Self::Scale | Self::Event => ("deployments", "api"),
        }
    }

    fn policy(self) -> String {
        let (kind, action) = match self {
            Self::DeletePod => ("StatefulSet", "rollback: {}"),
            Self::Scale => ("Deployment", "scale: {to: 4}"),
            Self::DryRun | Self::Patch | Self::Event => ("Deployment", "restart: {}"),
        };
        let rest = format!(
            "  causes: [{{name: always, actions: [{{{action}}}]}}]\n  verify: {{within: 5m, rollout: \
             complete, alert: any}}\n"
        );
        policy(kind, self.target().1, "auto", &rest)
    }

    /// How it may end, and how often the target is changed.
    fn end(self, fate: Fate, often: Often) -> (&'static [Outcome], i64) {
        match (self, fate, often) {
            (Self::Event, _, _) => (&[Outcome::Fixed], 1),
            (Self::DryRun, Fate::Forbidden, _) => (&[Outcome::Impossible], 0),
            (Self::DryRun, _, _) => (&[Outcome::Fixed], 1),
            // The template is back; what stays is a pod that would have to be deleted.
            (Self::DeletePod, Fate::Forbidden, _) => (&[Outcome::Failed], 1),
            (Self::DeletePod, Fate::Conflict, _) => (&[Outcome::NotFixed], 1),
            (Self::DeletePod, _, Often::Once) => (&[Outcome::Fixed], 1),
            (Self::DeletePod, fate, Often::Always) if fate.applies() => (&[Outcome::Fixed], 1),
            (Self::DeletePod, _, Often::Always) => (&[Outcome::Failed], 1),
            (Self::Patch | Self::Scale, Fate::Forbidden, _) => (&[Outcome::Failed], 0),
            (Self::Patch | Self::Scale, _, Often::Once) => (&[Outcome::Fixed], 1),
            (Self::Patch | Self::Scale, fate, Often::Always) if fate.applies() => {
                (&[Outcome::Fixed], 1)
            }
            (Self::Patch | Self::Scale, _, Often::Always) => (&[Outcome::Failed], 0),
        }
    }
}

async fn cell(point: Point, fate: Fate, often: Often) -> Result<(), String> {
    let name = format!("{point:?} × {fate:?} × {often:?}");
    let cell = Cell::start(name, point.policy(), point.target()).await;
    if point == Point::DeletePod {
        let image = "registry.example.com/db:broken";
        let set = cell.world.ground.set_image("statefulsets", ("shop", "db"), "agent", image);
        set.expect("set");
        for _ in 0..30 {
            cell.world.clock.advance(jiff::SignedDuration::from_secs(1));
            cell.world.ground.tick();
        }
    }
    let fault = match often {
        Often::Once => Fault::once(point.requests(), fate.outcome()),
        Often::Always => Fault::always(point.requests(), fate.outcome()),
    };
    let handle = cell.world.ground.fault(fault);
    let cell = cell.run(Operator::Absent).await;
    let struck = handle.struck();
    let (outcomes, changes) = point.end(fate, often);
    cell.check(outcomes, changes).await?;
    if struck == 0 {
        return Err(format!("{}: the fault never struck", cell.name));
    }
    // What was held arrives after all, long after it was given up: its precondition is stale.
    if !(often == Often::Always && fate == Fate::SlowBefore) {
        cell.world.ground.clear_faults();
        for _ in 0..3 {
            cell.world.tick().await;
        }
        cell.check(outcomes, changes).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_to_the_cluster_may_fail_in_every_way() {
    let once =
        POINTS.iter().flat_map(|point| FATES.iter().map(|fate| (*point, *fate, Often::Once)));
    let changing = [Point::Patch, Point::Scale, Point::DeletePod];
    let always =
        changing.iter().flat_map(|point| FATES.iter().map(|fate| (*point, *fate, Often::Always)));
    let cells: Vec<_> =
        once.chain(always).map(|(point, fate, often)| cell(point, fate, often)).collect();
    assert_eq!(cells.len(), 5 * 9 + 3 * 9);
    matrix("writes to the cluster", cells).await;
}

/// Two steps on one object: the second must know the generation that the first left, also when only
/// a look back found the first one done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_step_follows_a_first_one_that_nobody_acknowledged() {
    let rest = "  causes: [{name: always, actions: [{restart: {}}, {setResources: {limits: \
                {memory: {to: 512Mi}}}}]}]\n  verify: {within: 5m, rollout: complete, alert: any}\n";
    let policy = policy("Deployment", "api", "auto", rest);
    let cell = Cell::start("two steps".to_owned(), policy, ("deployments", "api")).await;
    let write = FaultMatch::write("patch", "deployments");
    cell.world.ground.fault(Fault::once(write, FaultOutcome::DropAfter));
    let cell = cell.run(Operator::Absent).await;
    cell.check(&[Outcome::Fixed], 2).await.unwrap_or_else(|why| panic!("{why}"));
    let object = cell.world.ground.get("deployments", "shop", "api").expect("it exists");
    let limits = &object["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(*limits, json!({"memory": "512Mi"}));
}
