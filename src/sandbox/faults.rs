//! Scripted misbehaviour of the API server, for the fault matrix: refuse, drop the connection
//! before or after the change, hold back, answer from the past.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::request::Request;
use super::store::Store;

/// What a fault does to a request.
#[derive(Debug, Clone)]
pub enum FaultOutcome {
    /// Answers with a `Status` of this code and message, and changes nothing.
    Status {
        /// The HTTP code.
        code: u16,
        /// The message of the `Status`.
        message: String,
        /// Seconds for the header `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Answers with this body instead of a `Status`, as proxies and API Priority & Fairness do.
    PlainText {
        /// The HTTP code.
        code: u16,
        /// The body.
        body: String,
        /// Seconds for the header `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Answers 200 with this JSON body, and changes nothing.
    Answer(Value),
    /// Closes the connection; nothing was changed.
    DropBefore,
    /// Does what was asked, then closes the connection: applied but unacknowledged.
    DropAfter,
    /// Waits until the fault is released, then does what was asked.
    HoldBefore,
    /// Does what was asked, and answers only when the fault is released.
    HoldAfter,
    /// Answers reads from the state in which the cluster was when the fault was set.
    Stale,
}

/// Which requests a fault is about. Empty texts and `None` mean "any".
#[derive(Debug, Clone, Default)]
pub struct FaultMatch {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// The plural, with the subresource after a slash: `deployments`, `deployments/scale`.
    pub resource: String,
    /// The namespace.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// Only dry runs, or only requests that are none.
    pub dry_run: Option<bool>,
    /// The beginning of the path, for what is no object: `/prometheus/`.
    pub path: String,
}

impl FaultMatch {
    /// Writes that are no dry run: `verb` on `resource`.
    pub fn write(verb: &str, resource: &str) -> Self {
        Self {
            verb: verb.into(),
            resource: resource.into(),
            dry_run: Some(false),
            ..Self::default()
        }
    }

    /// Reads: `verb` on `resource`.
    pub fn read(verb: &str, resource: &str) -> Self {
        Self { verb: verb.into(), resource: resource.into(), ..Self::default() }
    }

    /// Anything below a path.
    pub fn path(path: &str) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    fn matches(&self, request: &Request) -> bool {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let target = &request.target;
        let resource = match target.subresource.as_str() {
            "" => target.resource.clone(),
            subresource => format!("{}/{subresource}", target.resource),
        };
        fits(&self.verb, request.verb)
            && fits(&self.resource, &resource)
            && fits(&self.namespace, &target.namespace)
            && fits(&self.name, &target.name)
            && self.dry_run.is_none_or(|wanted| wanted == request.dry_run())
            && request.path.starts_with(&self.path)
    }
}

/// A scripted fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which requests.
    pub on: FaultMatch,
    /// How many matching requests pass unharmed first.
    pub skip: usize,
    /// How many are hit after that.
    pub times: usize,
    /// What happens to them.
    pub outcome: FaultOutcome,
}

impl Fault {
    /// The next matching request.
    pub fn once(on: FaultMatch, outcome: FaultOutcome) -> Self {
        Self { on, skip: 0, times: 1, outcome }
    }

    /// Every matching request, until the faults are cleared.
    pub fn always(on: FaultMatch, outcome: FaultOutcome) -> Self {
        Self { on, skip: 0, times: usize::MAX, outcome }
    }
}

/// A fault that has been set: tells how often it struck, and releases what it holds.
#[derive(Debug, Clone)]
pub struct FaultHandle {
    release: Arc<watch::Sender<bool>>,
    struck: Arc<watch::Sender<usize>>,
}

impl FaultHandle {
    /// Lets go of the requests that are held, now and later.
    pub fn release(&self) {
        self.release.send_replace(true);
    }

    /// How many requests were hit.
    pub fn struck(&self) -> usize {
        *self.struck.borrow()
    }

    /// Completes when the fault has struck `times` times.
    pub async fn wait_struck(&self, times: usize) {
        let mut struck = self.struck.subscribe();
        // The sender lives in this handle: the wait cannot fail.
        let _reached = struck.wait_for(|count| *count >= times).await;
    }
}

/// A fault that has struck a request.
pub(super) struct Struck {
    pub(super) outcome: FaultOutcome,
    pub(super) snapshot: Option<Arc<Store>>,
    release: watch::Receiver<bool>,
}

impl Struck {
    pub(super) async fn held(&mut self) {
        // When nobody can release it any more, it is released.
        let _released = self.release.wait_for(|released| *released).await;
    }
}

#[derive(Debug)]
struct Set {
    fault: Fault,
    handle: FaultHandle,
    snapshot: Option<Arc<Store>>,
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults {
    set: Mutex<Vec<Set>>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault, snapshot: Option<Store>) -> FaultHandle {
        let handle = FaultHandle {
            release: Arc::new(watch::channel(false).0),
            struck: Arc::new(watch::channel(0).0),
        };
        let set = Set { fault, handle: handle.clone(), snapshot: snapshot.map(Arc::new) };
        self.set.lock().unwrap_or_else(PoisonError::into_inner).push(set);
        handle
    }

    /// Takes all faults away and lets go of what they hold.
    pub(super) fn clear(&self) {
        for set in self.set.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            set.handle.release();
        }
    }

    /// The first fault that strikes the request.
    pub(super) fn strike(&self, request: &Request) -> Option<Struck> {
        let mut all = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        for set in all.iter_mut().filter(|set| set.fault.on.matches(request)) {
            if set.fault.skip > 0 {
                set.fault.skip -= 1;
                continue;
            }
            if set.fault.times == 0 {
                continue;
            }
            set.fault.times -= 1;
            set.handle.struck.send_modify(|count| *count += 1);
            return Some(Struck {
                outcome: set.fault.outcome.clone(),
                snapshot: set.snapshot.clone(),
                release: set.handle.release.subscribe(),
            });
        }
        None
    }
}
