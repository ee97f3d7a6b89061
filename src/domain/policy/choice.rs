//! Which policy answers an alert: the highest priority, then the most specific, then the first by
//! name. The ones that were not taken are named with the reason.
//!
//! Policies that ask for one `alertname` are found by it; only the others are looked at for every
//! alert, so ten thousand policies cost no more than ten.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::compiled::CompiledPolicy;
use super::matcher::Operator;
use crate::domain::alert::Alert;

/// How narrowly a policy asks: equalities count before expressions, and those before negations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// `=` with a value.
    pub equal: usize,
    /// `=~`.
    pub matches: usize,
    /// `!=`, `!~`, and `=` with nothing.
    pub negative: usize,
}

impl Specificity {
    /// How narrowly `policy` asks.
    pub fn of(policy: &CompiledPolicy) -> Self {
        let mut specificity = Self::default();
        for matcher in &policy.matchers {
            match matcher.operator() {
                Operator::Equal if !matcher.value().is_empty() => specificity.equal += 1,
                Operator::Matches if matcher.is_positive() => specificity.matches += 1,
                Operator::Equal
                | Operator::Matches
                | Operator::NotEqual
                | Operator::DoesNotMatch => specificity.negative += 1,
            }
        }
        specificity
    }
}

impl fmt::Display for Specificity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { equal, matches, negative } = self;
        write!(f, "{equal} equalities, {matches} expressions, {negative} negations")
    }
}

/// What was chosen for an alert, and why not something else.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The policy that answers; absent when none matches.
    pub winner: Option<Arc<CompiledPolicy>>,
    /// Those that were looked at and not taken.
    pub losers: Vec<Loser>,
}

/// A policy that was not taken.
#[derive(Clone, Debug)]
pub struct Loser {
    /// Which.
    pub policy: Arc<CompiledPolicy>,
    /// Why not.
    pub why: LoserReason,
}

/// Why a policy was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoserReason {
    /// A matcher does not pass.
    DoesNotMatch {
        /// The first that does not, as it is written.
        matcher: String,
        /// What the label is; empty when it is missing.
        value: String,
    },
    /// The winner's priority is higher.
    LowerPriority {
        /// Its own.
        own: i32,
        /// The winner's.
        winner: i32,
    },
    /// The winner asks more narrowly.
    LessSpecific {
        /// Its own.
        own: Specificity,
        /// The winner's.
        winner: Specificity,
    },
    /// Equal in all; the winner's name comes first.
    LaterByName {
        /// The winner's name.
        winner: String,
    },
}

impl LoserReason {
    /// True when the policy matched and another was taken.
    pub const fn matched(&self) -> bool {
        match self {
            Self::DoesNotMatch { .. } => false,
            Self::LowerPriority { .. } | Self::LessSpecific { .. } | Self::LaterByName { .. } => {
                true
            }
        }
    }
}

impl fmt::Display for LoserReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotMatch { matcher, value } if value.is_empty() => {
                write!(f, "`{matcher}` does not match: the alert has no such label")
            }
            Self::DoesNotMatch { matcher, value } => {
                write!(f, "`{matcher}` does not match `{value}`")
            }
            Self::LowerPriority { own, winner } => {
                write!(f, "its priority {own} is lower than {winner}")
            }
            Self::LessSpecific { own, winner } => {
                write!(f, "it asks less narrowly ({own}; the winner {winner})")
            }
            Self::LaterByName { winner } => {
                write!(f, "equal in priority and specificity; `{winner}` comes first by name")
            }
        }
    }
}

/// The policies in force.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Best first, so that the first match wins.
    ranked: Vec<Ranked>,
    /// Positions in `ranked` by the one `alertname` that a policy asks for, ascending.
    by_alertname: HashMap<String, Vec<usize>>,
    /// Those that ask for no single `alertname`, ascending.
    general: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Ranked {
    policy: Arc<CompiledPolicy>,
    specificity: Specificity,
}

impl Ranked {
    fn order(&self, other: &Self) -> Ordering {
        let priority = other.policy.spec.priority.cmp(&self.policy.spec.priority);
        priority
            .then_with(|| other.specificity.cmp(&self.specificity))
            .then_with(|| self.policy.name.cmp(&other.policy.name))
    }
}

