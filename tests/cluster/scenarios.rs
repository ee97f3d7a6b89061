//! The scenarios of `tests/scenarios` on a real control plane, held against the transcripts that the
//! sandbox tells. Where they differ, the sandbox is wrong.
//!
//! Orderly runs on the scenario's clock, as in the sandbox. The clock stands still while the real
//! controllers work and moves when they rest, so that an hour of a scenario takes no time; a proxy
//! tells Orderly the API server's times as times of the scenario.

use std::sync::Arc;

use orderly::clock::ManualClock;

use crate::world::began;

mod almanac;
mod comparison;
mod ground;
#[path = "../it/scenarios/play.rs"]
mod play;
mod proxy;
mod rest;
#[path = "../it/scenarios/script.rs"]
mod script;
#[path = "../it/scenarios/shelf.rs"]
mod shelf;
#[path = "../it/scenarios/stage.rs"]
mod stage;
#[path = "../it/scenarios/teller.rs"]
mod teller;

use comparison::comparable;
use ground::{Own, Plane};

async fn play(name: &str) -> Result<(), String> {
    let own = Own::of(name);
    let scenario = shelf::scenario(name, |text| own.own(&text));
    let clock = Arc::new(ManualClock::new(began()));
    let plane = Plane::start(own.clone(), clock.clone(), scenario.cluster.empty).await;
    let told = play::play(scenario, plane, clock, |text| own.own(&text)).await;
    shelf::compare(name, &comparable(&shelf::golden(name)), &comparable(&own.common(&told)))
}

#[test]
fn every_scenario_is_told_as_in_the_sandbox() {
    shelf::play_all(play);
}
