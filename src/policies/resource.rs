//! Policies that are objects of the cluster, beside those that are files.
//!
//! Each becomes a document as a file would hold it and is checked with the files: what is wrong with
//! one, and what conflicts between the two, is found in one place.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::document::diagnostic::SourceFile;
use crate::domain::policy::spec::{API_VERSION, CLUSTER_KIND, KIND};

/// The API group of both kinds.
pub const GROUP: &str = "orderly.dev";

/// The two kinds of custom resources that hold a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `RemediationPolicy`: touches its own namespace.
    Namespaced,
    /// `ClusterRemediationPolicy`: touches what its target lists.
    Cluster,
}

impl ResourceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Namespaced, Self::Cluster];

    /// As it is written in a manifest.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Namespaced => KIND,
            Self::Cluster => CLUSTER_KIND,
        }
    }

    /// As it is called in the API's paths and in RBAC.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Namespaced => "remediationpolicies",
            Self::Cluster => "clusterremediationpolicies",
        }
    }

    /// What people type: `kubectl get rp`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Namespaced => "rp",
            Self::Cluster => "crp",
        }
    }
}

/// One policy object as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyResource {
    /// Which of the two kinds.
    pub kind: ResourceKind,
    /// Its namespace; nothing for the kind that has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// `metadata.generation`: the version of its spec.
    pub generation: i64,
    /// The policy as a file would hold it; its path is `KIND/NAMESPACE/NAME`.
    pub document: SourceFile,
    /// The status that it has.
    pub status: Value,
}

impl PolicyResource {
    /// Reads an object of the API server; nothing when it has no name, which does not happen.
    pub fn read(kind: ResourceKind, object: &Value) -> Option<Self> {
        let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let name = text("name")?;
        let namespace = text("namespace").filter(|_| kind == ResourceKind::Namespaced);
        let mut metadata = json!({ "name": name });
        if let Some(namespace) = &namespace {
            metadata["namespace"] = json!(namespace);
        }
        // JSON is YAML, and says exactly what the object says.
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": kind.kind(),
            "metadata": metadata,
            "spec": object["spec"],
        });
        let path = match &namespace {
            Some(namespace) => format!("{}/{namespace}/{name}", kind.kind()),
            None => format!("{}/{name}", kind.kind()),
        };
        Some(Self {
            kind,
            namespace,
            name,
            generation: object["metadata"]["generation"].as_i64().unwrap_or(0),
            document: SourceFile {
                path: Arc::from(Path::new(&path)),
                text: Arc::from(format!("{document:#}\n")),
                written: false,
            },
            status: object["status"].clone(),
        })
    }
}

/// The objects of one kind, or why they are not known.
pub type Listed = Result<Vec<PolicyResource>, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_becomes_the_document_of_a_file_and_nothing_else_of_it() {
        let object = json!({
            "apiVersion": "orderly.dev/v1alpha1", "kind": "RemediationPolicy",
            "metadata": {
                "name": "a", "namespace": "b", "generation": 3, "uid": "u",
                "managedFields": [], "annotations": {"kubectl": "{}"},
            },
            "spec": {"summary": "s: \"quoted\" # and\nmore"},
            "status": {"matched": 1},
        });
        let read = PolicyResource::read(ResourceKind::Namespaced, &object).expect("it has a name");
        assert_eq!(read.document.path.display().to_string(), "RemediationPolicy/b/a");
        assert_eq!((read.generation, &read.status["matched"]), (3, &json!(1)));
        let document: Value = serde_saphyr::from_str(&read.document.text).expect("YAML");
        assert_eq!(document["metadata"], json!({"name": "a", "namespace": "b"}));
        assert_eq!(document["spec"], object["spec"]);
        let cluster = PolicyResource::read(ResourceKind::Cluster, &object).expect("a name");
        assert_eq!(cluster.document.path.display().to_string(), "ClusterRemediationPolicy/a");
        assert_eq!(PolicyResource::read(ResourceKind::Cluster, &json!({})), None);
    }
}
