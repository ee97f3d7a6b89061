//! Who in Slack belongs to which of the configuration's groups. User groups are asked of Slack and
//! kept for five minutes; when Slack does not answer, nobody is let in by one (fail closed).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::api::{Api, SlackError};
use super::incoming::Member;

/// How long the members of a user group are believed: who was taken out decides no longer than that.
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);

/// One group of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Users by id.
    pub users: BTreeSet<String>,
    /// Slack's user groups by id.
    pub user_groups: BTreeSet<String>,
}

/// What is known of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The groups that they belong to.
    pub groups: BTreeSet<String>,
    /// The user groups that could not be asked, and why: their members are not let in by them.
    pub unasked: Vec<(String, String)>,
}

/// The groups.
#[derive(Debug)]
pub struct Members {
    workspace: String,
    groups: BTreeMap<String, Group>,
    asked: Mutex<BTreeMap<String, (Timestamp, BTreeSet<String>)>>,
}

impl Members {
    /// Only people of `workspace` are in any group.
    pub fn new(workspace: String, groups: BTreeMap<String, Group>) -> Self {
        Self { workspace, groups, asked: Mutex::default() }
    }

    /// Whether they are of the workspace whose people may decide.
    pub fn ours(&self, member: &Member) -> bool {
        member.team == self.workspace
    }

    /// The groups of `member`.
    pub async fn groups(&self, api: &Api, member: &Member, now: Timestamp) -> Known {
        let mut known = Known { groups: BTreeSet::new(), unasked: Vec::new() };
        if !self.ours(member) {
            return known;
        }
        for (name, group) in &self.groups {
            let mut belongs = group.users.contains(&member.user);
            for id in &group.user_groups {
                if belongs {
                    break;
                }
                match self.user_group(api, id, now).await {
                    Ok(users) => belongs = users.contains(&member.user),
                    Err(error) => known.unasked.push((id.clone(), error.to_string())),
                }
            }
            if belongs {
                known.groups.insert(name.clone());
            }
        }
        known
    }

    async fn user_group(
        &self,
        api: &Api,
        id: &str,
        now: Timestamp,
    ) -> Result<BTreeSet<String>, SlackError> {
        let mut asked = self.asked.lock().await;
        if let Some((at, users)) = asked.get(id) {
            let age = now.duration_since(*at);
            if age < BELIEVED && !age.is_negative() {
                return Ok(users.clone());
            }
        }
        // What was believed too long is not believed because Slack is away.
        asked.remove(id);
        let users: BTreeSet<_> = api.members(id).await?.into_iter().collect();
        asked.insert(id.to_owned(), (now, users.clone()));
        Ok(users)
    }

    /// All user groups that are named.
    pub fn user_groups(&self) -> BTreeSet<&str> {
        self.groups.values().flat_map(|group| &group.user_groups).map(String::as_str).collect()
    }
}
