//! Builds API paths. Every piece that is not written here is percent-encoded, so that no name, even
//! a hostile one, can step into another path.

use std::fmt::Write as _;

use crate::domain::facts::Kind;

/// `/api/v1/...` or `/apis/<group>/<version>/...` of one resource in one namespace.
pub fn namespaced(api_version: &str, namespace: &str, plural: &str) -> String {
    let root = root(api_version);
    format!("{root}/namespaces/{}/{}", encode(namespace), encode(plural))
}

/// One object in a namespace.
pub fn object(api_version: &str, namespace: &str, plural: &str, name: &str) -> String {
    format!("{}/{}", namespaced(api_version, namespace, plural), encode(name))
}

/// One cluster-scoped object, or all of them without a name.
pub fn cluster(api_version: &str, plural: &str, name: Option<&str>) -> String {
    let all = format!("{}/{}", root(api_version), encode(plural));
    name.map_or_else(|| all.clone(), |name| format!("{all}/{}", encode(name)))
}

/// One workload.
pub fn workload(kind: Kind, namespace: &str, name: &str) -> String {
    object("apps/v1", namespace, kind.plural(), name)
}

fn root(api_version: &str) -> String {
    match api_version.split_once('/') {
        None => format!("/api/{}", encode(api_version)),
        Some((group, version)) => format!("/apis/{}/{}", encode(group), encode(version)),
    }
}

/// A query string with its question mark; empty without parameters.
pub fn query(parameters: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&encode(name));
        text.push('=');
        text.push_str(&encode(value));
    }
    text
}

/// RFC 3986: everything but the unreserved characters is encoded. A piece that consists of dots
/// only is encoded too, since `..` is unreserved and means the parent.
pub fn encode(text: &str) -> String {
    let only_dots = text.bytes().all(|byte| byte == b'.');
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
        if plain || (byte == b'.' && !only_dots) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(
            workload(Kind::Deployment, "prod", "api"),
            "/apis/apps/v1/namespaces/prod/deployments/api"
        );
        assert_eq!(object("v1", "prod", "pods", "p"), "/api/v1/namespaces/prod/pods/p");
        assert_eq!(cluster("v1", "nodes", Some("n")), "/api/v1/nodes/n");
        let list = query(&[("labelSelector", "app in (a,b)"), ("limit", "500")]);
        assert_eq!(list, "?labelSelector=app%20in%20%28a%2Cb%29&limit=500");
    }

    #[test]
    fn a_hostile_name_stays_one_piece_of_the_path() {
        let path = object("v1", "../../kube-system", "pods", "..");
        assert_eq!(path, "/api/v1/namespaces/..%2F..%2Fkube-system/pods/%2E%2E");
        assert!(!object("v1", "a", "pods", "x?dryRun=All#").contains(['?', '#']));
    }
}
