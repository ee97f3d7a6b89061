//! Policies: runbooks as code.

pub mod spec;
