//! Slack in the configuration: tokens in files, channels, and who there may decide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::address::Endpoint;
use super::spec::Role;

/// Slack. With neither `signingSecretFile` nor `appTokenFile` there are messages without buttons.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlackSpec {
    /// A file with the bot's token, `xoxb-…`.
    pub bot_token_file: PathBuf,
    /// A file with the app's signing secret: clicks come over HTTP, to `/slack/interactions` and
    /// `/slack/commands` of the main listener.
    pub signing_secret_file: Option<PathBuf>,
    /// A file with an app-level token, `xapp-…`, with the scope `connections:write`: clicks come
    /// over Socket Mode, and no address of Orderly has to be reachable.
    pub app_token_file: Option<PathBuf>,
    /// The id of the workspace (`T…`, or `E…` of an organisation) whose people may decide. Guests of
    /// shared channels belong to another one.
    pub workspace: String,
    /// Where messages go: the first entry that fits an incident. Without one that fits there is no
    /// message.
    pub channels: Vec<ChannelSpec>,
    /// Who belongs to which group of approvers, by the names that policies use.
    #[serde(default)]
    pub groups: BTreeMap<String, SlackGroupSpec>,
    /// Slack's API. Default `https://slack.com/api`.
    #[serde(default = "slack")]
    pub api_url: Endpoint,
    /// A PEM file with the certificate authority of a proxy in between.
    pub ca_file: Option<PathBuf>,
}

/// A channel, and for what. What is left out fits everything; all that is given must fit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelSpec {
    /// The channel's id, `C…` or `G…`: names can be changed.
    pub channel: String,
    /// Only incidents that these policies answer.
    #[serde(default)]
    pub policies: BTreeSet<String>,
    /// Only incidents whose first alert has one of these values of the label `severity`.
    #[serde(default)]
    pub severities: BTreeSet<String>,
    /// Only incidents about workloads in these namespaces.
    #[serde(default)]
    pub namespaces: BTreeSet<String>,
}

/// A group of people in Slack.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlackGroupSpec {
    /// Users by their id, `U…` or `W…`: names are chosen freely.
    #[serde(default)]
    pub users: BTreeSet<String>,
    /// Slack's user groups by their id, `S…`; their members are asked for every five minutes.
    #[serde(default)]
    pub user_groups: BTreeSet<String>,
    /// What they may do at all. Default `approver`.
    #[serde(default = "approver")]
    pub role: Role,
}

impl SlackSpec {
    /// The files, to be resolved against the configuration's directory.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let optional = [&mut self.signing_secret_file, &mut self.app_token_file, &mut self.ca_file];
        std::iter::once(&mut self.bot_token_file).chain(optional.into_iter().flatten())
    }
}

fn slack() -> Endpoint {
    "https://slack.com/api".parse().expect("an address")
}

fn approver() -> Role {
    Role::Approver
}

/// An id of Slack: capital letters and digits, the first of which says of what.
pub(super) fn is_id(text: &str, kinds: &str) -> bool {
    let known = text.chars().next().is_some_and(|first| kinds.contains(first));
    let plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    known && plain && (2..=32).contains(&text.len())
}
