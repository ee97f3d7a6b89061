//! Intake: makes what a webhook brought durable, and nothing else. The follower takes it from
//! there, as it would after a restart.

use futures::future::BoxFuture;

use crate::domain::alert::{Alert, Delivery};
use crate::domain::event::{Event, Stream};
use crate::http::intake::{Accepted, Intake, IntakeRefused};
use crate::journal::{AppendError, Batch, codec};

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
            let event = Event::AlertsReceived { delivery, alerts };
            let draft = codec::encode(&Stream::Intake, self.shared.clock.now(), &event);
            slot.append(Batch::of(draft)).await.map_err(refused)?;
            Ok(Accepted { alerts: count })
        })
    }
}

fn refused(error: AppendError) -> IntakeRefused {
    match error {
        AppendError::Full => IntakeRefused::Full { retry_after: RETRY_AFTER },
        error => IntakeRefused::Unavailable { why: error.to_string() },
    }
}

/// When a sender may come again after the queue was full: the queue empties within a second, and
/// Alertmanager's own back-off is of that order.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
