//! The operator's listener: probes, metrics, status.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use jiff::Timestamp;
use orderly::http::admin::router;
use orderly::http::status::{Check, Readiness, Status};
use orderly::metrics::Metrics;
use tower::ServiceExt as _;

use crate::house::House;

async fn get(house: &Arc<House>, path: &str) -> (StatusCode, String, String) {
    let metrics = Arc::new(Metrics::new(Timestamp::UNIX_EPOCH));
    let router = router(Arc::<House>::clone(house), metrics);
    let request = Request::get(path).body(Body::empty()).unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let kind = parts.headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let bytes = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    (parts.status, kind.unwrap_or_default(), String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_gives_its_reasons() {
    let house = Arc::new(House::default());
    assert_eq!(get(&house, "/livez").await.0, StatusCode::OK);
    let (status, _, body) = get(&house, "/readyz").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));

    house.readiness.lock().unwrap().store =
        Check::Bad { reason: "the disk of `orderly.db` is full: free some space".to_owned() };
    let (status, _, body) = get(&house, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "store: the disk of `orderly.db` is full: free some space\n");
    let (status, kind, body) = get(&house, "/readyz?verbose").await;
    assert_eq!((status, kind.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "application/json"));
    let readiness: Readiness = serde_json::from_str(&body).unwrap();
    assert!(!readiness.is_ready());
    assert_eq!(readiness.cluster, Check::Good { detail: "v1.33".to_owned() });
    // A process that is not ready is alive all the same.
    assert_eq!(get(&house, "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_and_status_are_served_and_nothing_else() {
    let house = Arc::new(House::default());
    let (status, kind, body) = get(&house, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let (_, _, body) = get(&house, "/status").await;
    let status: Status = serde_json::from_str(&body).unwrap();
    assert_eq!(status.journal.seq, crate::house::ENTRIES);
    for path in ["/", "/api/v1/kill-switch", "/webhook", "/alerts"] {
        assert_eq!(get(&house, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}
