//! What people ask and decide, answered from the engine.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::domain::event::{Event, Person, Stream};
use crate::domain::explain;
use crate::domain::id::IncidentId;
use crate::domain::incident::{Incident, Phase};
use crate::engine::{self, DecisionError, Engine, EngineError, Summary};
use crate::http::api::{
    AbortRequest, ApiError, ApproveRequest, AuditEntry, AuditFilter, AuditPage, Decided,
    HistoryLine, IncidentDetail, IncidentFilter, IncidentList, IncidentSummary, Incidents,
    KillSwitch, KillSwitchRequest, ProposalView, RefuseRequest, ResetRequest, SnoozeRequest,
    StateFilter, Waiting,
};
use crate::journal::codec::{self, Recorded};
use crate::journal::{Entry, Order, Search};

/// Incidents that one answer lists at most: what a person looks through.
const MOST_LISTED: usize = 1_000;
/// How many an answer lists when nobody says.
const LISTED: usize = 100;

/// The engine as the API sees it.
#[derive(Clone, Debug)]
pub struct Desk {
    engine: Engine,
}

impl Desk {
    /// A desk in front of this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    async fn decided(
        &self,
        decided: Result<engine::Decided, DecisionError>,
    ) -> Result<Decided, ApiError> {
        let (incident, already) = match decided.map_err(refused)? {
            engine::Decided::Noted(incident) => (incident, false),
            engine::Decided::Already(incident) => (incident, true),
        };
        Ok(Decided {
            id: incident.id.clone(),
            digest: incident.proposal.as_ref().map(|proposal| proposal.digest),
            already,
            standing: explain::standing(&incident),
        })
    }
}

fn refused(error: DecisionError) -> ApiError {
    let text = error.to_string();
    match error {
        DecisionError::NotFound(id) => {
            ApiError::NotFound { what: "incident", name: id.to_string() }
        }
        DecisionError::Over { .. } => ApiError::Over(text),
        DecisionError::NotAsked { .. } | DecisionError::NotWaiting { .. } => ApiError::NotNow(text),
        DecisionError::MayNot(_) => ApiError::MayNot(text),
        DecisionError::Stale(now) => ApiError::Stale { now: proposal(&now).map(Box::new) },
        DecisionError::Unconfirmed(_) | DecisionError::Busy(_) => ApiError::NotNow(text),
        DecisionError::Journal(_) => ApiError::Unavailable(text),
    }
}

fn unavailable(error: &EngineError) -> ApiError {
    ApiError::Unavailable(format!("the journal cannot be read: {error}"))
}

fn proposal(incident: &Incident) -> Option<ProposalView> {
    let proposal = incident.proposal.as_ref()?;
    Some(ProposalView {
        digest: proposal.digest,
        plan: proposal.plan.clone(),
        previews: proposal.previews.clone(),
    })
}

/// An incident in one line, from all that is known of it.
pub fn summary(incident: &Incident) -> IncidentSummary {
    let (outcome, closed) = match &incident.phase {
        Phase::Closed { outcome, at, .. } => (Some(*outcome), Some(*at)),
        _ => (None, None),
    };
    let asked = matches!(incident.phase, Phase::Asking);
    let waiting = incident.question.as_ref().filter(|_| asked).map(|question| Waiting {
        digest: question.digest,
        expires: question.expires,
        quorum: question.quorum,
        approved_by: question.given.iter().map(|given| given.by.name.clone()).collect(),
    });
    IncidentSummary {
        id: incident.id.clone(),
        opened: incident.opened,
        alert: incident.alert().name().to_owned(),
        target: incident.target_name(),
        policy: incident.policy.name.clone(),
        state: incident.phase.name().to_owned(),
        standing: explain::standing(incident),
        waiting,
        outcome,
        closed,
    }
}

/// An ended incident in one line, from the board.
fn ended(summary: &Summary) -> IncidentSummary {
    let reason = summary.reason.clone().unwrap_or_default();
    let outcome = summary.outcome.map_or("", |outcome| outcome.name());
    IncidentSummary {
        id: summary.id.clone(),
        opened: summary.opened,
        alert: summary.alertname.clone(),
        target: summary.target.clone(),
        policy: summary.policy.clone(),
        state: summary.phase.clone(),
        standing: format!("{outcome}: {reason}"),
        waiting: None,
        outcome: summary.outcome,
        closed: summary.outcome.map(|_| summary.touched),
    }
}

fn fits(summary: &Summary, filter: &IncidentFilter) -> bool {
    filter.policy.as_ref().is_none_or(|policy| *policy == summary.policy)
        && filter.target.as_ref().is_none_or(|target| summary.target.contains(target.as_str()))
}

