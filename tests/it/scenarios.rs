//! Plays `tests/scenarios/*/scenario.yaml` in the sandbox and compares what is told with
//! `transcript.txt`. `tests/cluster/scenarios.rs` plays the same on a real control plane.
//!
//! A scenario is a cluster, policies, and a script of what people and machines do. Its transcript is
//! one line an event, in the words that logs and tables use. `ORDERLY_BLESS=1` writes transcripts
//! anew; it must not be set where tests are to prove something.

use std::sync::Arc;

use orderly::clock::ManualClock;
use orderly::sandbox::{Contents, Options, Sandbox};

use crate::world::began;

mod play;
mod script;
mod shelf;
mod stage;
mod teller;

async fn play(name: &str) -> Result<(), String> {
    let scenario = shelf::scenario(name, |text| text);
    let clock = Arc::new(ManualClock::new(began()));
    let contents = if scenario.cluster.empty { Contents::Empty } else { Contents::Demo };
    let options = Options { contents, ..Options::new(clock.clone()) };
    let sandbox = Sandbox::start(options).await.expect("a sandbox");
    let told = play::play(scenario, sandbox, clock, |text| text).await;
    if std::env::var_os("ORDERLY_BLESS").is_some() {
        assert!(std::env::var_os("CI").is_none(), "transcripts are not written where they prove");
        std::fs::write(shelf::place(name).join("transcript.txt"), told).expect("written");
        return Ok(());
    }
    shelf::compare(name, &shelf::golden(name), &told)
}

#[test]
fn every_scenario_is_told_as_before() {
    shelf::play_all(play);
}