impl PolicySet {
    /// A set of these policies.
    pub fn new(policies: impl IntoIterator<Item = Arc<CompiledPolicy>>) -> Self {
        let rank = |policy: Arc<CompiledPolicy>| {
            let specificity = Specificity::of(&policy);
            Ranked { policy, specificity }
        };
        let mut ranked: Vec<_> = policies.into_iter().map(rank).collect();
        ranked.sort_by(Ranked::order);
        let mut by_alertname: HashMap<String, Vec<usize>> = HashMap::new();
        let mut general = Vec::new();
        for (position, candidate) in ranked.iter().enumerate() {
            match alertname(&candidate.policy) {
                Some(name) => by_alertname.entry(name.to_owned()).or_default().push(position),
                None => general.push(position),
            }
        }
        Self { ranked, by_alertname, general }
    }

    /// The policies, best first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        self.ranked.iter().map(|ranked| &ranked.policy)
    }

    /// The policy of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<CompiledPolicy>> {
        self.iter().find(|policy| policy.name == name)
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.ranked.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// The policy that answers `alert`, without the reasons.
    pub fn winner(&self, alert: &Alert) -> Option<&Arc<CompiledPolicy>> {
        let found = self.candidates(alert).find(|ranked| ranked.policy.matches(alert));
        found.map(|ranked| &ranked.policy)
    }

    /// The policy that answers `alert`, and why not the others: those that ask for another
    /// `alertname` are not listed.
    pub fn choose(&self, alert: &Alert) -> Choice {
        let mut winner: Option<&Ranked> = None;
        let mut losers = Vec::new();
        for candidate in self.candidates(alert) {
            let why = match (refusing(&candidate.policy, alert), winner) {
                (Some(why), _) => why,
                (None, Some(winner)) => behind(candidate, winner),
                (None, None) => {
                    winner = Some(candidate);
                    continue;
                }
            };
            losers.push(Loser { policy: Arc::clone(&candidate.policy), why });
        }
        Choice { winner: winner.map(|ranked| Arc::clone(&ranked.policy)), losers }
    }

    /// Those that can match at all, best first: two ascending lists, merged.
    fn candidates(&self, alert: &Alert) -> impl Iterator<Item = &Ranked> {
        let named = self.by_alertname.get(alert.name()).map_or(&[][..], Vec::as_slice);
        let (mut named, mut general) = (named.iter().peekable(), self.general.iter().peekable());
        std::iter::from_fn(move || {
            let take_named = match (named.peek(), general.peek()) {
                (Some(one), Some(other)) => one < other,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let position = if take_named { named.next() } else { general.next() };
            position.and_then(|position| self.ranked.get(*position))
        })
    }
}

/// The one `alertname` that a policy asks for.
fn alertname(policy: &CompiledPolicy) -> Option<&str> {
    let mut equal = policy.matchers.iter().filter(|matcher| {
        matcher.name() == "alertname"
            && matcher.operator() == Operator::Equal
            && !matcher.value().is_empty()
    });
    equal.next().map(|matcher| matcher.value())
}

fn refusing(policy: &CompiledPolicy, alert: &Alert) -> Option<LoserReason> {
    let refuses = policy.matchers.iter().find(|matcher| !matcher.matches(&alert.labels));
    refuses.map(|matcher| LoserReason::DoesNotMatch {
        matcher: matcher.to_string(),
        value: alert.labels.get(matcher.name()).cloned().unwrap_or_default(),
    })
}

