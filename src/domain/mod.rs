//! What Orderly knows and decides. Pure: no async, no clock, no input or output, and none of the
//! libraries that do those things. `now` is always an argument (invariant 1).

pub mod action;
pub mod alert;
pub mod approval;
pub mod authority;
pub mod briefing;
pub mod check;
pub mod claim;
pub mod conversation;
pub mod diagnosis;
pub mod escalation;
pub mod event;
#[cfg(test)]
mod exhaustive;
pub mod explain;
pub mod facts;
pub mod gate;
pub mod id;
pub mod incident;
pub mod lifecycle;
pub mod nearest;
pub mod period;
pub mod plan;
pub mod policy;
pub mod quantity;
pub mod resolution;
#[cfg(test)]
pub(crate) mod testing;
