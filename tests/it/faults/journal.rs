//! Every kind of event that an incident appends, with every way in which a commit can go wrong.
//! Whatever happens to the journal, the story ends as it would have without.

use orderly::domain::event::Outcome;
use orderly::journal::Failure;
use orderly::journal::faults::Fault;
use orderly::sandbox::{Fault as ClusterFault, FaultMatch, FaultOutcome};

use super::{Cell, Operator, matrix, policy};

/// A story with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    Approved,
    Denied,
    Refused,
    Expired,
    Aborted,
    Stopped,
    Missed,
    Impossible,
    NotFound,
    Unacknowledged,
    Busy,
    Forbidden,
    Contended,
}

/// Which events are hit in which story: each kind that an incident can append, once.
const POINTS: &[(Story, &[&str])] = &[
    (
        Story::Approved,
        &[
            "AlertsReceived",
            "AlertsCorrelated",
            "IncidentOpened",
            "TargetsFound",
            "FactsCollected",
            "CauseFound",
            "PlanProposed",
            "GateDecided",
            "ApprovalRequested",
            "ApprovalGiven",
            "StepStarted",
            "StepFinished",
            "AlertResolved",
            "ResolutionMet",
            "IncidentClosed",
        ],
    ),
    (Story::Denied, &["DecisionDenied"]),
    (Story::Refused, &["ApprovalRefused"]),
    (Story::Expired, &["ApprovalExpired"]),
    (Story::Aborted, &["AbortRequested"]),
    (Story::Stopped, &["KillSwitchSet"]),
    (Story::Missed, &["ResolutionMissed", "FallbackChosen", "GivenUp", "Escalated"]),
    (Story::Impossible, &["PlanImpossible"]),
    (Story::NotFound, &["TargetNotFound"]),
    (Story::Unacknowledged, &["StepOutcomeUnknown"]),
    (Story::Busy, &["StepNotApplied"]),
    (Story::Forbidden, &["StepFailed"]),
    (Story::Contended, &["PlanStale"]),
];

/// What happens to a commit, by name.
fn faults() -> [(&'static str, Fault); 6] {
    [
        ("refused", Fault::Refused(Failure::DiskFull)),
        ("not applied", Fault::NotApplied),
        ("unacknowledged", Fault::Unacknowledged),
        ("unacknowledged and blind", Fault::UnacknowledgedAndBlind(3)),
        ("crash before", Fault::CrashBefore),
        ("crash after", Fault::CrashAfter),
    ]
}

impl Story {
    fn policy(self) -> String {
        let mode = match self {
            Self::Approved
            | Self::Denied
            | Self::Refused
            | Self::Expired
            | Self::Aborted
            | Self::Stopped => "approval",
            Self::Missed
            | Self::Impossible
            | Self::NotFound
            | Self::Unacknowledged
            | Self::Busy
            | Self::Forbidden
            | Self::Contended => "auto",
        };
        let verify = match self {
            Self::Approved | Self::Denied | Self::Missed => "resolved",
            _ => "any",
        };
        let mut rest = format!(
            "  causes: [{{name: always, actions: [{{restart: {{}}}}]}}]\n  approval: {{approvers: \
             [sre], expiresAfter: 5m}}\n  verify: {{within: 2m, rollout: complete, alert: {verify}}}\n"
        );
        if self == Self::Missed {
            rest.push_str(
                "  onFailure: [{scale: {to: 3}}]\n  escalate: [{after: 10m, to: oncall}]\n",
            );
        }
        let name = if self == Self::NotFound { "nothing" } else { "api" };
        policy("Deployment", name, mode, &rest)
    }

    fn operator(self) -> Operator {
        match self {
            Self::Approved => Operator::Approves,
            Self::Denied => Operator::ApprovesAfterADenial,
            Self::Refused => Operator::Refuses,
            Self::Aborted => Operator::Aborts,
            Self::Stopped => Operator::Stops,
            _ => Operator::Absent,
        }
    }

    /// How it ends and how often the target is changed, whatever the journal does.
    fn end(self) -> (Outcome, i64) {
        match self {
            Self::Approved | Self::Denied | Self::Unacknowledged | Self::Busy => {
                (Outcome::Fixed, 1)
            }
            Self::Contended => (Outcome::Fixed, 1),
            Self::Refused => (Outcome::Refused, 0),
            Self::Expired => (Outcome::Expired, 0),
            Self::Aborted => (Outcome::Aborted, 0),
            Self::Stopped => (Outcome::Denied, 0),
            Self::Missed => (Outcome::NotFixed, 2),
            Self::Impossible | Self::NotFound => (Outcome::Impossible, 0),
            Self::Forbidden => (Outcome::Failed, 0),
        }
    }

    fn prepare(self, cell: &Cell) {
        let sandbox = &cell.world.ground;
        let write = FaultMatch::write("patch", "deployments");
        let status = |code| FaultOutcome::Status {
            code,
            message: "by script".to_owned(),
            retry_after: None,
        };
        let fault = match self {
            Self::Unacknowledged => ClusterFault::once(write, FaultOutcome::DropAfter),
            Self::Busy => ClusterFault::once(write, status(429)),
            Self::Forbidden => ClusterFault::always(write, status(403)),
            // As many conflicts as the writer reads through by itself: the plan is made again.
            Self::Contended => ClusterFault { times: 3, ..ClusterFault::once(write, status(409)) },
            Self::Impossible => {
                let paused = serde_json::json!({"spec": {"paused": true}});
                sandbox.patch("deployments", "shop", "api", &paused).expect("patched");
                return;
            }
            _ => return,
        };
        sandbox.fault(fault);
    }
}

async fn cell(story: Story, kind: &'static str, what: &str, fault: Fault) -> Result<(), String> {
    let name = format!("{story:?} × {kind} × {what}");
    let cell = Cell::start(name, story.policy(), ("deployments", "api")).await;
    story.prepare(&cell);
    cell.world.journal_faults.at(kind, fault);
    let cell = cell.run(story.operator()).await;
    let (outcome, changes) = story.end();
    cell.check(&[outcome], changes).await?;
    if cell.world.journal_faults.left() > 0 {
        return Err(format!("{}: the fault never struck", cell.name));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_append_may_fail_in_every_way() {
    let mut cells = Vec::new();
    for (story, kinds) in POINTS {
        for kind in *kinds {
            for (what, fault) in faults() {
                cells.push(cell(*story, kind, what, fault));
            }
        }
    }
    assert_eq!(cells.len(), 30 * 6);
    matrix("appends to the journal", cells).await;
}
