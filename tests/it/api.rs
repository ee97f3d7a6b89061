//! What people can ask and decide over HTTP, through the command line's client and past it.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use axum::body::Body;
use http::{Request, StatusCode};
use orderly::cli::client::{Client, ClientError, ServerFlags};
use orderly::domain::id::IncidentId;
use orderly::http::api::{
    AbortRequest, ApproveRequest, AuditFilter, IncidentFilter, KillSwitchRequest, RefuseRequest,
    ResetRequest, StateFilter,
};
use orderly::http::server::Listener;
use tokio_util::sync::CancellationToken;

use crate::house::{CLOSED, ENTRIES, PANICS, WAITING, digest};
use crate::site::{Answer, Fixture, with_config};

const PEOPLE: [(&str, &str); 4] =
    [("ada", "approver"), ("grace", "admin"), ("vera", "viewer"), ("intern", "approver")];

/// A site with people on a real socket.
struct Served {
    site: Fixture,
    url: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
}

fn site_with_people(directory: &Path) -> Fixture {
    let people: Vec<_> = PEOPLE
        .iter()
        .map(|(name, role)| {
            let file = directory.join(name);
            std::fs::write(&file, format!("token-of-{name}")).unwrap();
            let file = file.display();
            format!("{{name: {name}, role: {role}, groups: [sre], tokenFile: {file}}}")
        })
        .collect();
    with_config(&format!("people: [{}]", people.join(", ")))
}

fn served() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let site = site_with_people(directory.path());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), "the API", "--listen").unwrap();
    let url = format!("http://{}", listener.address());
    let stop = CancellationToken::new();
    tokio::spawn(listener.serve(site.router.clone(), None, stop.clone()));
    Served { site, url, directory, stop }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Served {
    fn client(&self, name: Option<&str>) -> Client {
        Client::new(&ServerFlags {
            server: self.url.parse().unwrap(),
            token_file: name.map(|name| self.directory.path().join(name)),
            ca_file: None,
        })
        .unwrap()
    }

    /// For snapshots: without the port.
    fn told(&self, error: &ClientError) -> String {
        error.to_string().replace(&self.url, "http://SERVER")
    }
}

fn id(text: &str) -> IncidentId {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_person_decides_and_is_recorded_with_groups_and_path() {
    let served = served();
    let ada = served.client(Some("ada"));
    let list = ada
        .incidents(&IncidentFilter {
            state: Some(StateFilter::Waiting),
            policy: Some("a b&c".to_owned()),
            target: None,
            limit: Some(1),
        })
        .await
        .unwrap();
    assert!(list.more);
    assert_eq!(list.incidents[0].policy, "a b&c");
    let waiting = list.incidents[0].waiting.as_ref().unwrap();

    let request = ApproveRequest {
        digest: Some(waiting.digest.short().parse().unwrap()),
        reason: Some("seen the diff".parse().unwrap()),
    };
    let first = ada.approve(&id(WAITING), &request).await.unwrap();
    assert!(!first.already);
    let again = ada.approve(&id(WAITING), &request).await.unwrap();
    assert!(again.already);
    let refused = RefuseRequest { reason: "not now".parse().unwrap() };
    ada.refuse(&id(WAITING), &refused).await.unwrap();
    let decisions = served.site.house.decisions.lock().unwrap().clone();
    assert_eq!(decisions.len(), 3);
    let (what, by) = &decisions[2];
    assert_eq!(what, "refuse: not now");
    assert_eq!((by.name.as_str(), by.path.as_str()), ("ada", "api/token"));
    assert_eq!(by.groups, ["sre"]);
}

#[tokio::test]
async fn the_kill_switch_and_breakers_are_for_admins() {
    let served = served();
    let request = KillSwitchRequest { on: true, reason: "game day".parse().unwrap() };
    let error = served.client(Some("ada")).set_kill_switch(&request).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(problem) if problem.status == 403), "{error}");
    let grace = served.client(Some("grace"));
    assert!(grace.set_kill_switch(&request).await.unwrap().on);
    let seen = served.client(Some("vera")).kill_switch().await.unwrap();
    assert_eq!(seen.by.as_deref(), Some("grace"));
    let reset = ResetRequest { reason: "fixed the probe".parse().unwrap() };
    grace.reset_breaker("agent-down", &reset).await.unwrap();
    let status = grace.status().await.unwrap();
    assert!(status.kill_switch.on && status.readiness.is_ready());
}

