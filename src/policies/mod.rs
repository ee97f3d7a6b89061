//! Policies from files and from custom resources: found, read with the place of every field, checked,
//! kept current.
//!
//! What a policy means is decided in `domain`; this room knows where it is written.

pub mod case;
pub mod crd;
pub mod lint;
pub mod loader;
pub mod parse;
pub mod resource;
pub mod schema;
pub mod source;
