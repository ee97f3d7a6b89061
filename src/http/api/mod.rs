//! The API for people and for the command line: what stands, and what a person may decide.
//!
//! Authenticates and parses; whether a decision counts is the other side's matter ([`Incidents`]).

mod handlers;
mod input;
mod types;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use http::StatusCode;

use super::problem::Problem;
use super::status::Health;
use crate::domain::event::Person;
use crate::domain::id::IncidentId;

pub(super) use handlers::routes;
pub use types::{
    AbortRequest, ApproveRequest, AuditEntry, AuditFilter, AuditPage, Decided, DigestPrefix,
    HistoryLine, IncidentDetail, IncidentFilter, IncidentList, IncidentSummary, KillSwitch,
    KillSwitchRequest, ParseInputError, ProposalView, Reason, RefuseRequest, ResetRequest,
    SnoozeLength, SnoozeRequest, StateFilter, Waiting,
};

/// What the API needs from the rest of the house. Every decision comes with the person who takes it;
/// an attempt of somebody who may not is recorded by the other side as well.
pub trait Incidents: Send + Sync + 'static {
    /// Incidents, the newest first.
    fn list(&self, filter: IncidentFilter) -> BoxFuture<'_, Result<IncidentList, ApiError>>;
    /// One incident with its history.
    fn show(&self, id: IncidentId) -> BoxFuture<'_, Result<IncidentDetail, ApiError>>;
    /// `by` agrees with the plan that stands. Agreeing twice is agreeing once.
    fn approve(
        &self,
        by: Person,
        id: IncidentId,
        request: ApproveRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>>;
    /// `by` says no.
    fn refuse(
        &self,
        by: Person,
        id: IncidentId,
        request: RefuseRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>>;
    /// `by` puts the question off.
    fn snooze(
        &self,
        by: Person,
        id: IncidentId,
        request: SnoozeRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>>;
    /// `by` wants it stopped.
    fn abort(
        &self,
        by: Person,
        id: IncidentId,
        request: AbortRequest,
    ) -> BoxFuture<'_, Result<Decided, ApiError>>;
    /// Whether the kill switch is on.
    fn kill_switch(&self) -> BoxFuture<'_, Result<KillSwitch, ApiError>>;
    /// `by` turns the kill switch.
    fn set_kill_switch(
        &self,
        by: Person,
        request: KillSwitchRequest,
    ) -> BoxFuture<'_, Result<KillSwitch, ApiError>>;
    /// `by` trusts a policy again whose fixes did not help.
    fn reset_breaker(
        &self,
        by: Person,
        policy: String,
        request: ResetRequest,
    ) -> BoxFuture<'_, Result<(), ApiError>>;
    /// The entries of the journal that fit, in order, a page at a time: those after `after`.
    fn audit(&self, filter: AuditFilter, after: u64) -> BoxFuture<'_, Result<AuditPage, ApiError>>;
}

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// 404.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// Of what kind.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// 403: the policy or the rules do not let this person decide this.
    #[error("{0}")]
    MayNot(String),
    /// 409: the plan was made again; `now` is what stands.
    #[error("the plan has changed since: look at the new one and decide again")]
    Stale {
        /// The new plan, unless it is still being made.
        now: Option<Box<ProposalView>>,
    },
    /// 409: the incident stands elsewhere.
    #[error("{0}")]
    NotNow(String),
    /// 410: the incident is closed, or the time to decide is over.
    #[error("{0}")]
    Over(String),
    /// 503: the journal cannot be read or written; nothing was decided.
    #[error("{0}")]
    Unavailable(String),
}

/// So long until the journal may be there again.
const RETRY_AFTER_SECONDS: u64 = 5;

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::NotFound { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(text)
            }
            ApiError::MayNot(_) => {
                Self::new(StatusCode::FORBIDDEN, "may-not-decide", "Not allowed").detail(text)
            }
            ApiError::Stale { now } => {
                let plan = serde_json::to_value(now).unwrap_or_default();
                Self::new(StatusCode::CONFLICT, "plan-stale", "The plan has changed")
                    .detail(text)
                    .with("plan", plan)
            }
            ApiError::NotNow(_) => {
                Self::new(StatusCode::CONFLICT, "not-now", "Not possible now").detail(text)
            }
            ApiError::Over(_) => Self::new(StatusCode::GONE, "over", "Too late").detail(text),
            ApiError::Unavailable(_) => {
                Self::unavailable("journal-unavailable", "Journal unavailable", RETRY_AFTER_SECONDS)
                    .detail(text)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// The API.
pub struct Api {
    incidents: Arc<dyn Incidents>,
    health: Arc<dyn Health>,
}

impl Api {
    /// Over these.
    pub fn new(incidents: Arc<dyn Incidents>, health: Arc<dyn Health>) -> Arc<Self> {
        Arc::new(Self { incidents, health })
    }
}
