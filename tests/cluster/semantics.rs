//! kubectl is the judge: after a change by Orderly the object, its history, its diff and the owners
//! of its fields are as after kubectl's own command on a twin.

use serde_json::{Value, json};

use crate::plane::{Namespace, try_kubectl, until};
use crate::remedy::{Policy, Remedy};

/// A workload with what every action needs.
pub fn manifest(kind: &str, name: &str, version: &str) -> String {
    let count = if kind == "DaemonSet" { "" } else { "replicas: 2, " };
    let service = if kind == "StatefulSet" { "serviceName: none, " } else { "" };
    format!(
        r#"apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec: {{{count}{service}selector: {{matchLabels: {{app: {name}}}}}, template: {{
  metadata: {{labels: {{app: {name}}}}},
  spec: {{containers: [{{name: app, image: "registry.example.com/app:{version}",
    resources: {{requests: {{memory: 64Mi}}, limits: {{memory: 128Mi}}}},
    livenessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 10}}}}]}}}}}}
"#
    )
}

/// What Orderly does to `web` and kubectl to `twin`.
struct Case {
    name: &'static str,
    actions: &'static str,
    kubectl: &'static [&'static str],
}

const RESTART: Case = Case {
    name: "restart",
    actions: "[{restart: {}}]",
    kubectl: &["rollout", "restart", "OBJECT"],
};
const ROLLBACK: Case = Case {
    name: "rollback",
    actions: "[{rollback: {toRevision: 1}}]",
    kubectl: &["rollout", "undo", "OBJECT", "--to-revision=1"],
};
const SCALE: Case = Case {
    name: "scale",
    actions: "[{scale: {to: 3}}]",
    kubectl: &["scale", "OBJECT", "--replicas=3"],
};
const RESOURCES: Case = Case {
    name: "resources",
    actions: "[{setResources: {limits: {memory: {to: 256Mi}}}}]",
    kubectl: &["set", "resources", "OBJECT", "-c=app", "--limits=memory=256Mi"],
};
const PROBE: Case = Case {
    name: "probe",
    actions: "[{setProbe: {initialDelaySeconds: 30, periodSeconds: 20}}]",
    kubectl: &[
        "patch",
        "OBJECT",
        "--patch={\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"app\",\
         \"livenessProbe\":{\"initialDelaySeconds\":30,\"periodSeconds\":20}}]}}}}",
    ],
};

/// Both, as they are told apart from nothing but what happened to them.
#[derive(Debug, PartialEq)]
struct Judged {
    object: Value,
    managers: Vec<Value>,
    status: String,
    history: Vec<String>,
    diff: String,
}

fn judge(namespace: &Namespace, kind: &str, name: &str) -> Judged {
    let object = format!("{}/{name}", kind.to_lowercase());
    let status =
        namespace.rolled_out(&object).lines().last().unwrap_or_default().replace(name, "X");
    let history = namespace.kubectl(&["rollout", "history", &object]);
    let history = history.lines().skip(1).map(str::to_owned).collect();
    // The manifest that is in version control; 1 is kubectl's word for a difference.
    let arguments = ["-n", &namespace.0, "diff", "-f", "-"];
    let (_, diff) = try_kubectl(&arguments, &manifest(kind, name, "v1"));
    let changed = |line: &&str| {
        (line.starts_with(['+', '-'])) && !line.starts_with("+++") && !line.starts_with("---")
    };
    let diff: Vec<_> = diff.lines().filter(changed).map(|line| plain(line, name)).collect();
    let mut shown = namespace.get(&object);
    let managers = managers(&shown);
    let metadata = shown["metadata"].as_object_mut().unwrap();
    for own in ["name", "uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(own);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("orderly.dev/"));
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    shown.as_object_mut().unwrap().remove("status");
    let object = serde_json::from_str(&plain(&shown.to_string(), name)).unwrap();
    Judged { object, managers, status, history, diff: diff.join("\n") }
}

/// A text without the object's name and without times.
fn plain(text: &str, name: &str) -> String {
    let time = regex::Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+-][0-9:]{5})").unwrap();
    let mark = regex::Regex::new("\\s*orderly.dev/step: .*").unwrap();
    let text = text.replace(&format!("\"{name}\""), "\"X\"").replace(&format!(" {name}"), " X");
    mark.replace_all(&time.replace_all(&text, "TIME"), "").into_owned()
}

