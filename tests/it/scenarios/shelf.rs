//! The shelf on which scenarios stand, and how all of them are played.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use super::script::Scenario;

/// Scenarios that are played at one time.
const AT_ONCE: usize = 3;

/// Where a scenario lies.
pub fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name)
}

/// A scenario, after `change` had its way with the text.
pub fn scenario(name: &str, change: impl FnOnce(String) -> String) -> Scenario {
    let text = std::fs::read_to_string(place(name).join("scenario.yaml")).expect("a scenario");
    serde_saphyr::from_str(&change(text)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What it told when it was last found right.
pub fn golden(name: &str) -> String {
    std::fs::read_to_string(place(name).join("transcript.txt")).unwrap_or_default()
}

/// Holds what was told against what should be.
pub fn compare(name: &str, golden: &str, told: &str) -> Result<(), String> {
    if golden == told {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(golden, told);
    let diff = diff.unified_diff().context_radius(3).header("golden", "told").to_string();
    Err(format!("scenario `{name}` tells something else:\n{diff}"))
}

/// Plays every scenario, or the one that `ORDERLY_SCENARIO` names; fails with what went wrong.
#[allow(clippy::disallowed_methods, reason = "how long it took is for people to read")]
pub fn play_all(play: impl AsyncFn(&str) -> Result<(), String> + Sync) {
    let entries = std::fs::read_dir(place("")).expect("scenarios").flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().join("scenario.yaml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if let Some(only) = std::env::var_os("ORDERLY_SCENARIO") {
        names.retain(|name| only.to_string_lossy() == *name);
    } else {
        assert!(names.len() >= 27, "scenarios are missing: {names:?}");
    }
    names.sort();
    let (left, wrong) = (Mutex::new(names.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(name) = left.lock().expect("never poisoned").next() else { return };
                    let began = Instant::now();
                    let apart = || runtime().block_on(play(&name));
                    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(apart));
                    let why = match played {
                        Ok(Ok(())) => {
                            println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
                            continue;
                        }
                        Ok(Err(why)) => why,
                        Err(_told_on_standard_error) => format!("scenario `{name}` panicked"),
                    };
                    println!("{why}");
                    wrong.lock().expect("never poisoned").push(why);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("never poisoned");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Threads of a scenario's own: whoever moves the clock does not always let others have a turn, and
/// the requests of one world must not wait for the clock of another.
fn runtime() -> tokio::runtime::Runtime {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads")
}
