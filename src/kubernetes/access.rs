//! What rights reading needs, and what each action needs to be performed. The manifests in `deploy/`
//! and `orderly doctor` are both made from this list (invariant 8).

use serde::Serialize;
use serde_json::json;

use super::connection::{CallError, ReadConnection, WriteConnection};
use super::json;
use crate::domain::facts::Kind;

/// One right.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Access {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource in the plural.
    pub resource: &'static str,
    /// `scale`, `log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<&'static str>,
    /// `get`, `list`, `patch`, `create`, `delete`.
    pub verb: &'static str,
    /// The namespace; nothing for cluster-scoped resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(subresource) = self.subresource {
            write!(f, "/{subresource}")?;
        }
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => f.write_str(" in the cluster"),
        }
    }
}

/// What the API server says about a right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The identity has it.
    Allowed,
    /// It does not.
    Denied,
    /// Nobody could say.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// Group, resource, subresource, verbs of everything that is read in a namespace.
const READS: [(&str, &str, Option<&str>, &[&str]); 13] = [
    ("apps", "deployments", None, &["get", "list"]),
    ("apps", "statefulsets", None, &["get", "list"]),
    ("apps", "daemonsets", None, &["get", "list"]),
    ("apps", "replicasets", None, &["get", "list"]),
    ("apps", "controllerrevisions", None, &["list"]),
    ("", "pods", None, &["get", "list"]),
    ("", "pods", Some("log"), &["get"]),
    ("", "events", None, &["list"]),
    ("", "resourcequotas", None, &["list"]),
    ("autoscaling", "horizontalpodautoscalers", None, &["list"]),
    ("policy", "poddisruptionbudgets", None, &["list"]),
    ("autoscaling.k8s.io", "verticalpodautoscalers", None, &["list"]),
    ("keda.sh", "scaledobjects", None, &["list"]),
];

/// The rights that reading needs in `namespaces`, and in the cluster.
pub fn reading(namespaces: &[String]) -> Vec<Access> {
    let mut needed = Vec::new();
    for namespace in namespaces {
        for (group, resource, subresource, verbs) in READS {
            for verb in verbs {
                let namespace = Some(namespace.clone());
                needed.push(Access { group, resource, subresource, verb, namespace });
            }
        }
    }
    for verb in ["get", "list"] {
        needed.push(Access {
            group: "",
            resource: "nodes",
            subresource: None,
            verb,
            namespace: None,
        });
    }
    needed
}

/// The rights that following custom resources of this name takes, in the whole cluster.
pub fn following(group: &'static str, resource: &'static str) -> Vec<Access> {
    let access = |verb| Access { group, resource, subresource: None, verb, namespace: None };
    ["list", "watch"].map(access).to_vec()
}

/// The right to say in their status what came of them.
pub fn telling(group: &'static str, resource: &'static str) -> Access {
    Access { group, resource, subresource: Some("status"), verb: "patch", namespace: None }
}

/// The rights that one action, by its name in a policy, needs of the writing identity in a
/// namespace; `raiseMinReplicas` names what `scale` needs besides when the policy has it raise an
/// autoscaler. An action that writes nothing, and one that is not known, need none.
pub fn writing(action: &str, kind: Kind, namespace: &str) -> Vec<Access> {
    let workload = kind.plural();
    let mut needed: Vec<(&str, &str, Option<&str>, &str)> = match action {
        "restart" | "setResources" | "setProbe" => {
            vec![("apps", workload, None, "get"), ("apps", workload, None, "patch")]
        }
        "rollback" => {
            let mut needed =
                vec![("apps", workload, None, "get"), ("apps", workload, None, "patch")];
            if kind == Kind::StatefulSet {
                // Pods that an OrderedReady StatefulSet would never replace by itself.
                needed.extend([("", "pods", None, "get"), ("", "pods", None, "delete")]);
            }
            needed
        }
        "scale" => {
            vec![("apps", workload, None, "get"), ("apps", workload, Some("scale"), "patch")]
        }
        "raiseMinReplicas" => vec![
            ("autoscaling", "horizontalpodautoscalers", None, "get"),
            ("autoscaling", "horizontalpodautoscalers", None, "patch"),
        ],
        _ => return Vec::new(),
    };
    needed.push(("events.k8s.io", "events", None, "create"));
    let access = |(group, resource, subresource, verb)| Access {
        group,
        resource,
        subresource,
        verb,
        namespace: Some(namespace.to_owned()),
    };
    needed.into_iter().map(access).collect()
}

/// Asks the API server what the reading identity may do.
pub async fn review_reader(
    connection: &ReadConnection,
    needed: &[Access],
) -> Vec<(Access, Verdict)> {
    let mut verdicts = Vec::new();
    for access in needed {
        let answer = connection.review(&review(access)).await;
        verdicts.push((access.clone(), verdict(answer)));
    }
    verdicts
}

/// Asks the API server what the writing identity may do.
pub async fn review_writer(
    connection: &WriteConnection,
    needed: &[Access],
) -> Vec<(Access, Verdict)> {
    let mut verdicts = Vec::new();
    for access in needed {
        let answer = connection.review(&review(access)).await;
        verdicts.push((access.clone(), verdict(answer)));
    }
    verdicts
}

fn review(access: &Access) -> serde_json::Value {
    let mut attributes = json!({
        "group": access.group,
        "resource": access.resource,
        "verb": access.verb,
    });
    if let Some(subresource) = access.subresource {
        attributes["subresource"] = subresource.into();
    }
    if let Some(namespace) = &access.namespace {
        attributes["namespace"] = namespace.as_str().into();
    }
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    })
}

/// Only `allowed: true` is a yes; no opinion is a no.
fn verdict(answer: Result<serde_json::Value, CallError>) -> Verdict {
    match answer {
        Ok(answer) if json::is_true(&answer, &["status", "allowed"]) => Verdict::Allowed,
        Ok(answer) => match json::text(&answer, &["status", "evaluationError"]) {
            Some(why) if !why.is_empty() => Verdict::Unknown { why: why.to_owned() },
            Some(_) | None => Verdict::Denied,
        },
        Err(error) => Verdict::Unknown { why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_needs_no_right_to_change_anything() {
        for access in reading(&["prod".to_owned()]) {
            assert!(["get", "list"].contains(&access.verb), "{access}");
        }
    }

    #[test]
    fn scaling_needs_the_subresource_and_not_the_workload() {
        let needed = writing("scale", Kind::Deployment, "prod");
        let written: Vec<String> = needed.iter().map(ToString::to_string).collect();
        assert!(written.contains(&"patch deployments/scale.apps in prod".to_owned()));
        assert!(!written.contains(&"patch deployments.apps in prod".to_owned()));
        assert_eq!(writing("escalate", Kind::Deployment, "prod"), []);
    }

    #[test]
    fn no_opinion_is_a_no() {
        assert_eq!(verdict(Ok(json!({"status": {"allowed": true}}))), Verdict::Allowed);
        assert_eq!(verdict(Ok(json!({"status": {"allowed": false}}))), Verdict::Denied);
        assert_eq!(verdict(Ok(json!({}))), Verdict::Denied);
    }
}
