//! Slack: what people see there and what they decide there, over both of its ways.

mod deciding;
mod forging;
mod lasting;
mod limits;
pub mod office;
mod shipping;
mod workspace;
