//! Approval: who may decide, how many are needed, and what a decision binds to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::Person;
use super::id::Digest;
use super::policy::spec::ApprovalSpec;

/// A question to people about one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Which plan.
    pub digest: Digest,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it lapses.
    pub expires: Timestamp,
    /// How many different people are needed.
    pub quorum: u32,
    /// Who agreed so far.
    pub given: Vec<Given>,
}

/// One person's agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Who.
    pub by: Person,
    /// When.
    pub at: Timestamp,
}

impl Question {
    /// Whether enough different people agreed.
    pub fn answered(&self) -> bool {
        let people: BTreeSet<_> = self.given.iter().map(|given| &given.by.name).collect();
        people.len() >= self.quorum.max(1) as usize
    }

    /// When it is no longer good. Without an answer at its expiry; with one after as long again as
    /// it was open: a yes of five hours ago, before an outage of Orderly, is not a yes to now.
    pub fn lapses(&self) -> Timestamp {
        match self.given.last().filter(|_| self.answered()) {
            Some(last) => {
                let open = self.expires.duration_since(self.asked);
                last.at.checked_add(open).unwrap_or(Timestamp::MAX)
            }
            None => self.expires,
        }
    }
}

/// Why a person may not decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "why")]
pub enum MayNot {
    /// Not on the policy's list.
    #[error("`{name}` is in none of the groups that may decide: {}", groups.join(", "))]
    NotListed {
        /// Who.
        name: String,
        /// The groups that may.
        groups: Vec<String>,
    },
    /// Four eyes: whoever asked for it cannot be its only approver.
    #[error("`{name}` asked for this plan, and the policy wants other eyes on it")]
    Requester {
        /// Who.
        name: String,
    },
}

/// Whether `person` may approve, refuse or put off a plan of these actions under `spec`. `requester`
/// is whoever asked for the plan, when a person did.
///
/// # Errors
/// Why not.
pub fn may_decide<'a>(
    spec: &ApprovalSpec,
    actions: impl IntoIterator<Item = &'a str>,
    person: &Person,
    requester: Option<&str>,
) -> Result<(), MayNot> {
    let mut lists: Vec<_> = actions.into_iter().map(|it| approvers(spec, it)).collect();
    if lists.is_empty() {
        lists.push(&spec.approvers);
    }
    for groups in lists {
        if !groups.is_empty() && !groups.iter().any(|group| person.groups.contains(group)) {
            let (name, groups) = (person.name.clone(), groups.to_vec());
            return Err(MayNot::NotListed { name, groups });
        }
    }
    if spec.four_eyes && spec.quorum <= 1 && requester == Some(person.name.as_str()) {
        return Err(MayNot::Requester { name: person.name.clone() });
    }
    Ok(())
}

/// The groups that may decide on this action; empty means every approver.
pub fn approvers<'a>(spec: &'a ApprovalSpec, action: &str) -> &'a [String] {
    spec.by_action.get(action).unwrap_or(&spec.approvers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member_of(groups: &[&str]) -> Person {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Person { name: "eve".to_owned(), groups, path: "api/token".to_owned() }
    }

    #[test]
    fn an_action_may_ask_for_other_people_and_a_plan_for_people_who_may_each() {
        let mut spec = ApprovalSpec { approvers: vec!["sre".to_owned()], ..Default::default() };
        spec.by_action.insert("scale".to_owned(), vec!["platform".to_owned()]);
        let may = |actions: &[&str], groups: &[&str]| {
            may_decide(&spec, actions.iter().copied(), &member_of(groups), None).is_ok()
        };
        assert!(may(&["rollback"], &["sre"]) && !may(&["rollback"], &["platform"]));
        assert!(may(&["scale"], &["platform"]) && !may(&["scale"], &["sre"]));
        assert!(may(&["rollback", "scale"], &["sre", "platform"]));
        assert!(!may(&["rollback", "scale"], &["sre"]) && !may(&["rollback", "scale"], &[]));
        // Nothing is planned yet: those of the policy.
        assert!(may(&[], &["sre"]) && !may(&[], &["platform"]));
    }
}
