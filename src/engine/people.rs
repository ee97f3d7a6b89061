//! People's decisions: approve, refuse, abort, the kill switch, the breaker.
//!
//! Each is an event with who, when and by which path; one that is denied is an event too. An
//! approval binds to the digest of the plan that stands after one more look at the target: when the
//! target changed, the plan is made again and asked again (promise 2).

use jiff::SignedDuration;

use crate::domain::approval::{self, MayNot};
use crate::domain::event::{Event, Person, Stream};
use crate::domain::id::{Digest, IncidentId};
use crate::domain::incident::{Incident, Phase};
use crate::domain::lifecycle;
use crate::domain::period::Period;
use crate::journal::{AppendError, Batch, Expect, codec};

use super::collect::{self, CollectError};
use super::{Engine, EngineError, rehearse};

/// How often a decision is tried again when the incident moved meanwhile.
const TRIES: u32 = 5;
/// How long a person waits for a stale plan to be made again.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// What came of a decision.
#[derive(Debug)]
pub enum Decided {
    /// It is noted; the incident as it stands now.
    Noted(Box<Incident>),
    /// The same person had said the same before.
    Already(Box<Incident>),
}

/// Why a decision was not noted.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// No such incident.
    #[error("there is no incident `{0}`: see `orderly incidents`")]
    NotFound(IncidentId),
    /// It is over.
    #[error("incident `{id}` is over ({outcome})")]
    Over {
        /// Which.
        id: IncidentId,
        /// How it ended.
        outcome: String,
    },
    /// It asks nothing.
    #[error("incident `{id}` does not wait for approval: it is {phase}")]
    NotAsked {
        /// Which.
        id: IncidentId,
        /// Where it stands.
        phase: &'static str,
    },
    /// It is under way: there is nothing to put off.
    #[error("incident `{id}` does not wait for anybody: it is {phase}")]
    NotWaiting {
        /// Which.
        id: IncidentId,
        /// Where it stands.
        phase: &'static str,
    },
    /// The person may not.
    #[error(transparent)]
    MayNot(MayNot),
    /// The plan is another one by now.
    #[error("the plan is another one by now: look at it and decide again")]
    Stale(Box<Incident>),
    /// The target could not be looked at once more.
    #[error("the target cannot be looked at, so the plan cannot be confirmed: {0}")]
    Unconfirmed(String),
    /// The journal did not take it.
    #[error("the decision could not be recorded")]
    Journal(#[from] EngineError),
    /// The incident moved each time.
    #[error("incident `{0}` keeps moving; try again")]
    Busy(IncidentId),
}

impl From<AppendError> for DecisionError {
    fn from(error: AppendError) -> Self {
        Self::Journal(error.into())
    }
}

impl Engine {
    /// Approves the plan that stands. `digest` may be its beginning; without one, whatever stands.
    ///
    /// # Errors
    /// Why it was not noted; [`DecisionError::Stale`] carries the new plan.
    pub async fn approve(
        &self,
        id: &IncidentId,
        by: Person,
        digest: Option<&str>,
        reason: Option<String>,
    ) -> Result<Decided, DecisionError> {
        for _ in 0..TRIES {
            let incident = self.open_incident(id).await?;
            let Some(standing) = self.asked(&incident, digest)? else {
                return Err(DecisionError::Stale(Box::new(incident)));
            };
            if incident.question.as_ref().is_some_and(|question| {
                question.digest == standing
                    && question.given.iter().any(|given| given.by.name == by.name)
            }) {
                return Ok(Decided::Already(Box::new(incident)));
            }
            if !matches!(incident.phase, Phase::Asking) {
                let phase = incident.phase.name();
                return Err(DecisionError::NotAsked { id: id.clone(), phase });
            }
            self.authorise(&incident, &by, "approve").await?;
            if let Some(why) = self.changed_since(&incident, standing).await? {
                return Err(self.plan_again(&incident, why).await?);
            }
            let event =
                Event::ApprovalGiven { digest: standing, by: by.clone(), reason: reason.clone() };
            if self.append(&incident, &[event]).await? {
                return Ok(Decided::Noted(Box::new(self.incident(id).await?)));
            }
        }
        Err(DecisionError::Busy(id.clone()))
    }

