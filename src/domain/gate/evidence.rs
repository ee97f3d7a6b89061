//! What a gate saw. The text is for the person at 03:00.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::IncidentId;
use crate::domain::period::Period;
use crate::domain::policy::spec::Mode;

/// What a gate rests its verdict on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "saw")]
#[allow(missing_docs, reason = "each variant's text says what it means")]
pub enum Evidence {
    #[error("the policy's mode is `{}`{}", mode_name(*policy), ceiling_note(*policy, *ceiling))]
    Mode { policy: Mode, ceiling: Mode },
    #[error("policy `{policy}` is no longer loaded, or was switched off")]
    PolicyWithdrawn { policy: String },
    #[error("the kill switch is off")]
    KillSwitchOff,
    #[error("{by} turned the kill switch on at {}: {reason}", clock(*since))]
    KillSwitchOn { by: String, reason: String, since: Timestamp },
    #[error("namespace `{namespace}` is not protected")]
    NamespaceOpen { namespace: String },
    #[error("namespace `{namespace}` is protected by the configuration")]
    NamespaceProtected { namespace: String },
    #[error("{target} does not opt out")]
    OptedIn { target: String },
    #[error("{target} is annotated `orderly.dev/remediate: \"false\"`")]
    OptedOut { target: String },
    #[error("no other incident works on the target")]
    AloneOnTarget,
    #[error("incident {incident} works on {target} already")]
    TargetInHand { target: String, incident: IncidentId },
    #[error("no other incident changed the target in the last {cooldown}")]
    CooledDown { cooldown: Period },
    #[error("incident {incident} changed {target} at {}; the cool-down is {cooldown}", clock(*at))]
    CoolingDown { target: String, incident: IncidentId, at: Timestamp, cooldown: Period },
    #[error("{used} of {allowed} changes by this policy in {per} are used")]
    ActionLimit { used: u32, allowed: u32, per: Period },
    #[error("{ready} of {desired} pods of {target} are ready; {percent} % are asked for")]
    Ready { target: String, ready: i64, desired: i64, percent: u8 },
    #[error("no pod of {target} is ready: there is nothing to lose")]
    NothingReady { target: String },
    #[error("the change takes no pod away, or the policy asks for no minimum")]
    ReadyNotAsked,
    #[error("the change takes no pod away")]
    DisruptionNotAsked,
    #[error("no PodDisruptionBudget is short of headroom")]
    Headroom,
    #[error("PodDisruptionBudget `{budget}` lets no pod of {target} go now")]
    NoHeadroom { target: String, budget: String },
    #[error("{used} of {allowed} targets in {per} are used, over all policies")]
    Budget { used: u32, allowed: u32, per: Period },
    #[error(
        "{used} of {workloads} workloads in `{namespace}` were changed in {per}; {percent} % are allowed (at least one)"
    )]
    NamespaceBudget { namespace: String, used: u32, workloads: u32, percent: u8, per: Period },
    #[error("how many workloads `{namespace}` has could not be found out: {why}")]
    NamespaceUnknown { namespace: String, why: String },
    #[error("incidents opened in {within}: {incidents}; the storm brake sets at {limit}")]
    Storm { incidents: u32, limit: u32, within: Period },
    #[error(
        "the last {count} fixes of this policy did not help; from {limit} on a person must approve (reset: `orderly breaker reset`)"
    )]
    Ineffective { count: u32, limit: u32 },
    #[error(
        "the policy's fixes help, as far as is known ({count} of {limit} ineffective in a row)"
    )]
    Effective { count: u32, limit: u32 },
    #[error("no freeze window is open")]
    NoFreeze,
    #[error("freeze window `{name}` is open until {}", clock(*until))]
    Frozen { name: String, until: Timestamp },
    #[error("freeze window `{name}` cannot be read and counts as open: {why}")]
    FreezeUnreadable { name: String, why: String },
    #[error("nobody else manages the target")]
    NotOwned,
    #[error("{owner} manages {target} and may undo the change")]
    OwnedBy { target: String, owner: String },
    #[error("no rollout is under way")]
    RolloutSettled,
    #[error("a rollout of {target} is under way: {message}")]
    RolloutUnderWay { target: String, message: String },
    #[error("a rollout of {target} is under way, and the plan ends it by a rollback")]
    RollbackEndsRollout { target: String },
    #[error("Alertmanager says that the alert fires and is not silenced")]
    StillFiring,
    #[error("no Alertmanager is configured; by the last webhook the alert fires")]
    FiringByWebhook,
    #[error("the alert is silenced by {by}: a person has it in hand")]
    Silenced { by: String },
    #[error("the alert is inhibited by {by}")]
    Inhibited { by: String },
    #[error("Alertmanager no longer has the alert; waiting for its `resolved`")]
    NotFiring,
    #[error("whether the alert still fires could not be found out: {why}")]
    FiringUnknown { why: String },
    #[error("monitoring is sane: {how}")]
    MonitoringSane { how: String },
    #[error("no check of monitoring itself is configured")]
    MonitoringUnchecked,
    #[error("monitoring itself is in doubt: {why}")]
    MonitoringInDoubt { why: String },
    #[error("{fact} could not be found out: {why}")]
    FactUnknown { fact: String, why: String },
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn ceiling_note(policy: Mode, ceiling: Mode) -> String {
    if ceiling < policy {
        format!(", but the configuration allows at most `{}`", mode_name(ceiling))
    } else {
        String::new()
    }
}

/// The mode as it is written in a policy.
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "off",
        Mode::DryRun => "dry-run",
        Mode::Approval => "approval",
        Mode::Auto => "auto",
    }
}
