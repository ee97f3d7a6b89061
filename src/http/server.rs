//! Listeners: bound early, so that an address in use is found before anything is started; served
//! plain or over TLS; drained when the process stops.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio_util::sync::CancellationToken;

/// What a connection reads ahead; every head fits, and a body is collected elsewhere. The library's
/// own bound is six times that, for each of many connections.
const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;
/// A client that has not sent its request's head by then does not mean to.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests in hand are given this long when the process stops: longer than the longest of them
/// may take (body and journal), shorter than Kubernetes' default grace of thirty seconds.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` for {purpose}: {advice}")]
pub struct BindError {
    address: SocketAddr,
    purpose: &'static str,
    advice: String,
    source: std::io::Error,
}

/// An address that is listened on, not yet served.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; `flag` is how the operator would choose another one.
    pub fn bind(
        address: SocketAddr,
        purpose: &'static str,
        flag: &'static str,
    ) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address).or_else(|error| {
            // A machine without IPv6 has no `[::]`; all of its interfaces are `0.0.0.0`.
            if address.ip().is_unspecified()
                && address.is_ipv6()
                && error.kind() != ErrorKind::AddrInUse
            {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
            } else {
                Err(error)
            }
        });
        let refused = |source: std::io::Error| {
            let advice = match source.kind() {
                ErrorKind::AddrInUse => format!(
                    "another process listens there; stop it, or choose another address with `{flag}`"
                ),
                ErrorKind::PermissionDenied => {
                    format!("ports below 1024 need privileges; choose a higher one with `{flag}`")
                }
                ErrorKind::AddrNotAvailable => {
                    format!("this machine does not have that address; choose one with `{flag}`")
                }
                _other => format!("{source}; choose another address with `{flag}`"),
            };
            BindError { address, purpose, advice, source }
        };
        let listener = bound.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens; the port is the real one also when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop`, then lets the requests in hand finish.
    pub async fn serve(
        self,
        router: Router,
        tls: Option<RustlsConfig>,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(self.listener)?
            .handle(handle.clone())
            .first_request_timeout(HEAD_TIMEOUT)
            .accept_error_handler(|peer, error| {
                tracing::debug!(?peer, %error, "a connection was not accepted");
            });
        server
            .http_builder()
            .http1()
            .header_read_timeout(Some(HEAD_TIMEOUT))
            .max_buf_size(CONNECTION_BUFFER_BYTES);
        let service = router.into_make_service();
        let serving = async {
            match tls {
                Some(config) => {
                    let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
                    server.acceptor(acceptor).serve(service).await
                }
                None => server.acceptor(NoDelayAcceptor::new()).serve(service).await,
            }
        };
        let draining = async {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(DRAIN));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = serving => outcome,
            () = draining => Ok(()),
        }
    }
}
