//! A Slack of our own: Web API, interactivity over HTTP and Socket Mode, with messages that stand in
//! channels, people, user groups and tokens. It holds every request against Slack's documented limits,
//! and misbehaves by script.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use futures::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message as Frame;

use super::limits;

pub const BOT: &str = "xoxb-bot-token";
pub const APP: &str = "xapp-app-token";
pub const SIGNING: &str = "signing-secret";
pub const TEAM: &str = "T0001";
pub const CHANNEL: &str = "C0001";
/// Slack waits so long for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(3);

/// One message in a channel.
#[derive(Clone, Debug)]
pub struct Message {
    pub channel: String,
    pub ts: String,
    pub thread: Option<String>,
    pub text: String,
    pub blocks: Vec<Value>,
    /// How often it was changed.
    pub edits: usize,
}

impl Message {
    /// Everything that a person reads in it.
    pub fn read(&self) -> String {
        let mut texts = Vec::new();
        for block in &self.blocks {
            collect(block, &mut texts);
        }
        texts.join("\n")
    }

    /// The buttons and menus by their action.
    pub fn controls(&self) -> Vec<String> {
        let elements = self.blocks.iter().filter(|block| block["type"] == "actions");
        let elements = elements.flat_map(|block| block["elements"].as_array().cloned().unwrap());
        elements.map(|element| element["action_id"].as_str().unwrap().to_owned()).collect()
    }

