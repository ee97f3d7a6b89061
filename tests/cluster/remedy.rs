//! Orderly as a process beside the cluster under test, with one policy for one workload.

use std::process::Command;

use orderly::domain::alert::Alert;
use orderly::domain::id::{Fingerprint, IncidentId};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plane::{self, Namespace};
use crate::serving::Serving;

/// A workload of which nothing but its rollouts matters.
pub const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {
  metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: "registry.example.com/app:v1"}]}}}
"#;

/// A namespace of this name with that workload, rolled out.
pub fn web(name: &str) -> Namespace {
    let namespace = Namespace::new(name);
    namespace.apply(WEB);
    namespace.rolled_out("deployment/web");
    namespace
}

pub struct Remedy {
    pub serving: Serving,
    pub directory: TempDir,
}

/// What a policy of a test does about the alert `Test`.
pub struct Policy<'a> {
    pub mode: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub actions: &'a str,
    /// `spec.verify`.
    pub verify: &'a str,
}

impl Policy<'_> {
    pub fn text(&self, namespace: &str) -> String {
        let Self { mode, kind, name, actions, verify } = self;
        format!(
            "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: \
             test}}\nspec:\n  summary: Of the test\n  match: ['alertname=\"Test\"']\n  target: \
             {{kind: {kind}, namespaces: [{namespace}], name: {name}}}\n  mode: {mode}\n  causes: \
             [{{name: always, actions: {actions}}}]\n  verify: {verify}\n"
        )
    }
}

impl Remedy {
    /// Starts it as an administrator and waits until it is ready.
    pub async fn start(namespace: &Namespace, policy: &Policy<'_>) -> Self {
        let kubeconfig = plane::kubeconfig();
        let administrator = format!("kubernetes: {{kubeconfig: '{}'}}", kubeconfig.display());
        Self::start_with(&administrator, namespace, policy).await
    }

    /// The same with this in the configuration.
    pub async fn start_with(more: &str, namespace: &Namespace, policy: &Policy<'_>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orderly"));
        Self::start_within(command.env_clear(), more, namespace, policy).await
    }

    /// The same by this command, see [`Serving::start_within`].
    pub async fn start_within(
        command: &mut Command,
        more: &str,
        namespace: &Namespace,
        policy: &Policy<'_>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        std::fs::create_dir(at.join("policies")).unwrap();
        std::fs::write(at.join("policies/test.yaml"), policy.text(&namespace.0)).unwrap();
        let journal = if more.contains("journal:") { "" } else { "journal: {path: orderly.db}" };
        let config = format!("policies: [policies]\n{journal}\n{more}\n");
        std::fs::write(at.join("orderly.yaml"), config).unwrap();
        let mut serving = Serving::start_within(at, command, &["--init"]);
        serving.ready().await;
        Self { serving, directory }
    }

    /// Posts the alert `Test`; the incident that it opens.
    pub async fn fire(&self) -> IncidentId {
        assert_eq!(self.post("Test").await, StatusCode::ACCEPTED);
        let labels = [("alertname".to_owned(), "Test".to_owned())];
        let alert = Alert {
            status: orderly::domain::alert::AlertStatus::Firing,
            labels: labels.into(),
            annotations: Default::default(),
            starts_at: STARTS_AT.parse().unwrap(),
            ends_at: None,
            generator_url: String::new(),
            fingerprint: Fingerprint::of([("alertname", "Test")]),
        };
        IncidentId::of(alert.episode())
    }

    /// Posts an alert that has nothing but a name.
    pub async fn post(&self, name: &str) -> StatusCode {
        let alert = firing(json!({"alertname": name}));
        let sent = Client::new().post(format!("{}/webhook", self.serving.api));
        sent.json(&webhook(&[alert])).send().await.unwrap().status()
    }

    /// Waits until the incident is over; it must have ended so.
    pub async fn until_over(&mut self, id: &IncidentId, outcome: &str) -> Value {
        let shown = self.until(id, "closed").await;
        assert_eq!(shown["summary"]["outcome"], outcome, "{shown:#}");
        shown
    }

    /// Waits until the incident is in the state.
    pub async fn until(&mut self, id: &IncidentId, state: &str) -> Value {
        let what = format!("incident in state {state}");
        self.serving
            .until(&what, async |serving: &Serving| {
                let url = format!("{}/api/v1/incidents/{id}", serving.api);
                let shown: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
                (shown["summary"]["state"] == state).then_some(shown)
            })
            .await
    }
}

const STARTS_AT: &str = "2026-11-23T03:00:00Z";

/// An alert of a delivery.
pub fn firing(labels: Value) -> Value {
    json!({
        "status": "firing", "labels": labels, "annotations": {}, "generatorURL": "",
        "startsAt": STARTS_AT, "endsAt": "0001-01-01T00:00:00Z",
    })
}

/// A delivery, as Alertmanager makes them.
pub fn webhook(alerts: &[Value]) -> Value {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "orderly", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "", "alerts": alerts,
    })
}
