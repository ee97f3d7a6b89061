//! What is open and what was counted: the events folded in memory, for everyone to look at.
//!
//! Only the follower writes it, in the journal's order; a restart folds the same events and finds
//! the same board. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Alert;
use crate::domain::event::{Event, Outcome, Stream};
use crate::domain::facts::{Target, TargetQuery};
use crate::domain::gate::ledger::Ledger;
use crate::domain::id::{Digest, Episode, Fingerprint, IncidentId};
use crate::domain::policy::spec::Mode;
use crate::journal::codec::Recorded;

pub mod kept;

/// Ended incidents that are listed from memory: what a person scrolls through. Older ones are in
/// the journal.
const ENDED: usize = 1_000;
/// Episodes of ended incidents that are remembered so that a repeat is known at once. Forgetting
/// one is safe: opening its incident again is refused by the journal.
const EPISODES: usize = 200_000;

/// Templates of one target that are remembered as healthy: as many as Kubernetes keeps revisions.
const TEMPLATES: usize = 10;

/// One incident in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its id.
    pub id: IncidentId,
    /// When it was opened.
    pub opened: Timestamp,
    /// When something last happened.
    pub touched: Timestamp,
    /// The alert's name.
    pub alertname: String,
    /// How many alerts it has.
    pub alerts: usize,
    /// The policy's name.
    pub policy: String,
    /// The policy's mode then.
    pub mode: Mode,
    /// What is worked on.
    pub target: String,
    /// Where it stands.
    pub phase: String,
    /// What was found.
    pub cause: Option<String>,
    /// The plan that stands.
    pub plan: Option<Digest>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Option<String>,
}

/// An open incident, as far as correlation needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    summary: Summary,
    wanted: Option<TargetQuery>,
    targets: Vec<Target>,
    firing: BTreeSet<Episode>,
    version: u64,
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    open: BTreeMap<IncidentId, Open>,
    ended: VecDeque<Summary>,
    episodes: HashMap<Episode, IncidentId>,
    order: VecDeque<Episode>,
    orphans: BTreeMap<Episode, Alert>,
    healthy: BTreeMap<Target, VecDeque<(Digest, Timestamp)>>,
    ledger: Ledger,
    correlated: u64,
    seen: u64,
    records: BTreeMap<String, Record>,
}

/// What a policy did, over the whole journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How many incidents it opened.
    pub matched: u64,
    /// When it opened the last one.
    pub last_match: Option<Timestamp>,
    /// How the last one that ended did.
    pub last_outcome: Option<Outcome>,
    /// How many ended in which way.
    pub outcomes: BTreeMap<Outcome, u64>,
}

impl Board {
    /// A board that notes the deliveries of this dead man's switch.
    pub fn new(watchdog: Option<&str>) -> Self {
        let mut board = Self::default();
        if let Some(alertname) = watchdog {
            board.ledger.watch(alertname);
        }
        board
    }

    /// Takes note of one event.
    pub fn note(&mut self, recorded: &Recorded) {
        self.seen = self.seen.max(recorded.seq);
        self.ledger.note(&recorded.stream, recorded.at, &recorded.event);
        match (&recorded.stream, &recorded.event) {
            (Stream::Intake, Event::AlertsCorrelated { through, .. }) => {
                self.correlated = self.correlated.max(*through);
            }
            (Stream::Incident(id), event) => self.note_incident(id, recorded.at, event),
            (Stream::Intake | Stream::Control | Stream::Conversation, _) => {}
        }
    }

    fn note_incident(&mut self, id: &IncidentId, at: Timestamp, event: &Event) {
        if let Event::IncidentOpened { alert, policy, target, .. } = event {
            let wanted = target.as_ref().ok().cloned();
            let summary = Summary {
                id: id.clone(),
                opened: at,
                touched: at,
                alertname: alert.name().to_owned(),
                alerts: 1,
                policy: policy.name.clone(),
                mode: policy.spec.mode,
                target: wanted.as_ref().map_or("no target".to_owned(), ToString::to_string),
                phase: "locating".to_owned(),
                cause: None,
                plan: None,
                outcome: None,
                reason: None,
            };
            let record = self.records.entry(policy.name.clone()).or_default();
            record.matched += 1;
            record.last_match = Some(at);
            self.remember(alert.episode(), id);
            self.orphans.remove(&alert.episode());
            let firing = BTreeSet::from([alert.episode()]);
            let open = Open { summary, wanted, targets: Vec::new(), firing, version: 1 };
            self.open.insert(id.clone(), open);
            return;
        }
        if let Event::AlertAttached { alert } = event {
            if self.open.contains_key(id) {
                self.remember(alert.episode(), id);
                self.orphans.remove(&alert.episode());
            } else {
                // It was on its way while the incident ended: nobody has it in hand.
                self.orphans.insert(alert.episode(), alert.clone());
            }
        }
        let Some(open) = self.open.get_mut(id) else { return };
        open.version += 1;
        open.summary.touched = at;
        match event {
            Event::AlertAttached { alert } => {
                open.firing.insert(alert.episode());
                open.summary.alerts += 1;
            }
            Event::AlertResolved { fingerprint, .. } => {
                open.firing.retain(|episode| episode.fingerprint != *fingerprint);
            }
            Event::TargetsFound { targets } => {
                open.targets.clone_from(targets);
                if let [only] = targets.as_slice() {
                    open.summary.target = only.to_string();
                }
            }
            Event::CauseFound { finding } => {
                use crate::domain::diagnosis::Conclusion;
                open.summary.cause = match &finding.conclusion {
                    Conclusion::Cause { name } => Some(name.clone()),
                    Conclusion::Unknown { .. } | Conclusion::NoCause => None,
                };
            }
            Event::PlanProposed { digest, .. } => open.summary.plan = Some(*digest),
            Event::ResolutionMet { healthy, .. } => {
                for healthy in healthy {
                    let known = self.healthy.entry(healthy.target.clone()).or_default();
                    known.retain(|(template, _)| *template != healthy.template);
                    known.push_front((healthy.template, at));
                    known.truncate(TEMPLATES);
                }
            }
            Event::IncidentClosed { outcome, reason } => {
                open.summary.outcome = Some(*outcome);
                open.summary.reason = Some(reason.clone());
                open.summary.phase = "closed".to_owned();
                let record = self.records.entry(open.summary.policy.clone()).or_default();
                record.last_outcome = Some(*outcome);
                *record.outcomes.entry(*outcome).or_default() += 1;
                if let Some(open) = self.open.remove(id) {
                    self.ended.push_front(open.summary);
                    self.ended.truncate(ENDED);
                }
            }
            _ => {}
        }
    }

