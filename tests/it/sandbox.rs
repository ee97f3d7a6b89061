//! The sandbox cluster, judged through the ordinary client: what a real API server and its
//! controllers would do.

mod faults;
mod neighbours;
mod objects;
mod pods;
mod rollouts;
mod seed;
mod support;
