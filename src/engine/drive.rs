//! One worker: takes an incident in hand and carries out what the domain asks for, until it rests.
//!
//! Events are kept in hand while only looking and deciding, and appended together before anything
//! leaves for the world: what is lost in between by a crash is simply looked at again. The intent of
//! a step is durable before its request leaves (invariant 4); every append is compared with the
//! version that was read (invariant 5).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::domain::authority::ApprovedStep;
use crate::domain::claim::IncidentClaim;
use crate::domain::diagnosis::view::View;
use crate::domain::event::{Event, Stream};
use crate::domain::explain;
use crate::domain::facts::TargetQuery;
use crate::domain::gate::{self, Ruling};
use crate::domain::id::IncidentId;
use crate::domain::incident::{Incident, Phase};
use crate::domain::lifecycle::{self, Next};
use crate::domain::policy::compiled::CompiledPolicy;
use crate::domain::resolution::{self, Judgement};
use crate::journal::codec;
use crate::journal::{AppendError, Batch, Draft, Expect, StreamId};

use super::collect::{self, CollectError};
use super::perform::{self, Carried};
use super::{EngineError, Shared, rehearse};

/// Turns of one run: far more than any incident takes between two rests. A loop that does not end
/// is broken off and taken up again, where it can be seen.
const MAX_TURNS: usize = 200;
/// How soon something is tried again that could not be reached.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// The longest time between two looks at a resolution: a quarter of the gap after which a
/// criterion's time starts again.
const SLOWEST_LOOK: SignedDuration = SignedDuration::from_secs(15);
/// And the shortest, for policies with short times.
const QUICKEST_LOOK: SignedDuration = SignedDuration::from_secs(1);

/// How a worker leaves an incident.
#[derive(Debug)]
pub enum Rest {
    /// To be looked at again then, or when somebody else appends to it: it has so many events.
    Until(Option<Timestamp>, u64),
    /// It is over.
    Over,
}

/// What one turn gives.
enum Turn {
    On,
    Reload,
    Rest(Option<Timestamp>),
    Over,
}

/// An incident in hand.
pub struct Hand<'a> {
    pub(super) shared: &'a Shared,
    pub(super) claim: IncidentClaim,
    pub(super) incident: Incident,
    pub(super) policy: Arc<CompiledPolicy>,
    stored: u64,
    pending: Vec<Draft>,
    gatehouse: Option<OwnedMutexGuard<()>>,
}

/// Works on the incident until it rests.
pub(super) async fn drive(
    shared: &Shared,
    id: &IncidentId,
    stop: &CancellationToken,
) -> Result<Rest, EngineError> {
    let Some(claim) = shared.claims.take(id) else { return Ok(Rest::Until(None, 0)) };
    let hand = Hand::load(shared, claim).await?;
    let target = hand.incident.target_name();
    let span = tracing::info_span!("remediation", incident = %id, target);
    work(hand, stop).instrument(span).await
}

async fn work(mut hand: Hand<'_>, stop: &CancellationToken) -> Result<Rest, EngineError> {
    let shared = hand.shared;
    for _ in 0..MAX_TURNS {
        if stop.is_cancelled() {
            hand.flush().await?;
            return Ok(Rest::Until(None, hand.stored));
        }
        match hand.turn().await? {
            Turn::On => {}
            Turn::Reload => hand = Hand::load(shared, hand.claim).await?,
            Turn::Rest(until) => match hand.flush().await? {
                Flushed::Stored => return Ok(Rest::Until(until, hand.stored)),
                Flushed::Overtaken => hand = Hand::load(shared, hand.claim).await?,
            },
            Turn::Over => match hand.flush().await? {
                Flushed::Stored => {
                    shared.set_progress(&hand.incident.id, None);
                    return Ok(Rest::Over);
                }
                Flushed::Overtaken => hand = Hand::load(shared, hand.claim).await?,
            },
        }
    }
    Err(EngineError::Stopped(format!("{MAX_TURNS} turns without a rest")))
}

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    /// It is durable.
    Stored,
    /// Somebody else appended first: what was in hand is worth nothing.
    Overtaken,
}

