//! The rest of the house as the API sees it, in memory: one incident that waits for a decision, a
//! kill switch, a journal of a few pages.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use orderly::domain::event::Person;
use orderly::domain::id::{Digest, IncidentId};
use orderly::domain::plan::Plan;
use orderly::domain::policy::spec::Mode;
use orderly::http::api::{
    AbortRequest, ApiError, ApproveRequest, AuditEntry, AuditFilter, AuditPage, Decided,
    IncidentDetail, IncidentFilter, IncidentList, IncidentSummary, Incidents, KillSwitch,
    KillSwitchRequest, ProposalView, RefuseRequest, ResetRequest, SnoozeRequest, Waiting,
};
use orderly::http::status::{Check, Health, JournalStatus, Readiness, Status};

pub const WAITING: &str = "0123456789ab";
pub const CLOSED: &str = "cccccccccccc";
pub const PANICS: &str = "pppppppppppp";
pub const ENTRIES: u64 = 25;
const PAGE: u64 = 10;

pub struct House {
    pub decisions: Mutex<Vec<(String, Person)>>,
    pub kill_switch: Mutex<KillSwitch>,
    pub readiness: Mutex<Readiness>,
    /// After this entry the journal cannot be read any more.
    pub damaged_after: Mutex<Option<u64>>,
}

impl Default for House {
    fn default() -> Self {
        let good = |detail: &str| Check::Good { detail: detail.to_owned() };
        Self {
            decisions: Mutex::default(),
            kill_switch: Mutex::new(KillSwitch { on: false, by: None, at: None, reason: None }),
            readiness: Mutex::new(Readiness {
                store: good("head 25"),
                policies: good("3 in force"),
                cluster: good("v1.33"),
            }),
            damaged_after: Mutex::default(),
        }
    }
}

pub fn digest() -> Digest {
    Digest::of("test", &"the plan that stands")
}

pub fn now() -> Timestamp {
    "2026-01-31T09:30:00Z".parse().unwrap()
}

fn proposal() -> ProposalView {
    let plan = Plan { cause: "bad-deployment".to_owned(), policy: digest(), steps: Vec::new() };
    ProposalView { digest: digest(), plan, previews: Vec::new() }
}

impl House {
    fn decide(
        &self,
        what: &str,
        by: Person,
        id: &IncidentId,
        stands: bool,
    ) -> Result<Decided, ApiError> {
        match id.as_str() {
            WAITING if !stands => Err(ApiError::Stale { now: Some(Box::new(proposal())) }),
            WAITING if by.name == "intern" => Err(ApiError::MayNot(
                "`intern` is in none of the groups that may decide: sre".to_owned(),
            )),
            WAITING => {
                let mut decisions = self.decisions.lock().unwrap();
                let already = decisions.iter().any(|it| it.0 == what && it.1 == by);
                decisions.push((what.to_owned(), by));
                let standing = "executing step 1 of 1".to_owned();
                Ok(Decided { id: id.clone(), digest: Some(digest()), already, standing })
            }
            CLOSED => Err(ApiError::Over("the incident was closed at 09:12: fixed".to_owned())),
            other => Err(ApiError::NotFound { what: "incident", name: other.to_owned() }),
        }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, ApiError>>;

impl Incidents for House {
    fn list(&self, filter: IncidentFilter) -> Answer<'_, IncidentList> {
        let summary = IncidentSummary {
            id: WAITING.parse().unwrap(),
            opened: now(),
            alert: "HighErrorRate".to_owned(),
            target: "ai-agents/Deployment/planner".to_owned(),
            policy: filter.policy.unwrap_or_else(|| "high-error-rate".to_owned()),
            state: "asking".to_owned(),
            standing: "waits for 1 approval".to_owned(),
            waiting: Some(Waiting {
                digest: digest(),
                expires: now() + SignedDuration::from_mins(30),
                quorum: 1,
                approved_by: Vec::new(),
            }),
            outcome: None,
            closed: None,
        };
        let more = filter.limit == Some(1);
        Box::pin(async move { Ok(IncidentList { incidents: vec![summary], more }) })
    }

    fn show(&self, id: IncidentId) -> Answer<'_, IncidentDetail> {
        assert_ne!(id.as_str(), PANICS, "a fault of ours");
        let error = ApiError::NotFound { what: "incident", name: id.to_string() };
        Box::pin(async move { Err(error) })
    }