    /// Puts the phase into words; the worker knows it, the events alone do not say it.
    pub fn set_phase(&mut self, id: &IncidentId, phase: &str) {
        if let Some(open) = self.open.get_mut(id)
            && open.summary.phase != phase
        {
            phase.clone_into(&mut open.summary.phase);
        }
    }

    /// Corrects the count of an incident's events: a board that was loaded has not seen them all.
    pub fn set_version(&mut self, id: &IncidentId, version: u64) {
        if let Some(open) = self.open.get_mut(id) {
            open.version = version;
        }
    }

    /// How many events an open incident has.
    pub fn version(&self, id: &IncidentId) -> Option<u64> {
        self.open.get(id).map(|open| open.version)
    }

    fn remember(&mut self, episode: Episode, id: &IncidentId) {
        if self.episodes.insert(episode, id.clone()).is_none() {
            self.order.push_back(episode);
            if self.order.len() > EPISODES
                && let Some(oldest) = self.order.pop_front()
            {
                self.episodes.remove(&oldest);
            }
        }
    }

    /// Alerts that joined an incident which had ended by then; they are to be correlated again.
    pub fn orphans(&self) -> Vec<Alert> {
        self.orphans.values().cloned().collect()
    }

    /// The incident that this episode opened or joined.
    pub fn of_episode(&self, episode: &Episode) -> Option<&IncidentId> {
        self.episodes.get(episode)
    }

    /// When an incident on this target was last resolved under this template.
    pub fn healthy_at(&self, target: &Target, template: Digest) -> Option<Timestamp> {
        let known = self.healthy.get(target)?;
        known.iter().find(|(known, _)| *known == template).map(|(_, at)| *at)
    }

    /// Open incidents in which this alert fires.
    pub fn firing(&self, fingerprint: Fingerprint) -> Vec<IncidentId> {
        let holds = |open: &&Open| open.firing.iter().any(|it| it.fingerprint == fingerprint);
        self.open.values().filter(holds).map(|open| open.summary.id.clone()).collect()
    }

    /// The open incident that works on what `wanted` names.
    pub fn working_on(&self, wanted: &TargetQuery) -> Option<&IncidentId> {
        let found = self.open.values().find(|open| {
            open.wanted.as_ref() == Some(wanted)
                || open.targets.iter().any(|target| names(wanted, target))
        });
        found.map(|open| &open.summary.id)
    }

    /// The other open incident that `id` gives way to on `targets`: one that is engaged before one that
    /// is not, then the oldest. Of two, one gives way to the other and never both.
    pub fn holder(&self, id: &IncidentId, targets: &[Target]) -> Option<&IncidentId> {
        let rank = |open: &Open| {
            let summary = &open.summary;
            (!self.ledger.engaged(&summary.id), summary.opened, summary.id.clone())
        };
        let mine = self.open.get(id).map(rank);
        let others = self.open.values().filter(|open| open.summary.id != *id);
        others
            .filter(|open| open.targets.iter().any(|target| targets.contains(target)))
            .filter(|open| mine.as_ref().is_none_or(|mine| rank(open) < *mine))
            .min_by_key(|open| rank(open))
            .map(|open| &open.summary.id)
    }

    /// The open incidents.
    pub fn open(&self) -> impl Iterator<Item = &Summary> {
        self.open.values().map(|open| &open.summary)
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The ended incidents that are remembered, newest first.
    pub fn ended(&self) -> impl Iterator<Item = &Summary> {
        self.ended.iter()
    }

    /// What the policy of that name did.
    pub fn record(&self, policy: &str) -> Record {
        self.records.get(policy).cloned().unwrap_or_default()
    }

    /// What the gates count.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Up to which entry alerts have been correlated.
    pub fn correlated(&self) -> u64 {
        self.correlated
    }

    /// Everything up to `seq` is in it.
    pub fn seen_through(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
    }

    /// The last entry that was noted.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

/// Whether a query by name surely means this target.
fn names(wanted: &TargetQuery, target: &Target) -> bool {
    use crate::domain::facts::TargetBy;
    match &wanted.by {
        TargetBy::Name(name) => {
            wanted.kind == target.kind
                && wanted.namespace == target.namespace
                && *name == target.name
        }
        TargetBy::Selector(_) | TargetBy::OwnerOfPod(_) => false,
    }
}
