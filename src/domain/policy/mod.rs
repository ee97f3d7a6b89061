//! Policies: runbooks as code.

pub mod matcher;
pub mod name;
mod promql;
pub mod spec;
pub mod template;
