//! Orderly carries out runbooks. Modules in reading order; the layer rule is in ARCHITECTURE.md.

pub mod clock;
pub mod domain;
pub mod journal;
pub mod kubernetes;
