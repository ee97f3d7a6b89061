//! The label sets. Values are `&'static str` or enums wherever the code knows them all.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookOutcome {
    /// 202: durable.
    Accepted,
    /// 400, 415: not a payload.
    Invalid,
    /// 401, 403.
    Unauthorized,
    /// 413.
    TooLarge,
    /// The connection broke or was too slow.
    Broken,
    /// 503: too much at once.
    Shed,
    /// 503: the journal or a secret is not to be had.
    Unavailable,
}

impl WebhookOutcome {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Invalid,
        Self::Unauthorized,
        Self::TooLarge,
        Self::Broken,
        Self::Shed,
        Self::Unavailable,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
            Self::Shed => "shed",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What was put right in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// A fingerprint that did not fit the labels.
    Fingerprint,
    /// A text that was too long.
    Text,
}

impl Repair {
    /// All of them, in order.
    pub const ALL: [Self; 2] = [Self::Fingerprint, Self::Text];

    fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Text => "text",
        }
    }
}

macro_rules! label_value {
    ($($type:ty),*) => {$(
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    )*};
}
label_value!(WebhookOutcome, Repair);

macro_rules! label_sets {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        #[allow(missing_docs, reason = "the fields are the labels' names")]
        pub struct $name { $(pub $field: $type),* }
    )*};
}

label_sets! {
    /// Of webhooks.
    WebhookLabels { outcome: WebhookOutcome }
    /// Of alerts.
    StatusLabels { status: &'static str }
    /// Of repairs.
    RepairLabels { repair: Repair }
    /// Of decisions. Policies are as many as the operator wrote.
    DecisionLabels { policy: String, outcome: &'static str }
    /// Of gates.
    GateLabels { gate: &'static str, verdict: &'static str }
    /// Of what only ends one way or another.
    OutcomeLabels { outcome: &'static str }
    /// Of steps.
    StepLabels { action: &'static str, outcome: &'static str }
    /// Of queues.
    QueueLabels { queue: &'static str }
    /// Of incidents.
    StateLabels { state: &'static str }
    /// Of requests to the API server.
    KubernetesLabels { verb: &'static str, code: u16 }
}

/// A call of Slack's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SlackLabels {
    /// The method.
    pub method: &'static str,
    /// `ok`, `limited`, `refused` or `unreachable`.
    pub outcome: &'static str,
}
