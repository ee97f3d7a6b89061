//! How Orderly calls HTTP services other than Kubernetes: one client each, credentials from files,
//! limits on time and size, no redirects (a redirect would carry the credentials elsewhere).

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode, Url};

/// Until a connection stands: these services are near.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Idle connections are dropped before common load balancers drop them silently at 60 s.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// A token or password file: no real one is larger.
const SECRET_LIMIT: u64 = 64 * 1024;

/// Who we are to the service. Files are read at every request, so that rotation needs no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// A bearer token.
    BearerFile(PathBuf),
    /// Basic authentication.
    Basic {
        /// The user.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
}

/// A service to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its base address, with a path prefix if it has one.
    pub url: String,
    /// Who we are to it.
    pub credentials: Credentials,
    /// A file with the certificates (PEM) to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why a service cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is not one.
    #[error("`{0}` is not an http or https address")]
    Address(String),
    /// A file cannot be used.
    #[error("`{}` cannot be used: {why}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The client could not be built.
    #[error("cannot build an HTTP client: {0}")]
    Client(String),
}

/// A service with its client.
#[derive(Clone)]
pub struct Endpoint {
    base: Url,
    credentials: Credentials,
    client: reqwest::Client,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Host and port only: a path or user part may be secret.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.host_str().unwrap_or("unknown"))?;
        self.base.port_or_known_default().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP code.
    pub status: StatusCode,
    /// Seconds to wait, when the service said.
    pub retry_after: Option<u64>,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Endpoint {
    /// Checks the address and builds the client; sends nothing.
    pub fn new(service: &Service) -> Result<Self, OutboundError> {
        let base = address(&service.url)?;
        let client = client(&base, service.ca_file.as_deref())?;
        Ok(Self { base, credentials: service.credentials.clone(), client })
    }

    /// The address of a path below the base.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    /// The base address itself, with its query.
    pub fn whole(&self) -> Url {
        self.base.clone()
    }

    /// A GET.
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    /// A POST.
    pub fn post(&self, url: Url) -> RequestBuilder {
        self.client.post(url)
    }

    /// Sends a request with our credentials and reads the answer, both within `limit` and at most
    /// `bytes` long. The error is a text without the address.
    pub async fn send(
        &self,
        request: RequestBuilder,
        limit: Duration,
        bytes: usize,
    ) -> Result<Answer, String> {
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::BearerFile(file) => {
                request.bearer_auth(secret(file).await.map_err(|error| error.to_string())?)
            }
            Credentials::Basic { username, password_file } => {
                let password = secret(password_file).await.map_err(|error| error.to_string())?;
                request.basic_auth(username, Some(password))
            }
        };
        match tokio::time::timeout(limit, read(request, bytes)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {}s", limit.as_secs_f32())),
        }
    }
}

async fn read(request: RequestBuilder, bytes: usize) -> Result<Answer, String> {
    let mut answer = request.send().await.map_err(told)?;
    let status = answer.status();
    let retry_after = answer.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > bytes {
            return Err(format!("the answer is longer than {bytes} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after, headers, body })
}

/// The error with its causes, without the address.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Parses an address; the error does not repeat what may be secret in it.
pub fn address(text: &str) -> Result<Url, OutboundError> {
    let hidden = || {
        let shown = text.split_once("://").map_or("", |(scheme, _)| scheme);
        OutboundError::Address(format!("{shown}://…"))
    };
    let url = Url::parse(text.trim()).map_err(|_| hidden())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(hidden()) }
}

/// Builds a client for one address.
pub fn client(url: &Url, ca_file: Option<&Path>) -> Result<reqwest::Client, OutboundError> {
    // The client panics without a provider; whoever comes first installs it.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("orderly/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE_LIMIT);
    let loopback = url.host_str().is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if loopback {
        // A proxy of the environment cannot reach our own machine.
        builder = builder.no_proxy();
    }
    if let Some(file) = ca_file {
        let unusable = |why: String| OutboundError::File { file: file.to_owned(), why };
        let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem);
        let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| OutboundError::Client(told(error)))
}

/// Reads a secret from a file, without the line end that editors add.
pub async fn secret(file: &Path) -> Result<String, OutboundError> {
    let unusable = |why: String| OutboundError::File { file: file.to_owned(), why };
    let size = tokio::fs::metadata(file).await.map_err(|error| unusable(error.to_string()))?.len();
    if size > SECRET_LIMIT {
        return Err(unusable(format!("larger than {SECRET_LIMIT} bytes")));
    }
    let text =
        tokio::fs::read_to_string(file).await.map_err(|error| unusable(error.to_string()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(unusable("it is empty".to_owned())) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_prefix_and_its_secrets() {
        let service =
            Service { url: "http://u:p@127.0.0.1:9090/prom/".into(), ..Service::default() };
        let endpoint = Endpoint::new(&service).expect("an address");
        assert_eq!(endpoint.at("/api/v1/query").path(), "/prom/api/v1/query");
        assert_eq!(endpoint.to_string(), "127.0.0.1:9090");
        let error = address("ftp://hooks/SECRET").expect_err("not http").to_string();
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[tokio::test]
    async fn a_secret_file_loses_its_line_end_and_must_not_be_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        std::fs::write(&file, "abc\n").expect("written");
        assert_eq!(secret(&file).await.expect("a secret"), "abc");
        std::fs::write(&file, "\n").expect("written");
        assert!(secret(&file).await.is_err());
    }
}
