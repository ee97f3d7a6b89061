//! Authority: a step that may be carried out, as a type.
//!
//! The writer takes nothing else. It can only be made from an incident whose events say so: the
//! gates let the plan that stands pass, a person approved exactly that digest where one must, and
//! the plan's bytes still have that digest (invariant 2).

use super::gate::Ruling;
use super::id::{Digest, IncidentId};
use super::incident::{Flight, Incident, Phase};
use super::plan::{Change, Step};

/// One step of an approved plan.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovedStep {
    incident: IncidentId,
    digest: Digest,
    index: usize,
    step: Step,
}

/// Why a step may not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// The incident is not at this step.
    #[error("the incident is not about to execute step {0}")]
    NotExecuting(usize),
    /// The gates did not let it pass.
    #[error("the gates did not let the plan pass")]
    NotPassed,
    /// No person approved this digest.
    #[error("nobody approved the plan {0}")]
    NotAsked(Digest),
    /// The plan is not the one that was proposed.
    #[error("the plan's bytes have the digest {found}, but {expected} was proposed")]
    Tampered {
        /// What was proposed.
        expected: Digest,
        /// What there is.
        found: Digest,
    },
}

impl ApprovedStep {
    /// The step `index` of the plan of `incident`, if its events approve it.
    ///
    /// # Errors
    /// Why not.
    pub fn of(incident: &Incident, index: usize) -> Result<Self, NotApproved> {
        let Phase::Executing { step, flight: Flight::Unknown, .. } = incident.phase else {
            return Err(NotApproved::NotExecuting(index));
        };
        let proposal = incident.proposal.as_ref().ok_or(NotApproved::NotExecuting(index))?;
        let found = proposal.plan.digest();
        if found != proposal.digest {
            return Err(NotApproved::Tampered { expected: proposal.digest, found });
        }
        if step != index {
            return Err(NotApproved::NotExecuting(index));
        }
        // The journal says for each event which plan it is about: all must say the same.
        if incident.started != Some(found) {
            return Err(NotApproved::NotExecuting(index));
        }
        let gates = incident.gates.as_ref().filter(|gates| gates.digest == found);
        let gates = gates.ok_or(NotApproved::NotPassed)?;
        match gates.ruling {
            Ruling::Act => {}
            Ruling::Ask => {
                let answered = incident
                    .question
                    .as_ref()
                    .is_some_and(|question| question.digest == found && question.answered());
                if !answered {
                    return Err(NotApproved::NotAsked(found));
                }
            }
            Ruling::Preview | Ruling::Hold { .. } | Ruling::Deny => {
                return Err(NotApproved::NotPassed);
            }
        }
        let step = proposal.plan.steps.get(index).ok_or(NotApproved::NotExecuting(index))?;
        let mut step = step.clone();
        // Earlier steps of this very plan moved the generation on: that is no foreign change.
        if let Change::Patch(change) = &mut step.change
            && let Some(left) = incident.generations.get(&change.object.uid)
        {
            change.object.generation = *left;
        }
        Ok(Self { incident: incident.id.clone(), digest: found, index, step })
    }

    /// The step, with the generation that earlier steps of the plan left behind.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// For which incident.
    pub fn incident(&self) -> &IncidentId {
        &self.incident
    }

    /// Of which plan.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Which step, from 0.
    pub fn index(&self) -> usize {
        self.index
    }
}
