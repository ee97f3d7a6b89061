//! The Kubernetes ports: a reader that cannot write, and a writer that performs one given step.
//!
//! Everything travels as raw JSON: a typed object would silently drop fields newer than the types.
//! Nothing here chooses anything; what to read and what to write is decided in `domain`.

pub mod access;
pub mod budget;
pub mod connection;
pub mod diff;
pub mod event;
pub mod failure;
pub mod follow;
pub mod json;
pub mod path;
pub mod reader;
pub mod writer;