/// Who owns which fields, besides the controllers and who applied the manifest.
fn managers(object: &Value) -> Vec<Value> {
    let all = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let people = all.filter(|entry| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        manager != "kube-controller-manager" && manager != "kubectl-client-side-apply"
    });
    people
        .map(|entry| {
            let mut fields = entry["fieldsV1"].clone();
            // The mark by which a step is known again is Orderly's own.
            if let Some(annotations) =
                fields.pointer_mut("/f:metadata/f:annotations").and_then(Value::as_object_mut)
            {
                annotations.retain(|key, _| !key.starts_with("f:orderly.dev/") && key != ".");
                if annotations.is_empty() {
                    fields.as_object_mut().unwrap().remove("f:metadata");
                }
            }
            json!({"operation": entry["operation"], "subresource": entry["subresource"], "fields": fields})
        })
        .collect()
}

async fn as_kubectl_would(kind: &str, case: &Case) {
    let namespace = Namespace::new(&format!("sem-{}-{}", case.name, kind.to_lowercase()));
    let object = |name: &str| format!("{}/{name}", kind.to_lowercase());
    let versions: &[&str] = if case.name == "rollback" { &["v1", "v2"] } else { &["v1"] };
    for version in versions {
        for name in ["web", "twin"] {
            namespace.apply(&manifest(kind, name, version));
        }
        for name in ["web", "twin"] {
            namespace.rolled_out(&object(name));
        }
    }

    let policy = Policy {
        mode: "auto",
        kind,
        name: "web",
        actions: case.actions,
        verify: "{within: 80s, rollout: complete, alert: any}",
    };
    let mut remedy = Remedy::start(&namespace, &policy).await;
    let id = remedy.fire().await;
    let shown = remedy.until_over(&id, "fixed").await;
    let twin = object("twin");
    let command: Vec<_> = case
        .kubectl
        .iter()
        .map(|word| if *word == "OBJECT" { twin.as_str() } else { word })
        .collect();
    namespace.kubectl(&command);

    let (ours, theirs) = (judge(&namespace, kind, "web"), judge(&namespace, kind, "twin"));
    let (told_ours, told_theirs) = (format!("{ours:#?}"), format!("{theirs:#?}"));
    let difference = similar::TextDiff::from_lines(&told_theirs, &told_ours);
    let difference = difference.unified_diff().header("kubectl", "orderly").to_string();
    assert!(ours == theirs, "{difference}\n{shown:#}");
    assert!(!ours.managers.is_empty(), "a change has an owner");

    // The object tells who changed it, and an Event why.
    let web = namespace.get(&object("web"));
    let fields = web["metadata"]["managedFields"].as_array().unwrap();
    assert!(fields.iter().any(|entry| entry["manager"] == "orderly"), "{fields:#?}");
    let events = until("Event of Orderly", || {
        let events = namespace.kubectl(&["get", "events", "-o", "json"]);
        let events: Value = serde_json::from_str(&events).unwrap();
        let ours = events["items"].as_array()?.iter().find(|event| {
            event["involvedObject"]["name"] == "web"
                && event["reportingComponent"].as_str().is_some_and(|it| it.contains("orderly"))
        });
        ours.cloned()
    });
    assert!(
        events["message"].as_str().is_some_and(|it| it.contains(&id.to_string())),
        "{events:#}"
    );
}

macro_rules! as_kubectl {
    ($($name:ident: $kind:literal, $case:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            as_kubectl_would($kind, &$case).await;
        }
    )*};
}

as_kubectl! {
    restarting_a_deployment: "Deployment", RESTART;
    restarting_a_stateful_set: "StatefulSet", RESTART;
    restarting_a_daemon_set: "DaemonSet", RESTART;
    going_back_with_a_deployment: "Deployment", ROLLBACK;
    going_back_with_a_stateful_set: "StatefulSet", ROLLBACK;
    going_back_with_a_daemon_set: "DaemonSet", ROLLBACK;
    scaling_a_deployment: "Deployment", SCALE;
    scaling_a_stateful_set: "StatefulSet", SCALE;
    resources_of_a_deployment: "Deployment", RESOURCES;
    resources_of_a_stateful_set: "StatefulSet", RESOURCES;
    resources_of_a_daemon_set: "DaemonSet", RESOURCES;
    the_probe_of_a_deployment: "Deployment", PROBE;
    the_probe_of_a_stateful_set: "StatefulSet", PROBE;
    the_probe_of_a_daemon_set: "DaemonSet", PROBE;
}
