//! Measures speed and size of the service and prints them in a table beside their targets.
//!
//! Nothing here fails because of a time. Every server under test is a process of its own, so that
//! its memory is its own: Orderly as it was built beside this program (or `ORDERLY_BENCH_BINARY`),
//! and two floors, for which this program starts itself. Ratios are taken within one run.
//!
//! `cargo bench --bench service`; `ORDERLY_BENCH_ONLY=intake,latency,action,choice,memory,start,plane,growth`
//! chooses parts. `plane` wants a real control plane: `tests/cluster/run --with cargo bench --bench service`.
//! docs/PERFORMANCE.md tells what is measured, how, and what came out.

// Measuring is what these clocks are for; nothing that is measured sees them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs, reason = "a benchmark")]

mod action;
mod child;
mod choice;
mod course;
mod floor;
mod growth;
mod history;
mod http;
mod intake;
mod load;
mod memory;
mod payload;
mod plane;
mod plot;
mod report;
mod site;
mod tail;

use std::path::Path;

use history::History;
use report::Table;
use site::Site;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, kind, folder] = arguments.as_slice()
        && word == floor::WORD
    {
        return floor::run(kind, Path::new(folder));
    }
    // Cargo also asks for `--list` and the like; a benchmark without a harness has one answer.
    if arguments.iter().any(|argument| argument == "--list") {
        return Ok(());
    }
    let only = std::env::var("ORDERLY_BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|it| it.trim() == part);

    let mut table = Table::begin();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let site = Site::make(&runtime)?;
    let history = History::new(&site, &runtime);
    let mut most = None;
    if wanted("choice") {
        choice::measure(&mut table)?;
    }
    if wanted("start") {
        memory::start_up(&site, &mut table)?;
        memory::start_up_long(&site, &history, &mut table)?;
    }
    if wanted("memory") {
        memory::idle(&site, &mut table)?;
        memory::flood(&site, &mut table)?;
    }
    if wanted("action") {
        runtime.block_on(action::measure(&site, &mut table))?;
    }
    if wanted("intake") {
        most = Some(intake::against_floors(&site, &mut table)?);
    }
    if wanted("latency") {
        intake::latency(&site, most, &mut table)?;
    }
    if wanted("plane") {
        plane::measure(&site, &runtime, &mut table)?;
    }
    if wanted("growth") {
        growth::measure(&site, &runtime, &history, &mut table)?;
    }
    memory::binary(&site, &mut table)?;
    table.print();
    Ok(())
}