    /// Refuses the plan that stands; the incident ends.
    ///
    /// # Errors
    /// Why it was not noted.
    pub async fn refuse(
        &self,
        id: &IncidentId,
        by: Person,
        reason: String,
    ) -> Result<Decided, DecisionError> {
        for _ in 0..TRIES {
            let incident = self.open_incident(id).await?;
            let question =
                incident.question.as_ref().filter(|_| matches!(incident.phase, Phase::Asking));
            let Some(digest) = question.map(|question| question.digest) else {
                let phase = incident.phase.name();
                return Err(DecisionError::NotAsked { id: id.clone(), phase });
            };
            // Refusing is authorised like approving: it ends a remediation that others may want.
            self.authorise(&incident, &by, "refuse").await?;
            let events = lifecycle::refused(digest, by.clone(), reason.clone());
            if self.append(&incident, &events).await? {
                return Ok(Decided::Noted(Box::new(self.incident(id).await?)));
            }
        }
        Err(DecisionError::Busy(id.clone()))
    }

    /// Puts the question off: nothing is done and nobody is called before. No time at all ends an
    /// earlier snooze.
    ///
    /// # Errors
    /// Why it was not noted.
    pub async fn snooze(
        &self,
        id: &IncidentId,
        by: Person,
        length: Period,
        reason: Option<String>,
    ) -> Result<Decided, DecisionError> {
        let until = self.shared.after(length.get());
        for _ in 0..TRIES {
            let incident = self.open_incident(id).await?;
            if !incident.may_be_snoozed() {
                let phase = incident.phase.name();
                return Err(DecisionError::NotWaiting { id: id.clone(), phase });
            }
            // To make others wait is authorised like refusing: it keeps a remediation from happening.
            self.authorise(&incident, &by, "put it off").await?;
            let event = Event::Snoozed { by: by.clone(), until, reason: reason.clone() };
            if self.append(&incident, &[event]).await? {
                return Ok(Decided::Noted(Box::new(self.incident(id).await?)));
            }
        }
        Err(DecisionError::Busy(id.clone()))
    }

    /// Notes on the incident that somebody tried to decide who may not.
    ///
    /// # Errors
    /// When there is no such open incident, or the journal does not take it.
    pub async fn denied(
        &self,
        id: &IncidentId,
        by: Person,
        attempt: &str,
        why: &str,
    ) -> Result<(), DecisionError> {
        let (attempt, why) = (attempt.to_owned(), why.to_owned());
        let event = Event::DecisionDenied { by, attempt, why };
        for _ in 0..TRIES {
            let incident = self.open_incident(id).await?;
            if self.append(&incident, std::slice::from_ref(&event)).await? {
                return Ok(());
            }
        }
        Err(DecisionError::Busy(id.clone()))
    }

    /// Stops the incident: no further step starts; what is in flight is looked at first.
    ///
    /// # Errors
    /// Why it was not noted.
    pub async fn abort(
        &self,
        id: &IncidentId,
        by: Person,
        reason: String,
    ) -> Result<Decided, DecisionError> {
        for _ in 0..TRIES {
            let incident = self.open_incident(id).await?;
            if incident.abort.is_some() {
                return Ok(Decided::Already(Box::new(incident)));
            }
            let event = Event::AbortRequested { by: by.clone(), reason: reason.clone() };
            if self.append(&incident, &[event]).await? {
                return Ok(Decided::Noted(Box::new(self.incident(id).await?)));
            }
        }
        Err(DecisionError::Busy(id.clone()))
    }

