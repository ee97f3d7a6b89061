//! One container's life: waiting, pulling, running, ending, backing off.

mod report;
mod start;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::cluster::Pace;
use super::super::object::{self, annotation, number, rfc3339, text};
use super::behavior::{Behavior, duration};

/// Between the end of a container and what follows from it.
const AFTERMATH: SignedDuration = SignedDuration::from_millis(300);
/// A liveness kill is followed by an immediate restart this often; then the back-off begins.
const PATIENT_RESTARTS: i64 = 3;
/// A readiness probe that fails is reported this often (the default period of a probe).
const PROBE_REPORT: SignedDuration = SignedDuration::from_secs(10);
/// Initial delays of readiness probes are cut to this, as the stand-in kubelet does.
const LONGEST_INITIAL_DELAY: i64 = 3;

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    New,
    Pull,
    Create,
    StartFailed,
    Running,
    Terminated,
    BackOff,
    Finished,
}

/// What a container is doing.
#[derive(Debug, Clone)]
pub(super) struct ContainerRuntime {
    step: Step,
    behavior: Behavior,
    waiting: Option<(&'static str, String)>,
    running_since: Option<Timestamp>,
    terminated: Option<Value>,
    last: Option<Value>,
    restarts: i64,
    backoff: SignedDuration,
    pub(super) ready: bool,
    ready_at: Timestamp,
    starts: u32,
    id: String,
    /// When something happens next.
    pub(super) next: Option<Timestamp>,
}

/// The circumstances of a step.
pub(super) struct Moment<'a> {
    pub(super) pod: &'a Value,
    pub(super) container: &'a Value,
    pub(super) pace: &'a Pace,
    pub(super) now: Timestamp,
    /// A ConfigMap, Secret or key that the container needs and lacks.
    pub(super) missing: Option<String>,
}

/// Something that the kubelet says in an event about the container.
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Is the container to be started again when it ends?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(now)
}

impl ContainerRuntime {
    pub(super) fn new(pod: &Value, container: &Value) -> Self {
        Self {
            step: Step::New,
            behavior: Behavior::of(pod, container),
            waiting: Some(("ContainerCreating", String::new())),
            running_since: None,
            terminated: None,
            last: None,
            restarts: 0,
            backoff: SignedDuration::ZERO,
            ready: false,
            ready_at: Timestamp::MAX,
            starts: 0,
            id: String::new(),
            next: None,
        }
    }

    pub(super) fn behavior(&self) -> Behavior {
        self.behavior
    }

    pub(super) fn has_run(&self) -> bool {
        self.running_since.is_some() || self.terminated.is_some() || self.restarts > 0
    }

    pub(super) fn is_running(&self) -> bool {
        self.running_since.is_some()
    }

    /// The exit code of a container that will not run again.
    pub(super) fn finished(&self) -> Option<i64> {
        let code = || self.terminated.as_ref().and_then(|end| number(end, "/exitCode"));
        if self.step == Step::Finished { code() } else { None }
    }

    /// Brings the next event no later than `limit` after `now`.
    pub(super) fn hurry(&mut self, now: Timestamp, limit: SignedDuration) {
        self.next = self.next.map(|next| next.min(after(now, limit)));
        self.backoff = self.backoff.min(limit);
    }

    fn wait(&mut self, reason: &'static str, message: impl Into<String>) {
        self.waiting = Some((reason, message.into()));
        self.running_since = None;
        self.terminated = None;
        self.ready = false;
    }

    /// Takes the steps that are due.
    pub(super) fn step(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        // Each step either waits for a later time or leads to the next; four cover one restart.
        for _ in 0..4 {
            if self.step != Step::Running && self.next.is_some_and(|next| next > at.now) {
                return;
            }
            let before = self.step;
            match self.step {
                Step::New => {
                    let delay = duration(at.pod, "fake/start-delay", at.pace.start_delay);
                    self.wait("ContainerCreating", "");
                    self.step = Step::Pull;
                    self.next = Some(after(at.now, delay));
                }
                Step::Pull => self.pull(at, said),
                Step::Create => self.create(at, said),
                Step::StartFailed => {
                    self.step = Step::Create;
                    self.back_off(at, said);
                }
                Step::Running => self.run(at, said),
                Step::Terminated => self.settle(at, said),
                Step::BackOff => {
                    self.restarts += 1;
                    said.push(pulled(at));
                    self.start(at, said);
                }
                Step::Finished => return,
            }
            if self.step == before {
                return;
            }
        }
    }

