//! Policies as custom resources: refused by the API server where their shape is wrong, in their
//! status where their meaning is, and as good as files otherwise.

use std::collections::BTreeMap;
use std::path::Path;

use orderly::domain::alert::{Alert, AlertStatus};
use orderly::domain::id::{Fingerprint, IncidentId};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plane::{self, Namespace, kubectl, try_kubectl, until};
use crate::remedy::WEB;
use crate::serving::Serving;

/// Two that take policies from one cluster would both write their status.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Orderly that takes policies from the cluster, and from a directory.
struct Taking {
    serving: Serving,
    directory: TempDir,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl Taking {
    async fn start() -> Self {
        let alone = ALONE.lock().await;
        definitions();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("policies")).unwrap();
        let config = format!(
            "policies: [policies]\npolicyResources: all\njournal: {{path: orderly.db}}\n\
             kubernetes: {{kubeconfig: '{}'}}\n",
            plane::kubeconfig().display()
        );
        std::fs::write(directory.path().join("orderly.yaml"), config).unwrap();
        let serving = Serving::start(directory.path(), &["--init"]);
        Self { serving, directory, _alone: alone }
    }

    /// Posts `Test` about a namespace; the incident that it would open.
    async fn fire(&self, namespace: &str) -> IncidentId {
        let starts_at = "2026-11-23T03:00:00Z";
        let labels = [("alertname", "Test"), ("namespace", namespace)];
        let shown: BTreeMap<_, _> = labels.into();
        let webhook = json!({
            "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
            "receiver": "orderly", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "", "alerts": [{
                "status": "firing", "labels": shown,
                "annotations": {}, "generatorURL": "",
                "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z",
            }],
        });
        let sent = Client::new().post(format!("{}/webhook", self.serving.api)).json(&webhook);
        assert_eq!(sent.send().await.unwrap().status(), StatusCode::ACCEPTED);
        let alert = Alert {
            status: AlertStatus::Firing,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            annotations: Default::default(),
            starts_at: starts_at.parse().unwrap(),
            ends_at: None,
            generator_url: String::new(),
            fingerprint: Fingerprint::of(labels),
        };
        IncidentId::of(alert.episode())
    }
}

/// Installs the definitions as a person would, and waits until they are served.
fn definitions() {
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", definitions.to_str().unwrap()]);
    for plural in ["remediationpolicies", "clusterremediationpolicies"] {
        let definition = format!("crd/{plural}.orderly.dev");
        kubectl(&["wait", "--for=condition=Established", &definition, "--timeout=60s"]);
    }
}

/// A good policy that restarts `web` in its namespace.
fn manifest(namespace: &str) -> String {
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\n\
         metadata: {{name: web, namespace: {namespace}}}\nspec:\n  summary: Of the test\n  \
         match: ['alertname=\"Test\"']\n  \
         target: {{kind: Deployment, namespaces: [{namespace}], name: web}}\n  mode: auto\n  \
         causes:\n  - name: oom\n    when: 'pods.exists(p, p.phase == \"Unknown\")'\n    \
         actions: [{{setResources: {{limits: {{memory: {{multiply: 2, max: 2Gi}}, cpu: {{to: 1}}}}}}}}]\n  \
         - name: otherwise\n    actions: [{{restart: {{}}}}]\n  \
         verify: {{within: 80s, rollout: complete, alert: any}}\n"
    )
}

