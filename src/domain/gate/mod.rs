//! Gates: whether a plan may run now, later, or not at all, each with its evidence.

pub mod rails;
