//! The policies in force, kept current while files change.
//!
//! A bad policy never takes the good ones down: for as long as a file or a policy in it cannot be
//! used, the last good version of each of its policies stays in force, and the status says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use notify::{RecursiveMode, Watcher as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::lint::{self, Report};
use super::source::{self, Found};
use crate::clock::SharedClock;
use crate::document::diagnostic::Diagnostic;
use crate::domain::id::Digest;
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::compiled::{CompiledPolicy, Names};
use crate::domain::policy::problem::Severity;
use crate::domain::policy::spec::Mode;

/// How often the files are read without being told: network file systems tell nothing, and the
/// kubelet swaps a ConfigMap late.
const REREAD: SignedDuration = SignedDuration::from_secs(60);
/// How long changes must have settled: an editor writes a file in several steps.
const SETTLE: SignedDuration = SignedDuration::from_millis(200);

/// The policies in force.
#[derive(Debug)]
pub struct PolicyStore {
    paths: Vec<PathBuf>,
    names: Names,
    state: Mutex<State>,
    current: watch::Sender<Arc<PolicySet>>,
}

#[derive(Debug, Default)]
struct State {
    /// The last good version of each policy, by name.
    good: BTreeMap<String, Good>,
    /// What the files said last.
    seen: Option<[u8; 32]>,
    status: PolicyStatus,
}

#[derive(Clone, Debug)]
struct Good {
    policy: Arc<CompiledPolicy>,
    file: Arc<Path>,
    since: Timestamp,
}

/// What is in force and what is wrong, for `/status`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// When the files were read last.
    pub read: Option<Timestamp>,
    /// The policies in force, by name.
    pub policies: Vec<PolicyInForce>,
    /// What is wrong or unwise with the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl PolicyStatus {
    /// The policies whose newest version cannot be used.
    pub fn stale(&self) -> impl Iterator<Item = &PolicyInForce> {
        self.policies.iter().filter(|policy| policy.kept_because.is_some())
    }

    /// How many files have something in them that cannot be used.
    pub fn bad_files(&self) -> usize {
        let errors = self.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        errors.map(|found| found.file.as_str()).collect::<BTreeSet<_>>().len()
    }
}

/// One policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInForce {
    /// Its name.
    pub name: String,
    /// Its version.
    pub digest: Digest,
    /// What it may do by itself.
    pub mode: Mode,
    /// Where it came from.
    pub file: String,
    /// Since when this version is in force.
    pub since: Timestamp,
    /// Why an older version stays in force, when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_because: Option<String>,
}

/// What reading the files again brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files say what they said before.
    Unchanged,
    /// They say something else; the policies in force may be the same.
    Changed,
}

impl PolicyStore {
    /// A store of the policies under `paths`, read for the first time.
    pub fn open(paths: Vec<PathBuf>, names: Names, now: Timestamp) -> Self {
        let (current, _) = watch::channel(Arc::new(PolicySet::default()));
        let store = Self { paths, names, state: Mutex::new(State::default()), current };
        let _first = store.reload(now);
        store
    }

    /// The policies in force.
    pub fn current(&self) -> Arc<PolicySet> {
        Arc::clone(&self.current.borrow())
    }

    /// Told whenever the policies in force change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<PolicySet>> {
        self.current.subscribe()
    }

    /// What is in force and what is wrong.
    pub fn status(&self) -> PolicyStatus {
        self.state().status.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again. Blocks on the file system.
    pub fn reload(&self, now: Timestamp) -> Reload {
        let found = source::read(&self.paths);
        let seen = fingerprint(&found);
        let mut state = self.state();
        if state.seen == Some(seen) {
            state.status.read = Some(now);
            return Reload::Unchanged;
        }
        let mut report = lint::check(&found.files, &self.names);
        report.diagnostics.splice(0..0, found.problems.iter().cloned());
        let (good, kept) = keep(&state.good, &report, &found, now);
        let changed = good.len() != state.good.len()
            || good.iter().any(|(name, new)| {
                state.good.get(name).is_none_or(|old| !Arc::ptr_eq(&old.policy, &new.policy))
            });
        state.status = status(&good, &kept, report.diagnostics, now);
        state.good = good;
        state.seen = Some(seen);
        for diagnostic in &state.status.diagnostics {
            let (code, text) = (diagnostic.code, diagnostic.one_line());
            tracing::warn!(code, policy = diagnostic.policy, "policy: {text}");
        }
        if changed {
            let policies = state.good.values().map(|good| Arc::clone(&good.policy));
            self.current.send_replace(Arc::new(PolicySet::new(policies)));
            tracing::info!(policies = state.good.len(), "policies in force");
        }
        Reload::Changed
    }

    /// Keeps the policies current until `stop`. Watches directories, because a watch on a file
    /// ends when a ConfigMap is swapped; and reads again every minute all the same.
    pub async fn keep_current(self: Arc<Self>, clock: SharedClock, stop: CancellationToken) {
        let (told, mut changes) = mpsc::channel(1);
        let _watcher = self.watcher(told);
        loop {
            let next = clock.now().saturating_add(REREAD).unwrap_or(Timestamp::MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.sleep_until(next) => {}
                Some(()) = changes.recv() => {
                    let settled = clock.now().saturating_add(SETTLE).unwrap_or(Timestamp::MAX);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = clock.sleep_until(settled) => {}
                    }
                    while changes.try_recv().is_ok() {}
                }
            }
            let (store, now) = (Arc::clone(&self), clock.now());
            let reading = tokio::task::spawn_blocking(move || store.reload(now));
            if let Err(error) = reading.await {
                tracing::error!(%error, "policies could not be read again");
            }
        }
    }

    /// Tells of changes for as long as it lives. Without it there is still the reading every
    /// minute, so a failure is only noted.
    fn watcher(&self, told: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let tell = move |event: notify::Result<notify::Event>| {
            let is_read = event.as_ref().is_ok_and(|event| event.kind.is_access());
            if !is_read {
                // Full means that a change is already waiting to be looked at.
                let _full = told.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            for path in &self.paths {
                let directory = if path.is_file() { path.parent() } else { Some(path.as_path()) };
                let directory = directory.filter(|path| !path.as_os_str().is_empty());
                watcher.watch(directory.unwrap_or(Path::new(".")), RecursiveMode::Recursive)?;
            }
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "policy files cannot be watched: they are read every minute");
                None
            }
        }
    }
}

