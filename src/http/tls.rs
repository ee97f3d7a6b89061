//! TLS for the main listener: certificate, key and client authorities from files, read again when
//! they change. A client certificate is asked for but not demanded by the handshake, because people
//! with tokens use the same listener; the webhook demands it where it is configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use jiff::SignedDuration;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// How often the files are looked at. Certificates are renewed days before they end.
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Where the parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities of client certificates, when they are asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A file holds something else.
    #[error("`{}` does not hold {expected} in PEM format", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The parts do not fit together.
    #[error("`{}` and `{}` cannot be used: {reason}", cert.display(), key.display())]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The content of the files: what is compared to see a change.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A certificate in force that follows its files.
pub struct Tls {
    files: TlsFiles,
    contents: Contents,
    config: RustlsConfig,
}

impl Tls {
    /// Reads the files.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let config = RustlsConfig::from_config(Arc::new(contents.server_config(&files)?));
        Ok(Self { files, contents, config })
    }

    /// For the listener; follows every reload.
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Looks at the files; true when what they hold now is in force since this call. On an error
    /// the previous certificate stays in force.
    pub fn reload(&mut self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if contents == self.contents {
            return Ok(false);
        }
        self.config.reload_from_config(Arc::new(contents.server_config(&self.files)?));
        self.contents = contents;
        Ok(true)
    }

    /// Follows the files until `stop`.
    pub async fn follow(mut self, clock: SharedClock, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let wake = clock.now() + LOOK_AGAIN_AFTER;
            tokio::select! {
                () = clock.sleep_until(wake) => {}
                () = stop.cancelled() => return,
            }
            match self.reload() {
                Ok(true) => {
                    tracing::info!(file = %self.files.cert.display(), "certificate renewed")
                }
                Ok(false) => {}
                Err(error) if !failing => {
                    tracing::warn!(%error, "the certificate stays as it was");
                    failing = true;
                    continue;
                }
                Err(_known) => continue,
            }
            failing = false;
        }
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn server_config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let unusable = |reason: String| TlsError::Unusable {
            cert: files.cert.clone(),
            key: files.key.clone(),
            reason,
        };
        let chain = certificates(&self.cert, &files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::NotPem { path: files.key.clone(), expected: "a private key" })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let not_authorities = |_| TlsError::NotPem {
                    path: path.clone(),
                    expected: "certificate authorities",
                };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, path)? {
                    roots.add(certificate).map_err(not_authorities)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| unusable(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            (None, _) | (_, None) => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| unusable(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|reason| TlsError::Unreadable { path: path.to_owned(), reason })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(TlsError::NotPem { path: path.to_owned(), expected: "certificates" }),
    }
}
