//! Reading a request: which object it is about, and the parameters it carries.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Uri};

use super::access::Attributes;

/// A request, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: bytes::Bytes,
    pub(super) target: Target,
    pub(super) verb: &'static str,
}

/// What a path addresses. Empty texts where the path does not go that far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) subresource: String,
}

impl Request {
    pub(super) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: bytes::Bytes) -> Self {
        let query = query_of(uri);
        let target = Target::of(uri.path());
        let watching = matches!(query.get("watch").map(String::as_str), Some("1" | "true"));
        let verb = match method.as_str() {
            "GET" if !target.name.is_empty() && !target.resource.is_empty() => "get",
            "GET" if target.resource.is_empty() => "get",
            "GET" if watching => "watch",
            "GET" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if target.name.is_empty() => "deletecollection",
            "DELETE" => "delete",
            _ => "",
        };
        Self { path: uri.path().to_owned(), method, query, headers, body, target, verb }
    }

    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(super) fn dry_run(&self) -> bool {
        self.parameter("dryRun") == "All"
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.header("authorization").strip_prefix("Bearer ")
    }

    /// The manager under which fields are recorded: the parameter, else the first part of the user
    /// agent, else `unknown`.
    pub(super) fn manager(&self) -> &str {
        let given = self.parameter("fieldManager");
        if !given.is_empty() {
            return given;
        }
        match self.header("user-agent").split('/').next().unwrap_or_default() {
            "" => "unknown",
            agent => agent,
        }
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            verb: self.verb,
            group: &self.target.group,
            resource: &self.target.resource,
            subresource: &self.target.subresource,
            namespace: &self.target.namespace,
            name: &self.target.name,
        }
    }
}

impl Target {
    fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Self::default(),
        };
        let mut target =
            Self { group: group.to_owned(), version: version.to_owned(), ..Self::default() };
        let rest = match rest {
            ["namespaces", namespace, resource, rest @ ..]
                if !(*resource == "status" && rest.is_empty()) =>
            {
                (*namespace).clone_into(&mut target.namespace);
                (*resource).clone_into(&mut target.resource);
                rest
            }
            [resource, rest @ ..] => {
                (*resource).clone_into(&mut target.resource);
                rest
            }
            [] => return target,
        };
        if let [name, rest @ ..] = rest {
            (*name).clone_into(&mut target.name);
            target.subresource = rest.join("/");
        }
        target
    }
}

/// The parameters of a query; of repeated ones the last.
pub(super) fn query_of(uri: &Uri) -> BTreeMap<String, String> {
    pairs_of(uri).into_iter().collect()
}

/// The parameters of a query in their order.
pub(super) fn pairs_of(uri: &Uri) -> Vec<(String, String)> {
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|query| query.0)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let target = Target::of("/apis/apps/v1/namespaces/ai-agents/deployments/x/scale");
        assert_eq!(
            (target.group.as_str(), target.namespace.as_str(), target.resource.as_str()),
            ("apps", "ai-agents", "deployments")
        );
        assert_eq!((target.name.as_str(), target.subresource.as_str()), ("x", "scale"));
        let target = Target::of("/api/v1/namespaces/ai-agents");
        assert_eq!((target.resource.as_str(), target.name.as_str()), ("namespaces", "ai-agents"));
        let target = Target::of("/api/v1/nodes/node-1");
        assert_eq!((target.resource.as_str(), target.name.as_str()), ("nodes", "node-1"));
    }
}