/// What the files say, to see whether they say something else.
fn fingerprint(found: &Found) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &[u8]| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    for file in &found.files {
        add(file.path.as_os_str().as_encoded_bytes());
        add(file.text.as_bytes());
    }
    for problem in &found.problems {
        add(problem.file.as_bytes());
        add(problem.message.as_bytes());
    }
    hash.finalize().into()
}

/// The policies that are in force from now on, and why some of them are of an older version.
fn keep(
    before: &BTreeMap<String, Good>,
    report: &Report,
    found: &Found,
    now: Timestamp,
) -> (BTreeMap<String, Good>, BTreeMap<String, String>) {
    let mut good = BTreeMap::new();
    for loaded in &report.policies {
        let (name, file) = (loaded.policy.name.clone(), Arc::clone(&loaded.places.file.path));
        // The same version is the same policy: whoever holds it need not notice.
        let same = before.get(&name).filter(|old| old.policy.digest == loaded.policy.digest);
        let (policy, since) = match same {
            Some(old) => (Arc::clone(&old.policy), old.since),
            None => (Arc::clone(&loaded.policy), now),
        };
        good.insert(name, Good { policy, file, since });
    }
    let mut kept = BTreeMap::new();
    for (name, old) in before {
        if good.contains_key(name) {
            continue;
        }
        let refused = report.refused.iter().find(|refused| match &refused.name {
            Some(refused) => refused == name,
            None => refused.file.path == old.file,
        });
        let unreadable = found.problems.iter().find(|problem| {
            old.file.starts_with(&problem.file) || Path::new(&problem.file) == &*old.file
        });
        let why = refused
            .map(|refused| refused.why.clone())
            .or_else(|| unreadable.map(Diagnostic::one_line));
        if let Some(why) = why {
            kept.insert(name.clone(), why);
            good.insert(name.clone(), old.clone());
        }
    }
    (good, kept)
}

