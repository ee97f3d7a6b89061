//! The house without its doors: policies and ports from the configuration, a journal in memory, no
//! listener and no task. For looking at decisions without taking part in them.

use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{policies, policy_resources, ports, rails};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::gate::rails::GuardRails;
use crate::engine::Engine;
use crate::journal::memory::MemoryStore;
use crate::journal::{self, JournalId};
use crate::metrics::Metrics;
use crate::policies::loader::PolicyStore;

/// What decisions can be rehearsed with.
#[derive(Debug)]
pub struct Rehearsing {
    /// The engine; its tasks do not run, so it acts on nothing.
    pub engine: Engine,
    /// The policies.
    pub policies: Arc<PolicyStore>,
    /// The limits over all policies.
    pub rails: GuardRails,
}

/// Builds it. Its journal is empty: nothing is known of earlier incidents.
///
/// # Errors
/// The first thing that is not as the configuration says, in words.
pub async fn rehearsing(config: &Config, clock: &SharedClock) -> anyhow::Result<Rehearsing> {
    let now = clock.now();
    let metrics = Arc::new(Metrics::new(now));
    let policies = policies(config, clock, &metrics).await?;
    let (ports, cluster, _) = ports(config, clock, &metrics).await?;
    policy_resources::list_once(&policy_resources::kinds(config), &cluster, &policies, clock).await;
    let id = JournalId::from_bytes([0; 16]);
    let store = MemoryStore::new(journal::Identity { id, created_at: now });
    let (journal, _writer) = store.open().start(clock.clone());
    let rails = rails(config);
    let started = Engine::start(
        journal,
        clock.clone(),
        ports,
        rails.clone(),
        policies.subscribe(),
        metrics,
        CancellationToken::new(),
    );
    let (engine, _tasks) = started.await.context("the engine cannot start")?;
    Ok(Rehearsing { engine, policies, rails })
}
