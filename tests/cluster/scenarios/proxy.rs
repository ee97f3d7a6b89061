//! Stands between Orderly and the API server: turns the API server's times into scenario times,
//! writes down what Orderly asked to be changed, and breaks connections where a scenario says so.
//! Every answer is the API server's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, Request, Uri, header};
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::almanac::Almanac;

/// Where Kubernetes objects keep times.
const TIMES: [&str; 14] = [
    "creationTimestamp",
    "deletionTimestamp",
    "eventTime",
    "finishedAt",
    "firstTimestamp",
    "lastObservedTime",
    "lastProbeTime",
    "lastScaleTime",
    "lastTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "startedAt",
    "time",
];

/// A proxy on loopback; it ends with the value.
pub struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
    _serving: DropGuard,
}

struct Shared {
    client: Client,
    almanac: Arc<Almanac>,
    /// What came in to change the cluster, a line a request.
    writes: Mutex<Vec<String>>,
    /// How often somebody asked the cluster to change.
    asked: AtomicUsize,
    breaks: Mutex<Vec<Break>>,
}

/// A connection that is to break: at which verb and resource, and whether the request is carried out
/// before.
struct Break {
    verb: String,
    resource: String,
    carried_out: bool,
}

impl Proxy {
    pub async fn start(client: Client, almanac: Arc<Almanac>) -> Self {
        let shared = Arc::new(Shared {
            client,
            almanac,
            writes: Mutex::default(),
            asked: AtomicUsize::new(0),
            breaks: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = async { axum::serve(listener, router).await } => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        Self { url, shared, _serving: stop.drop_guard() }
    }

    /// Notes that somebody else asked the cluster to change.
    pub fn ask(&self) {
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody asked the cluster to change.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// What Orderly asked to be changed; Events and what only asks are left out.
    pub fn writes(&self) -> Vec<String> {
        self.shared.writes.lock().unwrap().clone()
    }

    /// Breaks the connection at the next such write.
    pub fn break_connection(&self, verb: &str, resource: &str, carried_out: bool) {
        let (verb, resource) = (verb.to_owned(), resource.to_owned());
        self.shared.breaks.lock().unwrap().push(Break { verb, resource, carried_out });
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some((verb, resource)) = write(&method, &uri) else {
        return shared.forward(method, uri, &headers, body).await;
    };
    if resource != "events" {
        shared.writes.lock().unwrap().push(format!("{verb} {}", uri.path()));
        shared.asked.fetch_add(1, Ordering::Relaxed);
    }
    let broken = {
        let mut breaks = shared.breaks.lock().unwrap();
        let struck = breaks.iter().position(|it| it.verb == verb && it.resource == resource);
        struck.map(|at| breaks.remove(at).carried_out)
    };
    match broken {
        None => shared.forward(method, uri, &headers, body).await,
        Some(carried_out) => {
            if carried_out {
                let _lost = shared.forward(method, uri, &headers, body).await;
            }
            // The connection's task ends with the request, and the connection with it; not a panic
            // that anybody is told of.
            std::panic::resume_unwind(Box::new("the connection breaks"))
        }
    }
}

/// The verb and the resource (with the subresource, if any) of a request that is to change the
/// cluster.
fn write(method: &Method, uri: &Uri) -> Option<(&'static str, String)> {
    let verb = match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => return None,
    };
    if uri.query().is_some_and(|query| query.contains("dryRun=All")) {
        return None;
    }
    // /api/VERSION or /apis/GROUP/VERSION, [namespaces/NAMESPACE/], RESOURCE[/NAME[/SUBRESOURCE]]
    let parts: Vec<_> = uri.path().split('/').skip(1).collect();
    let place = parts.get(if parts[0] == "api" { 2 } else { 3 }..)?;
    let (resource, of_it) = match place {
        ["namespaces", _, resource, of_it @ ..] | [resource, of_it @ ..] => (*resource, of_it),
        [] => return None,
    };
    let part = of_it.get(1).map_or_else(String::new, |part| format!("/{part}"));
    // A review stores nothing.
    (!resource.ends_with("reviews")).then(|| (verb, format!("{resource}{part}")))
}

impl Shared {
    async fn forward(
        &self,
        method: Method,
        uri: Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let body = retimed(&body, &|time| self.almanac.real(time));
        let sent = self.client.send(request.body(body.into()).unwrap()).await;
        let (parts, body) = sent.expect("the API server answers").into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.expect("a whole answer");
        let body = retimed(&body, &|time| self.almanac.told(time));
        let mut answer = Response::builder().status(parts.status);
        for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
            if let Some(value) = parts.headers.get(&name) {
                answer = answer.header(name, value);
            }
        }
        answer.body(Body::from(body)).unwrap()
    }
}

/// A body with other times in it, if it is JSON.
fn retimed(body: &[u8], change: &impl Fn(Timestamp) -> Timestamp) -> Vec<u8> {
    let Ok(mut document) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    retime(&mut document, change);
    document.to_string().into_bytes()
}

fn retime(value: &mut Value, change: &impl Fn(Timestamp) -> Timestamp) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| retime(item, change)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let time = field.as_str().filter(|_| TIMES.contains(&name.as_str()));
                match time.and_then(|text| text.parse().ok()) {
                    // Of all times only this one is refused without six digits.
                    Some(time) if name == "eventTime" => {
                        *field = format!("{:.6}", change(time)).into();
                    }
                    Some(time) => *field = change(time).to_string().into(),
                    None => retime(field, change),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_changes_the_cluster_is_told_from_what_only_asks() {
    let asked = |method, uri: &str| write(&method, &uri.parse().unwrap()).map(|(_, what)| what);
    let deployment = "/apis/apps/v1/namespaces/shop/deployments/web";
    assert_eq!(asked(Method::PATCH, deployment).unwrap(), "deployments");
    let scale = format!("{deployment}/scale?fieldManager=orderly");
    assert_eq!(asked(Method::PATCH, &scale).unwrap(), "deployments/scale");
    assert_eq!(asked(Method::DELETE, "/api/v1/namespaces/shop/pods/a").unwrap(), "pods");
    assert_eq!(asked(Method::PATCH, "/api/v1/nodes/node-1").unwrap(), "nodes");
    assert_eq!(asked(Method::PATCH, &format!("{deployment}?dryRun=All")), None);
    assert_eq!(asked(Method::GET, deployment), None);
    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(asked(Method::POST, review), None);
}

#[test]
fn only_times_are_other_times() {
    let body = r#"{"metadata":{"creationTimestamp":"2026-11-23T07:00:00Z","name":"2026-11-23T07:00:00Z"},
        "eventTime":"2026-11-23T07:00:00.123456Z","items":[{"startedAt":null}]}"#;
    let told = retimed(body.as_bytes(), &|_| "2026-11-22T03:00:00Z".parse().unwrap());
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["metadata"]["creationTimestamp"], "2026-11-22T03:00:00Z");
    assert_eq!(told["metadata"]["name"], "2026-11-23T07:00:00Z");
    assert_eq!(told["eventTime"], "2026-11-22T03:00:00.000000Z");
    assert_eq!(told["items"][0]["startedAt"], Value::Null);
    assert_eq!(retimed(b"a log line", &|time| time), b"a log line");
}
