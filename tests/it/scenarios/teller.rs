//! How a scenario is told.

use std::fmt::Write as _;

use jiff::Timestamp;
use orderly::domain::event::Event;
use orderly::domain::explain;

/// Writes events as a transcript: relative times, and names for what is random or a digest.
#[derive(Debug)]
pub struct Teller {
    began: Timestamp,
    names: Vec<(String, String)>,
    /// What was told so far.
    pub text: String,
}

impl Teller {
    pub fn new(began: Timestamp) -> Self {
        Self { began, names: Vec::new(), text: String::new() }
    }

    /// What people and machines do.
    pub fn script(&mut self, at: Timestamp, what: &str) {
        let what = self.normal(what);
        let _never_fails = writeln!(self.text, "{:>6}  > {what}", self.since(at));
    }

    pub fn event(&mut self, at: Timestamp, of: &str, event: &Event) {
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
    pub fn name(&mut self, found: &str, noun: &str) {
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
