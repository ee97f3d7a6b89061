//! Slack: the token, its scopes, the channels, the user groups and the connection.

use std::collections::BTreeSet;

use super::Finding;
use crate::config::{Config, SlackSpec};
use crate::service::slack;
use crate::slack::api::{Api, SlackError};

const SUBJECT: &str = "Slack";
/// What the bot needs, and for what.
const SCOPES: [(&str, &str); 2] =
    [("chat:write", "to post and update messages"), ("commands", "for /orderly")];

/// Looks at it, when it is configured.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let Some(spec) = &config.slack else { return Vec::new() };
    let api = match slack::api(spec) {
        Ok(api) => api,
        Err(error) => return vec![Finding::fail(SUBJECT, error.to_string(), "")],
    };
    let account = match api.account().await {
        Ok(account) => account,
        Err(error) => {
            let advice = "check `slack.botTokenFile`: the bot's token begins with `xoxb-`";
            return vec![Finding::fail(SUBJECT, error.to_string(), advice)];
        }
    };
    let mut findings = Vec::new();
    if account.team == spec.workspace || spec.workspace.starts_with('E') {
        let seen =
            format!("the bot is {} in {} ({})", account.user, account.workspace, account.team);
        findings.push(Finding::ok(SUBJECT, seen));
    } else {
        let seen = format!("the token is of workspace {}, not of {}", account.team, spec.workspace);
        findings.push(Finding::fail(
            SUBJECT,
            seen,
            "nobody could decide: correct `slack.workspace`",
        ));
    }
    findings.extend(scopes(spec, &account.scopes));
    findings.extend(channels(spec, &api).await);
    for group in slack::members(spec).user_groups() {
        findings.push(match api.members(group).await {
            Ok(members) => {
                Finding::ok(SUBJECT, format!("user group {group} has {} members", members.len()))
            }
            Err(error) => Finding::fail(
                SUBJECT,
                format!("user group {group}: {error}"),
                "its members could not decide: check the id and the scope `usergroups:read`",
            ),
        });
    }
    findings.push(connection(spec).await);
    findings
}

fn scopes(spec: &SlackSpec, has: &[String]) -> Vec<Finding> {
    let groups = spec.groups.values().any(|group| !group.user_groups.is_empty());
    let groups = groups.then_some(("usergroups:read", "to know who is in a user group"));
    let missing =
        SCOPES.into_iter().chain(groups).filter(|(scope, _)| !has.iter().any(|it| it == scope));
    let findings: Vec<_> = missing
        .map(|(scope, why)| {
            let advice = "add it under OAuth & Permissions, and install the app again";
            Finding::fail(SUBJECT, format!("the scope `{scope}` is missing ({why})"), advice)
        })
        .collect();
    if findings.is_empty() {
        vec![Finding::ok(SUBJECT, "has the scopes it needs")]
    } else {
        findings
    }
}

async fn channels(spec: &SlackSpec, api: &Api) -> Vec<Finding> {
    let ids: BTreeSet<_> = spec.channels.iter().map(|it| it.channel.as_str()).collect();
    let mut findings = Vec::new();
    for id in ids {
        findings.push(match api.get("conversations.info", &[("channel", id)]).await {
            Ok(answer) => {
                let name = answer["channel"]["name"].as_str().unwrap_or("?").to_owned();
                if answer["channel"]["is_member"] == true {
                    Finding::ok(SUBJECT, format!("is in channel #{name} ({id})"))
                } else {
                    let advice = format!("say `/invite @orderly` in #{name}");
                    Finding::fail(SUBJECT, format!("is not in channel #{name} ({id})"), advice)
                }
            }
            Err(SlackError::Refused { code, .. }) if code == "missing_scope" => Finding::warn(
                SUBJECT,
                format!("whether the bot is in {id} cannot be seen"),
                "give it `channels:read` and `groups:read`",
            ),
            Err(error) => Finding::fail(
                SUBJECT,
                format!("channel {id}: {error}"),
                "check the id; a private channel is seen only from inside",
            ),
        });
    }
    findings
}

async fn connection(spec: &SlackSpec) -> Finding {
    match (slack::app(spec), &spec.signing_secret_file) {
        (Ok(Some(app)), _) => match app.connection().await {
            Ok(_address) => Finding::ok(SUBJECT, "a Socket Mode connection can be opened"),
            Err(error) => {
                let advice = "check `slack.appTokenFile`: the app's token begins with `xapp-` and has \
                              the scope `connections:write`; Socket Mode must be on";
                Finding::fail(SUBJECT, error.to_string(), advice)
            }
        },
        (Err(error), _) => Finding::fail(SUBJECT, error.to_string(), ""),
        (Ok(None), Some(_)) => Finding::ok(
            SUBJECT,
            "clicks come over HTTP to `/slack/interactions`; whether Slack reaches it shows the first one",
        ),
        (Ok(None), None) => Finding::warn(
            SUBJECT,
            "messages have no buttons: nobody would hear them",
            "set `slack.appTokenFile` (Socket Mode) or `slack.signingSecretFile` (HTTP)",
        ),
    }
}
