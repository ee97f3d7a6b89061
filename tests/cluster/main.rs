//! The suite on a real Kubernetes API server. It wants a kubeconfig of an administrator in
//! `ORDERLY_TEST_KUBECONFIG`; `tests/cluster/run` starts a control plane and gives it. kubectl must
//! be on the path: it is the judge.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a real cluster goes by the real time")]

mod alertmanagers;
mod between;
mod chain;
mod crashes;
mod deploy;
mod disk;
mod exporter;
mod install;
mod outages;
mod pair;
mod plane;
mod programs;
mod refusals;
mod relay;
mod remedy;
mod resources;
mod scenarios;
mod semantics;
#[path = "../it/serving.rs"]
mod serving;
mod stepping;
mod storm;
mod witness;
#[allow(dead_code, reason = "the other suite uses all of it")]
#[path = "../it/world.rs"]
mod world;
mod writes;