impl<'a> Hand<'a> {
    async fn load(shared: &'a Shared, claim: IncidentClaim) -> Result<Self, EngineError> {
        let incident = shared.load(claim.incident()).await?;
        let policy = shared.compiled(&incident).map_err(EngineError::Stopped)?;
        let stored = incident.version;
        Ok(Self { shared, claim, incident, policy, stored, pending: Vec::new(), gatehouse: None })
    }

    /// Takes an event in hand; it becomes durable with the next flush.
    pub(super) fn note(&mut self, event: Event) {
        let now = self.shared.clock.now();
        tracing::info!(event = event.kind(), "{}", explain::line(&event));
        let stream = Stream::Incident(self.incident.id.clone());
        let draft = codec::encode(&stream, now, &event);
        // What is stored is to the microsecond; what is in hand must not differ from it.
        self.incident.apply(codec::stored_time(now), &event);
        self.pending.push(draft);
    }

    fn note_all(&mut self, events: Vec<Event>) {
        events.into_iter().for_each(|event| self.note(event));
    }

    /// Makes what is in hand durable.
    pub(super) async fn flush(&mut self) -> Result<Flushed, EngineError> {
        self.flush_with(Vec::new(), None).await
    }

    /// The same together with entries of another stream, if that stream is as expected.
    async fn flush_with(
        &mut self,
        others: Vec<Draft>,
        expected: Option<(StreamId, Expect)>,
    ) -> Result<Flushed, EngineError> {
        let mut drafts = std::mem::take(&mut self.pending);
        drafts.extend(others);
        let Some(batch) = Batch::from_drafts(drafts) else { return Ok(Flushed::Stored) };
        let stream = codec::stream_id(&Stream::Incident(self.incident.id.clone()));
        let mut batch = batch.expecting(stream, Expect::StreamVersion(self.stored));
        if let Some((stream, expect)) = expected {
            batch = batch.expecting(stream, expect);
        }
        match self.shared.journal.append_when_room(batch).await {
            Ok(receipt) => {
                self.stored = self.incident.version;
                // The ledger must have counted it before another incident asks the gates.
                self.shared.caught_up(receipt.last_seq).await;
                self.shared.board().set_phase(&self.incident.id, self.incident.phase.name());
                Ok(Flushed::Stored)
            }
            // Unknown is like overtaken: only the journal can say what is in it.
            Err(AppendError::Conflict { .. }) => Ok(Flushed::Overtaken),
            Err(AppendError::Unknown) => {
                self.shared.look_again();
                Ok(Flushed::Overtaken)
            }
            Err(
                error @ (AppendError::Full
                | AppendError::Unavailable { .. }
                | AppendError::TooLarge { .. }),
            ) => Err(error.into()),
        }
    }

    async fn turn(&mut self) -> Result<Turn, EngineError> {
        let now = self.shared.clock.now();
        // The answer borrows the incident; what is needed from it is taken out first.
        let incident = self.incident.clone();
        let next = lifecycle::next(&incident, now);
        // Whoever asks the gates next must see what was decided here, or two ask people about one target.
        if self.gatehouse.is_some() && !matches!(next, Next::Start { .. }) {
            let turn = self.flush_or_reload().await?;
            self.gatehouse = None;
            return Ok(turn);
        }
        match next {
            Next::Locate(query) => self.locate(query).await,
            Next::Observe => self.observe().await,
            Next::Diagnose => {
                let facts = incident.facts.as_ref();
                let facts = facts.ok_or_else(|| no("facts to diagnose from"))?;
                let view = View::new(incident.alert(), facts, now);
                let finding = self.policy.diagnose(&view);
                self.note(Event::CauseFound { finding });
                Ok(Turn::On)
            }
            Next::Plan { cause, actions } => self.plan(cause, actions).await,
            Next::Gate => self.gate().await,
            Next::Reconsider => self.reconsider().await,
            Next::Record(events) => {
                self.note_all(events);
                Ok(Turn::On)
            }
            Next::Start { step, attempt } => self.start(step, attempt).await,
            Next::LookBack { step } => {
                let carried = perform::look_back(self, step).await;
                self.carried(carried).await
            }
            Next::Verify { deadline } => self.verify(deadline).await,
            Next::Tell { level, to } => {
                let undelivered = perform::tell(self.shared, &incident, to, None).await.err();
                let to = to.to_owned();
                self.note(Event::Escalated { to, level: Some(level), undelivered });
                self.flush_or_reload().await
            }
            Next::Wait { until } => Ok(Turn::Rest(self.sooner(until))),
            Next::Nothing => Ok(Turn::Over),
        }
    }

