//! How much memory and disk, and how soon it is ready.

use std::time::Duration;

use super::history::{A_FEW_OPEN, History, Past};
use super::load::{Load, Pace, pour};
use super::report::{Table, Verdict, median, thousands};
use super::site::Site;

const STARTS: usize = 7;
const TARGET_READY_MS: f64 = 200.0;
/// Events of a long past.
const EVENTS: u64 = 1_000_000;
const LONG_STARTS: usize = 3;
const TARGET_LONG_READY_SECONDS: f64 = 2.0;
const IDLE_FOR: Duration = Duration::from_secs(5);
const TARGET_IDLE_MIB: f64 = 20.0;
const FLOOD: u64 = 100_000;
const TARGET_FLOOD_MIB: f64 = 40.0;
const TARGET_BINARY_MIB: f64 = 30.0;
/// A flood that is not over by then is measured as far as it came.
const PATIENCE: Duration = Duration::from_secs(120);

/// From the start of the process until `/readyz` answers 200, with a journal that exists.
pub fn start_up(site: &Site, table: &mut Table) -> anyhow::Result<()> {
    let journal = site.new_journal();
    let first = site.orderly(&journal)?.ready_after;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(site.orderly(&journal)?.ready_after.as_secs_f64() * 1000.0);
    }
    let ready = median(&mut times);
    table.row(
        "start of the process to ready",
        format!("{ready:.0} ms"),
        "< 200 ms",
        Verdict::when(ready < TARGET_READY_MS),
    );
    table.scale("  the first time, with a journal to make", format!("{} ms", first.as_millis()));
    Ok(())
}

/// The same on a journal with a long past: `ORDERLY_BENCH_EVENTS` events, a million when not set. The
/// file has just been written or read, so it is in the page cache as far as that goes.
pub fn start_up_long(site: &Site, history: &History<'_>, table: &mut Table) -> anyhow::Result<()> {
    let events = std::env::var("ORDERLY_BENCH_EVENTS").ok().and_then(|text| text.parse().ok());
    let Past { journal, entries, made_in } =
        history.journal(events.unwrap_or(EVENTS), A_FEW_OPEN)?;
    let size = std::fs::metadata(&journal)?.len() as f64 / 1024.0 / 1024.0;
    let mut times = Vec::new();
    let (mut now, mut most) = (Vec::new(), Vec::new());
    for _ in 0..LONG_STARTS {
        let orderly = site.orderly(&journal)?;
        times.push(orderly.ready_after.as_secs_f64());
        orderly.settle();
        let resident = orderly.resident();
        now.push(resident.0);
        most.push(resident.1);
    }
    let ready = median(&mut times);
    table.row(
        &format!("start to ready on {} events", thousands(entries as f64)),
        format!("{ready:.2} s"),
        "< 2 s",
        Verdict::when(ready < TARGET_LONG_READY_SECONDS),
    );
    table.scale("  resident memory afterwards", format!("{:.1} MiB", median(&mut now)));
    table.scale("  at most until then", format!("{:.1} MiB", median(&mut most)));
    let incidents = entries / history.course_entries()?;
    table.scale(
        &format!(
            "  the journal of {} incidents, {A_FEW_OPEN} of them open",
            thousands(incidents as f64)
        ),
        format!("{} MiB", thousands(size)),
    );
    if !made_in.is_zero() {
        table.scale("  written in", format!("{made_in:.0?}"));
    }
    Ok(())
}

/// At rest.
pub fn idle(site: &Site, table: &mut Table) -> anyhow::Result<()> {
    let orderly = site.orderly(&site.new_journal())?;
    std::thread::sleep(IDLE_FOR);
    let (now, most) = orderly.resident();
    let idle = Verdict::when(now < TARGET_IDLE_MIB);
    table.row("resident memory, idle for 5 s", format!("{now:.1} MiB"), "< 20 MiB", idle);
    table.scale("  at most until then", format!("{most:.1} MiB"));
    Ok(())
}

/// While alerts pour in, one a webhook, and until they are correlated.
pub fn flood(site: &Site, table: &mut Table) -> anyhow::Result<()> {
    for (alerts, named) in [(1, "one a webhook"), (100, "100 a webhook")] {
        let orderly = site.orderly(&site.new_journal())?;
        let at_most = FLOOD / alerts as u64;
        let load = Load { connections: 64, alerts, pace: Pace::Closed, within: PATIENCE, at_most };
        let outcome = pour(&orderly.address, load)?;
        orderly.settle();
        let (after, most) = orderly.resident();
        let accepted = outcome.accepted * alerts as u64;
        table.row(
            &format!("resident memory, most while {accepted} alerts pour in, {named}"),
            format!("{most:.1} MiB"),
            "< 40 MiB",
            Verdict::when(most < TARGET_FLOOD_MIB),
        );
        table.scale("  when they are correlated", format!("{after:.1} MiB"));
    }
    Ok(())
}

/// The file.
pub fn binary(site: &Site, table: &mut Table) -> anyhow::Result<()> {
    let size = std::fs::metadata(&site.binary)?.len() as f64 / 1024.0 / 1024.0;
    let what = match std::env::var_os("ORDERLY_BENCH_BINARY") {
        Some(_) => "binary",
        None => "binary (not the shipped one: with symbols, without link-time optimisation)",
    };
    let met = Verdict::when(size < TARGET_BINARY_MIB);
    table.row(what, format!("{size:.1} MiB"), "< 30 MiB", met);
    Ok(())
}
