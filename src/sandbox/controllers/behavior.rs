//! What a container does, by the rules that the real control plane's stand-in kubelet follows too:
//! an annotation `fake/behavior` (or `fake/behavior.CONTAINER`), else a word in the image.
//!
//! Two more rules serve stories in which a remediation heals: `fake/oom-below: 512Mi` and
//! `fake/liveness-needs-initial-delay: "45"`.

use jiff::SignedDuration;
use serde_json::Value;

use super::super::object::{annotation, number, text};
use super::super::quantity::Quantity;

/// What a container does once it is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behavior {
    Fine,
    Complete,
    Crash,
    OutOfMemory,
    CannotPull,
    InvalidImage,
    ConfigurationMissing,
    CannotCreate,
    CannotStart,
    StuckCreating,
    NeverReady,
    KilledByLiveness,
    Evicted,
}

impl Behavior {
    fn by_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "running" | "ready" | "ok" => Self::Fine,
            "completed" | "succeeded" => Self::Complete,
            "crash" | "crashloop" | "crashloopbackoff" | "error" => Self::Crash,
            "oom" | "oomkilled" => Self::OutOfMemory,
            "imagepull" | "imagepullbackoff" | "errimagepull" => Self::CannotPull,
            "invalidimage" | "invalidimagename" => Self::InvalidImage,
            "configerror" | "createcontainerconfigerror" => Self::ConfigurationMissing,
            "createerror" | "createcontainererror" => Self::CannotCreate,
            "runerror" | "runcontainererror" => Self::CannotStart,
            "creating" | "containercreating" | "pending" => Self::StuckCreating,
            "notready" | "unready" => Self::NeverReady,
            "liveness" => Self::KilledByLiveness,
            "evicted" => Self::Evicted,
            _ => return None,
        })
    }

    /// What this container of this pod does.
    pub(super) fn of(pod: &Value, container: &Value) -> Self {
        let own = format!("fake/behavior.{}", text(container, "/name"));
        let chosen = annotation(pod, &own).and_then(Self::by_word);
        let chosen = chosen.or_else(|| annotation(pod, "fake/behavior").and_then(Self::by_word));
        if let Some(chosen) = chosen {
            return chosen;
        }
        if let Some(needed) = annotation(pod, "fake/oom-below").and_then(Quantity::parse) {
            let limit = Quantity::parse(text(container, "/resources/limits/memory"));
            if limit.is_some_and(|limit| limit < needed) {
                return Self::OutOfMemory;
            }
        }
        if let Some(needed) =
            annotation(pod, "fake/liveness-needs-initial-delay").and_then(|text| text.parse().ok())
            && let Some(probe) = container.get("livenessProbe")
            && number(probe, "/initialDelaySeconds").unwrap_or(0) < needed
        {
            return Self::KilledByLiveness;
        }
        Self::by_image(text(container, "/image"))
    }

    fn by_image(image: &str) -> Self {
        let lower = image.to_ascii_lowercase();
        let repository = image.split(':').next().unwrap_or_default();
        if image.contains([' ', ',', ';']) || repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Self::InvalidImage;
        }
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if has(&[
            "does-not-exist",
            "doesnotexist",
            "nonexist",
            "missing",
            "broken",
            "bad-image",
            ":bad",
            "no-such",
            "nosuch",
            "typo",
            "invalid",
        ]) {
            Self::CannotPull
        } else if has(&["crash"]) {
            Self::Crash
        } else if has(&["oom"]) {
            Self::OutOfMemory
        } else if has(&["notready", "unready"]) {
            Self::NeverReady
        } else {
            Self::Fine
        }
    }
}

/// A duration that an annotation of the pod gives, as `5s`, `300ms` or a number of seconds.
pub(super) fn duration(pod: &Value, key: &str, otherwise: SignedDuration) -> SignedDuration {
    let Some(given) = annotation(pod, key) else { return otherwise };
    if let Ok(seconds) = given.parse::<f64>() {
        return SignedDuration::try_from_secs_f64(seconds).unwrap_or(otherwise);
    }
    given.parse().unwrap_or(otherwise)
}
