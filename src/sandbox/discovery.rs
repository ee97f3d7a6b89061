//! Discovery: versions, groups and resources, for clients that ask before they act.

use serde_json::{Value, json};

use super::answer::Answer;
use super::cluster::Cluster;
use super::resources::{ALL, ResourceType, Scope};

/// Review resources: group, plural, kind.
const REVIEWS: [(&str, &str, &str); 4] = [
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
];
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers a path that is no object's; `None` when nothing is served there.
pub(super) fn answer(cluster: &Cluster, path: &str) -> Option<Answer> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let body = match parts.as_slice() {
        ["version"] => version(),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}],
        }),
        ["api", "v1"] => resources(cluster, "", "v1")?,
        ["apis"] => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups(cluster).into_iter().map(|(name, v)| group(name, v)).collect::<Vec<_>>(),
        }),
        ["apis", name] => {
            let found = groups(cluster).into_iter().find(|(group, _)| group == name)?;
            let mut body = group(found.0, found.1);
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            body
        }
        ["apis", name, version] => resources(cluster, name, version)?,
        ["openapi", "v3"] => schema_index(cluster),
        ["openapi", "v3", "api", "v1"] => schemas(cluster, "", "v1"),
        ["openapi", "v3", "apis", group, version] => schemas(cluster, group, version),
        ["healthz" | "livez" | "readyz", ..] => return Some(Answer::text(200, "ok")),
        [] => {
            json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]})
        }
        _ => return None,
    };
    Some(Answer::ok(body))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "gitVersion": "v1.36.2+orderly-sandbox", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-06-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": "sandbox",
    })
}

/// Where the schemas of each group are.
fn schema_index(cluster: &Cluster) -> Value {
    let mut paths = json!({"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}});
    for (group, version) in groups(cluster) {
        let path = format!("apis/{group}/{version}");
        paths[&path] = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
    }
    json!({"paths": paths})
}

/// No schemas, but what kubectl looks for in them: that the server validates fields by itself.
fn schemas(cluster: &Cluster, group: &str, version: &str) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let mut paths = json!({});
    for kind in ALL {
        if kind.group == group && kind.version == version && cluster.serves(kind) {
            let base = if group.is_empty() {
                "/api/v1".into()
            } else {
                format!("/apis/{group}/{version}")
            };
            let place =
                if kind.scope == Scope::Namespaced { "/namespaces/{namespace}" } else { "" };
            let known = json!({"group": group, "version": version, "kind": kind.kind});
            paths[format!("{base}{place}/{}/{{name}}", kind.plural)] = json!({"patch": {
                "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": known,
                "parameters": [
                    parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"),
                ],
                "responses": {"200": {"description": "OK"}},
            }});
        }
    }
    json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": paths,
        "components": {"schemas": {}},
    })
}

fn groups(cluster: &Cluster) -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let kinds = ALL.into_iter().filter(|kind| cluster.serves(kind)).map(|k| (k.group, k.version));
    for pair in kinds.chain(REVIEWS.into_iter().map(|(group, _, _)| (group, "v1"))) {
        if !pair.0.is_empty() && !found.contains(&pair) {
            found.push(pair);
        }
    }
    found
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(cluster: &Cluster, group: &str, version: &str) -> Option<Value> {
    let mut list: Vec<Value> = Vec::new();
    for kind in ALL {
        if kind.group == group && kind.version == version && cluster.serves(kind) {
            list.push(resource(kind));
            list.extend(kind.subresources.iter().map(|name| subresource(kind, name)));
        }
    }
    for (own, plural, kind) in REVIEWS {
        if own == group && version == "v1" {
            list.push(json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": false,
                "kind": kind, "verbs": ["create"],
            }));
        }
    }
    if list.is_empty() {
        return None;
    }
    let group_version =
        if group.is_empty() { version.into() } else { format!("{group}/{version}") };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": list,
    }))
}

fn resource(kind: &ResourceType) -> Value {
    let mut entry = json!({
        "name": kind.plural, "singularName": kind.singular, "kind": kind.kind, "verbs": VERBS,
        "namespaced": kind.scope == Scope::Namespaced,
    });
    if !kind.short.is_empty() {
        entry["shortNames"] = json!(kind.short);
    }
    if ["pods", "deployments", "replicasets", "statefulsets", "daemonsets", "services"]
        .contains(&kind.plural)
    {
        entry["categories"] = json!(["all"]);
    }
    entry
}

fn subresource(kind: &ResourceType, name: &str) -> Value {
    let (shown, verbs): (&str, &[&str]) = match name {
        "scale" => ("Scale", &["get", "patch", "update"]),
        "eviction" => ("Eviction", &["create"]),
        "log" => (kind.kind, &["get"]),
        _ => (kind.kind, &["get", "patch", "update"]),
    };
    let mut entry = json!({
        "name": format!("{}/{name}", kind.plural), "singularName": "", "kind": shown,
        "verbs": verbs, "namespaced": kind.scope == Scope::Namespaced,
    });
    match name {
        "scale" => {
            entry["group"] = json!("autoscaling");
            entry["version"] = json!("v1");
        }
        "eviction" => {
            entry["group"] = json!("policy");
            entry["version"] = json!("v1");
        }
        _ => {}
    }
    entry
}
