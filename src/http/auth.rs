//! Who is it? For the webhook: is it the Alertmanager (bearer token, basic authentication, client
//! certificate). For the API: which person.
//!
//! Comparisons take constant time and go over hashes. A secret that cannot be read lets nobody in
//! and is answered 503, so that Alertmanager tries again instead of giving the alert up. Whether a
//! person may approve a certain plan is decided elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use axum_server::tls::TlsInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::config::{Config, Role};
use crate::domain::event::Person;
use crate::secret::{SecretError, SecretFile, SecretHash};

const BEARER: HeaderValue = HeaderValue::from_static(r#"Bearer realm="orderly""#);
const BASIC: HeaderValue = HeaderValue::from_static(r#"Basic realm="orderly", charset="UTF-8""#);
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A secret is swapped by hand or by the kubelet within a minute at most.
const RETRY_AFTER_SECONDS: u64 = 10;

/// Somebody who was recognised, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The name that the journal shows.
    pub name: String,
    /// The groups that policies name as approvers.
    pub groups: BTreeSet<String>,
    /// What they may do at all.
    pub role: Role,
    /// How they were recognised.
    pub path: AccessPath,
}

/// How somebody was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessPath {
    /// By a token of the configuration's `people`.
    Token,
    /// By being on this machine, when nobody is configured.
    Loopback,
}

impl AccessPath {
    /// The name as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Loopback => "loopback",
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Not recognised; these ways would do.
    Unknown {
        /// `WWW-Authenticate`, one each; none when only a client certificate would do.
        challenges: Vec<HeaderValue>,
    },
    /// What to compare with cannot be read.
    Unreadable(SecretError),
    /// A web page in a browser on this machine tries to use its owner's access.
    FromABrowser,
    /// Recognised, but the role does not suffice.
    Role {
        /// Who.
        name: String,
        /// What they have.
        has: Role,
        /// What it takes.
        needs: Role,
    },
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let forbidden = |title| Self::new(StatusCode::FORBIDDEN, "forbidden", title);
        match denied {
            Denied::Unknown { challenges } if challenges.is_empty() => {
                Self::unauthorized(&challenges)
                    .detail("a client certificate of a known authority is required")
            }
            Denied::Unknown { challenges } => Self::unauthorized(&challenges)
                .detail("the request carries no credentials, or wrong ones"),
            // The path of the file is for the operator's log, not for whoever asks.
            Denied::Unreadable(_) => Self::unavailable(
                "authentication-unavailable",
                "Authentication unavailable",
                RETRY_AFTER_SECONDS,
            )
            .detail("a secret cannot be read at the moment; the service's log says which"),
            Denied::FromABrowser => forbidden("Refused to a web page")
                .detail("this access is for programs on this machine, not for pages in a browser")
                .hint("configure `people` or `webhook.auth` and send a token"),
            Denied::Role { name, has, needs } => forbidden("Role not sufficient").detail(format!(
                "`{name}` has the role `{}`, this takes `{}`",
                has.as_str(),
                needs.as_str()
            )),
        }
    }
}

/// Who may send alerts.
#[derive(Debug)]
pub struct WebhookAuth {
    ways: Vec<Way>,
}

#[derive(Debug)]
enum Way {
    Bearer(SecretFile),
    Basic { username: String, password: SecretFile },
    ClientCertificate,
}

impl WebhookAuth {
    /// As configured. No way at all means open; `Config` allows that only on a loopback listener or
    /// when the operator insists.
    pub fn new(config: &Config, now: Timestamp) -> Result<Self, SecretError> {
        let auth = &config.webhook.auth;
        let mut ways = Vec::new();
        if let Some(path) = &auth.bearer_token_file {
            ways.push(Way::Bearer(SecretFile::open(path, now)?));
        }
        if let Some(basic) = &auth.basic {
            let password = SecretFile::open(&basic.password_file, now)?;
            ways.push(Way::Basic { username: basic.username.clone(), password });
        }
        if auth.mutual_tls.is_some() {
            ways.push(Way::ClientCertificate);
        }
        Ok(Self { ways })
    }

    /// Lets the sender in or says why not. `tls` is what the handshake found: a client certificate
    /// in it was verified there.
    pub fn check(
        &self,
        headers: &HeaderMap,
        tls: Option<&TlsInfo>,
        now: Timestamp,
    ) -> Result<(), Denied> {
        if self.ways.is_empty() {
            // Browsers say where a POST comes from; Alertmanager is none.
            let browser = headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
            return if browser { Err(Denied::FromABrowser) } else { Ok(()) };
        }
        let mut unreadable = None;
        for way in &self.ways {
            match way.check(headers, tls, now) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        match unreadable {
            Some(error) => Err(Denied::Unreadable(error)),
            None => {
                let challenges = self.ways.iter().filter_map(Way::challenge).collect();
                Err(Denied::Unknown { challenges })
            }
        }
    }
}

impl Way {
    fn check(
        &self,
        headers: &HeaderMap,
        tls: Option<&TlsInfo>,
        now: Timestamp,
    ) -> Result<bool, SecretError> {
        match self {
            Self::Bearer(token) => {
                let Some(given) = bearer(headers) else { return Ok(false) };
                Ok(SecretHash::of_secret(&*token.current(now)?).matches(&given))
            }
            Self::Basic { username, password } => {
                let Some((user, given)) = basic(headers) else { return Ok(false) };
                let password = SecretHash::of_secret(&*password.current(now)?).matches(&given);
                let user = SecretHash::of(username.as_bytes()).matches(&user);
                Ok(password & user)
            }
            Self::ClientCertificate => Ok(tls.is_some_and(|tls| !tls.peer_certificates.is_empty())),
        }
    }

    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Bearer(_) => Some(BEARER),
            Self::Basic { .. } => Some(BASIC),
            Self::ClientCertificate => None,
        }
    }
}

fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h [u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

fn bearer(headers: &HeaderMap) -> Option<SecretHash> {
    credentials(headers, "Bearer").map(SecretHash::of)
}

fn basic(headers: &HeaderMap) -> Option<(SecretHash, SecretHash)> {
    let decoded = STANDARD.decode(credentials(headers, "Basic")?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    Some((SecretHash::of(user), SecretHash::of(&password[1..])))
}

/// Who may use the API.
#[derive(Debug)]
pub struct People {
    known: Vec<(Identity, Token)>,
    local: Option<Identity>,
}

#[derive(Debug)]
enum Token {
    File(SecretFile),
    Hash(SecretHash),
}

impl People {
    /// As configured. With nobody listed and a loopback listener, whoever is on this machine is
    /// `local` with the role `admin`; with nobody listed and another listener, nobody is let in.
    pub fn new(config: &Config, now: Timestamp) -> Result<Self, SecretError> {
        let mut known = Vec::new();
        for person in &config.people {
            let token = match (&person.token_sha256, &person.token_file) {
                (Some(hash), _) => Token::Hash(hash.hash()),
                (None, Some(path)) => Token::File(SecretFile::open(path, now)?),
                // Refused when the configuration was read.
                (None, None) => continue,
            };
            let identity = Identity {
                name: person.name.clone(),
                groups: person.groups.iter().cloned().collect(),
                role: person.role,
                path: AccessPath::Token,
            };
            known.push((identity, token));
        }
        let local = (config.people.is_empty() && config.listen.is_loopback()).then(|| Identity {
            name: "local".to_owned(),
            groups: BTreeSet::new(),
            role: Role::Admin,
            path: AccessPath::Loopback,
        });
        Ok(Self { known, local })
    }

    /// Who sent this request.
    pub fn recognise(&self, parts: &Parts, now: Timestamp) -> Result<Identity, Denied> {
        if let Some(local) = &self.local {
            return if from_this_machine(parts) {
                Ok(local.clone())
            } else {
                Err(Denied::FromABrowser)
            };
        }
        let unknown = || Denied::Unknown { challenges: vec![BEARER] };
        let given = bearer(&parts.headers).ok_or_else(unknown)?;
        let mut found = None;
        let mut unreadable = None;
        // All are compared, also after a match: the time says nothing about who it is.
        for (identity, token) in &self.known {
            let expected = match token {
                Token::Hash(hash) => Ok(*hash),
                Token::File(file) => file.current(now).map(|secret| SecretHash::of_secret(&secret)),
            };
            match expected {
                Ok(expected) if expected.matches(&given) => found = Some(identity),
                Ok(_) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        match (found, unreadable) {
            (Some(identity), _) => Ok(identity.clone()),
            (None, Some(error)) => Err(Denied::Unreadable(error)),
            (None, None) => Err(unknown()),
        }
    }

    /// The files whose content decides who is let in, for `orderly doctor`.
    pub fn token_files(&self) -> impl Iterator<Item = &Path> {
        self.known.iter().filter_map(|(_, token)| match token {
            Token::File(file) => Some(file.path()),
            Token::Hash(_) => None,
        })
    }
}

impl Identity {
    /// As the journal keeps it: name, groups and the path by which they came.
    pub fn person(&self) -> Person {
        Person {
            name: self.name.clone(),
            groups: self.groups.iter().cloned().collect(),
            path: format!("api/{}", self.path.as_str()),
        }
    }

    /// Whether the role suffices.
    pub fn require(&self, needs: Role) -> Result<(), Denied> {
        if self.role >= needs {
            return Ok(());
        }
        Err(Denied::Role { name: self.name.clone(), has: self.role, needs })
    }
}

/// Whether a request to a loopback listener was meant for it. A page in a browser on this machine
/// could otherwise use the local access: by a request across sites (then the browser names another
/// origin), or by a host name that it lets point here (then the host is not a loopback name).
fn from_this_machine(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = parts.uri.authority().map(|authority| authority.as_str()).or_else(|| text(HOST));
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback_name = name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback());
    let same_site = matches!(text(SEC_FETCH_SITE), None | Some("same-origin" | "none"));
    let same_origin = text(ORIGIN).is_none_or(|origin| {
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
    });
    loopback_name && same_site && same_origin
}
