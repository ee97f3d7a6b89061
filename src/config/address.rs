//! Small texts of the configuration that mean more than their characters: addresses, URLs, hashes.
//! Parsed once, here; a URL that may itself be a secret never shows itself.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::document::structure::{TextKind, wrong};
use crate::secret::SecretHash;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080` for all
/// interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// A port on the loopback interface.
    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// As a socket address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// A text that is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address to listen on: write for example `127.0.0.1:8080` or `:8080`")]
pub struct ParseListenError(String);

impl FromStr for ListenAddress {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseListenError(text.chars().take(80).collect());
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().map_err(|_| error())?;
        match host {
            "" => Ok(Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))),
            "localhost" => Ok(Self::loopback(port)),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = ParseListenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The base URL of another service. Without user and password: those come from files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Url);

impl Endpoint {
    /// As a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// A text that is not the URL of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEndpointError {
    /// Not a URL, or another scheme.
    #[error("not the URL of a service: write for example `http://prometheus:9090`")]
    NotHttp,
    /// A user name or a password inside.
    #[error("a URL with a user or password in it: move them to `basic.passwordFile`")]
    HoldsPassword,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = parse_http(text).ok_or(ParseEndpointError::NotHttp)?;
        if url.username().is_empty() && url.password().is_none() {
            Ok(Self(url))
        } else {
            Err(ParseEndpointError::HoldsPassword)
        }
    }
}

fn parse_http(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

impl TryFrom<String> for Endpoint {
    type Error = ParseEndpointError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.into()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A URL that is a secret by itself, as chat webhooks have them. Never shown.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The URL, for the one who calls it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A text that is not a URL; it is not repeated because it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an `http://` or `https://` URL")]
pub struct ParseSecretUrlError;

impl TryFrom<String> for SecretUrl {
    type Error = ParseSecretUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match parse_http(&text) {
            Some(_) => Ok(Self(SecretString::from(text))),
            None => Err(ParseSecretUrlError),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretUrl([REDACTED])")
    }
}

/// The SHA-256 of a token, 64 hex digits: `printf %s TOKEN | sha256sum`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenSha256(SecretHash);

impl TokenSha256 {
    /// To compare with.
    pub fn hash(self) -> SecretHash {
        self.0
    }
}

/// A text that is not a SHA-256; it is not repeated because it may be the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 of 64 hex digits: `printf %s TOKEN | sha256sum` prints one")]
pub struct ParseTokenSha256Error;

impl TryFrom<String> for TokenSha256 {
    type Error = ParseTokenSha256Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        SecretHash::from_hex(&text).map(Self).ok_or(ParseTokenSha256Error)
    }
}

impl fmt::Debug for TokenSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSha256([REDACTED])")
    }
}

/// The texts of the configuration that have a form of their own.
pub(super) const TEXTS: &[TextKind] = &[
    TextKind { name: "ListenAddress", code: "address", wrong: wrong::<ListenAddress> },
    TextKind { name: "Endpoint", code: "url", wrong: wrong::<Endpoint> },
    TextKind { name: "SecretUrl", code: "url", wrong: wrong::<SecretUrl> },
    TextKind { name: "TokenSha256", code: "sha256", wrong: wrong::<TokenSha256> },
];

/// In a schema each is a text, and what it is called leads to its check.
macro_rules! text_in_schema {
    ($($kind:ident: $description:literal),* $(,)?) => {$(
        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $description})
            }
        }
    )*};
}

text_in_schema! {
    ListenAddress: "An address to listen on: `127.0.0.1:8080`, or `:8080` for all interfaces.",
    Endpoint: "The base URL of a service: `http://prometheus:9090`.",
    SecretUrl: "An `http://` or `https://` URL.",
    TokenSha256: "64 hex digits: `printf %s TOKEN | sha256sum`.",
}
