//! How a container comes to run, and all the ways in which it does not.

use jiff::SignedDuration;
use serde_json::json;

use super::super::super::object::{self, hex_word, number, rfc3339, text};
use super::super::behavior::{Behavior, duration};
use super::{ContainerRuntime, LONGEST_INITIAL_DELAY, Moment, Said, Step, after, failed, pulled};

impl ContainerRuntime {
    pub(super) fn pull(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
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

    pub(super) fn create(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
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

    pub(super) fn start(&mut self, at: &Moment<'_>, said: &mut Vec<Said>) {
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
}