fn behind(own: &Ranked, winner: &Ranked) -> LoserReason {
    let priorities = (own.policy.spec.priority, winner.policy.spec.priority);
    if priorities.0 != priorities.1 {
        LoserReason::LowerPriority { own: priorities.0, winner: priorities.1 }
    } else if own.specificity != winner.specificity {
        LoserReason::LessSpecific { own: own.specificity, winner: winner.specificity }
    } else {
        LoserReason::LaterByName { winner: winner.policy.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::sample;
    use super::*;
    use crate::domain::diagnosis::sample as incident;

    fn policy(name: &str, priority: i32, matchers: &[&str]) -> Arc<CompiledPolicy> {
        Arc::new(sample::compile(sample::changed(json!({
            "metadata": {"name": name},
            "spec": {
                "priority": priority,
                "match": matchers,
                "causes": [{"name": "otherwise", "actions": [{"restart": {}}]}],
            },
        }))))
    }

    fn explained(choice: &Choice) -> Vec<String> {
        let losers = choice.losers.iter();
        losers.map(|loser| format!("{}: {}", loser.policy.name, loser.why)).collect()
    }

    #[test]
    fn priority_then_specificity_then_name_and_the_losers_are_told_why() {
        let set = PolicySet::new([
            policy("b-same", 0, &["alertname=\"AgentDown\"", "namespace=\"ai-agents\""]),
            policy("a-same", 0, &["alertname=\"AgentDown\"", "namespace=\"ai-agents\""]),
            policy("broad", 0, &["alertname=~\"Agent.*\""]),
            policy("elsewhere", 5, &["alertname=\"AgentDown\"", "namespace=\"other\""]),
            policy("another", 9, &["alertname=\"HighErrorRate\""]),
            policy("low", -1, &["alertname=\"AgentDown\"", "namespace=\"ai-agents\"", "a=\"\""]),
            policy("team", 7, &["severity=\"critical\"", "team=\"x\""]),
        ]);
        let choice = set.choose(&incident::alert());
        assert_eq!(choice.winner.as_ref().map(|policy| policy.name.as_str()), Some("a-same"));
        assert_eq!(
            explained(&choice),
            [
                "team: `team=\"x\"` does not match: the alert has no such label",
                "elsewhere: `namespace=\"other\"` does not match `ai-agents`",
                "b-same: equal in priority and specificity; `a-same` comes first by name",
                "broad: it asks less narrowly (0 equalities, 1 expressions, 0 negations; the \
                 winner 2 equalities, 0 expressions, 0 negations)",
                "low: its priority -1 is lower than 0",
            ]
        );
        assert_eq!(set.winner(&incident::alert()).map(|policy| &*policy.name), Some("a-same"));
        assert_eq!(set.get("broad").map(|policy| &*policy.name), Some("broad"));
    }

    #[test]
    fn an_alert_that_nobody_answers_has_no_winner() {
        let set = PolicySet::new([policy("p", 0, &["alertname=\"Other\""])]);
        let choice = set.choose(&incident::alert());
        assert!(choice.winner.is_none() && choice.losers.is_empty());
        assert!(PolicySet::default().choose(&incident::alert()).winner.is_none());
    }

    proptest! {
        /// The index finds what looking at every policy would find.
        #[test]
        fn the_index_changes_nothing(
            policies in proptest::collection::vec((0..3i32, 0..4usize, any::<bool>()), 0..12),
            alertname in 0..3usize,
        ) {
            let names = ["A", "B", "AgentDown"];
            let set = PolicySet::new(policies.iter().enumerate().map(|(at, (priority, name, team))| {
                let first = match names.get(*name) {
                    Some(name) => format!("alertname=\"{name}\""),
                    None => "alertname=~\".+\"".to_owned(),
                };
                let second = if *team { "severity=\"critical\"" } else { "severity!=\"x\"" };
                policy(&format!("p{at}"), *priority, &[&first, second])
            }));
            let mut alert = incident::alert();
            alert.labels.extend(BTreeMap::from([("alertname".to_owned(), names[alertname].to_owned())]));
            let expected = set.iter().find(|policy| policy.matches(&alert));
            let choice = set.choose(&alert);
            prop_assert_eq!(choice.winner.as_ref().map(|p| &p.name), expected.map(|p| &p.name));
            prop_assert_eq!(set.winner(&alert).map(|p| &p.name), expected.map(|p| &p.name));
            let considered = choice.losers.len() + usize::from(choice.winner.is_some());
            let candidates = set.iter().filter(|p| super::alertname(p).is_none_or(|n| n == alert.name()));
            prop_assert_eq!(considered, candidates.count());
        }
    }
}
