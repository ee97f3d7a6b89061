//! A policy that can be decided with: every text in it has been read and found good.
//!
//! Compiling finds everything that is wrong at once. A policy that compiles can still fail to name
//! a target for an alert; that is an error with its evidence, and never widens what the policy may
//! touch.

use std::collections::BTreeSet;

use super::checks;
use super::matcher::{self, Matcher};
use super::name::KubernetesName;
use super::problem::{FieldPath, Problem, Severity};
use super::spec::{ActionSpec, PolicyDocument, PolicySpec};
use super::template::{Template, TemplateError};
use crate::domain::alert::Alert;
use crate::domain::diagnosis::expression::{Expression, Verdict};
use crate::domain::diagnosis::view::View;
use crate::domain::diagnosis::{Conclusion, Considered, Finding};
use crate::domain::event::PolicySnapshot;
use crate::domain::facts::{TargetBy, TargetQuery};
use crate::domain::id::Digest;

/// Names from the configuration that policies refer to. What is not given is not checked.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The receivers that can be told.
    pub receivers: Option<BTreeSet<String>>,
    /// The groups of approvers.
    pub groups: Option<BTreeSet<String>>,
}

/// A policy that can be decided with.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    /// Its name: `NAME`, or `NAMESPACE/NAME` when it belongs to a namespace.
    pub name: String,
    /// Its version: changes with every change of the spec.
    pub digest: Digest,
    /// As it was written.
    pub spec: PolicySpec,
    /// All must match. Those of the spec, and the namespace that the policy belongs to: in a shared
    /// cluster nobody's policy can catch another team's alerts.
    pub matchers: Vec<Matcher>,
    /// In order.
    pub causes: Vec<Cause>,
    target: TargetTemplates,
}

/// A cause that can be judged.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Its name.
    pub name: String,
    /// When it holds; without it always.
    pub when: Option<Expression>,
    /// What to do about it.
    pub actions: Vec<ActionSpec>,
}

#[derive(Clone, Debug)]
struct TargetTemplates {
    namespace: NamespaceFrom,
    by: ByTemplate,
}

#[derive(Clone, Debug)]
enum NamespaceFrom {
    /// The allow-list has one entry.
    Only(KubernetesName),
    Template(Template),
}

#[derive(Clone, Debug)]
enum ByTemplate {
    Name(Template),
    Selector(Vec<(String, Template)>),
    OwnerOfPod(Template),
}

/// Why a policy names no target for an alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The namespace is not in the policy's list.
    #[error(
        "namespace `{namespace}` is not in the list of policy `{policy}`, which allows {}",
        .allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    OutsideAllowList {
        /// The policy.
        policy: String,
        /// What the alert's labels gave.
        namespace: String,
        /// What the policy allows.
        allowed: Vec<String>,
    },
    /// A label is missing, or gives no valid name.
    #[error("target of policy `{policy}`: {source}")]
    NoName {
        /// The policy.
        policy: String,
        /// What is wrong with it.
        #[source]
        source: TemplateError,
    },
}

impl CompiledPolicy {
    /// Reads every text in `document`.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one [`Severity::Error`].
    pub fn compile(document: PolicyDocument, names: &Names) -> Result<Self, Vec<Problem>> {
        let problems = checks::problems(&document, names);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        let name = document.metadata.qualified_name();
        Self::read(name, document.spec).map_err(|problem| vec![problem])
    }

    /// The policy as it was when an incident was opened. The configuration may have changed since:
    /// receivers and groups are not held against it.
    ///
    /// # Errors
    /// When a newer version reads policies differently; the incident cannot go on then.
    pub fn of_snapshot(snapshot: &PolicySnapshot) -> Result<Self, Problem> {
        Self::read(snapshot.name.clone(), snapshot.spec.clone())
    }

    /// The policy as an incident keeps it.
    pub fn snapshot(&self) -> PolicySnapshot {
        PolicySnapshot { name: self.name.clone(), digest: self.digest, spec: self.spec.clone() }
    }

