//! A container as its pod's status shows it.

use serde_json::{Value, json};

use super::super::super::object::{hex_word, rfc3339, text};
use super::ContainerRuntime;

impl ContainerRuntime {
    /// The `containerStatuses` entry.
    pub(in super::super) fn status(&self, container: &Value) -> Value {
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
