//! What Slack delivers, as far as it is needed: read field by field, so that what Slack adds or
//! leaves out elsewhere (an organisation-wide install has no `team`) costs no click.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Somebody in Slack. Names change and can be chosen freely; ids do neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The user's id: `U…` or `W…`.
    pub user: String,
    /// The id of the user's own workspace: not always that of the channel.
    pub team: String,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Who.
    pub by: Member,
    /// What they did.
    pub what: Deed,
    /// Where they did it.
    pub channel: Option<String>,
    /// What lets a dialogue be opened, for three seconds.
    pub trigger: Option<String>,
    /// The same for the same deed, however often it is delivered.
    pub key: String,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Pressed a button or chose from a menu.
    Pressed {
        /// Which.
        action: String,
        /// What it carries, or what was chosen.
        value: String,
    },
    /// Sent a dialogue off.
    Submitted {
        /// Which.
        dialogue: String,
        /// What it carries.
        context: String,
        /// The reason that was typed.
        reason: String,
    },
    /// Typed a slash command.
    Commanded {
        /// What came after its name.
        text: String,
    },
    /// Something that is not waited for.
    Other {
        /// Slack's word for it.
        kind: String,
    },
}

/// A delivery that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// The body of `POST /slack/interactions`: a form with one field, `payload`.
///
/// # Errors
/// When it is none.
pub fn interaction_form(body: &[u8]) -> Result<Incoming, Unreadable> {
    let payload = form(body).find(|(name, _)| name == "payload");
    let (_, payload) = payload.ok_or_else(|| Unreadable("there is no field `payload`".into()))?;
    let payload = serde_json::from_str(&payload);
    interaction(&payload.map_err(|_| Unreadable("`payload` is not JSON".into()))?)
}

/// The payload of an interaction.
///
/// # Errors
/// When it lacks what every interaction has.
pub fn interaction(payload: &Value) -> Result<Incoming, Unreadable> {
    let kind = text(payload, "/type");
    let by = member(payload)?;
    let (what, distinct) = match kind.as_str() {
        "block_actions" => pressed(payload)?,
        "view_submission" => {
            let dialogue = required(payload, "/view/callback_id")?;
            let context = text(payload, "/view/private_metadata");
            let reason = text(payload, "/view/state/values/reason/reason/value");
            let distinct = required(payload, "/view/id")?;
            (Deed::Submitted { dialogue, context, reason }, distinct)
        }
        _ => {
            let kind: String = kind.chars().filter(|c| !c.is_control()).take(40).collect();
            (Deed::Other { kind }, String::new())
        }
    };
    let channel =
        payload.pointer("/channel/id").or_else(|| payload.pointer("/container/channel_id"));
    let trigger = payload.pointer("/trigger_id").and_then(Value::as_str);
    let key = key(&[&kind, &by.user, &distinct, &format!("{what:?}")]);
    Ok(Incoming {
        by,
        what,
        channel: channel.and_then(Value::as_str).map(str::to_owned),
        trigger: trigger.map(str::to_owned),
        key,
    })
}

/// Of several actions in one delivery Slack sends the first that was taken; the others have not been
/// seen in practice.
fn pressed(payload: &Value) -> Result<(Deed, String), Unreadable> {
    let action = required(payload, "/actions/0/action_id")?;
    let value = payload
        .pointer("/actions/0/selected_option/value")
        .or_else(|| payload.pointer("/actions/0/value"));
    let value = value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let distinct = format!(
        "{} {}",
        text(payload, "/actions/0/action_ts"),
        text(payload, "/container/message_ts")
    );
    Ok((Deed::Pressed { action, value }, distinct))
}

/// The body of `POST /slack/commands`, or the payload of the same over Socket Mode.
///
/// # Errors
/// When it lacks what every command has.
pub fn command_form(body: &[u8]) -> Result<Incoming, Unreadable> {
    let fields: serde_json::Map<_, _> =
        form(body).map(|(name, value)| (name, Value::String(value))).collect();
    command(&Value::Object(fields))
}

/// See [`command_form`].
///
/// # Errors
/// When it lacks what every command has.
pub fn command(payload: &Value) -> Result<Incoming, Unreadable> {
    let by = Member {
        user: required(payload, "/user_id")?,
        // On an organisation-wide install the workspace may be missing.
        team: first(payload, &["/team_id", "/enterprise_id"])?,
    };
    let trigger = text(payload, "/trigger_id");
    let key = key(&["command", &by.user, &trigger, &text(payload, "/text")]);
    Ok(Incoming {
        by,
        what: Deed::Commanded { text: text(payload, "/text") },
        channel: payload.pointer("/channel_id").and_then(Value::as_str).map(str::to_owned),
        trigger: Some(trigger),
        key,
    })
}