    fn run(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        if self.behavior == Behavior::NeverReady {
            if at.now >= self.ready_at {
                said.push(Said {
                    kind: "Warning",
                    reason: "Unhealthy",
                    message: "Readiness probe failed: HTTP probe failed with statuscode: 503"
                        .into(),
                });
                self.ready_at = after(at.now, PROBE_REPORT);
            }
            return;
        }
        if at.now >= self.ready_at {
            self.ready = true;
        }
        if self.next.is_none_or(|next| at.now < next) {
            return;
        }
        let (code, reason) = match self.behavior {
            Behavior::Crash => {
                let code = annotation(at.pod, "fake/exit-code").and_then(|code| code.parse().ok());
                (code.unwrap_or(1), "Error")
            }
            Behavior::OutOfMemory => (137, "OOMKilled"),
            Behavior::KilledByLiveness => {
                said.push(Said {
                    kind: "Warning",
                    reason: "Unhealthy",
                    message: "Liveness probe failed: HTTP probe failed with statuscode: 500".into(),
                });
                let name = text(at.container, "/name");
                let message = format!("Container {name} failed liveness probe, will be restarted");
                said.push(Said { kind: "Normal", reason: "Killing", message });
                (137, "Error")
            }
            Behavior::Fine
            | Behavior::Complete
            | Behavior::CannotPull
            | Behavior::InvalidImage
            | Behavior::ConfigurationMissing
            | Behavior::CannotCreate
            | Behavior::CannotStart
            | Behavior::StuckCreating
            | Behavior::NeverReady
            | Behavior::Evicted => (0, "Completed"),
        };
        self.end(at, code, reason);
        let again = match text(at.pod, "/spec/restartPolicy") {
            "Never" => Again::No,
            "OnFailure" if code == 0 => Again::No,
            _ => Again::Yes,
        };
        match again {
            Again::Yes => {
                self.step = Step::Terminated;
                self.next = Some(after(at.now, AFTERMATH));
            }
            Again::No => {
                self.step = Step::Finished;
                self.next = None;
            }
        }
    }

    fn end(&mut self, at: &Moment<'_>, code: i64, reason: &str) {
        let mut end = json!({
            "exitCode": code, "reason": reason, "finishedAt": rfc3339(at.now), "containerID": self.id,
            "startedAt": self.running_since.map_or(Value::Null, |since| json!(rfc3339(since))),
        });
        if let Some(message) = annotation(at.pod, "fake/termination-message").filter(|_| code != 0)
        {
            end["message"] = json!(message);
        }
        self.terminated = Some(end);
        self.waiting = None;
        self.running_since = None;
        self.ready = false;
    }

    fn settle(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        self.last.clone_from(&self.terminated);
        let patient =
            self.behavior == Behavior::KilledByLiveness && self.restarts < PATIENT_RESTARTS;
        // The first restart comes at once, like the kubelet's.
        let first = self.restarts == 0 && self.backoff.is_zero();
        if patient || first {
            self.restarts += 1;
            self.start(at, said);
            return;
        }
        self.step = Step::BackOff;
        self.back_off(at, said);
    }

    fn back_off(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        self.grow_backoff(at.pace);
        let (namespace, pod) = (object::namespace(at.pod), object::name(at.pod));
        let what = format!(
            "restarting failed container={} pod={pod}_{namespace}({})",
            text(at.container, "/name"),
            object::uid(at.pod)
        );
        self.wait("CrashLoopBackOff", format!("back-off {}s {what}", self.backoff.as_secs()));
        let message = format!(
            "Back-off restarting failed container {} in pod {pod}_{namespace}({})",
            text(at.container, "/name"),
            object::uid(at.pod)
        );
        said.push(Said { kind: "Warning", reason: "BackOff", message });
        self.next = Some(after(at.now, self.backoff));
    }

    fn grow_backoff(&mut self, pace: &Pace) {
        let doubled = self.backoff.saturating_add(self.backoff);
        self.backoff = doubled.clamp(pace.backoff, pace.backoff_limit);
    }

    /// When the container is to be looked at again.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let readiness = (self.step == Step::Running && !self.ready && self.ready_at > now)
            .then_some(self.ready_at);
        [self.next.filter(|next| *next > now), readiness].into_iter().flatten().min()
    }

    /// Ends the container because its pod is deleted.
    pub(super) fn stop(&mut self, at: &Moment<'_>) {
        if self.running_since.is_some() {
            self.end(at, 0, "Completed");
        }
        self.step = Step::Finished;
        self.ready = false;
        self.next = None;
    }
}

fn failed(message: &str) -> Said {
    Said { kind: "Warning", reason: "Failed", message: message.into() }
}

fn pulled(at: &Moment<'_>) -> Said {
    let message = format!(
        "Container image \"{}\" already present on machine and can be accessed by the pod",
        text(at.container, "/image")
    );
    Said { kind: "Normal", reason: "Pulled", message }
}