#[tokio::test]
async fn the_audit_log_is_streamed_whole_or_says_that_it_is_not() {
    let served = served();
    let vera = served.client(Some("vera"));
    let mut seen = Vec::new();
    let mut note = |entry: orderly::http::api::AuditEntry| {
        seen.push(entry.seq);
        Ok::<_, ClientError>(())
    };
    vera.audit(&AuditFilter::default(), &mut note).await.unwrap();
    let limited = AuditFilter { limit: Some(13), ..AuditFilter::default() };
    vera.audit(&limited, &mut note).await.unwrap();
    assert_eq!(seen, (1..=ENTRIES).chain(1..=13).collect::<Vec<_>>());

    *served.site.house.damaged_after.lock().unwrap() = Some(20);
    let mut count = 0;
    let error = vera
        .audit(&AuditFilter::default(), |_entry| {
            count += 1;
            Ok::<_, ClientError>(())
        })
        .await
        .unwrap_err();
    assert_eq!(count, 20);
    insta::assert_snapshot!(served.told(&error));
}

#[tokio::test]
async fn errors_are_told_in_words() {
    let served = served();
    let ada = served.client(Some("ada"));
    let approve = ApproveRequest::default();
    let other = ApproveRequest { digest: Some("0123456789ab".parse().unwrap()), reason: None };
    let abort = AbortRequest { reason: "wrong target".parse().unwrap() };
    let mut shown = String::new();
    let mut tell = |what: &str, error: ClientError| {
        shown += &format!("# {what}\n{}\n", served.told(&error));
    };
    tell("no token", served.client(None).approve(&id(WAITING), &approve).await.unwrap_err());
    let vera = served.client(Some("vera"));
    tell("a viewer", vera.approve(&id(WAITING), &approve).await.unwrap_err());
    let intern = served.client(Some("intern"));
    tell("not listed", intern.approve(&id(WAITING), &approve).await.unwrap_err());
    let stale = ada.approve(&id(WAITING), &other).await.unwrap_err();
    let ClientError::Refused(problem) = &stale else { panic!("{stale}") };
    assert_eq!(problem.more["plan"]["digest"], digest().to_string());
    assert!(problem.is("plan-stale"));
    tell("stale", stale);
    tell("closed", ada.abort(&id(CLOSED), &abort).await.unwrap_err());
    tell("unknown", ada.incident(&id("zzzzzzzzzzzz")).await.unwrap_err());
    assert!(served.site.house.decisions.lock().unwrap().is_empty());

    let nowhere = ServerFlags {
        server: "http://127.0.0.1:1".parse().unwrap(),
        token_file: None,
        ca_file: None,
    };
    tell("nobody there", Client::new(&nowhere).unwrap().status().await.unwrap_err());
    let missing = ServerFlags { token_file: Some("/nowhere/token".into()), ..nowhere };
    tell("no token file", Client::new(&missing).unwrap_err());
    let elsewhere = axum::Router::new().fallback(async || "<html>hello</html>");
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), "another", "--listen").unwrap();
    let server = format!("http://{}", listener.address());
    tokio::spawn(listener.serve(elsewhere, None, served.stop.clone()));
    let flags = ServerFlags { server: server.parse().unwrap(), token_file: None, ca_file: None };
    let error = Client::new(&flags).unwrap().status().await.unwrap_err();
    shown += &format!("# somebody else\n{}\n", error.to_string().replace(&server, "http://SERVER"));
    insta::assert_snapshot!(shown);
}

