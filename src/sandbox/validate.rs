//! Validation: names, labels, selectors, resources, probes, and what may not be changed.
//!
//! It holds the rules that a remediation can run into, with the texts of the real server; it is
//! not the whole of Kubernetes' validation.

use serde_json::{Value, json};

use super::error::{ApiError, FieldError};
use super::object::{items, name, number, text};
use super::quantity::Quantity;
use super::resources::ResourceType;
use super::selectors::LabelSelector;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// The fields of a StatefulSet's spec that may change.
const STATEFUL_SET_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Refuses an object that a real server would refuse.
pub(super) fn check(
    kind: &ResourceType,
    object: &Value,
    before: Option<&Value>,
) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    metadata(object, &mut errors);
    match (kind.group, kind.plural) {
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets") => {
            workload(object, &mut errors);
        }
        ("", "pods") => pod_spec(object.get("spec"), "spec", &mut errors),
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(object, &mut errors),
        _ => {}
    }
    if let Some(before) = before {
        unchangeable(kind, object, before, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name(object), &errors)) }
}

/// Is it a DNS subdomain name?
pub(super) fn is_subdomain(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty()
            && part.chars().all(inside)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn is_label_value(value: &str) -> bool {
    let outside = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| outside(c) || matches!(c, '-' | '_' | '.');
    value.len() <= 63
        && value.chars().all(inside)
        && value.chars().next().is_none_or(outside)
        && value.chars().last().is_none_or(outside)
}

fn metadata(object: &Value, errors: &mut Vec<FieldError>) {
    let own = name(object);
    if own.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if !is_subdomain(own) {
        errors.push(FieldError::invalid("metadata.name", &json!(own), SUBDOMAIN));
    }
    labels(object.pointer("/metadata/labels"), "metadata.labels", errors);
    keys(object.pointer("/metadata/annotations"), "metadata.annotations", errors);
}

fn labels(labels: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    keys(labels, field, errors);
    for value in labels.and_then(Value::as_object).into_iter().flat_map(|map| map.values()) {
        if !value.as_str().is_some_and(is_label_value) {
            errors.push(FieldError::invalid(field, value, LABEL_VALUE));
        }
    }
}

fn keys(map: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    for key in map.and_then(Value::as_object).into_iter().flat_map(|map| map.keys()) {
        let (prefix, own) =
            key.rsplit_once('/').map_or((None, key.as_str()), |(p, n)| (Some(p), n));
        let valid = !own.is_empty() && is_label_value(own) && prefix.is_none_or(is_subdomain);
        if !valid {
            errors.push(FieldError::invalid(field, &json!(key), LABEL_KEY));
        }
    }
}

fn workload(object: &Value, errors: &mut Vec<FieldError>) {
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]
    {
        if let Some(value) = number(object, &format!("/spec/{field}"))
            && value < 0
        {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{field}"), &json!(value), why));
        }
    }
    let selector = object.pointer("/spec/selector");
    let matched = LabelSelector::of_object(selector);
    match (&matched, object.pointer("/spec/template")) {
        (None, _) => errors.push(FieldError::required("spec.selector", "")),
        (Some(matched), Some(template)) if !matched.matches(template) => {
            let labels = template.pointer("/metadata/labels").cloned().unwrap_or(Value::Null);
            let why = "`selector` does not match template `labels`";
            errors.push(FieldError::invalid("spec.template.metadata.labels", &labels, why));
        }
        (Some(_), _) => {}
    }
    labels(object.pointer("/spec/template/metadata/labels"), "spec.template.labels", errors);
    keys(
        object.pointer("/spec/template/metadata/annotations"),
        "spec.template.annotations",
        errors,
    );
    let strategy = object.pointer("/spec/strategy");
    if strategy.is_some_and(|s| text(s, "/type") == "Recreate" && s.get("rollingUpdate").is_some())
    {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", why));
    }
    let policy = text(object, "/spec/template/spec/restartPolicy");
    if policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::unsupported(field, &json!(policy), &["Always"]));
    }
    pod_spec(object.pointer("/spec/template/spec"), "spec.template.spec", errors);
}

fn pod_spec(spec: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    let containers = spec.map_or(&[][..], |spec| items(spec, "/containers"));
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    let lists = ["containers", "initContainers"];
    for list in lists {
        let all = spec.map_or(&[][..], |spec| items(spec, &format!("/{list}")));
        for (at, container) in all.iter().enumerate() {
            let place = format!("{field}.{list}[{at}]");
            let own = text(container, "/name");
            if own.is_empty() {
                errors.push(FieldError::required(format!("{place}.name"), ""));
            } else if !is_subdomain(own) || own.contains('.') {
                errors.push(FieldError::invalid(format!("{place}.name"), &json!(own), SUBDOMAIN));
            } else if seen.contains(&own) {
                errors.push(FieldError::duplicate(format!("{place}.name"), &json!(own)));
            }
            seen.push(own);
            if text(container, "/image").is_empty() {
                errors.push(FieldError::required(format!("{place}.image"), ""));
            }
            resources(container, &place, errors);
            probes(container, &place, errors);
            environment(container, &place, errors);
        }
    }
}

