//! What Orderly knows and decides. Pure: no async, no clock, no input or output, and none of the
//! libraries that do those things. `now` is always an argument (invariant 1).

pub mod alert;
pub mod facts;
pub mod gate;
pub mod id;
pub mod period;
pub mod plan;
pub mod policy;
pub mod quantity;
