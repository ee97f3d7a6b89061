//! Reads a request's body into memory: bounded in size, in time, and in the sum over all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// Alertmanager gives a notification at least ten seconds over all attempts: a body that has not
/// come by then will not come.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRefused {
    /// Larger than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// All bodies together are larger than what may be held at once.
    TooManyAtOnce,
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke, or the length was a lie.
    Broken,
}

/// How many bytes of bodies may be in memory at once, over all requests.
#[derive(Debug)]
pub struct Buffer {
    limit: usize,
    total: usize,
    patience: Duration,
    used: AtomicUsize,
}

impl Buffer {
    /// At most `limit` bytes a body, which must arrive within `patience`, and `total` bytes in all.
    pub fn new(limit: usize, total: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { limit, total, patience, used: AtomicUsize::new(0) })
    }

    /// Reads `body`. The share of the buffer is held as long as the result lives.
    pub async fn read(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Buffered, BodyRefused> {
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<usize>().ok());
        if announced.is_some_and(|length| length > self.limit) {
            return Err(BodyRefused::TooLarge { limit: self.limit });
        }
        let mut share = Share { buffer: Arc::clone(self), bytes: 0 };
        share.grow(announced.unwrap_or(0))?;
        match tokio::time::timeout(self.patience, self.collect(body, &mut share)).await {
            Ok(bytes) => Ok(Buffered { bytes: bytes?, _share: share }),
            Err(_elapsed) => Err(BodyRefused::TooSlow),
        }
    }

    async fn collect(&self, body: Body, share: &mut Share) -> Result<Bytes, BodyRefused> {
        let mut chunks = body.into_data_stream();
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_broken| BodyRefused::Broken)?;
            let length = first.len() + whole.len() + chunk.len();
            if length > self.limit {
                return Err(BodyRefused::TooLarge { limit: self.limit });
            }
            if length > share.bytes {
                share.grow(length - share.bytes)?;
            }
            // Most bodies are one chunk, which is kept as it came.
            if first.is_empty() && whole.is_empty() {
                first = chunk;
            } else {
                if whole.is_empty() {
                    whole.reserve(share.bytes);
                    whole.extend_from_slice(&std::mem::take(&mut first));
                }
                whole.extend_from_slice(&chunk);
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }
}

/// A body with its share of the buffer.
#[derive(Debug)]
pub struct Buffered {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Buffered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Debug)]
struct Share {
    buffer: Arc<Buffer>,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, by: usize) -> Result<(), BodyRefused> {
        let before = self.buffer.used.fetch_add(by, Ordering::AcqRel);
        self.bytes += by;
        if before.saturating_add(by) > self.buffer.total {
            return Err(BodyRefused::TooManyAtOnce);
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.buffer.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn announced(length: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, length.into());
        headers
    }

    #[tokio::test]
    async fn the_buffer_is_shared_and_given_back() {
        let buffer = Buffer::new(10, 15, BODY_TIMEOUT);
        let held = buffer.read(&announced(10), Body::from("0123456789")).await.unwrap();
        assert_eq!(held.as_ref(), b"0123456789");
        let refused = buffer.read(&announced(10), Body::from("0123456789")).await;
        assert_eq!(refused.unwrap_err(), BodyRefused::TooManyAtOnce);
        drop(held);
        assert_eq!(buffer.used.load(Ordering::Acquire), 0);
        assert!(buffer.read(&announced(10), Body::from("0123456789")).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_announces_its_length() {
        let buffer = Buffer::new(10, 100, BODY_TIMEOUT);
        let too_large = BodyRefused::TooLarge { limit: 10 };
        let refused = buffer.read(&announced(11), Body::from("short")).await;
        assert_eq!(refused.unwrap_err(), too_large);
        let chunks = ["01234", "56789", "x"].map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures::stream::iter(chunks));
        let refused = buffer.read(&HeaderMap::new(), body).await;
        assert_eq!(refused.unwrap_err(), too_large);
        let chunks = ["01234", "56789"].map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures::stream::iter(chunks));
        let read = buffer.read(&HeaderMap::new(), body).await.unwrap();
        assert_eq!(read.as_ref(), b"0123456789");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let buffer = Buffer::new(10, 100, Duration::from_millis(1));
        let never = Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>());
        let refused = buffer.read(&HeaderMap::new(), never).await;
        assert_eq!(refused.unwrap_err(), BodyRefused::TooSlow);
        assert_eq!(buffer.used.load(Ordering::Acquire), 0);
    }
}