    /// A wait never reaches beyond the next escalation.
    fn sooner(&self, until: Option<Timestamp>) -> Option<Timestamp> {
        let escalation = crate::domain::escalation::next(&self.incident);
        [until, escalation].into_iter().flatten().min()
    }

    async fn flush_or_reload(&mut self) -> Result<Turn, EngineError> {
        Ok(match self.flush().await? {
            Flushed::Stored => Turn::On,
            Flushed::Overtaken => Turn::Reload,
        })
    }

    fn later(&self, why: &str) -> Turn {
        tracing::warn!(why, "tried again soon");
        Turn::Rest(self.sooner(Some(self.shared.after(AGAIN))))
    }

    async fn locate(&mut self, query: &TargetQuery) -> Result<Turn, EngineError> {
        let targets = match collect::locate(self.shared, query).await {
            Ok(targets) => targets,
            Err(CollectError::Gone(why)) => {
                let events = lifecycle::not_found(&self.incident, why);
                self.note_all(events);
                return Ok(Turn::On);
            }
            Err(CollectError::Unavailable(why)) => return Ok(self.later(&why)),
        };
        let holder = self.shared.board().holder(&self.incident.id, &targets).cloned();
        self.note(Event::TargetsFound { targets });
        if let Some(other) = holder {
            return self.join(&other).await;
        }
        Ok(Turn::On)
    }

    /// Hands the alerts over to the incident that has the target in hand.
    async fn join(&mut self, other: &IncidentId) -> Result<Turn, EngineError> {
        // It must still be open when the alerts arrive, or nobody would have them in hand.
        let holder = self.shared.load(other).await?;
        if holder.closed() {
            return Ok(Turn::Reload);
        }
        let stream = Stream::Incident(other.clone());
        let now = self.shared.clock.now();
        let firing = self.incident.alerts.iter().filter(|it| it.resolved.is_none());
        let attached = firing.map(|it| Event::AlertAttached { alert: it.alert.clone() });
        let drafts = attached.map(|event| codec::encode(&stream, now, &event)).collect();
        self.note_all(lifecycle::joined(other));
        let unmoved = (codec::stream_id(&stream), Expect::StreamVersion(holder.version));
        Ok(match self.flush_with(drafts, Some(unmoved)).await? {
            Flushed::Stored => Turn::Over,
            Flushed::Overtaken => Turn::Reload,
        })
    }

    async fn observe(&mut self) -> Result<Turn, EngineError> {
        match collect::facts(self.shared, &self.incident, &self.policy).await {
            Ok(facts) => {
                self.note(Event::FactsCollected { facts: Box::new(facts) });
                Ok(Turn::On)
            }
            Err(CollectError::Gone(why)) => {
                let events = lifecycle::not_found(&self.incident, why);
                self.note_all(events);
                Ok(Turn::On)
            }
            Err(CollectError::Unavailable(why)) => Ok(self.later(&why)),
        }
    }