    pub fn control(&self, action: &str) -> Option<Value> {
        let blocks = self.blocks.iter().filter(|block| block["type"] == "actions");
        let mut all = blocks.flat_map(|block| block["elements"].as_array().cloned().unwrap());
        all.find(|element| element["action_id"] == action)
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(text) = object.get("text").and_then(Value::as_str) {
                texts.push(text.to_owned());
            }
            object.values().for_each(|value| collect(value, texts));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

/// What goes wrong with the next call of a method.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// 429 with `Retry-After`.
    Limited(u64),
    /// `ok: false` with this word.
    Refused(&'static str),
    /// 503.
    Down,
    /// It is done, and the answer is lost.
    Lost,
}

#[derive(Default)]
pub struct Inner {
    pub messages: Vec<Message>,
    /// `(user, text)`: seen by that person alone.
    pub whispers: Vec<(String, String)>,
    pub views: Vec<Value>,
    pub groups: BTreeMap<String, BTreeSet<String>>,
    pub calls: Vec<String>,
    pub violations: Vec<String>,
    pub mishaps: BTreeMap<String, VecDeque<Mishap>>,
    /// Every call fails.
    pub down: bool,
    /// Triggers that were given out and not used.
    triggers: BTreeSet<String>,
    counter: u64,
    sockets: Vec<mpsc::UnboundedSender<Outgoing>>,
}

enum Outgoing {
    Envelope(Value, oneshot::Sender<Option<Value>>),
    Disconnect(&'static str),
    Close,
}

/// The workspace.
#[derive(Clone)]
pub struct Workspace {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    http: reqwest::Client,
}

impl Workspace {
    pub async fn open() -> Self {
        // Whoever comes first installs it.
        let _there = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { url, inner: Arc::default(), http: reqwest::Client::new() };
        let socket_url = format!("ws://{}/link?ticket=", sockets.local_addr().unwrap());
        let state = (this.clone(), socket_url);
        let router = Router::new().route("/api/{method}", any(call)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let accepting = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = sockets.accept().await {
                tokio::spawn(socket(accepting.clone(), stream));
            }
        });
        this
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn mishap(&self, method: &str, mishap: Mishap) {
        self.lock().mishaps.entry(method.to_owned()).or_default().push_back(mishap);
    }

    /// Messages that stand in the channel itself.
    pub fn messages(&self) -> Vec<Message> {
        self.lock().messages.iter().filter(|it| it.thread.is_none()).cloned().collect()
    }

    /// What was told in the thread of a message.
    pub fn thread(&self, of: &Message) -> Vec<Message> {
        let inner = self.lock();
        inner.messages.iter().filter(|it| it.thread.as_ref() == Some(&of.ts)).cloned().collect()
    }

    /// What was whispered to a person.
    pub fn whispers(&self, user: &str) -> Vec<String> {
        let inner = self.lock();
        let told = inner.whispers.iter().filter(|(to, _)| to == user);
        told.map(|(_, text)| text.clone()).collect()
    }

    /// What was sent that Slack would not take.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub fn connections(&self) -> usize {
        self.lock().sockets.iter().filter(|socket| !socket.is_closed()).count()
    }

    /// A new trigger, good for one dialogue.
    fn trigger(&self) -> String {
        let mut inner = self.lock();
        inner.counter += 1;
        let trigger = format!("trigger.{}", inner.counter);
        inner.triggers.insert(trigger.clone());
        trigger
    }

    /// The payload of a press on what stands in `message` now.
    pub fn press(&self, user: &str, message: &Message, action: &str) -> Value {
        let control = message.control(action);
        let control =
            control.unwrap_or_else(|| panic!("no `{action}` in {:?}", message.controls()));
        let value = match control["type"].as_str() {
            Some("static_select") => control["options"][0]["value"].clone(),
            _ => control["value"].clone(),
        };
        self.press_value(user, message, action, &value)
    }

    /// The same with any value.
    pub fn press_value(&self, user: &str, message: &Message, action: &str, value: &Value) -> Value {
        let trigger = self.trigger();
        let kind = if action == "snooze" { "static_select" } else { "button" };
        let mut pressed = json!({
            "type": kind, "action_id": action, "block_id": "decide", "action_ts": trigger,
        });
        match kind {
            "button" => pressed["value"] = value.clone(),
            _ => pressed["selected_option"] = json!({"value": value}),
        }
        json!({
            "type": "block_actions",
            "user": {"id": user, "username": "same.name", "name": "Same Name", "team_id": TEAM},
            "team": {"id": TEAM, "domain": "example"}, "api_app_id": "A0001", "token": "deprecated",
            "container": {
                "type": "message", "message_ts": message.ts, "channel_id": message.channel,
                "is_ephemeral": false,
            },
            "trigger_id": trigger, "channel": {"id": message.channel, "name": "ops"},
            "message": {"ts": message.ts, "text": message.text, "blocks": message.blocks},
            "response_url": "https://hooks.slack.com/actions/x", "actions": [pressed],
        })
    }

    /// The payload of sending off the dialogue that was opened last.
    pub fn submit(&self, user: &str, reason: &str) -> Value {
        let view = self.lock().views.last().cloned().expect("a dialogue is open");
        json!({
            "type": "view_submission",
            "user": {"id": user, "username": "same.name", "team_id": TEAM},
            "team": {"id": TEAM}, "api_app_id": "A0001", "trigger_id": self.trigger(),
            "view": {
                "id": format!("V{}", self.lock().views.len()), "type": "modal",
                "callback_id": view["callback_id"], "private_metadata": view["private_metadata"],
                "state": {"values": {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}},
            },
        })
    }

    /// The form of a slash command.
    pub fn command(&self, user: &str, text: &str) -> Value {
        json!({
            "command": "/orderly", "text": text, "user_id": user, "user_name": "same.name",
            "team_id": TEAM, "channel_id": CHANNEL, "trigger_id": self.trigger(),
            "response_url": "https://hooks.slack.com/commands/x",
        })
    }

    /// Delivers over HTTP as Slack does: signed, and given up after three seconds.
    pub async fn post(&self, base: &str, payload: &Value) -> (StatusCode, String) {
        let (path, body) = form(payload);
        let at = now().to_string();
        self.post_signed(base, path, &body, &at, &signed(SIGNING, &at, &body)).await
    }

    pub async fn post_signed(
        &self,
        base: &str,
        path: &str,
        body: &str,
        at: &str,
        signature: &str,
    ) -> (StatusCode, String) {
        let request = self.http.post(format!("{base}{path}"));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", at)
            .header("x-slack-signature", signature)
            .body(body.to_owned());
        let answer = tokio::time::timeout(PATIENCE, request.send()).await.expect("in 3 s").unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Delivers over Socket Mode, to any one connection; the acknowledgement, if there is one in time.
    pub async fn send(&self, payload: &Value) -> Option<Value> {
        let kind = if payload["command"].is_string() { "slash_commands" } else { "interactive" };
        let (tell, told) = oneshot::channel();
        {
            let mut inner = self.lock();
            inner.counter += 1;
            let envelope = json!({
                "envelope_id": format!("envelope-{}", inner.counter), "type": kind,
                "accepts_response_payload": true, "payload": payload,
            });
            let sockets: Vec<_> = inner.sockets.iter().filter(|it| !it.is_closed()).collect();
            let chosen = usize::try_from(inner.counter).unwrap() % sockets.len().max(1);
            let socket = sockets.get(chosen).expect("a connection stands");
            assert!(socket.send(Outgoing::Envelope(envelope, tell)).is_ok());
        }
        tokio::time::timeout(PATIENCE, told).await.ok()?.ok()?
    }

    /// Slack wants the connections renewed, or breaks them.
    pub fn shake(&self, reason: Option<&'static str>) {
        for socket in self.lock().sockets.drain(..) {
            let _gone = socket.send(reason.map_or(Outgoing::Close, Outgoing::Disconnect));
        }
    }
}

/// Where a payload goes, and as what.
pub fn form(payload: &Value) -> (&'static str, String) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    if payload["command"].is_string() {
        for (name, value) in payload.as_object().unwrap() {
            form.append_pair(name, value.as_str().unwrap());
        }
        ("/slack/commands", form.finish())
    } else {
        form.append_pair("payload", &payload.to_string());
        ("/slack/interactions", form.finish())
    }
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Slack's signature.
pub fn signed(secret: &str, at: &str, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:{body}").as_bytes());
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

type Site = (Workspace, String);

async fn call(
    State((slack, sockets)): State<Site>,
    Path(method): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or("");
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let mut inner = slack.lock();
    inner.calls.push(method.clone());
    let wanted = if method == "apps.connections.open" { APP } else { BOT };
    if token != format!("Bearer {wanted}") {
        return no("invalid_auth");
    }
    let mishap = inner.mishaps.get_mut(&method).and_then(VecDeque::pop_front);
    let lost = match mishap {
        _ if inner.down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Mishap::Limited(seconds)) => {
            let headers = [("retry-after", seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, headers).into_response();
        }
        Some(Mishap::Refused(word)) => return no(word),
        Some(Mishap::Down) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Mishap::Lost) => true,
        None => false,
    };
    let found = limits::violations(&method, &body);
    inner.violations.extend(found.into_iter().map(|it| format!("{method}: {it}")));
    let text = |key: &str| body[key].as_str().unwrap_or("").to_owned();
    let blocks = || body["blocks"].as_array().cloned().unwrap_or_default();
    let answer = match method.as_str() {
        "auth.test" => json!({
            "ok": true, "user_id": "UBOT", "team_id": TEAM, "team": "Example", "user": "orderly",
        }),
        "chat.postMessage" => {
            if text("channel") != CHANNEL {
                return no("channel_not_found");
            }
            inner.counter += 1;
            let ts = format!("{}.{:06}", now(), inner.counter);
            let (thread, channel) =
                (body["thread_ts"].as_str().map(str::to_owned), text("channel"));
            let message = Message {
                channel: channel.clone(),
                ts: ts.clone(),
                thread,
                text: text("text"),
                blocks: blocks(),
                edits: 0,
            };
            inner.messages.push(message);
            json!({"ok": true, "channel": channel, "ts": ts})
        }
        "chat.update" => {
            let (channel, ts) = (text("channel"), text("ts"));
            let mut all = inner.messages.iter_mut();
            let Some(message) = all.find(|it| it.channel == channel && it.ts == ts) else {
                return no("message_not_found");
            };
            message.text = text("text");
            message.blocks = blocks();
            message.edits += 1;
            json!({"ok": true, "channel": channel, "ts": ts})
        }
        "chat.postEphemeral" => {
            let told = (text("user"), text("text"));
            inner.whispers.push(told);
            json!({"ok": true, "message_ts": "1.1"})
        }
        "views.open" => {
            if !inner.triggers.remove(&text("trigger_id")) {
                return no("expired_trigger_id");
            }
            inner.views.push(body["view"].clone());
            json!({"ok": true, "view": {"id": format!("V{}", inner.views.len())}})
        }
        "usergroups.users.list" => match inner.groups.get(&query["usergroup"]) {
            Some(users) => json!({"ok": true, "users": users}),
            None => return no("no_such_subteam"),
        },
        "conversations.info" => {
            if query["channel"] != CHANNEL {
                return no("channel_not_found");
            }
            json!({"ok": true, "channel": {"id": CHANNEL, "name": "ops", "is_member": true}})
        }
        "apps.connections.open" => {
            inner.counter += 1;
            json!({"ok": true, "url": format!("{sockets}{}", inner.counter)})
        }
        _ => return no("unknown_method"),
    };
    if lost {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let scopes = "chat:write,commands,usergroups:read,channels:read,groups:read";
    ([("x-oauth-scopes", scopes)], Json(answer)).into_response()
}

fn no(word: &str) -> Response {
    Json(json!({"ok": false, "error": word})).into_response()
}

async fn socket(slack: Workspace, stream: tokio::net::TcpStream) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut out, mut back) = socket.split();
    let (send, mut envelopes) = mpsc::unbounded_channel();
    slack.lock().sockets.push(send);
    let hello = json!({"type": "hello", "num_connections": 1, "debug_info": {}});
    let _gone = out.send(Frame::text(hello.to_string())).await;
    let mut waiting: BTreeMap<String, oneshot::Sender<Option<Value>>> = BTreeMap::new();
    loop {
        tokio::select! {
            next = envelopes.recv() => match next {
                Some(Outgoing::Envelope(envelope, tell)) => {
                    waiting.insert(envelope["envelope_id"].as_str().unwrap().to_owned(), tell);
                    let _gone = out.send(Frame::text(envelope.to_string())).await;
                }
                Some(Outgoing::Disconnect(reason)) => {
                    let goodbye = json!({"type": "disconnect", "reason": reason});
                    let _gone = out.send(Frame::text(goodbye.to_string())).await;
                    return;
                }
                Some(Outgoing::Close) | None => return,
            },
            frame = back.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    let acknowledgement: Value = serde_json::from_str(&text).unwrap();
                    let id = acknowledgement["envelope_id"].as_str().unwrap();
                    if let Some(tell) = waiting.remove(id) {
                        let _gone = tell.send(Some(acknowledgement["payload"].clone()));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