/// The condition of a policy object once it speaks of its newest generation.
fn condition(namespace: &Namespace, policy: &str, kind: &str, status: &str) -> Value {
    until(&format!("condition {kind}={status} of {policy}"), || {
        let object = namespace.get(policy);
        let conditions = object["status"]["conditions"].as_array()?.clone();
        conditions.into_iter().find(|it| {
            it["type"] == kind
                && it["status"] == status
                && it["observedGeneration"] == object["metadata"]["generation"]
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_object_remediates_in_its_namespace_and_its_status_counts() {
    let (own, other) = (Namespace::new("resource"), Namespace::new("resource-other"));
    own.apply(WEB);
    other.apply(WEB);
    own.rolled_out("deployment/web");
    let mut taking = Taking::start().await;
    taking.serving.ready().await;
    own.apply(&manifest(&own.0));
    // As anyone would wait for it.
    own.kubectl(&["wait", "--for=condition=Accepted", "rp/web", "--timeout=60s"]);
    let accepted = condition(&own, "rp/web", "Accepted", "True");
    assert_eq!(accepted["reason"], "Valid");

    // The same alert from elsewhere is not for it, whoever's policy it is.
    let foreign = taking.fire(&other.0).await;
    let id = taking.fire(&own.0).await;
    let shown = taking
        .serving
        .until("closed incident", async |serving: &Serving| {
            let url = format!("{}/api/v1/incidents/{id}", serving.api);
            let shown: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
            (shown["summary"]["state"] == "closed").then_some(shown)
        })
        .await;
    assert_eq!(shown["summary"]["outcome"], "fixed", "{shown:#}");
    assert_eq!(shown["summary"]["policy"], format!("{}/web", own.0));
    let url = format!("{}/api/v1/incidents/{foreign}", taking.serving.api);
    assert_eq!(Client::new().get(url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(other.get("deployment/web")["metadata"]["generation"], 1, "nothing touched it");

    let status = until("counts", || {
        let status = own.get("rp/web")["status"].clone();
        (status["outcomes"]["fixed"] == 1).then_some(status)
    });
    assert_eq!((&status["matched"], &status["lastOutcome"]), (&json!(1), &json!("fixed")));
    assert!(status["lastMatch"].is_string() && status["inForce"]["mode"] == "auto", "{status:#}");
    let table = own.kubectl(&["get", "rp"]);
    let row = table.lines().nth(1).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(row[..5], ["web", "auto", "True", "Valid", "1"], "{table}");
    assert_eq!(row[6], "fixed", "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_object_is_rejected_in_its_status_and_takes_nothing_down() {
    let namespace = Namespace::new("rejected");
    let mut taking = Taking::start().await;
    taking.serving.ready().await;
    let good = manifest(&namespace.0);
    namespace.apply(&good);
    condition(&namespace, "rp/web", "Accepted", "True");

    // The newest version cannot be used: the older one stays, and the object says both.
    namespace.apply(&good.replace("p.phase", "p.phse"));
    let rejected = condition(&namespace, "rp/web", "Rejected", "True");
    let message = rejected["message"].as_str().unwrap();
    assert!(message.starts_with("spec.causes[0].when, character 18: "), "{message}");
    assert!(message.contains("did you mean `phase`?"), "{message}");
    assert!(message.ends_with("stays in force"), "{message}");
    assert_eq!(rejected["reason"], "Expression");
    assert_eq!(condition(&namespace, "rp/web", "Accepted", "False")["reason"], "Expression");

    // It may not reach into other namespaces, whatever its author may do there.
    let foreign = good.replace("name: web, namespace:", "name: foreign, namespace:");
    let foreign =
        foreign.replace(&format!("namespaces: [{}]", namespace.0), "namespaces: [default]");
    namespace.apply(&foreign);
    let rejected = condition(&namespace, "rp/foreign", "Rejected", "True");
    assert!(
        rejected["message"].as_str().unwrap().contains("may touch only its own namespace"),
        "{rejected:#}"
    );

    // A file has the name already.
    let name = &namespace.0;
    let cluster = good
        .replace("kind: RemediationPolicy", "kind: ClusterRemediationPolicy")
        .replace(&format!("name: web, namespace: {name}"), &format!("name: {name}"));
    std::fs::write(taking.directory.path().join("policies/first.yaml"), &cluster).unwrap();
    let in_force = async |serving: &Serving, name: &str| {
        let url = format!("{}/status", serving.admin);
        let status: Value = Client::new().get(url).send().await.ok()?.json().await.ok()?;
        let policies = status["policies"].as_array()?.clone();
        policies.into_iter().find(|it| it["name"] == name && it["digest"].is_string())
    };
    let of_file = async |serving: &Serving| in_force(serving, name).await;
    let of_file = taking.serving.until("policy of the file", of_file).await;
    assert!(of_file["file"].as_str().unwrap().ends_with("first.yaml"), "{of_file:#}");
    let object = format!("clusterremediationpolicy/{name}");
    namespace.apply(&cluster);
    let rejected = condition(&namespace, &object, "Rejected", "True");
    assert_eq!(rejected["reason"], "DuplicatePolicy");
    let message = rejected["message"].as_str().unwrap();
    assert!(message.contains("first.yaml"), "{message}");
    // The file is gone: the object takes its place.
    std::fs::remove_file(taking.directory.path().join("policies/first.yaml")).unwrap();
    condition(&namespace, &object, "Accepted", "True");
    kubectl(&["delete", &object]);

    // All the while the one that was good from the beginning was in force.
    let name = format!("{name}/web");
    let web = async |serving: &Serving| in_force(serving, &name).await;
    taking.serving.until("policy web", web).await;
    // A policy that is deleted is out of force.
    namespace.kubectl(&["delete", "rp/web"]);
    let gone = async |serving: &Serving| in_force(serving, &name).await.is_none().then_some(());
    taking.serving.until("end of policy web", gone).await;
}

/// What the shape can say is said by the API server itself, when the object is applied.
#[test]
fn the_api_server_refuses_what_a_shape_can_say() {
    definitions();
    let namespace = Namespace::new("shapes");
    let good = manifest(&namespace.0);
    let create = |manifest: &str| {
        let arguments = ["-n", &namespace.0, "create", "--dry-run=server", "-f", "-"];
        try_kubectl(&arguments, manifest)
    };
    let (success, text) = create(&good);
    assert!(success, "{text}");
    let cases = [
        ("mode: auto", "mode: bold", "Unsupported value: \"bold\""),
        ("name: otherwise", "name: oom", "two causes have the same name"),
        ("namespaces: [", "namespaces: [default, ", "Too many: 2: must have at most 1 item"),
        ("restart: {}", "scale: {}", "exactly one of to, by and percent must be given"),
        ("restart: {}", "restart: {}, scale: {to: 1}", "oneOf"),
        ("restart: {}", "setProbe: {container: app}", "at least one of the four numbers"),
        ("cpu: {to: 1}", "cpu: {to: 1, add: 2}", "exactly one of to, multiply and add"),
        ("rollout: complete", "rolout: complete", "unknown field \"spec.verify.rolout\""),
        ("within: 80s", "within: soon", "spec.verify.within in body should match"),
        (
            "name: web}",
            "name: web, ownerOf: {pod: x}}",
            "exactly one of name, selector and ownerOf",
        ),
        ("{name: web,", "{name: w.eb,", "the name must be a DNS label"),
    ];
    for (right, wrong, said) in cases {
        assert!(good.contains(right), "{right}");
        let bad = good.replace(right, wrong);
        let (success, text) = create(&bad);
        assert!(!success && text.contains(said), "{wrong}: {text}");
    }
}