    fn read(name: String, spec: PolicySpec) -> Result<Self, Problem> {
        let path = FieldPath::of("spec");
        let mut matchers = Vec::new();
        for (index, source) in spec.matchers.iter().enumerate() {
            let path = path.key("match").index(index);
            matchers.extend(read_matchers(source, &path)?);
        }
        if let Some((own, _)) = name.split_once('/') {
            let path = FieldPath::of("metadata.namespace");
            let own = read_namespace(own, &path)?;
            matchers.extend(read_matchers(&format!("namespace=\"{}\"", own.as_str()), &path)?);
        }
        let mut causes = Vec::new();
        for (index, cause) in spec.causes.iter().enumerate() {
            let path = path.key("causes").index(index).key("when");
            let when = cause.when.as_ref().map(|source| read_expression(source, &path));
            causes.push(Cause {
                name: cause.name.clone(),
                when: when.transpose()?,
                actions: cause.actions.clone(),
            });
        }
        let target = TargetTemplates::read(&spec)?;
        let digest = Digest::of("orderly-policy-v1", &spec);
        Ok(Self { name, digest, spec, matchers, causes, target })
    }

    /// Whether the alert's labels pass all matchers.
    pub fn matches(&self, alert: &Alert) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(&alert.labels))
    }

    /// What this policy may work on for `alert`.
    ///
    /// # Errors
    /// When a label is missing, gives no valid name, or points outside the policy's namespaces.
    pub fn resolve_target(&self, alert: &Alert) -> Result<TargetQuery, TargetError> {
        let no_name = |source| TargetError::NoName { policy: self.name.clone(), source };
        let target = &self.spec.target;
        let namespace = match &self.target.namespace {
            NamespaceFrom::Only(namespace) => namespace.clone(),
            NamespaceFrom::Template(template) => {
                template.render_namespace(alert).map_err(no_name)?
            }
        };
        let namespace = namespace.as_str().to_owned();
        if !target.namespaces.contains(&namespace) {
            let (policy, allowed) = (self.name.clone(), target.namespaces.clone());
            return Err(TargetError::OutsideAllowList { policy, namespace, allowed });
        }
        let name = |template: &Template| {
            template.render_name(alert).map(|name| name.as_str().to_owned()).map_err(no_name)
        };
        let by = match &self.target.by {
            ByTemplate::Name(template) => TargetBy::Name(name(template)?),
            ByTemplate::OwnerOfPod(template) => TargetBy::OwnerOfPod(name(template)?),
            ByTemplate::Selector(labels) => {
                let mut terms = Vec::new();
                for (label, template) in labels {
                    let value = template.render_label_value(alert).map_err(no_name)?;
                    terms.push(format!("{label}={value}"));
                }
                TargetBy::Selector(terms.join(","))
            }
        };
        Ok(TargetQuery { kind: target.kind, namespace, by, max: target.max_targets })
    }

    /// Which of the causes holds: the first whose expression is true. An expression that cannot be
    /// decided ends the search, because a later cause is a bolder guess (invariant 7).
    pub fn diagnose(&self, view: &View) -> Finding {
        let mut considered = Vec::new();
        for cause in &self.causes {
            let verdict = cause.when.as_ref().map_or(Verdict::Holds, |when| when.evaluate(view));
            let (text, conclusion) = match verdict {
                Verdict::Holds => {
                    ("holds".to_owned(), Some(Conclusion::Cause { name: cause.name.clone() }))
                }
                Verdict::DoesNotHold => ("does not hold".to_owned(), None),
                Verdict::Unknown { why } => {
                    let name = cause.name.clone();
                    (format!("unknown: {why}"), Some(Conclusion::Unknown { name, why }))
                }
            };
            considered.push(Considered {
                cause: cause.name.clone(),
                when: cause.when.as_ref().map(|when| when.source().to_owned()),
                verdict: text,
            });
            if let Some(conclusion) = conclusion {
                return Finding { conclusion, considered };
            }
        }
        Finding { conclusion: Conclusion::NoCause, considered }
    }
}

