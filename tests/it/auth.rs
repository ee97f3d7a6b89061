//! Who is let in: the webhook's three ways, people's tokens, and that no route is without a check.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use axum::body::Body;
use http::{Request, StatusCode};
use jiff::SignedDuration;
use orderly::http::routes::{Access, routes};
use orderly::http::server::Listener;
use orderly::http::tls::{Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_util::sync::CancellationToken;

use crate::site::{Answer, Fixture, webhook_body, with_config};

async fn with_header(site: &Fixture, value: &str) -> Answer {
    let request = Request::post("/webhook").header("authorization", value);
    site.send(request.body(Body::from(webhook_body())).unwrap()).await
}

#[tokio::test]
async fn a_bearer_token_is_taken_and_follows_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "first-token\n").unwrap();
    let site = with_config(&format!("webhook: {{auth: {{bearerTokenFile: {}}}}}", token.display()));
    assert_eq!(with_header(&site, "Bearer first-token").await.status, StatusCode::ACCEPTED);
    assert_eq!(with_header(&site, "bearer first-token").await.status, StatusCode::ACCEPTED);
    for wrong in
        ["Bearer first-toke", "Bearer first-token2", "Bearer", "first-token", "Basic x", ""]
    {
        let answer = with_header(&site, wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"orderly\"");
        assert!(!answer.body.contains("first"), "{}", answer.body);
    }
    std::fs::write(&token, "second-token\n").unwrap();
    site.clock.advance(SignedDuration::from_secs(6));
    assert_eq!(with_header(&site, "Bearer first-token").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(with_header(&site, "Bearer second-token").await.status, StatusCode::ACCEPTED);
    // A secret that is lost lets nobody in, and Alertmanager shall try again.
    std::fs::remove_file(&token).unwrap();
    site.clock.advance(SignedDuration::from_secs(6));
    let answer = with_header(&site, "Bearer second-token").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.contains(&token.display().to_string()), "{}", answer.body);
}

#[tokio::test]
async fn basic_authentication_is_taken_beside_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let [token, password] = ["token", "password"].map(|name| directory.path().join(name));
    std::fs::write(&token, "t0ken").unwrap();
    std::fs::write(&password, "pa:ss").unwrap();
    let site = with_config(&format!(
        "webhook: {{auth: {{bearerTokenFile: {}, basic: {{username: am, passwordFile: {}}}}}}}",
        token.display(),
        password.display()
    ));
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    assert_eq!(with_header(&site, &basic("am:pa:ss")).await.status, StatusCode::ACCEPTED);
    assert_eq!(with_header(&site, "Bearer t0ken").await.status, StatusCode::ACCEPTED);
    for wrong in [basic("am:pa"), basic("xx:pa:ss"), basic("am"), "Basic !!".to_owned()] {
        let answer = with_header(&site, &wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 2);
    }
    assert_eq!(site.taken(), 2);
    assert!(site.metric(r#"orderly_webhooks_total{outcome="unauthorized"} 4"#));
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, both PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn client(trusted: &Authority, identity: Option<(String, String)>) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(trusted.0.pem().as_bytes()).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
    if let Some((certificate, key)) = identity {
        let pem = format!("{certificate}{key}");
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_taken_only_from_the_known_authority() {
    let _already = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (ours, theirs) = (Authority::new(), Authority::new());
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    let (certificate, key) = ours.issue();
    write(&file("cert"), &certificate);
    write(&file("key"), &key);
    write(&file("ca"), &ours.0.pem());
    let site = with_config(&format!(
        "tls: {{certFile: {0}/cert, keyFile: {0}/key}}\n\
         webhook: {{auth: {{mutualTls: {{clientCaFile: {0}/ca}}}}}}",
        directory.path().display()
    ));
    let files = TlsFiles { cert: file("cert"), key: file("key"), client_ca: Some(file("ca")) };
    let mut tls = Tls::open(files).unwrap();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), "webhooks", "--listen").unwrap();
    let url = format!("https://localhost:{}/webhook", listener.address().port());
    let stop = CancellationToken::new();
    let serving =
        tokio::spawn(listener.serve(site.router.clone(), Some(tls.config()), stop.clone()));
    let post = |client: reqwest::Client| client.post(&url).body(webhook_body()).send();

    let known = post(client(&ours, Some(ours.issue()))).await.unwrap();
    assert_eq!(known.status().as_u16(), 202);
    let nobody = post(client(&ours, None)).await.unwrap();
    assert_eq!(nobody.status().as_u16(), 401);
    assert!(nobody.headers().get("www-authenticate").is_none());
    assert!(post(client(&ours, Some(theirs.issue()))).await.is_err(), "refused in the handshake");
    assert_eq!(site.taken(), 1);

    // The certificate is renewed by another authority: who trusts that one gets through.
    assert!(!tls.reload().unwrap());
    let (certificate, key) = theirs.issue();
    write(&file("cert"), &certificate);
    assert!(tls.reload().is_err(), "the key is not the certificate's");
    assert!(post(client(&ours, Some(ours.issue()))).await.is_ok(), "the old one stays");
    write(&file("key"), &key);
    assert!(tls.reload().unwrap());
    assert!(post(client(&theirs, Some(ours.issue()))).await.is_ok());
    assert!(post(client(&ours, Some(ours.issue()))).await.is_err());
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_route_is_without_a_check() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "t0ken").unwrap();
    let site = with_config(&format!(
        "people: [{{name: ada, role: admin, tokenFile: {0}}}]\n\
         webhook: {{auth: {{bearerTokenFile: {0}}}}}",
        token.display()
    ));
    let all = routes();
    assert!(all.iter().any(|route| route.access == Access::Webhook));
    for route in all {
        let path = route.path.replace("{id}", "0123456789ab").replace("{name}", "agent-down");
        for credentials in [None, Some("Bearer wrong"), Some("Basic dDBrZW46dDBrZW4=")] {
            let mut request = Request::builder().method(&route.method).uri(&path);
            if let Some(value) = credentials {
                request = request.header("authorization", value);
            }
            let answer = site.send(request.body(Body::from("{}")).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {path}", route.method);
            // Slack signs; there is nothing that it could be asked for.
            let asks = answer.headers.contains_key("www-authenticate");
            assert_eq!(asks, route.access != Access::Slack, "{path}");
        }
    }
    assert_eq!(site.taken(), 0);
}