impl Incidents for Desk {
    fn list(&self, filter: IncidentFilter) -> BoxFuture<'_, Result<IncidentList, ApiError>> {
        Box::pin(async move {
            let limit = filter.limit.unwrap_or(LISTED).clamp(1, MOST_LISTED);
            let (open, over) = self.engine.board(|board| {
                let asked = |it: &&Summary| {
                    filter.state != Some(StateFilter::Waiting) || it.phase == Phase::Asking.name()
                };
                let mut open: Vec<_> = board
                    .open()
                    .filter(|it| fits(it, &filter))
                    .filter(asked)
                    .map(|it| (it.opened, it.id.clone()))
                    .collect();
                open.sort();
                let over: Vec<_> = board
                    .ended()
                    .filter(|it| fits(it, &filter))
                    .take(limit + 1)
                    .map(ended)
                    .collect();
                (open, over)
            });
            let mut incidents = Vec::new();
            let wanted = |state| filter.state.is_none_or(|wanted| wanted == state);
            if wanted(StateFilter::Open) || filter.state == Some(StateFilter::Waiting) {
                for (_, id) in open.iter().rev().take(limit + 1) {
                    let incident = self.engine.incident(id).await;
                    let line = summary(&incident.map_err(|error| unavailable(&error))?);
                    if filter.state != Some(StateFilter::Waiting) || line.waiting.is_some() {
                        incidents.push(line);
                    }
                }
            }
            if wanted(StateFilter::Closed) {
                incidents.extend(over);
            }
            let more = incidents.len() > limit;
            incidents.truncate(limit);
            Ok(IncidentList { incidents, more })
        })
    }

    fn show(&self, id: IncidentId) -> BoxFuture<'_, Result<IncidentDetail, ApiError>> {
        Box::pin(async move {
            let incident = match self.engine.incident(&id).await {
                Ok(incident) => incident,
                Err(EngineError::Fold(_)) => {
                    return Err(ApiError::NotFound { what: "incident", name: id.to_string() });
                }
                Err(error) => return Err(unavailable(&error)),
            };
            let stream = codec::stream_id(&Stream::Incident(id));
            let entries = self.engine.journal().read_stream(&stream).await;
            let entries = entries.map_err(|error| unavailable(&error.into()))?;
            let mut history = Vec::new();
            for entry in &entries {
                let recorded = codec::decode(entry).map_err(|error| unavailable(&error.into()))?;
                history.push(HistoryLine {
                    seq: recorded.seq,
                    at: recorded.at,
                    event: recorded.event.kind().to_owned(),
                    line: explain::line(&recorded.event),
                });
            }
            Ok(IncidentDetail {
                summary: summary(&incident),
                proposal: proposal(&incident),
                history,
                incident: Box::new(incident),
            })
        })
    }

    fn approve(
        &self,
        by: Person,
        id: IncidentId,
        request: ApproveRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>> {
        Box::pin(async move {
            let digest = request.digest.map(String::from);
            let reason = request.reason.map(String::from);
            let decided = self.engine.approve(&id, by, digest.as_deref(), reason).await;
            self.decided(decided).await
        })
    }

    fn refuse(
        &self,
        by: Person,
        id: IncidentId,
        request: RefuseRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>> {
        Box::pin(async move {
            let decided = self.engine.refuse(&id, by, request.reason.into()).await;
            self.decided(decided).await
        })
    }

    fn snooze(
        &self,
        by: Person,
        id: IncidentId,
        request: SnoozeRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>> {
        Box::pin(async move {
            let reason = request.reason.map(String::from);
            let decided = self.engine.snooze(&id, by, request.length.get(), reason).await;
            self.decided(decided).await
        })
    }

    fn abort(
        &self,
        by: Person,
        id: IncidentId,
        request: AbortRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>> {
        Box::pin(async move {
            let decided = self.engine.abort(&id, by, request.reason.into()).await;
            self.decided(decided).await
        })
    }

    fn kill_switch(&self) -> BoxFuture<'_, Result<KillSwitch, ApiError>> {
        Box::pin(async move { Ok(kill_switch(&self.engine)) })
    }

    fn set_kill_switch(
        &self,
        by: Person,
        request: KillSwitchRequest,
    ) -> BoxFuture<'_, Result<KillSwitch, ApiError>> {
        Box::pin(async move {
            let set = self.engine.set_kill_switch(request.on, by, request.reason.into()).await;
            set.map_err(refused)?;
            Ok(kill_switch(&self.engine))
        })
    }

    fn reset_breaker(
        &self,
        by: Person,
        policy: String,
        request: ResetRequest,
    ) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            let counted = self.engine.board(|board| board.ledger().ineffective(&policy) > 0);
            if !counted && self.engine.policies().get(&policy).is_none() {
                return Err(ApiError::NotFound { what: "policy", name: policy });
            }
            self.engine.reset_breaker(policy, by, request.reason.into()).await.map_err(refused)
        })
    }

    fn audit(&self, filter: AuditFilter, after: u64) -> BoxFuture<'_, Result<AuditPage, ApiError>> {
        Box::pin(async move { audit_page(self.engine.journal(), &filter, after).await })
    }
}