impl TargetTemplates {
    fn read(spec: &PolicySpec) -> Result<Self, Problem> {
        let path = FieldPath::of("spec.target");
        let target = &spec.target;
        let read = |source: &str, path: &FieldPath| read_template(source, path);
        let namespace = match (&target.namespace, target.namespaces.as_slice()) {
            (Some(source), _) => NamespaceFrom::Template(read(source, &path.key("namespace"))?),
            (None, [only]) => NamespaceFrom::Only(read_namespace(only, &path)?),
            (None, _) => return Err(checks::namespace_missing(&path)),
        };
        let by = match (&target.name, &target.selector, &target.owner_of) {
            (Some(name), None, None) => ByTemplate::Name(read(name, &path.key("name"))?),
            (None, Some(labels), None) => {
                let path = path.key("selector");
                let labels = labels.iter().map(|(label, source)| {
                    Ok((label.clone(), read_template(source, &path.key(label))?))
                });
                ByTemplate::Selector(labels.collect::<Result<_, Problem>>()?)
            }
            (None, None, Some(owner)) => {
                ByTemplate::OwnerOfPod(read(&owner.pod, &path.key("ownerOf").key("pod"))?)
            }
            _ => return Err(checks::not_one_way(&path)),
        };
        Ok(Self { namespace, by })
    }
}

pub(super) fn read_matchers(source: &str, path: &FieldPath) -> Result<Vec<Matcher>, Problem> {
    matcher::parse(source).map_err(|error| {
        Problem::error("matcher", path.clone(), error.message).within(error.offset, error.length)
    })
}

pub(super) fn read_expression(source: &str, path: &FieldPath) -> Result<Expression, Problem> {
    Expression::compile(source).map_err(|error| {
        Problem::error("expression", path.clone(), error.message)
            .within(error.offset, error.length)
            .maybe_help(error.help)
    })
}

pub(super) fn read_template(source: &str, path: &FieldPath) -> Result<Template, Problem> {
    Template::parse(source).map_err(|error| template_problem(error, path))
}

pub(super) fn template_problem(error: TemplateError, path: &FieldPath) -> Problem {
    match error {
        TemplateError::Syntax { message, offset, length } => {
            Problem::error("template", path.clone(), message).within(offset, length)
        }
        other @ (TemplateError::Missing { .. }
        | TemplateError::NotAName { .. }
        | TemplateError::NotALabelValue { .. }
        | TemplateError::TooLong { .. }) => {
            Problem::error("template", path.clone(), other.to_string())
        }
    }
}