    async fn plan(
        &mut self,
        cause: String,
        actions: &[crate::domain::policy::spec::ActionSpec],
    ) -> Result<Turn, EngineError> {
        let facts = self.incident.facts.clone().ok_or_else(|| no("facts to plan from"))?;
        let plan = match rehearse::plan(&self.incident, cause, actions, &facts) {
            Ok(plan) => plan,
            Err((action, why)) => {
                let events = lifecycle::impossible(&self.incident, action, why);
                self.note_all(events);
                return Ok(Turn::On);
            }
        };
        match rehearse::preview(self.shared, &self.incident, &plan).await {
            rehearse::Previewed::Would(previews) => {
                let digest = plan.digest();
                self.note(Event::PlanProposed { plan: Box::new(plan), digest, previews });
            }
            rehearse::Previewed::Impossible(action, why) => {
                let events = lifecycle::impossible(&self.incident, action, why);
                self.note_all(events);
            }
            rehearse::Previewed::Stale(why) => {
                let events = lifecycle::stale(&self.incident, 0, why);
                self.note_all(events);
            }
            rehearse::Previewed::Unavailable(why) => return Ok(self.later(&why)),
        }
        Ok(Turn::On)
    }

    async fn gate(&mut self) -> Result<Turn, EngineError> {
        let surroundings = collect::surroundings(self.shared, &self.incident).await;
        let guard = self.shared.gatehouse.clone().lock_owned().await;
        let (ruling, verdicts) = {
            let board = self.shared.board();
            let inputs = rehearse::inputs(self.shared, &self.incident, &board, &surroundings);
            gate::decide(&inputs.ok_or_else(|| no("plan to ask the gates about"))?)
        };
        if let (Ruling::Hold { .. }, Some(other)) = (ruling, self.gives_way_to()) {
            return self.join(&other).await;
        }
        let events = lifecycle::gated(&self.incident, ruling, verdicts);
        self.note_all(events);
        self.gatehouse = Some(guard);
        Ok(Turn::On)
    }

    /// The incident that has the target in hand, as long as this one changed nothing itself.
    fn gives_way_to(&self) -> Option<IncidentId> {
        let (board, incident) = (self.shared.board(), &self.incident);
        board.holder(&incident.id, &incident.targets).filter(|_| !incident.changed()).cloned()
    }

    /// Asks again over fresh facts; notes nothing while the answer is the same.
    async fn reconsider(&mut self) -> Result<Turn, EngineError> {
        let facts = match collect::facts(self.shared, &self.incident, &self.policy).await {
            Ok(facts) => facts,
            Err(CollectError::Gone(why)) => {
                let events = lifecycle::not_found(&self.incident, why);
                self.note_all(events);
                return Ok(Turn::On);
            }
            Err(CollectError::Unavailable(why)) => return Ok(self.later(&why)),
        };
        let same = rehearse::digest(&self.incident, &self.policy, &facts, self.shared.clock.now())
            .is_some_and(|digest| {
                self.incident.proposal.as_ref().is_some_and(|proposal| proposal.digest == digest)
            });
        if same {
            let surroundings = collect::surroundings(self.shared, &self.incident).await;
            let mut imagined = self.incident.clone();
            imagined.facts = Some(facts.clone());
            let ruling = {
                let board = self.shared.board();
                let inputs = rehearse::inputs(self.shared, &imagined, &board, &surroundings);
                inputs.map(|inputs| gate::decide(&inputs).0)
            };
            if let Some(Ruling::Hold { until }) = ruling {
                let Some(other) = self.gives_way_to() else {
                    return Ok(Turn::Rest(self.sooner(Some(until))));
                };
                return self.join(&other).await;
            }
        }
        self.note(Event::FactsCollected { facts: Box::new(facts) });
        Ok(Turn::On)
    }