fn resources(container: &Value, place: &str, errors: &mut Vec<FieldError>) {
    let amounts = |list: &str| {
        let map = container.pointer(&format!("/resources/{list}")).and_then(Value::as_object);
        map.cloned().unwrap_or_default()
    };
    let limits = amounts("limits");
    for (list, map) in [("limits", &limits), ("requests", &amounts("requests"))] {
        for (resource, amount) in map {
            let field = format!("{place}.resources.{list}[{resource}]");
            let shown = amount.as_str().unwrap_or_default();
            let Some(quantity) = Quantity::parse(shown) else {
                let why = "quantities must match the regular expression \
                    '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                errors.push(FieldError::invalid(field, amount, why));
                continue;
            };
            if quantity.is_negative() {
                let why = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(field.clone(), amount, why));
            }
            let limit = limits.get(resource).and_then(Value::as_str).and_then(Quantity::parse);
            if list == "requests" && limit.is_some_and(|limit| quantity > limit) {
                let shown = limits.get(resource).and_then(Value::as_str).unwrap_or_default();
                let why = format!("must be less than or equal to {resource} limit of {shown}");
                let field = format!("{place}.resources.requests");
                errors.push(FieldError::invalid(field, amount, &why));
            }
        }
    }
}

fn probes(container: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(kind) else { continue };
        let handlers = ["httpGet", "exec", "tcpSocket", "grpc"];
        if !handlers.iter().any(|handler| probe.get(*handler).is_some()) {
            let why = "must specify a handler type";
            errors.push(FieldError::required(format!("{place}.{kind}"), why));
        }
        for (field, least) in [
            ("initialDelaySeconds", 0),
            ("timeoutSeconds", 1),
            ("periodSeconds", 1),
            ("successThreshold", 1),
            ("failureThreshold", 1),
        ] {
            if let Some(value) = number(probe, &format!("/{field}"))
                && value < least
            {
                let why = format!("must be greater than or equal to {least}");
                let field = format!("{place}.{kind}.{field}");
                errors.push(FieldError::invalid(field, &json!(value), &why));
            }
        }
        let success = number(probe, "/successThreshold").unwrap_or(1);
        if kind != "readinessProbe" && success > 1 {
            let field = format!("{place}.{kind}.successThreshold");
            errors.push(FieldError::invalid(field, &json!(success), "must be 1"));
        }
    }
}

fn environment(container: &Value, place: &str, errors: &mut Vec<FieldError>) {
    for (at, variable) in items(container, "/env").iter().enumerate() {
        let field = format!("{place}.env[{at}]");
        if text(variable, "/name").is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        if !text(variable, "/value").is_empty() && variable.get("valueFrom").is_some() {
            let why = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(format!("{field}.valueFrom"), &json!(""), why));
        }
    }
}

fn autoscaler(object: &Value, errors: &mut Vec<FieldError>) {
    let least = number(object, "/spec/minReplicas").unwrap_or(1);
    let most = number(object, "/spec/maxReplicas").unwrap_or(0);
    if least < 1 {
        let why = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.minReplicas", &json!(least), why));
    }
    if most < 1 {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid("spec.maxReplicas", &json!(most), why));
    } else if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", &json!(most), why));
    }
}

fn unchangeable(kind: &ResourceType, object: &Value, before: &Value, errors: &mut Vec<FieldError>) {
    let immutable = "field is immutable";
    for field in ["uid", "name", "namespace"] {
        let pointer = format!("/metadata/{field}");
        let (old, new) = (before.pointer(&pointer), object.pointer(&pointer));
        if old != new {
            let new = new.unwrap_or(&Value::Null);
            errors.push(FieldError::invalid(format!("metadata.{field}"), new, immutable));
        }
    }
    let differs = |pointer: &str| object.pointer(pointer) != before.pointer(pointer);
    match (kind.group, kind.plural) {
        ("apps", "deployments" | "daemonsets" | "replicasets") if differs("/spec/selector") => {
            let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
            errors.push(FieldError::invalid("spec.selector", selector, immutable));
        }
        ("apps", "statefulsets") => {
            let fields = |object: &Value| {
                let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
                spec.retain(|key, _| !STATEFUL_SET_MUTABLE.contains(&key.as_str()));
                spec
            };
            if fields(object) != fields(before) {
                let why = "updates to statefulset spec for fields other than 'replicas', \
                    'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
                    'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
                errors.push(FieldError::forbidden("spec", why));
            }
        }
        ("", "pods") => {
            let frozen = |object: &Value| {
                let mut spec = object["spec"].clone();
                for list in ["containers", "initContainers"] {
                    for container in spec[list].as_array_mut().into_iter().flatten() {
                        container["image"] = Value::Null;
                    }
                }
                for field in [
                    "activeDeadlineSeconds",
                    "terminationGracePeriodSeconds",
                    "tolerations",
                    "nodeName",
                ] {
                    spec[field] = Value::Null;
                }
                spec
            };
            if frozen(object) != frozen(before) {
                let why = "pod updates may not change fields other than \
                    `spec.containers[*].image`,`spec.initContainers[*].image`,\
                    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if \
                    it was previously negative)";
                errors.push(FieldError::forbidden("spec", why));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_subdomains() {
        for good in ["a", "agent-1", "a.b.c", "0"] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "../../kube-system", "a_b"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