pub(super) fn read_namespace(name: &str, path: &FieldPath) -> Result<KubernetesName, Problem> {
    KubernetesName::namespace(name).map_err(|reason| {
        let message = format!("`{name}` is not the name of a namespace: {reason}");
        Problem::error("name", path.clone(), message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample as policies;
    use super::*;
    use crate::domain::diagnosis::sample;
    use crate::domain::facts::Kind;

    fn alert(pairs: &[(&str, &str)]) -> Alert {
        let mut alert = sample::alert();
        alert.labels.extend(sample::labels(pairs));
        alert
    }

    #[test]
    fn labels_choose_a_target_inside_the_list_and_never_outside() {
        let policy = policies::compile(policies::with_spec(json!({})));
        let query = policy.resolve_target(&alert(&[])).expect("a target");
        assert_eq!(query.to_string(), "ai-agents/Deployment/support-agent-deployment");
        let refused = |pairs: &[(&str, &str)]| {
            policy.resolve_target(&alert(pairs)).expect_err("refused").to_string()
        };
        assert_eq!(
            refused(&[("namespace", "kube-system")]),
            "namespace `kube-system` is not in the list of policy `agent-down`, which allows \
             `ai-agents`, `production-agents`"
        );
        assert_eq!(
            refused(&[("namespace", "../../kube-system")]),
            "target of policy `agent-down`: `{{ labels.namespace }}` gives `../../kube-system`, \
             which is not a Kubernetes name: only lower-case letters, digits and `-` may be in it"
        );
        assert!(refused(&[("agent_id", "{{ 7*7 }}")]).contains("gives `{{ 7*7 }}-deployment`"));
        assert!(refused(&[("agent_id", "")]).contains("the alert has no label `agent_id`"));
    }

    #[test]
    fn a_policy_of_a_namespace_answers_and_touches_nothing_else() {
        let own = |namespaces: serde_json::Value| {
            policies::changed(json!({
                "metadata": {"namespace": "ai-agents"},
                "spec": {"target": {"namespaces": namespaces}},
            }))
        };
        let policy = policies::compile(own(json!(["ai-agents"])));
        assert_eq!(policy.name, "ai-agents/agent-down");
        assert!(policy.matches(&alert(&[("namespace", "ai-agents")])));
        assert!(!policy.matches(&alert(&[("namespace", "forge")])));
        let mut nowhere = alert(&[]);
        nowhere.labels.remove("namespace");
        assert!(!policy.matches(&nowhere));
        // What an incident keeps of it answers the same alerts.
        let kept = CompiledPolicy::of_snapshot(&policy.snapshot()).expect("it was good");
        assert!(!kept.matches(&nowhere) && kept.digest == policy.digest);

        let errors = policies::errors(own(json!(["ai-agents", "forge"])), &Names::default());
        assert_eq!(
            errors,
            ["spec.target.namespaces[1]: a RemediationPolicy may touch only its own namespace \
              `ai-agents`, not `forge` (make it a ClusterRemediationPolicy to touch others)"]
        );
        let cluster = json!({"kind": "ClusterRemediationPolicy"});
        assert_eq!(policies::compile(policies::changed(cluster)).name, "agent-down");
        let cluster = json!({
            "kind": "ClusterRemediationPolicy", "metadata": {"namespace": "ai-agents"},
        });
        let errors = policies::errors(policies::changed(cluster), &Names::default());
        assert_eq!(
            errors,
            ["metadata.namespace: a ClusterRemediationPolicy belongs to no namespace"]
        );
    }

    #[test]
    fn the_other_ways_to_name_a_target() {
        let selector = json!({"target": {
            "name": null, "selector": {"app": "{{ labels.agent_id }}", "tier": "agents"},
            "maxTargets": 5, "namespaces": ["ai-agents"], "namespace": null,
        }});
        let policy = policies::compile(policies::with_spec(selector));
        let query = policy.resolve_target(&alert(&[])).expect("a target");
        assert_eq!(query.by, TargetBy::Selector("app=support-agent,tier=agents".to_owned()));
        assert_eq!((query.namespace.as_str(), query.max), ("ai-agents", 5));
        let injected = alert(&[("agent_id", "x,tier!=agents")]);
        let error = policy.resolve_target(&injected).expect_err("refused").to_string();
        assert!(error.contains("not the value of a Kubernetes label"), "{error}");

        let owner = json!({"target": {
            "kind": "StatefulSet", "name": null, "ownerOf": {"pod": "{{ labels.pod }}"},
        }});
        let policy = policies::compile(policies::with_spec(owner));
        let query = policy.resolve_target(&alert(&[("pod", "a-0")])).expect("a target");
        assert_eq!(query.by, TargetBy::OwnerOfPod("a-0".to_owned()));
        assert_eq!(query.kind, Kind::StatefulSet);
    }

    #[test]
    fn the_first_cause_that_holds_is_taken_and_an_unknown_one_ends_the_search() {
        let policy = policies::compile(policies::with_spec(json!({})));
        let mut facts = sample::facts();
        let find = |facts: &_| policy.diagnose(&View::new(&sample::alert(), facts, sample::NOW));
        let name = "out-of-memory".to_owned();
        assert_eq!(find(&facts).conclusion, Conclusion::Cause { name: name.clone() });
        facts.targets[0].pods = sample::unknown("403 Forbidden");
        let why = "`pods` is unknown: 403 Forbidden".to_owned();
        let finding = find(&facts);
        assert_eq!(finding.conclusion, Conclusion::Unknown { name, why });
        assert_eq!(finding.considered.len(), 1);
        facts = sample::facts();
        let nobody =
            json!({"causes": [{"name": "a", "when": "false", "actions": [{"restart": {}}]}]});
        let policy = policies::compile(policies::with_spec(nobody));
        let finding = policy.diagnose(&View::new(&sample::alert(), &facts, sample::NOW));
        assert_eq!(finding.conclusion, Conclusion::NoCause);
        assert_eq!(finding.considered[0].verdict, "does not hold");
    }

    #[test]
    fn a_snapshot_is_the_same_policy_and_a_change_is_another_version() {
        let policy = policies::compile(policies::with_spec(json!({})));
        let again = CompiledPolicy::of_snapshot(&policy.snapshot()).expect("the same");
        assert_eq!((again.digest, again.name), (policy.digest, policy.name));
        let other = policies::compile(policies::with_spec(json!({"mode": "auto"})));
        assert_ne!(other.digest, policy.digest);
    }
}