/// How the kill switch stands.
pub fn kill_switch(engine: &Engine) -> KillSwitch {
    engine.board(|board| match board.ledger().kill_switch() {
        Some(switch) => KillSwitch {
            on: true,
            by: Some(switch.by.name.clone()),
            at: Some(switch.since),
            reason: Some(switch.reason.clone()),
        },
        None => KillSwitch { on: false, by: None, at: None, reason: None },
    })
}

/// What is known of an incident, for filtering its entries.
#[derive(Clone, Debug, Default)]
struct About {
    policy: String,
    target: String,
    outcome: Option<crate::domain::event::Outcome>,
}

/// One page of the journal's entries that fit. Also used by the command line on a file.
///
/// # Errors
/// When the journal cannot be read.
pub async fn audit_page(
    journal: &crate::journal::JournalReader,
    filter: &AuditFilter,
    after: u64,
) -> Result<AuditPage, ApiError> {
    let stream = filter.incident.clone().map(|id| codec::stream_id(&Stream::Incident(id)));
    let search = Search {
        since: filter.since,
        until: filter.until,
        stream,
        past: Some(after),
        order: Order::OldestFirst,
        ..Search::default()
    };
    let page = journal.search(search).await;
    let page = page.map_err(|error| unavailable(&error.into()))?;
    let mut known: BTreeMap<IncidentId, About> = BTreeMap::new();
    let mut entries = Vec::new();
    for entry in &page {
        let recorded = codec::decode(entry).map_err(|error| unavailable(&error.into()))?;
        let about = match &recorded.stream {
            Stream::Incident(id) => {
                if !known.contains_key(id) {
                    known.insert(id.clone(), about(journal, id).await?);
                }
                known.get(id)
            }
            Stream::Intake | Stream::Control | Stream::Conversation => None,
        };
        if fits_audit(filter, about) {
            entries.push(audit_entry(entry, &recorded, about)?);
        }
    }
    let next = page.last().map(|entry| entry.seq);
    Ok(AuditPage { entries, next })
}

async fn about(
    journal: &crate::journal::JournalReader,
    id: &IncidentId,
) -> Result<About, ApiError> {
    let stream = codec::stream_id(&Stream::Incident(id.clone()));
    let wanted = ["IncidentOpened", "TargetsFound", "IncidentClosed"];
    let search = Search { stream: Some(stream), kinds: codec::kinds(&wanted), ..Search::default() };
    let found = journal.search(search).await.map_err(|error| unavailable(&error.into()))?;
    let mut about = About::default();
    for entry in &found {
        let recorded = codec::decode(entry).map_err(|error| unavailable(&error.into()))?;
        match recorded.event {
            Event::IncidentOpened { policy, target, .. } => {
                about.policy = policy.name;
                about.target = target.map_or_else(|_| String::new(), |target| target.to_string());
            }
            Event::TargetsFound { targets } => {
                let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
                about.target = names.join(", ");
            }
            Event::IncidentClosed { outcome, .. } => about.outcome = Some(outcome),
            _ => {}
        }
    }
    Ok(about)
}

fn fits_audit(filter: &AuditFilter, about: Option<&About>) -> bool {
    let asked = filter.policy.is_some() || filter.target.is_some() || filter.outcome.is_some();
    let Some(about) = about else { return !asked };
    filter.policy.as_ref().is_none_or(|policy| *policy == about.policy)
        && filter.target.as_ref().is_none_or(|target| about.target.contains(target.as_str()))
        && filter.outcome.is_none_or(|outcome| about.outcome == Some(outcome))
}

fn audit_entry(
    entry: &Entry,
    recorded: &Recorded,
    about: Option<&About>,
) -> Result<AuditEntry, ApiError> {
    let event: Value = serde_json::from_slice(&entry.body)
        .map_err(|error| ApiError::Unavailable(format!("entry {}: {error}", entry.seq)))?;
    Ok(AuditEntry {
        seq: entry.seq,
        at: entry.time,
        stream: entry.stream.as_str().to_owned(),
        kind: entry.kind.as_str().to_owned(),
        policy: about.map(|about| about.policy.clone()),
        target: about.map(|about| about.target.clone()),
        line: explain::line(&recorded.event),
        hash: entry.hash.to_string(),
        event,
    })
}
