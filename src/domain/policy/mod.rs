//! Policies: runbooks as code.

mod actions;
mod checks;
pub mod choice;
pub mod compiled;
pub mod matcher;
pub mod name;
pub mod problem;
mod promql;
pub mod safeguards;
#[cfg(test)]
pub(crate) mod sample;
pub mod spec;
pub mod template;
