//! Plays `tests/scenarios/*/scenario.yaml` and compares what is told with `transcript.txt`.
//!
//! A scenario is a cluster, policies, and a script of what people and machines do. Its transcript is
//! one line an event, in the words that logs and tables use. `ORDERLY_BLESS=1` writes transcripts
//! anew; it must not be set where tests are to prove something.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use orderly::domain::event::Event;
use orderly::domain::explain;

mod play;
mod script;

use script::Scenario;

/// Scenarios that are played at one time.
const AT_ONCE: usize = 3;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Plays one scenario; gives what it told.
async fn tell(name: &str) -> String {
    let place = directory().join(name);
    let text = std::fs::read_to_string(place.join("scenario.yaml")).expect("a scenario");
    let scenario: Scenario =
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    play::play(scenario).await
}

async fn compare(name: String) -> Result<(), String> {
    let told = tell(&name).await;
    let place = directory().join(&name).join("transcript.txt");
    if std::env::var_os("ORDERLY_BLESS").is_some() {
        assert!(std::env::var_os("CI").is_none(), "transcripts are not written where they prove");
        std::fs::write(&place, &told).expect("written");
        return Ok(());
    }
    let golden = std::fs::read_to_string(&place).unwrap_or_default();
    if golden == told {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(&golden, &told);
    let diff = diff.unified_diff().context_radius(3).header("golden", "told").to_string();
    Err(format!("scenario `{name}` tells something else:\n{diff}"))
}

/// Plays one on threads of its own: whoever moves the clock does not always let others have a turn,
/// and the requests of one world must not wait for the clock of another.
fn apart(name: String) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(compare(name))
}

#[test]
fn every_scenario_is_told_as_before() {
    let entries = std::fs::read_dir(directory()).expect("scenarios").flatten();
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
                    let played = std::panic::catch_unwind(|| apart(name.clone()));
                    let why = match played {
                        Ok(Ok(())) => continue,
                        Ok(Err(why)) => why,
                        Err(_told_on_standard_error) => format!("scenario `{name}` panicked"),
                    };
                    wrong.lock().expect("never poisoned").push(why);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("never poisoned");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Writes events as a transcript: relative times, and names for what is random or a digest.
#[derive(Debug)]
struct Teller {
    began: Timestamp,
    names: Vec<(String, String)>,
    text: String,
}

impl Teller {
    fn new(began: Timestamp) -> Self {
        Self { began, names: Vec::new(), text: String::new() }
    }

    /// What people and machines do.
    fn script(&mut self, at: Timestamp, what: &str) {
        let what = self.normal(what);
        let _never_fails = writeln!(self.text, "{:>6}  > {what}", self.since(at));
    }

    fn event(&mut self, at: Timestamp, of: &str, event: &Event) {
        // How many deliveries are correlated at once depends on how soon the follower wakes.
        if let Event::AlertsCorrelated { .. } = event {
            return;
        }
        if let Event::PlanProposed { digest, .. } = event {
            self.name(&digest.short().to_string(), "plan");
        }
        let line = self.normal(&explain::line(event));
        let _never_fails = writeln!(self.text, "{:>6}    {of}{line}", self.since(at));
    }

    fn since(&self, at: Timestamp) -> String {
        format!("{}s", at.duration_since(self.began).as_secs_f64().round())
    }

    /// From now on `found` is told as `<noun-N>`.
    fn name(&mut self, found: &str, noun: &str) {
        if found.is_empty() || self.names.iter().any(|(known, _)| known == found) {
            return;
        }
        let prefix = format!("<{noun}-");
        let number = self.names.iter().filter(|(_, name)| name.starts_with(&prefix)).count() + 1;
        self.names.push((found.to_owned(), format!("{prefix}{number}>")));
    }

    fn normal(&self, text: &str) -> String {
        let mut text = text.replace('\n', " ");
        for (found, name) in &self.names {
            text = text.replace(found, name);
        }
        // A resourceVersion depends on how often the status of a crash-looping workload moved.
        let versions = regex::Regex::new("as version [0-9]+").expect("a pattern");
        versions.replace_all(&text, "as version <version>").into_owned()
    }
}
