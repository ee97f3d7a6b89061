//! What a running Orderly has done, read from its journal beside it: exact where a look from outside
//! would be a guess.

use std::path::Path;
use std::time::{Duration, Instant};

use orderly::domain::event::Event;
use orderly::journal::{JournalReader, codec, sqlite};

/// Each look costs the machine something, and each wait is late by half of this.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A journal from where it ended when it was opened.
pub struct Tail {
    reader: JournalReader,
    next: u64,
    /// Deliveries since.
    pub deliveries: u64,
    /// The entry of the last.
    last_delivery: u64,
    /// Up to which delivery alerts were correlated.
    correlated: u64,
    /// Incidents since, and how many of them are over.
    opened: u64,
    closed: u64,
    /// Steps that were finished, and questions that were asked.
    pub steps: u64,
    pub asked: u64,
}

impl Tail {
    pub async fn at_the_end_of(journal: &Path) -> anyhow::Result<Self> {
        let reader = sqlite::open_read_only(journal).await?;
        let next = reader.head().await?.seq + 1;
        let (deliveries, last_delivery, correlated) = (0, 0, 0);
        let (opened, closed, steps, asked) = (0, 0, 0, 0);
        Ok(Self {
            reader,
            next,
            deliveries,
            last_delivery,
            correlated,
            opened,
            closed,
            steps,
            asked,
        })
    }

    /// Waits until what is asked for is in the journal.
    pub async fn until(
        &mut self,
        patience: Duration,
        there: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !there(self) {
            anyhow::ensure!(begun.elapsed() < patience, "what is waited for did not happen");
            if !self.look().await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// So many deliveries are correlated and every incident that they opened is over.
    pub fn idle_after(&self, deliveries: u64) -> bool {
        self.deliveries >= deliveries
            && self.correlated >= self.last_delivery
            && self.closed >= self.opened
    }

    /// How many incidents are over.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    async fn look(&mut self) -> anyhow::Result<bool> {
        let page = self.reader.read(self.next, 0).await?;
        for entry in &page {
            self.next = entry.seq + 1;
            match entry.kind.as_str() {
                "AlertsReceived" => {
                    self.deliveries += 1;
                    self.last_delivery = entry.seq;
                }
                "AlertsCorrelated" => {
                    if let Event::AlertsCorrelated { through, .. } = codec::decode(entry)?.event {
                        self.correlated = through;
                    }
                }
                "IncidentOpened" => self.opened += 1,
                "IncidentClosed" => self.closed += 1,
                "StepFinished" => self.steps += 1,
                "ApprovalRequested" => self.asked += 1,
                _ => {}
            }
        }
        Ok(!page.is_empty())
    }
}