async fn send(site: &Fixture, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json");
const LOCAL: (&str, &str) = ("host", "localhost:8080");

#[tokio::test]
async fn on_loopback_without_people_a_program_is_local_and_a_web_page_is_not() {
    let site = with_config("");
    let path = format!("/api/v1/incidents/{WAITING}/approve");
    let allowed: [&[(&str, &str)]; 4] = [
        &[JSON, LOCAL],
        &[JSON, ("host", "127.0.0.1:8080")],
        &[JSON, ("host", "[::1]:8080")],
        &[JSON, LOCAL, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")],
    ];
    for headers in allowed {
        let answer = send(&site, &path, headers, "{}").await;
        assert_eq!(answer.status, StatusCode::OK, "{headers:?}: {}", answer.body);
    }
    let decisions = site.house.decisions.lock().unwrap().clone();
    assert!(decisions.iter().all(|(_, by)| by.name == "local" && by.path == "api/loopback"));
    let refused: [&[(&str, &str)]; 6] = [
        // Another site's page, with and without what browsers add.
        &[JSON, LOCAL, ("origin", "http://evil.example")],
        &[JSON, LOCAL, ("sec-fetch-site", "cross-site")],
        &[JSON, LOCAL, ("origin", "null")],
        // A name that somebody else's DNS points here.
        &[JSON, ("host", "evil.example:8080")],
        &[JSON, ("host", "localhost.evil.example")],
        &[JSON],
    ];
    for headers in refused {
        let answer = send(&site, &path, headers, "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    // What a form in a page can send is not JSON.
    let answer = send(&site, &path, &[LOCAL, ("content-type", "text/plain")], "{}").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(site.house.decisions.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn without_people_on_an_open_listener_the_api_is_closed() {
    let site = with_config("listen: 0.0.0.0:8080\ninsecureWebhook: true");
    let path = format!("/api/v1/incidents/{WAITING}/approve");
    let answer = send(&site, &path, &[JSON, LOCAL], "{}").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_sent_is_checked() {
    let site = with_config("");
    let incident = format!("/api/v1/incidents/{WAITING}");
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(1001));
    let huge = format!(r#"{{"reason":"{}"}}"#, "x".repeat(70_000));
    let mut shown = String::new();
    for (path, body) in [
        (format!("{incident}/refuse"), "{}"),
        (format!("{incident}/refuse"), r#"{"reason":"  "}"#),
        (format!("{incident}/refuse"), r#"{"reason":"\u001b[2J"}"#),
        (format!("{incident}/refuse"), long.as_str()),
        (format!("{incident}/refuse"), huge.as_str()),
        (format!("{incident}/approve"), r#"{"digest":"abc"}"#),
        (format!("{incident}/approve"), r#"{"digset":"abc"}"#),
        (format!("{incident}/approve"), "approve"),
        ("/api/v1/incidents/..%2f..%2fetc/approve".to_owned(), "{}"),
        ("/api/v1/kill-switch".to_owned(), r#"{"on":"yes","reason":"x"}"#),
    ] {
        let answer = send(&site, &path, &[JSON, LOCAL], body).await;
        shown += &answer.shown();
    }
    let request = Request::get("/api/v1/incidents?state=lost").header("host", "localhost");
    shown += &site.send(request.body(Body::empty()).unwrap()).await.shown();
    assert!(site.house.decisions.lock().unwrap().is_empty());
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn a_panic_is_a_problem_of_one_request_only() {
    let site = with_config("");
    let request =
        |path: String| Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    let answer = site.send(request(format!("/api/v1/incidents/{PANICS}"))).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.problem().detail.contains("fault of ours"));
    let answer = site.send(request("/api/v1/incidents".to_owned())).await;
    assert_eq!(answer.status, StatusCode::OK);
}
