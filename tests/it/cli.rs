//! The command line as a person uses it: the program itself, against a service beside a sandbox.
//! What a person reads has a snapshot, in which times, ids and hashes are replaced by their names.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use jiff::SignedDuration;
use orderly::cli::Cli;
use orderly::clock::{Clock as _, ManualClock, SharedClock, SystemClock};
use orderly::config::{Config, Flags};
use orderly::domain::alert::{Alert, AlertStatus, Delivery};
use orderly::domain::id::{Fingerprint, IncidentId};
use orderly::domain::incident::{Incident, Phase};
use orderly::http::intake::Intake as _;
use orderly::sandbox::{Contents, Options, QueryAnswer, QueryMatch, Sandbox, View};
use orderly::service::{JournalMode, Service};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

/// How far time moves at once.
const TICK: SignedDuration = SignedDuration::from_millis(500);
/// Ticks within which what a test waits for must have happened.
const PATIENCE: usize = 400;
/// How long the rooms get before time moves when nothing is heard of them: what needs no time to
/// pass is done before any does.
const SETTLE: Duration = Duration::from_millis(250);

const POLICY: &str = r#"
apiVersion: orderly.dev/v1alpha1
kind: RemediationPolicy
metadata: {name: high-error-rate}
spec:
  summary: Too many requests fail
  match: ['alertname="HighErrorRate"', 'agent_id!=""']
  target:
    kind: Deployment
    namespaces: [ai-agents]
    name: "{{ labels.agent_id }}-deployment"
  mode: approval
  queries: {errors: 'sum(rate(errors[5m]))'}
  causes:
    - name: calm
      when: queries.errors < 0.01
      actions: [{escalate: {to: oncall}}]
    - name: bad-deployment
      when: rollout.age < duration("30m")
      actions: [{rollback: {}}]
    - name: otherwise
      actions: [{restart: {}}]
  approval: {approvers: []}
  verify:
    within: 5m
    query: {expr: 'sum(rate(errors[5m]))', below: 0.01, for: 1m}
  escalate: [{after: 2h, to: oncall}]
"#;

/// A service beside a sandbox, and the files that a person has.
struct Shift {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    sandbox: Sandbox,
    service: Service,
}

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Shift {
    async fn begin() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let options = Options { contents: Contents::Demo, ..Options::new(clock.clone()) };
        let sandbox = Sandbox::start(options).await.unwrap();
        let errors = QueryMatch::Contains(vec!["errors".to_owned()]);
        sandbox.set_query(errors, |view: &View<'_>| {
            let bad = view.serves_image("ai-agents", "support-agent-deployment", "v1.5.0");
            QueryAnswer::value(if bad { 0.14 } else { 0.002 })
        });
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("policies")).unwrap();
        std::fs::write(path("policies/high-error-rate.yaml"), POLICY).unwrap();
        std::fs::write(path("kubeconfig"), sandbox.kubeconfig()).unwrap();
        let (prometheus, alertmanager) = (sandbox.prometheus_url(), sandbox.alertmanager_url());
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: {{listen: 127.0.0.1:0}}\npolicies: [policies]\n\
             journal: {{path: journal.db}}\nkubernetes: {{kubeconfig: kubeconfig}}\n\
             prometheus: {{url: '{prometheus}'}}\nreceivers: {{oncall: {{log: {{}}}}}}\n\
             alertmanager: {{urls: ['{alertmanager}']}}\n"
        );
        std::fs::write(path("orderly.yaml"), text).unwrap();
        let flags = Flags { config: Some(path("orderly.yaml")), ..Flags::default() };
        // The service is not told of Alertmanager: these alerts are delivered by hand.
        let config = Config { alertmanager: None, ..Config::load(&flags).unwrap() };
        let shared: SharedClock = clock.clone();
        let service = Service::start(&config, shared, JournalMode::CreateIfMissing).await.unwrap();
        Self { directory, clock, sandbox, service }
    }

    /// Alertmanager delivers that too many requests fail; the incident waits for people.
    async fn fire(&self) -> IncidentId {
        let labels = [("alertname", "HighErrorRate"), ("agent_id", "support-agent")];
        let alert = Alert {
            status: AlertStatus::Firing,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            annotations: [("summary".to_owned(), "14 % of requests fail".to_owned())].into(),
            starts_at: self.clock.now(),
            ends_at: None,
            generator_url: String::new(),
            fingerprint: Fingerprint::of(labels),
        };
        let delivery = Delivery {
            receiver: "orderly".to_owned(),
            group: "test".to_owned(),
            truncated_alerts: 0,
            reason: None,
            external_url: String::new(),
        };
        let id = IncidentId::of(alert.episode());
        self.service.engine.accept(delivery, vec![alert]).await.unwrap();
        self.until(&id, "waiting-for-approval").await;
        id
    }

    async fn until(&self, id: &IncidentId, phase: &str) {
        self.until_seen(id, phase, |incident| incident.phase.name() == phase).await;
    }

    async fn until_seen(&self, id: &IncidentId, what: &str, seen: impl Fn(&Incident) -> bool) {
        let engine = &self.service.engine;
        let mut head = engine.journal().subscribe();
        let mut last = String::new();
        for _ in 0..PATIENCE {
            if let Ok(incident) = engine.incident(id).await {
                if seen(&incident) {
                    return;
                }
                last = format!("{:?}", incident.phase);
            }
            if tokio::time::timeout(SETTLE, head.changed()).await.is_err() {
                self.clock.advance(TICK);
                self.sandbox.tick();
            }
        }
        panic!("waited in vain for {what}; it is {last}");
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs the program as this shift's person does.
    async fn orderly(&self, arguments: &[&str]) -> Ended {
        let server = format!("http://{}", self.service.address);
        orderly(self.directory.path(), &[("ORDERLY_SERVER", &server)], arguments).await
    }

    /// A text without what differs from run to run.
    fn shown(&self, text: &str, id: &IncidentId) -> String {
        let mut text = text.replace(id.as_str(), "INCIDENT");
        let url = self.sandbox.url();
        text = text.replace(url.trim_start_matches("http://"), "SANDBOX");
        text = text.replace(&self.directory.path().display().to_string(), "DIRECTORY");
        anonymous(&text)
    }
}