fn status(
    good: &BTreeMap<String, Good>,
    kept: &BTreeMap<String, String>,
    diagnostics: Vec<Diagnostic>,
    now: Timestamp,
) -> PolicyStatus {
    let policies = good.iter().map(|(name, good)| PolicyInForce {
        name: name.clone(),
        digest: good.policy.digest,
        mode: good.policy.spec.mode,
        file: good.file.display().to_string(),
        since: good.since,
        kept_because: kept.get(name).cloned(),
    });
    PolicyStatus { read: Some(now), policies: policies.collect(), diagnostics }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    const NOON: Timestamp = Timestamp::constant(1_767_614_400, 0);

    fn text(name: &str, mode: &str) -> String {
        format!(
            "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: {name}}}\n\
             spec:\n  summary: s\n  match: ['alertname=\"{name}\"']\n  mode: {mode}\n  \
             target: {{kind: Deployment, namespaces: [a], name: b}}\n  \
             causes: [{{name: otherwise, actions: [{{escalate: {{to: oncall}}}}]}}]\n  \
             escalate: [{{after: 5m, to: oncall}}]\n"
        )
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let files_in = Self(tempfile::tempdir().expect("a directory"));
            files.iter().for_each(|(name, mode)| files_in.policy(name, mode));
            files_in
        }

        fn policy(&self, name: &str, mode: &str) {
            self.write(name, &text(name, mode));
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(format!("{name}.yaml")), text).expect("a file");
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.0.path().join(format!("{name}.yaml"))).expect("a file");
        }

        fn open(&self) -> PolicyStore {
            PolicyStore::open(vec![self.0.path().to_owned()], Names::default(), NOON)
        }
    }

    fn modes(store: &PolicyStore) -> Vec<(String, Mode)> {
        let status = store.status();
        status.policies.into_iter().map(|policy| (policy.name, policy.mode)).collect()
    }

    fn stale(store: &PolicyStore) -> Vec<String> {
        store.status().stale().map(|policy| policy.name.clone()).collect()
    }

    #[test]
    fn a_bad_policy_keeps_its_last_good_version_and_touches_no_other() {
        let files = Files::new(&[("a", "auto"), ("b", "auto")]);
        let store = files.open();
        let before = store.current();
        for bad in [
            text("a", "bold"),
            text("a", "auto").replace("[a]", "[]"),
            "a: [".to_owned(),
            "metadata: {}\n".to_owned(),
            "\u{fffd}".to_owned(),
        ] {
            files.write("a", &bad);
            assert_eq!(store.reload(NOON), Reload::Changed);
            assert_eq!(
                modes(&store),
                [("a".to_owned(), Mode::Auto), ("b".to_owned(), Mode::Auto)],
                "{bad}"
            );
            assert_eq!(stale(&store), ["a"], "{bad}");
            assert_eq!(store.status().bad_files(), 1, "{bad}");
            let why = store.status().policies[0].kept_because.clone().expect("a reason");
            assert!(why.contains("a.yaml"), "{why}");
            assert!(Arc::ptr_eq(&before, &store.current()), "nobody is told of a change");
        }
        // One that never was in force is bad as well.
        files.policy("a", "approval");
        files.write("c", &text("c", "bold"));
        store.reload(NOON);
        assert_eq!((stale(&store).len(), store.status().bad_files()), (0, 1));
        files.remove("c");
        store.reload(NOON);
        assert_eq!(modes(&store)[0].1, Mode::Approval);
        assert_eq!(store.status().bad_files(), 0);
        assert!(stale(&store).is_empty() && store.status().diagnostics.is_empty());
        assert!(!Arc::ptr_eq(&before, &store.current()));
    }

    #[test]
    fn a_policy_that_is_gone_is_gone_and_a_directory_that_cannot_be_read_takes_nothing() {
        let files = Files::new(&[("a", "auto"), ("b", "auto")]);
        let store = files.open();
        files.remove("a");
        store.reload(NOON);
        assert_eq!(modes(&store), [("b".to_owned(), Mode::Auto)]);
        let moved = files.0.path().with_extension("moved");
        fs::rename(files.0.path(), &moved).expect("moved");
        store.reload(NOON);
        assert_eq!(stale(&store), ["b"]);
        assert_eq!(store.current().len(), 1);
        fs::rename(&moved, files.0.path()).expect("moved back");
        store.reload(NOON);
        assert!(stale(&store).is_empty());
    }

    #[test]
    fn a_second_policy_of_one_name_does_not_replace_the_first() {
        let files = Files::new(&[("a", "auto")]);
        files.write("b", &text("a", "off"));
        let store = files.open();
        assert_eq!(modes(&store), [("a".to_owned(), Mode::Auto)]);
        assert_eq!(store.status().diagnostics[0].code, "duplicate-policy");
    }

    #[test]
    fn nothing_new_is_noticed_and_a_version_keeps_its_date() {
        let files = Files::new(&[("a", "auto")]);
        let store = files.open();
        let later = NOON + SignedDuration::from_hours(1);
        assert_eq!(store.reload(later), Reload::Unchanged);
        files.policy("b", "auto");
        assert_eq!(store.reload(later), Reload::Changed);
        let since: Vec<_> = store.status().policies.iter().map(|policy| policy.since).collect();
        assert_eq!(since, [NOON, later]);
        assert_eq!(store.status().read, Some(later));
    }

    #[tokio::test]
    async fn files_are_read_again_when_they_change_and_every_minute() {
        let files = Files::new(&[("a", "auto")]);
        let clock = Arc::new(ManualClock::new(NOON));
        let store = Arc::new(files.open());
        let mut told = store.subscribe();
        let stop = CancellationToken::new();
        let shared: SharedClock = clock.clone();
        let task = tokio::spawn(Arc::clone(&store).keep_current(shared, stop.clone()));
        files.policy("b", "auto");
        // Whether the file system tells or not: time goes on until the change is seen.
        while store.current().len() < 2 {
            clock.advance(SignedDuration::from_secs(60));
            let _changed =
                tokio::time::timeout(std::time::Duration::from_millis(50), told.changed()).await;
        }
        assert!(clock.now() > NOON);
        stop.cancel();
        task.await.expect("it ends when it is told to");
    }
}
