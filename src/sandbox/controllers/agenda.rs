//! What the controllers have to look at: what changed, what owns it, and what falls due.
//!
//! Looking only at that keeps the cluster idle when nothing happens and quick when much does.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::object::{self, uid};
use super::super::resources::{EVENTS, NODES, REPLICA_SETS};
use super::super::store::{ChangeKind, Store};

/// The open points of the controllers.
#[derive(Debug, Default)]
pub(in super::super) struct Agenda {
    alarms: BTreeSet<(Timestamp, String)>,
    rung: BTreeSet<String>,
    read_to: u64,
}

/// What one round has to look at.
#[derive(Debug)]
pub(super) enum Round {
    /// Too much has changed to know what.
    Everything,
    /// Only these.
    Some {
        /// Objects that changed, whose dependents changed, or for which an alarm rang.
        uids: BTreeSet<String>,
        /// Namespaces in which anything changed.
        namespaces: BTreeSet<String>,
    },
}

impl Round {
    pub(super) fn concerns(&self, uid: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Some { uids, .. } => uids.contains(uid),
        }
    }

    pub(super) fn concerns_namespace(&self, namespace: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Some { namespaces, .. } => namespaces.contains(namespace),
        }
    }
}

/// Stands for all DaemonSets among the uids: a node came, went or changed.
pub(super) const NODES_CHANGED: &str = "nodes";
/// Stands for the garbage collector among the uids: something was deleted.
pub(super) const REMOVALS: &str = "removals";

impl Agenda {
    /// The object with this uid is to be looked at again at `at`.
    pub(in super::super) fn alarm(&mut self, at: Timestamp, uid: &str) {
        self.alarms.insert((at, uid.to_owned()));
    }

    /// When the next alarm rings.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Has the store changed since the controllers last read it?
    pub(super) fn is_behind(&self, store: &Store) -> bool {
        self.read_to != store.version()
    }

    /// Lets the alarms up to `now` ring.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.alarms.first()
            && *at <= now
        {
            self.rung.extend(self.alarms.pop_first().map(|(_, uid)| uid));
        }
    }

    /// What has to be looked at now; nothing when all is settled.
    pub(super) fn next_round(&mut self, store: &Store) -> Option<Round> {
        let mut uids = std::mem::take(&mut self.rung);
        let mut namespaces = BTreeSet::new();
        let from = std::mem::replace(&mut self.read_to, store.version());
        let Ok(changes) = store.changes_after(from) else { return Some(Round::Everything) };
        for change in changes.filter(|change| change.resource != EVENTS.stored_as()) {
            uids.insert(uid(&change.object).to_owned());
            namespaces.insert(object::namespace(&change.object).to_owned());
            for owner in object::items(&change.object, "/metadata/ownerReferences") {
                uids.insert(object::text(owner, "/uid").to_owned());
                // A Deployment waits for the pods of its ReplicaSets.
                let name = object::text(owner, "/name");
                let set = store.get(&REPLICA_SETS, object::namespace(&change.object), name);
                if let Some(above) = set.and_then(|set| object::controller(set)) {
                    uids.insert(object::text(above, "/uid").to_owned());
                }
            }
            if change.resource == NODES.stored_as() {
                uids.insert(NODES_CHANGED.to_owned());
            }
            if change.kind == ChangeKind::Deleted {
                uids.insert(REMOVALS.to_owned());
            }
        }
        (!uids.is_empty()).then_some(Round::Some { uids, namespaces })
    }
}
