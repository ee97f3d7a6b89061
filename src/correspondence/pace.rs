//! How much Slack takes: about one message a second and channel, fifty updates a minute; short bursts
//! are fine. Slack's own word, a 429 with `Retry-After`, goes before our arithmetic.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// Kinds of calls that Slack counts apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A new message in this channel.
    Say(String),
    /// A change of a message.
    Update,
}

impl Call {
    /// So many at once.
    fn burst(&self) -> i64 {
        match self {
            Self::Say(_) => 4,
            Self::Update => 10,
        }
    }

    /// Then one each.
    fn every(&self) -> SignedDuration {
        match self {
            Self::Say(_) => SignedDuration::from_millis(1_050),
            Self::Update => SignedDuration::from_millis(1_250),
        }
    }
}

/// The pace.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the bucket of each kind is full again.
    full: BTreeMap<Call, Timestamp>,
    /// Until when Slack wants to hear nothing.
    paused: Option<Timestamp>,
}

impl Pace {
    /// Takes a place; or says from when on there is one.
    pub fn take(&mut self, call: &Call, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(until) = self.paused.filter(|until| *until > now) {
            return Err(until);
        }
        let longest = call.every() * i32::try_from(call.burst()).unwrap_or(1);
        let full = self.full.get(call).copied().unwrap_or(now).max(now);
        // A clock that was set back must not shut the door for hours.
        let full = full.min(now.saturating_add(longest).unwrap_or(full));
        let after = full.saturating_add(call.every()).unwrap_or(full);
        let earliest = after.saturating_sub(longest).unwrap_or(now);
        if earliest > now {
            return Err(earliest);
        }
        self.full.retain(|_, at| *at > now);
        self.full.insert(call.clone(), after);
        Ok(())
    }

    /// Slack asks for a pause.
    pub fn pause(&mut self, until: Timestamp) {
        self.paused = Some(self.paused.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time_in_each_channel() {
        let mut pace = Pace::default();
        let ops = Call::Say("C1".to_owned());
        for _ in 0..4 {
            assert_eq!(pace.take(&ops, at(0)), Ok(()));
        }
        assert_eq!(pace.take(&ops, at(0)), Err(at(1_050)));
        assert_eq!(pace.take(&Call::Say("C2".to_owned()), at(0)), Ok(()));
        assert_eq!(pace.take(&ops, at(1_050)), Ok(()));
        assert_eq!(pace.take(&ops, at(1_050)), Err(at(2_100)));
        let minute = (0..600).filter(|tick| pace.take(&Call::Update, at(tick * 100)).is_ok());
        let minute = minute.count();
        assert!((50..=58).contains(&minute), "{minute} updates in a minute");
    }

    #[test]
    fn a_pause_that_slack_asks_for_holds_everything() {
        let mut pace = Pace::default();
        pace.pause(at(30_000));
        pace.pause(at(10_000));
        assert_eq!(pace.take(&Call::Update, at(20_000)), Err(at(30_000)));
        assert_eq!(pace.take(&Call::Update, at(30_000)), Ok(()));
    }
}
