//! How much memory and disk, and how soon it is ready.

use std::time::Duration;

use super::load::{Load, Pace, pour};
use super::report::{Table, Verdict, median};
use super::site::Site;

const STARTS: usize = 7;
const TARGET_READY_MS: f64 = 200.0;
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
