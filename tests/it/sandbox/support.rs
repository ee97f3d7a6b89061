//! A sandbox on a manual clock, with a client.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use orderly::clock::ManualClock;
use orderly::sandbox::{Contents, Options, Sandbox};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "default";

pub struct World {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub client: kube::Client,
}

impl World {
    pub async fn empty() -> Self {
        Self::start(Contents::Empty).await
    }

    pub async fn start(contents: Contents) -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-20T10:00:00Z".parse().expect("a time")));
        let options = Options { contents, ..Options::new(clock.clone()) };
        let sandbox = Sandbox::start(options).await.expect("a free port on loopback");
        let client = kube::Client::try_from(sandbox.client_config()).expect("a client");
        Self { sandbox, clock, client }
    }

    /// Lets time pass and the controllers work.
    pub fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
        self.sandbox.tick();
    }

    pub fn now(&self) -> Timestamp {
        orderly::clock::Clock::now(&*self.clock)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        <K as kube::Resource>::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// A Deployment that has settled.
    pub async fn deployment(&self, name: &str, replicas: i32, image: &str) -> Deployment {
        self.sandbox.apply_yaml(&deployment(name, replicas, image).to_string()).expect("applied");
        self.pass(5);
        self.api::<Deployment>().get(name).await.expect("the deployment")
    }

    pub async fn replica_sets(&self) -> Vec<ReplicaSet> {
        let list = self.api::<ReplicaSet>().list(&ListParams::default()).await;
        list.expect("replica sets").items
    }

    pub async fn pods(&self) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default()).await.expect("pods").items
    }

    /// A JSON patch, which the client cannot send here: code and body.
    pub async fn json_patch(&self, path: &str, operations: Value) -> (u16, Value) {
        let answer = reqwest::Client::new()
            .patch(format!("{}{path}", self.sandbox.url()))
            .header("content-type", "application/json-patch+json")
            .body(operations.to_string())
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("json"))
    }

    /// A raw GET: code and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer =
            reqwest::get(format!("{}{path}", self.sandbox.url())).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }
}

pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "agent", "image": image}]},
            },
        },
    })
}

/// The refusal that a call must have met.
pub fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> kube::core::Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub fn revision(object: &impl kube::ResourceExt) -> String {
    object.annotations().get("deployment.kubernetes.io/revision").cloned().unwrap_or_default()
}
