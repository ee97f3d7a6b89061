//! Intake: makes what a webhook brought durable, and nothing else. The follower takes it from
//! there, as it would after a restart.

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::alert::{Alert, Delivery};
use crate::domain::event::{Event, Stream};
use crate::http::intake::{Accepted, Intake, IntakeRefused};
use crate::journal::{AppendError, Batch, Draft, codec};

use super::Engine;

impl Intake for Engine {
    fn accept(
        &self,
        delivery: Delivery,
        alerts: Vec<Alert>,
    ) -> BoxFuture<'_, Result<Accepted, IntakeRefused>> {
        Box::pin(async move {
            let count = alerts.len();
            // Taken before anything is encoded: when the queue is full no work is done in vain.
            let slot = self.shared.journal.try_reserve().map_err(refused)?;
            let drafts = drafts(&delivery, alerts, self.shared.clock.now());
            if let Some(batch) = Batch::from_drafts(drafts) {
                slot.append(batch).await.map_err(|error| {
                    if error == AppendError::Unknown {
                        self.shared.look_again();
                    }
                    refused(error)
                })?;
            }
            Ok(Accepted { alerts: count })
        })
    }
}

/// The delivery as entries that the journal takes: one, unless the group is of thousands. They are
/// appended together or not at all.
fn drafts(delivery: &Delivery, mut alerts: Vec<Alert>, now: Timestamp) -> Vec<Draft> {
    let mut drafts = Vec::with_capacity(1 + alerts.len() / ALERTS_IN_ENTRY);
    loop {
        let rest = alerts.split_off(alerts.len().min(ALERTS_IN_ENTRY));
        let event = Event::AlertsReceived { delivery: delivery.clone(), alerts };
        drafts.push(codec::encode(&Stream::Intake, now, &event));
        if rest.is_empty() {
            return drafts;
        }
        alerts = rest;
    }
}

/// Alerts of a usual size fill a tenth of the largest body of an entry; ten times that is left to
/// those with long annotations.
const ALERTS_IN_ENTRY: usize = 100;

fn refused(error: AppendError) -> IntakeRefused {
    match error {
        AppendError::Full => IntakeRefused::Full { retry_after: RETRY_AFTER },
        error => IntakeRefused::Unavailable { why: error.to_string() },
    }
}

/// When a sender may come again after the queue was full: the queue empties within a second, and
/// Alertmanager's own back-off is of that order.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::domain::diagnosis::sample;
    use crate::journal::batch::MAX_BODY_BYTES;

    #[test]
    fn a_group_of_thousands_fits_the_journal_and_none_is_lost() {
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: "0".repeat(64),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        let mut alert = sample::alert();
        alert.annotations.insert("description".to_owned(), "x".repeat(4096));
        for count in [0, 1, ALERTS_IN_ENTRY, ALERTS_IN_ENTRY + 1, 5_000] {
            let drafts = drafts(&delivery, vec![alert.clone(); count], Timestamp::UNIX_EPOCH);
            let (mut entries, mut alerts) = (0, 0);
            for draft in &drafts {
                assert!(draft.body.len() <= MAX_BODY_BYTES);
                let event: Event = serde_json::from_slice(&draft.body).unwrap();
                let Event::AlertsReceived { alerts: some, delivery: of } = event else {
                    panic!("a delivery, not {event:?}")
                };
                assert_eq!(of, delivery);
                entries += 1;
                alerts += some.len();
            }
            assert_eq!((entries, alerts), (count.div_ceil(ALERTS_IN_ENTRY).max(1), count));
        }
    }
}