    /// Turns the kill switch.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub async fn set_kill_switch(
        &self,
        on: bool,
        by: Person,
        reason: String,
    ) -> Result<(), DecisionError> {
        self.control(Event::KillSwitchSet { on, by, reason }).await
    }

    /// Forgets a policy's ineffective fixes.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub async fn reset_breaker(
        &self,
        policy: String,
        by: Person,
        reason: String,
    ) -> Result<(), DecisionError> {
        self.control(Event::BreakerReset { policy, by, reason }).await
    }

    async fn control(&self, event: Event) -> Result<(), DecisionError> {
        let draft = codec::encode(&Stream::Control, self.shared.clock.now(), &event);
        let receipt = self.shared.journal.append_when_room(Batch::of(draft)).await?;
        self.shared.caught_up(receipt.last_seq).await;
        Ok(())
    }

    async fn open_incident(&self, id: &IncidentId) -> Result<Incident, DecisionError> {
        let incident = match self.incident(id).await {
            Ok(incident) => incident,
            Err(EngineError::Fold(_)) => return Err(DecisionError::NotFound(id.clone())),
            Err(error) => return Err(error.into()),
        };
        match &incident.phase {
            Phase::Closed { outcome, .. } => {
                let outcome = outcome.name().to_owned();
                Err(DecisionError::Over { id: id.clone(), outcome })
            }
            _ => Ok(incident),
        }
    }

    /// The digest that is asked about, when it is the one that the person saw.
    fn asked(
        &self,
        incident: &Incident,
        digest: Option<&str>,
    ) -> Result<Option<Digest>, DecisionError> {
        let Some(proposal) = &incident.proposal else {
            let phase = incident.phase.name();
            return Err(DecisionError::NotAsked { id: incident.id.clone(), phase });
        };
        let seen = |digest: &str| {
            digest.len() >= SHORTEST_DIGEST && proposal.digest.to_string().starts_with(digest)
        };
        Ok(digest.is_none_or(seen).then_some(proposal.digest))
    }

    async fn authorise(
        &self,
        incident: &Incident,
        by: &Person,
        attempt: &str,
    ) -> Result<(), DecisionError> {
        // No person asks for a plan yet: alerts do.
        let requester = None;
        let steps = incident.proposal.iter().flat_map(|proposal| &proposal.plan.steps);
        let actions = steps.map(|step| step.action.as_str());
        match approval::may_decide(&incident.policy.spec.approval, actions, by, requester) {
            Ok(()) => Ok(()),
            Err(why) => {
                let event = Event::DecisionDenied {
                    by: by.clone(),
                    attempt: attempt.to_owned(),
                    why: why.to_string(),
                };
                self.append(incident, &[event]).await?;
                Err(DecisionError::MayNot(why))
            }
        }
    }

    /// What changed since the plan was made, if it would be another one now.
    async fn changed_since(
        &self,
        incident: &Incident,
        standing: Digest,
    ) -> Result<Option<String>, DecisionError> {
        let policy = self.shared.compiled(incident).map_err(DecisionError::Unconfirmed)?;
        let facts = match collect::facts(&self.shared, incident, &policy).await {
            Ok(facts) => facts,
            Err(CollectError::Gone(why)) => return Ok(Some(why)),
            Err(CollectError::Unavailable(why)) => return Err(DecisionError::Unconfirmed(why)),
        };
        let now = self.shared.clock.now();
        match rehearse::digest(incident, &policy, &facts, now) {
            Some(digest) if digest == standing => Ok(None),
            Some(_) => Ok(Some("the target changed since the plan was made".to_owned())),
            None => Ok(Some("from what is seen now, this plan would not be made".to_owned())),
        }
    }

    /// Has the plan made again and gives the error that shows it.
    async fn plan_again(
        &self,
        incident: &Incident,
        why: String,
    ) -> Result<DecisionError, DecisionError> {
        let before = incident.proposal.as_ref().map(|proposal| proposal.at);
        self.append(incident, &lifecycle::stale(incident, 0, why)).await?;
        let deadline = self.shared.after(PATIENCE);
        let mut head = self.shared.journal.subscribe();
        loop {
            head.borrow_and_update();
            let now = self.incident(&incident.id).await?;
            let made = now.proposal.as_ref().map(|proposal| proposal.at) > before;
            if (made && matches!(now.phase, Phase::Asking)) || now.closed() {
                return Ok(DecisionError::Stale(Box::new(now)));
            }
            tokio::select! {
                _changed = head.changed() => {}
                () = self.shared.clock.sleep_until(deadline) => {
                    return Ok(DecisionError::Stale(Box::new(now)));
                }
            }
        }
    }

    /// Appends to an incident if nobody else has meanwhile.
    async fn append(&self, incident: &Incident, events: &[Event]) -> Result<bool, DecisionError> {
        let stream = Stream::Incident(incident.id.clone());
        let now = self.shared.clock.now();
        let drafts = events.iter().map(|event| codec::encode(&stream, now, event)).collect();
        let Some(batch) = Batch::from_drafts(drafts) else { return Ok(true) };
        let expect = Expect::StreamVersion(incident.version);
        let batch = batch.expecting(codec::stream_id(&stream), expect);
        match self.shared.journal.append_when_room(batch).await {
            Ok(receipt) => {
                self.shared.caught_up(receipt.last_seq).await;
                Ok(true)
            }
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(AppendError::Unknown) => {
                self.shared.look_again();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Digits of a digest that a person must type at least: enough to tell any two plans apart.
const SHORTEST_DIGEST: usize = 8;
