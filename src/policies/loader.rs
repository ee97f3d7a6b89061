//! The policies in force, kept current while files and custom resources change.
//!
//! A bad policy never takes the good ones down: for as long as a file or a policy in it cannot be
//! used, the last good version of each of its policies stays in force, and the status says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use notify::{RecursiveMode, Watcher as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::lint::{self, Report};
use super::resource::{Listed, PolicyResource, ResourceKind};
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
    /// How often something else was found than before.
    looked: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The custom resources as they were last seen; a kind that is not asked for is not in it.
    resources: BTreeMap<ResourceKind, Listed>,

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

/// What came of a custom resource.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The object, as it was seen.
    pub resource: PolicyResource,
    /// The name of its policy.
    pub name: String,
    /// The version in force that came from it, which is an older one while it is refused.
    pub in_force: Option<PolicyInForce>,
    /// What is wrong with it, the worst first: with an error it is refused.
    pub findings: Vec<Diagnostic>,
}

impl Judged {
    /// The first thing that keeps it from being used.
    pub fn refused(&self) -> Option<&Diagnostic> {
        self.findings.iter().find(|found| found.severity == Severity::Error)
    }
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
        let current = watch::Sender::new(Arc::new(PolicySet::default()));
        let looked = watch::Sender::new(0);
        let store = Self { paths, names, state: Mutex::new(State::default()), current, looked };
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

    /// Told whenever something else was found than before, also when what is in force stays.
    pub fn subscribe_status(&self) -> watch::Receiver<u64> {
        self.looked.subscribe()
    }

    /// Takes what the cluster holds of one kind of policy beside the files. Blocks on the file
    /// system: all sources are checked together.
    pub fn set_resources(&self, kind: ResourceKind, listed: Listed, now: Timestamp) -> Reload {
        self.state().resources.insert(kind, listed);
        self.reload(now)
    }

    /// What came of each custom resource.
    pub fn judged(&self) -> Vec<Judged> {
        let state = self.state();
        let policies = state.status.policies.iter().map(|policy| (policy.file.as_str(), policy));
        let in_force: HashMap<_, _> = policies.collect();
        let mut found: HashMap<&str, Vec<&Diagnostic>> = HashMap::new();
        for diagnostic in &state.status.diagnostics {
            found.entry(&diagnostic.file).or_default().push(diagnostic);
        }
        let judge = |resource: &PolicyResource| {
            let file = resource.document.path.display().to_string();
            let in_force = in_force.get(file.as_str()).map(|policy| (*policy).clone());
            let found = found.get(file.as_str()).into_iter().flatten().copied();
            let mut findings: Vec<_> = found.cloned().collect();
            findings.sort_by_key(|found| found.severity);
            let name = match &resource.namespace {
                Some(namespace) => format!("{namespace}/{}", resource.name),
                None => resource.name.clone(),
            };
            Judged { resource: resource.clone(), name, in_force, findings }
        };
        state.resources.values().flatten().flatten().map(judge).collect()
    }

    /// Whether having no policy is no mistake: they come and go as custom resources, or none is asked
    /// for at all.
    pub fn may_be_empty(&self) -> bool {
        self.paths.is_empty() || !self.state().resources.is_empty()
    }

    /// Whether this kind was seen, or is known to be out of reach.
    pub fn knows(&self, kind: ResourceKind) -> bool {
        self.state().resources.contains_key(&kind)
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
        let mut found = source::read(&self.paths);
        let mut state = self.state();
        add_resources(&mut found, &state.resources);
        let seen = fingerprint(&found);
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
        let before = state.status.diagnostics.iter().map(Diagnostic::one_line);
        let before: HashSet<_> = before.collect();
        state.status = status(&good, &kept, report.diagnostics, now);
        state.good = good;
        state.seen = Some(seen);
        // What was said of one policy is not said again because another one changed.
        for diagnostic in &state.status.diagnostics {
            let (code, text) = (diagnostic.code, diagnostic.one_line());
            if !before.contains(&text) {
                tracing::warn!(code, policy = diagnostic.policy, "policy: {text}");
            }
        }
        if changed {
            let policies = state.good.values().map(|good| Arc::clone(&good.policy));
            self.current.send_replace(Arc::new(PolicySet::new(policies)));
            tracing::info!(policies = state.good.len(), "policies in force");
        }
        drop(state);
        self.looked.send_modify(|times| *times += 1);
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

/// The custom resources after the files: of two policies with one name that of the file stays.
fn add_resources(found: &mut Found, resources: &BTreeMap<ResourceKind, Listed>) {
    for (kind, listed) in resources {
        match listed {
            Ok(resources) => {
                found.files.extend(resources.iter().map(|resource| resource.document.clone()));
            }
            Err(why) => {
                let message = format!("{} are not known: {why}", kind.plural());
                let place = Path::new(kind.kind());
                found.problems.push(Diagnostic::of_file(place, "unreadable", message));
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
#[path = "loader_tests.rs"]
mod tests;