/// Times, ages and hashes are replaced by their names.
fn anonymous(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?( UTC)?", "TIME"),
        (r"\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"\b[0-9a-f]{64}\b", "HASH"),
        (r"\b[0-9a-f]{12}\b", "DIGEST"),
        (r"\b\d+m?s ago", "AGE"),
        (r"stored it as version \d+", "stored it as version N"),
        // How many events were written depends on how far the cluster has got.
        (r"events: \d+", "events: N"),
        (
            r"deployment: [^;\n]*(updated|terminat|available|observ|seen)[^;\n]*",
            "deployment: UNDER WAY",
        ),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, name).into_owned();
    }
    text
}

async fn orderly(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orderly"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null()).env_clear();
    command.env("HOME", directory).envs(environment.iter().copied());
    // The service runs in this process and must be able to answer meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ended {
    #[track_caller]
    fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    fn whole(&self) -> String {
        format!("{}{}exit code {:?}\n", self.out, self.err, self.code)
    }
}

#[test]
fn help_is_in_the_words_of_the_domain() {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut shown = String::new();
    let mut waiting = vec![(String::new(), root)];
    while let Some((before, mut command)) = waiting.pop() {
        let name = format!("{before} {}", command.get_name()).trim().to_owned();
        let help = command.render_help();
        shown.push_str(&format!("$ {name} --help\n{help}\n"));
        let below: Vec<_> =
            command.get_subcommands().filter(|it| it.get_name() != "help").cloned().collect();
        waiting.extend(below.into_iter().rev().map(|it| (name.clone(), it)));
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_finds_reads_and_approves() {
    let shift = Shift::begin().await;
    let id = shift.fire().await;
    let list = shift.orderly(&["incidents", "--state", "waiting"]).await.good();
    let show = shift.orderly(&["incident", "show", &id.as_str()[..5]]).await.good();
    insta::assert_snapshot!("waiting", shift.shown(&format!("{list}\n{show}"), &id));
    let json = shift.orderly(&["incident", "show", id.as_str(), "--format", "json"]).await.good();
    let detail: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(detail["summary"]["id"], id.as_str());

    // Without a terminal nobody is asked; what was shown is what is approved.
    let approved = shift.orderly(&["approve", id.as_str(), "--reason", "seen it"]).await.good();
    let digest = detail["proposal"]["digest"].as_str().unwrap();
    assert!(approved.contains(&format!("digest {digest}")), "{approved}");
    assert!(approved.contains("approved plan"), "{approved}");
    let looked = |incident: &Incident| match &incident.phase {
        Phase::Verifying { progress, .. } => !progress.criteria.is_empty(),
        _ => false,
    };
    shift.until_seen(&id, "a look at the resolution", looked).await;
    let again = shift.orderly(&["approve", id.as_str(), "--digest", digest]).await;
    let refused = shift.orderly(&["refuse", id.as_str(), "--reason", "too late"]).await;
    let show = shift.orderly(&["incident", "show", id.as_str()]).await.good();
    let aborted = shift.orderly(&["abort", id.as_str(), "--reason", "by hand"]).await.good();
    shift.until(&id, "closed").await;
    let closed = shift.orderly(&["incident", "show", id.as_str()]).await.good();
    let closed = closed.split_once("timeline").unwrap().1;
    let audit = shift.orderly(&["audit", "--incident", id.as_str(), "--since", "1h"]).await.good();
    let whole = format!(
        "# again\n{}# refused\n{}# verifying\n{show}# aborted\n{aborted}# closed\n{closed}# audit\n{audit}",
        again.whole(),
        refused.whole()
    );
    insta::assert_snapshot!("decided", shift.shown(&whole, &id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_decide_and_read_what_came_of_it() {
    let shift = Shift::begin().await;
    let id = shift.fire().await;
    let json = async |arguments: &[&str]| -> Value {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_str(&shift.orderly(&arguments).await.out).unwrap()
    };
    // A program has seen nothing: it must say what it agrees with.
    let blind = shift.orderly(&["approve", id.as_str(), "--format", "json"]).await;
    assert_eq!((blind.code, blind.out.as_str()), (Some(1), ""), "{}", blind.err);
    assert!(blind.err.contains("--digest"), "{}", blind.err);
    let stale = json(&["approve", id.as_str(), "--digest", "0123456789ab"]).await;
    assert_eq!(stale["status"], 409, "{stale}");
    let approved = json(&["approve", id.as_str(), "--yes"]).await;
    assert_eq!((&approved["id"], &approved["already"]), (&json!(id.as_str()), &json!(false)));
    let aborted = json(&["abort", id.as_str(), "--reason", "by hand"]).await;
    assert_eq!(aborted["id"], id.as_str());
    let on = json(&["kill-switch", "on", "--reason", "game day"]).await;
    assert_eq!((&on["on"], &on["reason"]), (&json!(true), &json!("game day")));
    let trusted = json(&["breaker", "reset", "high-error-rate", "--reason", "fixed"]).await;
    assert_eq!(trusted, json!({"policy": "high-error-rate", "trusted": true}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_than_the_one_that_was_seen_is_not_approved() {
    let shift = Shift::begin().await;
    let id = shift.fire().await;
    let stale = shift.orderly(&["approve", id.as_str(), "--digest", "0123456789ab"]).await;
    assert_eq!(stale.code, Some(3), "{}", stale.whole());
    assert!(stale.out.starts_with("the plan has changed"), "{}", stale.whole());
    assert!(stale.err.starts_with("orderly: the plan has changed since"), "{}", stale.err);
    let unknown = shift.orderly(&["incident", "show", "zz"]).await;
    assert_eq!(unknown.code, Some(1));
    assert_eq!(
        unknown.err,
        "orderly: no incident begins with `zz`: `orderly incidents` lists them\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_and_the_breaker() {
    let shift = Shift::begin().await;
    let mut shown = String::new();
    for arguments in [
        &["kill-switch", "status"][..],
        &["kill-switch", "on", "--reason", "game day"],
        &["kill-switch", "status", "--format", "json"],
        &["kill-switch", "off", "--reason", "over"],
        &["breaker", "reset", "high-error-rate", "--reason", "fixed"],
        &["breaker", "reset", "nobody", "--reason", "fixed"],
        &["incidents"],
        &["kill-switch", "on"],
    ] {
        let ended = shift.orderly(arguments).await;
        shown.push_str(&format!("$ orderly {}\n{}", arguments.join(" "), ended.whole()));
    }
    insta::assert_snapshot!(anonymous(&shown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_explained_without_being_carried_out() {
    let shift = Shift::begin().await;
    let alert = json!({
        "labels": {"alertname": "HighErrorRate", "agent_id": "support-agent"},
        "startsAt": "2026-01-01T00:00:00Z",
    });
    std::fs::write(shift.path("alert.json"), alert.to_string()).unwrap();
    let config = ["--config", "orderly.yaml", "--alert", "alert.json"];
    let live =
        shift.orderly(&[&["explain", "--dump-facts", "facts.json"][..], &config].concat()).await;
    let live = live.good();
    let id = "zzzzzzzzzzzz".parse().unwrap();
    insta::assert_snapshot!("explained", shift.shown(&live, &id));
    assert!(shift.sandbox.writes().is_empty(), "{:?}", shift.sandbox.writes());
    let over = [&["explain", "--facts", "facts.json", "--format", "json"][..], &config].concat();
    let over: Value = serde_json::from_str(&shift.orderly(&over).await.good()).unwrap();
    let decision = &over["decisions"][0];
    assert_eq!(decision["policy"], "high-error-rate");
    assert_eq!(decision["incident"]["finding"]["conclusion"]["name"], "bad-deployment");
    assert!(decision["gates"]["verdicts"].as_array().is_some_and(|it| it.len() >= 16));

    let terse = "replicas: {desired: 3}\nqueries: {errors: 0.002}\n";
    std::fs::write(shift.path("facts.yaml"), terse).unwrap();
    let wrong = [&["explain", "--facts", "facts.yaml"][..], &config].concat();
    let wrong = shift.orderly(&wrong).await;
    assert!(
        wrong.err.starts_with("orderly: the facts cannot be used:\nfacts.yaml:1:1"),
        "{}",
        wrong.err
    );
    std::fs::write(shift.path("facts.yaml"), "queries: {errors: 0.002}\n").unwrap();
    let calm = [&["explain", "--facts", "facts.yaml"][..], &config].concat();
    let calm = shift.orderly(&calm).await.good();
    assert!(calm.contains("plan") && calm.contains("for `calm`"), "{calm}");

    let other = json!([{"labels": {"alertname": "Other"}, "startsAt": "2026-01-01T00:00:00Z"}]);
    std::fs::write(shift.path("alert.json"), other.to_string()).unwrap();
    let nobody = shift.orderly(&[&["explain"][..], &config].concat()).await.good();
    assert!(nobody.starts_with("Other: no policy answers\n"), "{nobody}");
    std::fs::write(shift.path("alert.json"), "[]").unwrap();
    let none = shift.orderly(&[&["explain"][..], &config].concat()).await;
    assert_eq!(
        none.err,
        "orderly: no alert of `alert.json` fires: a resolved alert starts nothing\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let shift = Shift::begin().await;
    let id = "zzzzzzzzzzzz".parse().unwrap();
    let well = shift.orderly(&["doctor", "--config", "orderly.yaml"]).await.good();
    let ill = shift
        .orderly(&[
            "doctor",
            "--config",
            "orderly.yaml",
            "--journal",
            "nowhere.db",
            "--prometheus-url",
            "http://127.0.0.1:1",
        ])
        .await;
    assert_eq!(ill.code, Some(1));
    let whole = format!("{well}\n{}", ill.whole());
    insta::assert_snapshot!(shift.shown(&whole, &id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_created_once_and_every_change_to_it_is_found() {
    let shift = Shift::begin().await;
    let created = shift.orderly(&["init", "--journal", "new.db"]).await.good();
    let again = shift.orderly(&["init", "--journal", "new.db"]).await;
    assert_eq!(again.code, Some(1));
    let id = shift.fire().await;
    let sound = shift.orderly(&["audit", "verify", "journal.db"]).await.good();
    let lines = ["audit", "--journal", "journal.db", "--format", "jsonl", "--limit", "2"];
    let lines = shift.orderly(&lines).await.good();
    let entries: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    let anchor = format!("1:{}", entries[0]["hash"].as_str().unwrap());
    let verify = ["audit", "verify", "journal.db", "--format", "json", "--anchor", &anchor];
    let anchored: Value = serde_json::from_str(&shift.orderly(&verify).await.good()).unwrap();
    assert_eq!(anchored["anchor"], "holds");
    let other = format!("1:{}", "ab".repeat(32));
    let other = shift.orderly(&["audit", "verify", "journal.db", "--anchor", &other]).await;

    let options = SqliteConnectOptions::new().filename(shift.path("journal.db"));
    let mut file = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "DROP TRIGGER entries_are_not_changed",
        "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'a', 'b') AS BLOB) WHERE seq = 2",
    ] {
        file.execute(statement).await.unwrap();
    }
    file.close().await.unwrap();
    let changed = shift.orderly(&["audit", "verify", "journal.db"]).await;
    let whole = format!(
        "{created}{}{sound}# another hash\n{}# changed\n{}",
        again.whole(),
        other.whole(),
        changed.whole()
    );
    insta::assert_snapshot!(shift.shown(&whole, &id));
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    for arguments in [&["schema"][..], &["schema", "--facts"], &["completions", "bash"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orderly"));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{arguments:?}");
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
