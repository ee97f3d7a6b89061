//! Socket Mode: Slack's deliveries over a WebSocket that this side opens, so that no address of ours
//! has to be reachable. Two connections, so that one can be renewed while the other listens; Slack
//! sends each delivery to any one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::api::{Api, SlackError};
use super::incoming;
use super::listener::{Listener, Reply};
use crate::clock::SharedClock;

/// Slack pings every few seconds; after so long without a word the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(40);
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// A delivery holds the whole message it is about: a tenth of this.
const LARGEST: usize = 1024 * 1024;
/// The first pause before a connection is opened again; doubled up to the longest.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// A connection that lasted so long was a good one: the pauses begin anew.
const GOOD: SignedDuration = SignedDuration::from_secs(30);
/// Socket Mode was switched off in the app's settings: somebody has to switch it on again.
const SWITCHED_OFF: SignedDuration = SignedDuration::from_mins(5);

/// How the connections stand, for health and metrics.
#[derive(Debug, Default)]
pub struct Connected(AtomicUsize);

impl Connected {
    /// How many stand.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts a connection as long as it lives.
struct Counted<'a>(&'a Connected);

impl<'a> Counted<'a> {
    fn new(connected: &'a Connected) -> Self {
        connected.0.fetch_add(1, Ordering::Relaxed);
        Self(connected)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Slack wants it renewed: at once.
    Renew,
    /// Slack says that Socket Mode is off.
    SwitchedOff,
    /// It broke.
    Broke(String),
}

/// Keeps one connection until told to stop.
pub async fn keep(
    api: Api,
    listener: Arc<dyn Listener>,
    connected: Arc<Connected>,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let mut pause = PAUSE;
    loop {
        let began = clock.now();
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = connection(&api, listener.as_ref(), &connected) => ended,
        };
        if clock.now().duration_since(began) >= GOOD {
            pause = PAUSE;
        }
        let wait = match ended {
            Ended::Renew => SignedDuration::ZERO,
            Ended::SwitchedOff => {
                tracing::error!("Socket Mode is switched off in the settings of the Slack app");
                SWITCHED_OFF
            }
            Ended::Broke(why) => {
                tracing::warn!(why, pause = pause.as_secs(), "the connection to Slack is lost");
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        let until = clock.now().saturating_add(wait).unwrap_or(jiff::Timestamp::MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(until) => {}
        }
    }
}

async fn connection(api: &Api, listener: &dyn Listener, connected: &Connected) -> Ended {
    let mut socket = match open(api).await {
        Ok(socket) => socket,
        Err(why) => return Ended::Broke(why),
    };
    let mut counted = None;
    loop {
        let next = match tokio::time::timeout(SILENCE, socket.next()).await {
            Ok(Some(Ok(next))) => next,
            // The library's errors name no address.
            Ok(Some(Err(error))) => return Ended::Broke(error.to_string()),
            Ok(None) => return Ended::Broke("Slack closed it".to_owned()),
            Err(_silence) => return Ended::Broke(format!("silent for {} s", SILENCE.as_secs())),
        };
        let text = match next {
            Message::Text(text) => text,
            // The library answers pings itself, with the next thing that is sent or read.
            Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {
                continue;
            }
            Message::Close(_) => return Ended::Broke("Slack closed it".to_owned()),
        };
        let Ok(envelope) = serde_json::from_str::<Value>(&text) else {
            tracing::warn!("Slack sent something that is not JSON");
            continue;
        };
        match envelope["type"].as_str() {
            Some("hello") => {
                counted.get_or_insert_with(|| Counted::new(connected));
            }
            Some("disconnect") => {
                return match envelope["reason"].as_str() {
                    Some("link_disabled") => Ended::SwitchedOff,
                    _ => Ended::Renew,
                };
            }
            _ => {
                if let Some(acknowledgement) = taken(listener, &envelope).await {
                    let sent = socket.send(Message::text(acknowledgement.to_string())).await;
                    if let Err(error) = sent {
                        return Ended::Broke(error.to_string());
                    }
                }
            }
        }
    }
}

/// The acknowledgement of an envelope, once what is in it cannot be lost any more.
async fn taken(listener: &dyn Listener, envelope: &Value) -> Option<Value> {
    let id = envelope["envelope_id"].as_str()?;
    let payload = &envelope["payload"];
    let incoming = match envelope["type"].as_str() {
        Some("interactive") => incoming::interaction(payload),
        Some("slash_commands") => incoming::command(payload),
        // Nothing that was asked for; acknowledged, so that it does not come again and again.
        _ => return Some(json!({"envelope_id": id})),
    };
    let incoming = match incoming {
        Ok(incoming) => incoming,
        Err(error) => {
            tracing::warn!(%error, "a delivery of Slack cannot be read");
            return Some(json!({"envelope_id": id}));
        }
    };
    match listener.hear(incoming).await? {
        Reply::Heard => Some(json!({"envelope_id": id})),
        Reply::Answer(answer) if envelope["accepts_response_payload"] == true => {
            Some(json!({"envelope_id": id, "payload": answer}))
        }
        Reply::Answer(_) => Some(json!({"envelope_id": id})),
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(api: &Api) -> Result<Socket, String> {
    let url = api.connection().await.map_err(|error: SlackError| error.to_string())?;
    let config =
        WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let opening = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
    match tokio::time::timeout(CONNECT, opening).await {
        Ok(Ok((socket, _answer))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
    }
}
