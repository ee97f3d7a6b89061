//! Intake: makes what a webhook brought durable, and nothing else. The follower takes it from
//! there, as it would after a restart.

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::alert::{Alert, Delivery};
use crate::domain::event::{Event, Stream};
use crate::http::intake::{Accepted, Intake, IntakeRefused};
use crate::journal::batch::{MAX_BODY_BYTES, Receipt};
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
            let mut batches =
                Batch::packed(drafts(&delivery, alerts, self.shared.clock.now())?).into_iter();
            let append = |appended: Result<Receipt, AppendError>| {
                appended.map(drop).map_err(|error| {
                    if error == AppendError::Unknown {
                        self.shared.look_again();
                    }
                    refused(error)
                })
            };
            if let Some(batch) = batches.next() {
                append(slot.append(batch).await)?;
            }
            // A delivery of many megabytes. If only a part is stored it is not acknowledged and comes
            // again; what is known then starts nothing twice.
            for batch in batches {
                append(self.shared.journal.append_when_room(batch).await)?;
            }
            Ok(Accepted { alerts: count })
        })
    }
}

/// The delivery as entries that the journal takes: one, unless the group is of thousands.
fn drafts(
    delivery: &Delivery,
    alerts: Vec<Alert>,
    now: Timestamp,
) -> Result<Vec<Draft>, IntakeRefused> {
    let mut drafts = Vec::with_capacity(1 + alerts.len() / ALERTS_IN_ENTRY);
    let mut rest = alerts;
    let mut first = 0;
    loop {
        let mut part = rest;
        rest = part.split_off(part.len().min(ALERTS_IN_ENTRY));
        let many = part.len();
        add(&mut drafts, delivery, part, first, now)?;
        first += many;
        if rest.is_empty() {
            return Ok(drafts);
        }
    }
}

/// Adds these alerts as one entry; as several when one would be too large. `first` is the number of
/// the first in the delivery.
fn add(
    drafts: &mut Vec<Draft>,
    delivery: &Delivery,
    alerts: Vec<Alert>,
    first: usize,
    now: Timestamp,
) -> Result<(), IntakeRefused> {
    let event = Event::AlertsReceived { delivery: delivery.clone(), alerts };
    let draft = codec::encode(&Stream::Intake, now, &event);
    let Event::AlertsReceived { mut alerts, .. } = event else {
        unreachable!("it was made two lines above")
    };
    if draft.body.len() <= MAX_BODY_BYTES {
        drafts.push(draft);
        return Ok(());
    }
    let bytes = draft.body.len();
    drop(draft);
    if alerts.len() < 2 {
        return Err(IntakeRefused::TooLarge { index: first, bytes, limit: MAX_BODY_BYTES });
    }
    let half = alerts.len() / 2;
    let later = alerts.split_off(half);
    add(drafts, delivery, alerts, first, now)?;
    add(drafts, delivery, later, first + half, now)
}

/// Alerts of a usual size fill a tenth of the largest body of an entry.
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
            let drafts =
                drafts(&delivery, vec![alert.clone(); count], Timestamp::UNIX_EPOCH).unwrap();
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

    #[test]
    fn long_alerts_take_more_entries_and_one_that_fits_none_is_named() {
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: String::new(),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        let of = |bytes: usize| {
            let mut alert = sample::alert();
            alert.annotations.insert("description".to_owned(), "x".repeat(bytes));
            alert
        };
        let long = drafts(&delivery, vec![of(50_000); 90], Timestamp::UNIX_EPOCH).unwrap();
        assert!(long.len() > 4, "{}", long.len());
        assert!(long.iter().all(|draft| draft.body.len() <= MAX_BODY_BYTES));
        let mut some = vec![of(10); 130];
        some[117] = of(MAX_BODY_BYTES);
        let refused = drafts(&delivery, some, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(matches!(refused, IntakeRefused::TooLarge { index: 117, .. }), "{refused}");
        // More than one batch can hold.
        let batches = Batch::packed(
            drafts(&delivery, vec![of(100_000); 200], Timestamp::UNIX_EPOCH).unwrap(),
        );
        assert!(batches.len() > 1);
        assert!(batches.iter().all(|batch| batch.fits()));
    }
}
