//! How much one webhook may hold besides the limit on its body, and why.

/// Groups of thousands are real (a failing node fires once a pod); ten thousand alerts of a usual
/// size fill the default body limit. `max_alerts` in Alertmanager's `webhook_config` cuts the rest.
pub const MAX_ALERTS: usize = 10_000;
/// Kubernetes metrics with all their labels have about thirty; nothing sensible comes near.
pub const MAX_LABELS: usize = 256;
/// Label names are identifiers.
pub const MAX_LABEL_NAME_BYTES: usize = 1024;
/// Label values name things; those that hold a message stay below this too.
pub const MAX_LABEL_VALUE_BYTES: usize = 16 * 1024;
/// Annotations explain to people. More than this nobody reads, so the rest is dropped and the alert
/// is still accepted.
pub const MAX_ANNOTATIONS: usize = 64;
/// The same for the length of one: cut, not refused.
pub const MAX_ANNOTATION_BYTES: usize = 8 * 1024;
/// A URL that is cut leads nowhere, so a longer one is dropped.
pub const MAX_URL_BYTES: usize = 8 * 1024;
/// Receiver, reason, version: names given by the operator or by Alertmanager; cut beyond.
pub(super) const MAX_NAME_BYTES: usize = 1024;
/// Group keys spell out a routing tree and are only hashed.
pub(super) const MAX_GROUP_KEY_BYTES: usize = 256 * 1024;
