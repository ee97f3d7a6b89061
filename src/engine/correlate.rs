//! Correlation: what each alert of a delivery means for the incidents there are.
//!
//! Decides only; the follower appends. An episode opens at most one incident: its id is derived
//! from the episode, and the journal refuses a second opening (promise 4).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::alert::{Alert, AlertStatus};
use crate::domain::event::{Event, Ignored, IgnoredBecause, MAX_IGNORED_LISTED, NotChosen, Stream};
use crate::domain::facts::TargetQuery;
use crate::domain::id::{Episode, IncidentId};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::spec::Mode;

use super::board::Board;

/// What came of looking at some deliveries.
#[derive(Debug, Default)]
pub struct Correlation {
    /// What is to be appended, in order.
    pub events: Vec<(Stream, Event)>,
    /// Streams that must not exist yet.
    pub opened: Vec<IncidentId>,
    ignored: Vec<Ignored>,
    ignored_total: u64,
    duplicates: u64,
    episodes: BTreeMap<Episode, IncidentId>,
    wanted: BTreeMap<TargetQuery, IncidentId>,
    joined: BTreeSet<(IncidentId, Episode)>,
}

/// What correlation compares with.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The incidents there are.
    pub board: &'a Board,
    /// The policies in force.
    pub policies: &'a PolicySet,
    /// The boldest mode of any policy.
    pub ceiling: Mode,
    /// The dead man's switch.
    pub watchdog: Option<&'a str>,
    /// Episodes that the journal knows although the board does not.
    pub opened_before: &'a BTreeSet<IncidentId>,
}

impl Correlation {
    /// Takes in one alert.
    pub fn alert(&mut self, alert: &Alert, against: Against<'_>) {
        match alert.status {
            AlertStatus::Firing => self.firing(alert, against),
            AlertStatus::Resolved => self.resolved(alert, against),
        }
    }

    fn firing(&mut self, alert: &Alert, against: Against<'_>) {
        if against.watchdog == Some(alert.name()) {
            return self.ignore(alert, IgnoredBecause::Watchdog);
        }
        let episode = alert.episode();
        let known = against.board.of_episode(&episode).is_some()
            || self.episodes.contains_key(&episode)
            || against.opened_before.contains(&IncidentId::of(episode));
        if known {
            self.duplicates += 1;
            return;
        }
        let choice = against.policies.choose(alert);
        let Some(policy) = choice.winner else {
            return self.ignore(alert, IgnoredBecause::NoPolicy);
        };
        if policy.spec.mode.min(against.ceiling) == Mode::Off {
            let policy = policy.name.clone();
            return self.ignore(alert, IgnoredBecause::PolicyOff { policy });
        }
        let target = policy.resolve_target(alert).map_err(|error| error.to_string());
        if let Ok(wanted) = &target {
            let holder = against.board.working_on(wanted).or_else(|| self.wanted.get(wanted));
            if let Some(holder) = holder.cloned() {
                self.episodes.insert(episode, holder.clone());
                self.joined.insert((holder.clone(), episode));
                let event = Event::AlertAttached { alert: alert.clone() };
                self.events.push((Stream::Incident(holder), event));
                return;
            }
        }
        let id = IncidentId::of(episode);
        self.episodes.insert(episode, id.clone());
        if let Ok(wanted) = &target {
            self.wanted.insert(wanted.clone(), id.clone());
        }
        let others = choice.losers.iter();
        let others = others.map(|loser| NotChosen {
            policy: loser.policy.name.clone(),
            why: loser.why.to_string(),
        });
        let event = Event::IncidentOpened {
            alert: alert.clone(),
            policy: Box::new(policy.snapshot()),
            others: others.collect(),
            target,
        };
        self.opened.push(id.clone());
        self.events.push((Stream::Incident(id), event));
    }

    fn resolved(&mut self, alert: &Alert, against: Against<'_>) {
        let mut holders = against.board.firing(alert.fingerprint);
        let here = self.episodes.iter().filter(|(it, _)| it.fingerprint == alert.fingerprint);
        holders.extend(here.map(|(_, id)| id.clone()));
        holders.sort();
        holders.dedup();
        for id in holders {
            let event =
                Event::AlertResolved { fingerprint: alert.fingerprint, ended: alert.ends_at };
            self.events.push((Stream::Incident(id), event));
        }
    }

    fn ignore(&mut self, alert: &Alert, why: IgnoredBecause) {
        self.ignored_total += 1;
        if self.ignored.len() < MAX_IGNORED_LISTED {
            let (fingerprint, alertname) = (alert.fingerprint, alert.name().to_owned());
            self.ignored.push(Ignored { fingerprint, alertname, why });
        }
    }

    /// The summary that says up to which entry this goes.
    pub fn finish(&mut self, through: u64) {
        let event = Event::AlertsCorrelated {
            through,
            ignored: std::mem::take(&mut self.ignored),
            ignored_total: self.ignored_total,
            duplicates: self.duplicates,
        };
        self.events.push((Stream::Intake, event));
    }
}