fn member(payload: &Value) -> Result<Member, Unreadable> {
    Ok(Member {
        user: required(payload, "/user/id")?,
        // The person's own workspace first: in a shared channel it is not the channel's.
        team: first(payload, &["/user/team_id", "/team/id", "/enterprise/id"])?,
    })
}

fn text(payload: &Value, pointer: &str) -> String {
    payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn required(payload: &Value, pointer: &str) -> Result<String, Unreadable> {
    first(payload, &[pointer])
}

fn first(payload: &Value, pointers: &[&str]) -> Result<String, Unreadable> {
    let found = pointers.iter().map(|pointer| text(payload, pointer)).find(|it| !it.is_empty());
    found.ok_or_else(|| Unreadable(format!("there is no `{}`", pointers[0])))
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}

/// The fields of `application/x-www-form-urlencoded`.
fn form(body: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    url::form_urlencoded::parse(body).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn press() -> Value {
        json!({
            "type": "block_actions",
            "user": {"id": "U1", "username": "alice", "team_id": "T1"},
            "team": {"id": "T1"}, "api_app_id": "A1",
            "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1"},
            "trigger_id": "1.2.3", "channel": {"id": "C1", "name": "ops"},
            "actions": [{"type": "button", "action_id": "approve", "value": "v", "action_ts": "3.4"}],
        })
    }

    #[test]
    fn a_press_is_read_and_is_the_same_press_however_often_it_comes() {
        let first = interaction(&press()).expect("a press");
        let pressed = Deed::Pressed { action: "approve".to_owned(), value: "v".to_owned() };
        assert_eq!(first.what, pressed);
        assert_eq!(first.by, Member { user: "U1".to_owned(), team: "T1".to_owned() });
        assert_eq!(first.channel.as_deref(), Some("C1"));
        let mut again = press();
        again["trigger_id"] = json!("another");
        assert_eq!(interaction(&again).expect("a press").key, first.key);
        for (pointer, other) in [
            ("/user/id", "U2"),
            ("/actions/0/action_ts", "3.5"),
            ("/actions/0/value", "w"),
            ("/container/message_ts", "1.3"),
        ] {
            let mut other_press = press();
            *other_press.pointer_mut(pointer).expect("there") = json!(other);
            assert_ne!(interaction(&other_press).expect("a press").key, first.key, "{pointer}");
        }
    }

    #[test]
    fn an_organisation_wide_install_has_no_team_and_its_clicks_count() {
        let mut payload = press();
        payload["team"] = Value::Null;
        payload["enterprise"] = json!({"id": "E1"});
        assert_eq!(interaction(&payload).expect("a press").by.team, "T1");
        payload["user"] = json!({"id": "U1"});
        assert_eq!(interaction(&payload).expect("a press").by.team, "E1");
        // A guest of a shared channel is of his own workspace, not of the channel's.
        let mut guest = press();
        guest["user"]["team_id"] = json!("T2");
        assert_eq!(interaction(&guest).expect("a press").by.team, "T2");
    }

    #[test]
    fn forms_are_read_and_what_is_none_is_refused() {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &press().to_string())
            .finish();
        assert_eq!(interaction_form(body.as_bytes()), interaction(&press()));
        let command = b"team_id=T1&user_id=U1&channel_id=C1&text=status&trigger_id=1";
        let read = command_form(command).expect("a command");
        assert_eq!(read.what, Deed::Commanded { text: "status".to_owned() });
        let unknown = json!({"type": "message_action", "user": {"id": "U1", "team_id": "T1"}});
        let unknown = interaction(&unknown).expect("somebody did something");
        assert_eq!(unknown.what, Deed::Other { kind: "message_action".to_owned() });
        let no_user = json!({"type": "block_actions", "actions": [{"action_id": "x"}]});
        for (body, why) in [
            (b"x=1".as_slice(), "`payload`"),
            (b"payload={", "not JSON"),
            (format!("payload={no_user}").as_bytes(), "`/user/id`"),
        ] {
            let error = interaction_form(body).expect_err("nothing to read").to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(command_form(b"text=approve").is_err());
    }
}