    async fn start(&mut self, step: usize, attempt: u32) -> Result<Turn, EngineError> {
        let digest = self.incident.proposal.as_ref().map(|proposal| proposal.digest);
        let digest = digest.ok_or_else(|| no("plan to execute"))?;
        if let Some(why) = self.switched_off() {
            let events = lifecycle::switched_off(&self.incident, step, why);
            self.note_all(events);
            return Ok(Turn::On);
        }
        self.note(Event::StepStarted { digest, step, attempt });
        let flushed = self.flush().await?;
        self.gatehouse = None;
        if flushed == Flushed::Overtaken {
            return Ok(Turn::Reload);
        }
        let carried = match ApprovedStep::of(&self.incident, step) {
            Ok(approved) => perform::perform(self, &approved).await,
            Err(why) => {
                Carried::Events(lifecycle::step_failed(&self.incident, step, why.to_string()))
            }
        };
        self.carried(carried).await
    }

    /// Who turned the kill switch on, if the plan changes anything: the gates were asked before its
    /// first step, and between two steps or two tries there is time to change one's mind.
    fn switched_off(&self) -> Option<String> {
        let plan = &self.incident.proposal.as_ref()?.plan;
        let board = self.shared.board();
        let switch = board.ledger().kill_switch().filter(|_| plan.changes_anything())?;
        Some(format!("{} turned the kill switch on: {}", switch.by.name, switch.reason))
    }

    async fn carried(&mut self, carried: Carried) -> Result<Turn, EngineError> {
        let (events, rest) = match carried {
            Carried::Events(events) => (events, None),
            Carried::Later(events, after) => (events, Some(after)),
        };
        self.note_all(events);
        Ok(match (self.flush().await?, rest) {
            (Flushed::Overtaken, _) => Turn::Reload,
            (Flushed::Stored, None) => Turn::On,
            (Flushed::Stored, Some(after)) => {
                Turn::Rest(self.sooner(Some(self.shared.after(after))))
            }
        })
    }

    async fn verify(&mut self, deadline: Timestamp) -> Result<Turn, EngineError> {
        let Phase::Verifying { progress, restarts_before, .. } = &self.incident.phase else {
            return Err(no("verification"));
        };
        let spec = self.incident.policy.spec.verify.clone();
        let before = self.shared.progress(&self.incident.id).unwrap_or_else(|| progress.clone());
        let looked = collect::look(self.shared, &self.incident).await;
        let (facts, query) = match looked {
            Ok(looked) => looked,
            Err(CollectError::Gone(why)) => {
                let events = lifecycle::step_failed(&self.incident, 0, why);
                self.note_all(events);
                return Ok(Turn::On);
            }
            Err(CollectError::Unavailable(why)) if self.shared.clock.now() < deadline => {
                return Ok(self.later(&why));
            }
            Err(CollectError::Unavailable(why)) => {
                let events = lifecycle::judged(&self.incident, Judgement::Missed(before));
                tracing::warn!(why, "the resolution could not be looked at");
                self.note_all(events);
                return Ok(Turn::On);
            }
        };
        let look = resolution::Look {
            facts: &facts,
            query: query.as_ref(),
            firing: self.incident.firing(),
            restarts_before,
            now: self.shared.clock.now(),
        };
        let judgement = resolution::judge(&spec, &before, &look, deadline);
        let progress = match &judgement {
            Judgement::Met(progress)
            | Judgement::Pending { progress, .. }
            | Judgement::Missed(progress) => progress.clone(),
        };
        self.shared.set_progress(&self.incident.id, Some(progress));
        let pending = matches!(judgement, Judgement::Pending { .. });
        let mut events = lifecycle::judged(&self.incident, judgement);
        for event in &mut events {
            if let Event::ResolutionMet { healthy, .. } = event {
                *healthy = collect::templates(&facts);
            }
        }
        self.note_all(events);
        if !pending {
            return Ok(Turn::On);
        }
        let again = self.shared.after(look_pace(spec.within.get())).min(deadline);
        Ok(Turn::Rest(self.sooner(Some(again))))
    }
}

/// How often a resolution is looked at: twenty times within its time, within bounds.
fn look_pace(within: SignedDuration) -> SignedDuration {
    (within / 20).clamp(QUICKEST_LOOK, SLOWEST_LOOK)
}

fn no(what: &str) -> EngineError {
    EngineError::Stopped(format!("there is no {what}: the journal and the program disagree"))
}
