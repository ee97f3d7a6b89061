//! Claims: one hand on an incident at a time.
//!
//! A claim is the right to act for one incident. It cannot be made elsewhere and ends when it is
//! dropped (invariant 2).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::id::IncidentId;

/// Who holds which incident, in this process.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    held: Arc<Mutex<BTreeSet<IncidentId>>>,
}

/// The right to act for one incident, for as long as it lives.
#[derive(Debug)]
pub struct IncidentClaim {
    id: IncidentId,
    held: Arc<Mutex<BTreeSet<IncidentId>>>,
}

impl Claims {
    /// Takes the incident in hand, unless somebody has it.
    pub fn take(&self, id: &IncidentId) -> Option<IncidentClaim> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(id.clone()).then(|| IncidentClaim { id: id.clone(), held: self.held.clone() })
    }
}

impl IncidentClaim {
    /// Which incident.
    pub fn incident(&self) -> &IncidentId {
        &self.id
    }
}

impl Drop for IncidentClaim {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Episode, Fingerprint};

    #[test]
    fn an_incident_is_in_one_hand_at_a_time() {
        let starts_at = jiff::Timestamp::UNIX_EPOCH;
        let id = IncidentId::of(Episode { fingerprint: Fingerprint(1), starts_at });
        let claims = Claims::default();
        let first = claims.take(&id);
        assert!(first.is_some());
        assert!(claims.take(&id).is_none());
        drop(first);
        assert!(claims.take(&id).is_some());
    }
}
