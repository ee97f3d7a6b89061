//! How a sandbox is started, and why it may not be.

use std::net::SocketAddr;

use super::cluster::Pace;
use super::error::ApiError;
use crate::clock::SharedClock;

/// Who lets the controllers work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// They follow the clock: the demo.
    Clock,
    /// The scenario calls [`Sandbox::tick`](super::Sandbox::tick): tests.
    Manual,
}

/// What the cluster contains at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// The namespace `default` and three nodes.
    Empty,
    /// The workloads of the demo with their histories, see the manifests under `seed/`.
    Demo,
}

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source of time.
    pub clock: SharedClock,
    /// Who lets the controllers work.
    pub drive: Drive,
    /// What is in it.
    pub contents: Contents,
    /// How fast pods start, stop and fail.
    pub pace: Pace,
    /// The port on 127.0.0.1; 0 takes any.
    pub port: u16,
    /// Chooses uids and generated names; equal seeds give equal clusters.
    pub seed: u64,
}

impl std::fmt::Debug for dyn crate::clock::Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Options {
    /// An empty cluster that the scenario ticks by hand.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            drive: Drive::Manual,
            contents: Contents::Empty,
            pace: Pace::QUICK,
            port: 0,
            seed: 1,
        }
    }
}

/// Why a sandbox could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The port is not to be had.
    #[error("cannot listen on `{address}`; choose another port, or 0 for any free one")]
    Listen {
        /// The address that was tried.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A manifest is no YAML.
    #[error("cannot read the manifest; correct it and apply it again")]
    Manifest(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster refused a change.
    #[error("the sandbox cluster refused `{object}`: {message}")]
    Refused {
        /// Kind, namespace and name.
        object: String,
        /// The HTTP code of the refusal.
        code: u16,
        /// The message of the refusal.
        message: String,
    },
    /// The kind is not served.
    #[error("the sandbox cluster serves no `{0}`; use one of the kinds that its discovery lists")]
    UnknownKind(String),
}

impl SandboxError {
    pub(super) fn refused(kind: &str, namespace: &str, name: &str, error: &ApiError) -> Self {
        Self::Refused {
            object: format!("{kind} {namespace}/{name}"),
            code: error.code,
            message: error.message.clone(),
        }
    }
}
