//! Freeze windows: a cron start, a duration, a time zone.

use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::policy::spec::FreezeSpec;

/// When the freeze ends, if `now` is inside it.
///
/// # Errors
/// What is wrong with the window; a window that cannot be read counts as closed, never as open.
pub fn ends(freeze: &FreezeSpec, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let cron = Cron::from_str(&freeze.starts)
        .map_err(|error| format!("`{}` is not a cron expression: {error}", freeze.starts))?;
    let zone = TimeZone::get(&freeze.zone)
        .map_err(|_| format!("`{}` is not a known time zone", freeze.zone))?;
    let local = now.to_zoned(zone);
    let Ok(start) = cron.find_previous_occurrence(&local, true) else { return Ok(None) };
    let end = start.timestamp().checked_add(freeze.lasts.get());
    let end = end.map_err(|_| format!("`{}` lasts beyond the end of time", freeze.name))?;
    Ok((end > now).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weekend() -> FreezeSpec {
        FreezeSpec {
            name: "weekend".to_owned(),
            starts: "0 18 * * FRI".to_owned(),
            lasts: "2d 12h".parse().expect("a period"),
            zone: "Europe/Berlin".to_owned(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn a_window_is_open_from_its_start_to_its_end_in_its_zone() {
        // 2026-11-20 is a Friday; Berlin is one hour ahead of UTC in November.
        assert_eq!(ends(&weekend(), at("2026-11-20T16:59:59Z")), Ok(None));
        let end = at("2026-11-23T05:00:00Z");
        assert_eq!(ends(&weekend(), at("2026-11-20T17:00:00Z")), Ok(Some(end)));
        assert_eq!(ends(&weekend(), at("2026-11-23T04:59:59Z")), Ok(Some(end)));
        assert_eq!(ends(&weekend(), at("2026-11-23T05:00:00Z")), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let no_zone = FreezeSpec { zone: "Mars/Olympus".to_owned(), ..weekend() };
        assert!(ends(&no_zone, at("2026-11-20T17:00:00Z")).is_err());
        let no_cron = FreezeSpec { starts: "sometimes".to_owned(), ..weekend() };
        assert!(ends(&no_cron, at("2026-11-20T17:00:00Z")).is_err());
    }
}
