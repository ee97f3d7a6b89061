//! One container's life: waiting, pulling, running, ending, backing off.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::cluster::Pace;
use super::super::object::{self, annotation, hex_word, number, rfc3339, text};
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

    fn pull(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        let image = text(at.container, "/image");
        match self.behavior {
            Behavior::StuckCreating => {
                said.push(Said {
                    kind: "Warning",
                    reason: "FailedCreatePodSandBox",
                    message:
                        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed \
                              to setup network for sandbox: no IP addresses available in range"
                            .into(),
                });
                self.next = Some(after(at.now, SignedDuration::from_secs(15)));
            }
            Behavior::InvalidImage => {
                let message = format!(
                    "Failed to apply default image tag \"{image}\": couldn't parse image name \
                     \"{image}\": invalid reference format"
                );
                said.push(Said {
                    kind: "Warning",
                    reason: "InspectFailed",
                    message: message.clone(),
                });
                said.push(failed("Error: InvalidImageName"));
                self.wait("InvalidImageName", message);
                self.next = Some(after(at.now, SignedDuration::from_secs(30)));
            }
            Behavior::CannotPull => self.fail_to_pull(image, at, said),
            Behavior::Fine
            | Behavior::Complete
            | Behavior::Crash
            | Behavior::OutOfMemory
            | Behavior::ConfigurationMissing
            | Behavior::CannotCreate
            | Behavior::CannotStart
            | Behavior::NeverReady
            | Behavior::KilledByLiveness
            | Behavior::Evicted => {
                said.push(pulled(at));
                self.step = Step::Create;
                self.next = None;
            }
        }
    }

    fn fail_to_pull(&mut self, image: &str, at: &Moment<'_>, said: &mut Vec<Said>) {
        let cause = format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed \
             to resolve reference \"{image}\": {image}: not found"
        );
        if self.waiting.as_ref().is_some_and(|(reason, _)| *reason == "ErrImagePull") {
            self.grow_backoff(at.pace);
            let message = format!("Back-off pulling image \"{image}\"");
            said.push(Said { kind: "Normal", reason: "BackOff", message: message.clone() });
            said.push(failed("Error: ImagePullBackOff"));
            self.wait("ImagePullBackOff", format!("{message}: ErrImagePull: {cause}"));
            self.next = Some(after(at.now, self.backoff));
        } else {
            let message = format!("Pulling image \"{image}\"");
            said.push(Said { kind: "Normal", reason: "Pulling", message });
            said.push(failed(&format!("Failed to pull image \"{image}\": {cause}")));
            said.push(failed("Error: ErrImagePull"));
            self.wait("ErrImagePull", cause);
            self.next = Some(after(at.now, SignedDuration::from_secs(1)));
        }
    }

    fn create(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        let missing = match (&at.missing, self.behavior) {
            (Some(missing), _) => Some(missing.clone()),
            (None, Behavior::ConfigurationMissing) => {
                Some("configmap \"app-config\" not found".into())
            }
            (None, _) => None,
        };
        if let Some(missing) = missing {
            said.push(failed(&format!("Error: {missing}")));
            self.wait("CreateContainerConfigError", missing);
            self.next = Some(after(at.now, SignedDuration::from_secs(3)));
        } else if self.behavior == Behavior::CannotCreate {
            let message = "failed to create containerd container: failed to reserve container name: \
                           name is reserved";
            said.push(failed(&format!("Error: {message}")));
            self.wait("CreateContainerError", message);
            self.next = Some(after(at.now, SignedDuration::from_secs(10)));
        } else if self.behavior == Behavior::CannotStart {
            let message = "failed to create containerd task: failed to create shim task: OCI runtime \
                           create failed: runc create failed: unable to start container process: \
                           exec: \"/app/missing\": stat /app/missing: no such file or directory";
            said.push(failed(&format!("Error: {message}")));
            if self.last.is_some() {
                self.restarts += 1;
            }
            self.starts += 1;
            self.id = self.fresh_id(at);
            self.last = Some(json!({
                "exitCode": 128, "reason": "StartError", "message": message,
                "startedAt": "1970-01-01T00:00:00Z", "finishedAt": rfc3339(at.now),
                "containerID": self.id,
            }));
            self.wait("RunContainerError", message);
            self.step = Step::StartFailed;
            self.next = Some(after(at.now, SignedDuration::from_secs(2)));
        } else {
            self.start(at, said);
        }
    }

    fn fresh_id(&self, at: &Moment<'_>) -> String {
        let seed =
            format!("{}/{}/{}", object::uid(at.pod), text(at.container, "/name"), self.starts);
        format!("containerd://{}", hex_word(&seed, 32))
    }

    fn start(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
        self.starts += 1;
        self.id = self.fresh_id(at);
        self.waiting = None;
        self.terminated = None;
        self.running_since = Some(at.now);
        self.ready = false;
        self.step = Step::Running;
        for (reason, message) in
            [("Created", "Container created"), ("Started", "Container started")]
        {
            said.push(Said { kind: "Normal", reason, message: message.into() });
        }
        let run = |otherwise: i64| {
            duration(at.pod, "fake/run-seconds", SignedDuration::from_secs(otherwise))
        };
        let lasts = match self.behavior {
            Behavior::Crash | Behavior::OutOfMemory | Behavior::Complete => Some(run(1)),
            Behavior::KilledByLiveness => Some(run(5)),
            Behavior::Fine
            | Behavior::CannotPull
            | Behavior::InvalidImage
            | Behavior::ConfigurationMissing
            | Behavior::CannotCreate
            | Behavior::CannotStart
            | Behavior::StuckCreating
            | Behavior::NeverReady
            | Behavior::Evicted => {
                (text(at.pod, "/spec/restartPolicy") != "Always").then(|| run(2))
            }
        };
        self.next = lasts.map(|lasts| after(at.now, lasts));
        let delay = number(at.container, "/readinessProbe/initialDelaySeconds").unwrap_or(0);
        let delay = SignedDuration::from_secs(delay.min(LONGEST_INITIAL_DELAY));
        let ready = duration(at.pod, "fake/ready-after", at.pace.ready_after.saturating_add(delay));
        self.ready_at = after(at.now, ready);
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

    /// The `containerStatuses` entry.
    pub(super) fn status(&self, container: &Value) -> Value {
        let given = text(container, "/image");
        let image = if given.contains('/') {
            given.to_owned()
        } else {
            format!("docker.io/library/{given}")
        };
        let state = if let Some((reason, message)) = &self.waiting {
            let mut waiting = json!({"reason": reason});
            if !message.is_empty() {
                waiting["message"] = json!(message);
            }
            json!({"waiting": waiting})
        } else if let Some(since) = self.running_since {
            json!({"running": {"startedAt": rfc3339(since)}})
        } else if let Some(end) = &self.terminated {
            json!({"terminated": end})
        } else {
            json!({"waiting": {"reason": "PodInitializing"}})
        };
        let mut status = json!({
            "name": container["name"], "image": given, "imageID": "", "ready": self.ready,
            "restartCount": self.restarts, "started": self.running_since.is_some(), "state": state,
            "lastState": {},
        });
        if !self.id.is_empty() {
            let repository = image.split(':').next().unwrap_or_default();
            status["imageID"] = json!(format!("{repository}@sha256:{}", hex_word(given, 32)));
            status["image"] = json!(image);
            status["containerID"] = json!(self.id);
        }
        if let Some(last) = &self.last {
            status["lastState"] = json!({"terminated": last});
        }
        if self.running_since.is_some() {
            status["resources"] = container["resources"].clone();
            if let Some(requests) = container.pointer("/resources/requests") {
                status["allocatedResources"] = requests.clone();
            }
        }
        status
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