    fn approve(&self, by: Person, id: IncidentId, request: ApproveRequest) -> Answer<'_, Decided> {
        let stands = request.digest.is_none_or(|given| given.matches(&digest()));
        Box::pin(async move { self.decide("approve", by, &id, stands) })
    }

    fn refuse(&self, by: Person, id: IncidentId, request: RefuseRequest) -> Answer<'_, Decided> {
        let what = format!("refuse: {}", request.reason);
        Box::pin(async move { self.decide(&what, by, &id, true) })
    }

    fn snooze(&self, by: Person, id: IncidentId, request: SnoozeRequest) -> Answer<'_, Decided> {
        let what = format!("snooze for {}", request.length);
        Box::pin(async move { self.decide(&what, by, &id, true) })
    }

    fn abort(&self, by: Person, id: IncidentId, request: AbortRequest) -> Answer<'_, Decided> {
        let what = format!("abort: {}", request.reason);
        Box::pin(async move { self.decide(&what, by, &id, true) })
    }

    fn kill_switch(&self) -> Answer<'_, KillSwitch> {
        Box::pin(async move { Ok(self.kill_switch.lock().unwrap().clone()) })
    }

    fn set_kill_switch(&self, by: Person, request: KillSwitchRequest) -> Answer<'_, KillSwitch> {
        let set = KillSwitch {
            on: request.on,
            by: Some(by.name),
            at: Some(now()),
            reason: Some(request.reason.to_string()),
        };
        self.kill_switch.lock().unwrap().clone_from(&set);
        Box::pin(async move { Ok(set) })
    }

    fn reset_breaker(&self, by: Person, policy: String, _: ResetRequest) -> Answer<'_, ()> {
        self.decisions.lock().unwrap().push((format!("reset {policy}"), by));
        Box::pin(async move { Ok(()) })
    }

    fn audit(&self, filter: AuditFilter, after: u64) -> Answer<'_, AuditPage> {
        let damaged = self.damaged_after.lock().unwrap().is_some_and(|last| after >= last);
        Box::pin(async move {
            if damaged {
                return Err(ApiError::Unavailable(format!("entry {} is damaged", after + 1)));
            }
            let last = (after + PAGE).min(ENTRIES);
            let entry = |seq| AuditEntry {
                seq,
                at: now(),
                stream: format!("incident/{WAITING}"),
                kind: "AlertAttached".to_owned(),
                policy: filter.policy.clone(),
                target: None,
                line: "HighErrorRate joined".to_owned(),
                hash: "00".repeat(32),
                event: serde_json::json!({}),
            };
            let entries = (after + 1..=last).map(entry).collect();
            Ok(AuditPage { entries, next: (last < ENTRIES).then_some(last) })
        })
    }
}

impl Health for House {
    fn readiness(&self) -> BoxFuture<'_, Readiness> {
        Box::pin(async move { self.readiness.lock().unwrap().clone() })
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async move {
            Status {
                version: "0.1.0".to_owned(),
                started: now(),
                mode: Mode::Auto,
                kill_switch: self.kill_switch.lock().unwrap().clone(),
                readiness: self.readiness.lock().unwrap().clone(),
                policies: Vec::new(),
                journal: JournalStatus {
                    path: "orderly.db".to_owned(),
                    seq: ENTRIES,
                    hash: "00".repeat(32),
                },
                incidents: [("asking".to_owned(), 1)].into(),
            }
        })
    }
}
