//! How many webhooks a second become durable, against the floors; and how soon, at half of that.

use std::time::Duration;

use super::child::Child;
use super::floor;
use super::load::{Load, Pace, pour};
use super::report::{Table, Verdict, median, quantile, thousands};
use super::site::Site;

/// Each measurement is the median of so many, which take turns with the others.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(3);
/// Bounds what a very fast machine would write.
const AT_MOST: u64 = 1_000_000;
const TARGET_P99_MS: f64 = 10.0;

struct Shape {
    connections: usize,
    alerts: usize,
    /// Of the durable floor.
    target_percent: f64,
}

const SHAPES: [Shape; 3] = [
    Shape { connections: 64, alerts: 1, target_percent: 60.0 },
    Shape { connections: 128, alerts: 1, target_percent: 60.0 },
    Shape { connections: 64, alerts: 100, target_percent: 40.0 },
];

/// Measures all shapes; gives Orderly's rate in the first.
pub fn against_floors(site: &Site, table: &mut Table) -> anyhow::Result<f64> {
    let bare = Child::floor(floor::BARE, site.folder())?;
    let durable = Child::floor(floor::DURABLE, site.folder())?;
    let orderly = site.orderly(&site.new_journal())?;
    let servers = [&bare, &durable, &orderly];
    let mut first = None;
    for shape in &SHAPES {
        let ours = compare(shape, servers, "", table)?;
        first.get_or_insert(ours);
    }
    Ok(first.unwrap_or(f64::NAN))
}

/// An Orderly that is connected elsewhere, beside the same floors.
pub fn elsewhere(
    site: &Site,
    orderly: &Child,
    place: &str,
    table: &mut Table,
) -> anyhow::Result<()> {
    let bare = Child::floor(floor::BARE, site.folder())?;
    let durable = Child::floor(floor::DURABLE, site.folder())?;
    compare(&SHAPES[0], [&bare, &durable, orderly], place, table)?;
    Ok(())
}

/// The bare floor, the durable floor and Orderly in turn; gives Orderly's rate.
fn compare(
    shape: &Shape,
    servers: [&Child; 3],
    place: &str,
    table: &mut Table,
) -> anyhow::Result<f64> {
    let mut rates = [const { Vec::new() }; 3];
    let mut ratios = Vec::new();
    let mut behind = Duration::ZERO;
    let mut refused = 0;
    for _ in 0..ROUNDS {
        for (server, rates) in servers.into_iter().zip(&mut rates) {
            let warm = closed(shape, WARM_UP);
            pour(&server.address, warm)?;
            let outcome = pour(&server.address, closed(shape, WITHIN))?;
            refused += outcome.refused;
            rates.push(outcome.per_second());
            // What is left to do must not be taken from the next.
            behind = behind.max(server.settle());
        }
        if let (Some(floor), Some(ours)) = (rates[1].last(), rates[2].last()) {
            ratios.push(100.0 * ours / floor);
        }
    }
    let [bare, durable, ours] = rates.map(|mut rates| median(&mut rates));
    let named = format!("{} alert(s) a webhook, {} connections", shape.alerts, shape.connections);
    let rate = |rate: f64| match shape.alerts {
        1 => format!("{} /s", thousands(rate)),
        some => format!("{} alerts/s", thousands(rate * some as f64)),
    };
    table.scale(&format!("bare floor, {named}"), rate(bare));
    table.scale(&format!("durable floor, {named}"), rate(durable));
    table.scale(&format!("Orderly{place}, {named}"), rate(ours));
    let percent = median(&mut ratios);
    table.row(
        "  of the durable floor",
        format!("{percent:.0} %"),
        &format!(">= {:.0} %", shape.target_percent),
        Verdict::when(percent >= shape.target_percent),
    );
    table.scale("  correlation done after the last webhook", format!("{behind:.1?}"));
    if refused > 0 {
        table.scale("  not answered 202, over all rounds", refused.to_string());
    }
    Ok(ours)
}

fn closed(shape: &Shape, within: Duration) -> Load {
    let (connections, alerts) = (shape.connections, shape.alerts);
    Load { connections, alerts, pace: Pace::Closed, within, at_most: AT_MOST }
}

/// The acknowledgement at half of the maximum rate.
pub fn latency(site: &Site, most: Option<f64>, table: &mut Table) -> anyhow::Result<()> {
    let orderly = site.orderly(&site.new_journal())?;
    let shape = &SHAPES[0];
    let most = match most {
        Some(most) => most,
        None => pour(&orderly.address, closed(shape, WITHIN))?.per_second(),
    };
    orderly.settle();
    let half = Load { pace: Pace::Open(most / 2.0), ..closed(shape, WARM_UP) };
    pour(&orderly.address, half)?;
    let (mut p50, mut p99, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let outcome = pour(&orderly.address, Load { within: WITHIN, ..half })?;
        p50.push(quantile(&outcome.latencies, 0.5) / 1000.0);
        p99.push(quantile(&outcome.latencies, 0.99) / 1000.0);
        rates.push(outcome.per_second());
        orderly.settle();
    }
    let p99 = median(&mut p99);
    let at = thousands(median(&mut rates));
    table.scale(
        &format!("acknowledgement at {at} webhooks/s (half), median"),
        format!("{:.2} ms", median(&mut p50)),
    );
    table.row("  p99", format!("{p99:.2} ms"), "< 10 ms", Verdict::when(p99 < TARGET_P99_MS));
    Ok(())
}
