//! Something between Orderly and the API server that sees every request, and may refuse it or kill
//! Orderly over it. `kubectl proxy` behind it speaks to the API server as the administrator.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode, header};
use reqwest::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::plane;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Forward,
    /// Orderly dies, and the API server never hears of it.
    KillBefore,
    /// Orderly dies after the API server has done it, without having heard so.
    KillAfter,
    /// Too many requests: to come again after so many seconds.
    Busy(u32),
}

type Script = Box<dyn FnMut(&Method, &str) -> Fate + Send>;

struct Post {
    onward: String,
    client: Client,
    script: Mutex<Script>,
    victim: AtomicU32,
    seen: Mutex<Vec<(Instant, String)>>,
}

pub struct Between {
    post: Arc<Post>,
    directory: tempfile::TempDir,
    proxy: Child,
    _serving: DropGuard,
}

impl Drop for Between {
    fn drop(&mut self) {
        let _ended = self.proxy.kill();
        let _reaped = self.proxy.wait();
    }
}

impl Between {
    /// Lets everything through at first.
    pub async fn start() -> Self {
        let _already = rustls::crypto::ring::default_provider().install_default();
        let mut proxy = Command::new("kubectl")
            .arg(format!("--kubeconfig={}", plane::kubeconfig().display()))
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let place = said.trim().rsplit(' ').next().unwrap();
        let post = Arc::new(Post {
            onward: format!("http://{place}"),
            client: Client::new(),
            script: Mutex::new(Box::new(|_, _| Fate::Forward)),
            victim: AtomicU32::new(0),
            seen: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let served = Router::new().fallback(pass).with_state(post.clone());
        let ended = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                served = async { axum::serve(listener, served).await } => served.unwrap(),
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\nclusters: [{{name: it, cluster: \
             {{server: 'http://127.0.0.1:{port}'}}}}]\nusers: [{{name: it, user: {{}}}}]\ncontexts: \
             [{{name: it, context: {{cluster: it, user: it}}}}]\n"
        );
        std::fs::write(directory.path().join("kubeconfig"), kubeconfig).unwrap();
        Self { post, directory, proxy, _serving: stop.drop_guard() }
    }

    /// With this, a client comes here.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// From now on this decides about each request, by its method and path.
    pub fn script(&self, script: impl FnMut(&Method, &str) -> Fate + Send + 'static) {
        *self.post.script.lock().unwrap() = Box::new(script);
    }

    /// Who dies when the script says so.
    pub fn victim(&self, pid: u32) {
        self.post.victim.store(pid, Ordering::SeqCst);
    }

    /// What came, and when.
    pub fn seen(&self) -> Vec<(Instant, String)> {
        self.post.seen.lock().unwrap().clone()
    }
}

impl Post {
    /// Kills, and never answers.
    async fn kill(&self) -> Response {
        let victim = self.victim.load(Ordering::SeqCst).to_string();
        let killed = Command::new("kill").args(["-KILL", &victim]).status().unwrap();
        assert!(killed.success());
        std::future::pending().await
    }

    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let sent = self.client.request(parts.method, format!("{}{}", self.onward, parts.uri));
        let answer = match sent.headers(headers).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
        let mut response = Response::builder().status(answer.status());
        for name in [header::CONTENT_TYPE, header::RETRY_AFTER, header::DATE] {
            if let Some(value) = answer.headers().get(&name) {
                response = response.header(name, value);
            }
        }
        response.body(Body::from(answer.bytes().await.unwrap_or_default())).unwrap()
    }
}

async fn pass(State(post): State<Arc<Post>>, request: Request) -> Response {
    let (method, place) = (request.method().clone(), request.uri().to_string());
    post.seen.lock().unwrap().push((Instant::now(), format!("{method} {place}")));
    let fate = (post.script.lock().unwrap())(&method, &place);
    match fate {
        Fate::Forward => post.forward(request).await,
        Fate::KillBefore => post.kill().await,
        Fate::KillAfter => {
            let _done = post.forward(request).await;
            post.kill().await
        }
        Fate::Busy(seconds) => {
            let after = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, after, "Too many requests, please try again later.\n")
                .into_response()
        }
    }
}
