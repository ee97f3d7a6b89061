//! Everything that can be wrong with a policy whose shape is right.
//!
//! Reports all of it at once, each with the field that it stands in. What spans several policies,
//! and what is only unwise, is the lint's.

use std::collections::{BTreeMap, BTreeSet};

use super::compiled::{
    Names, read_expression, read_matchers, read_namespace, read_template, template_problem,
};
use super::name::KubernetesName;
use super::problem::{FieldPath, Problem};
use super::spec::{
    API_VERSION, ActionSpec, CLUSTER_KIND, KIND, Metadata, PolicyDocument, PolicySpec, TargetSpec,
};
use super::template::Template;
use super::{actions, safeguards};
use crate::domain::diagnosis::typing;
use crate::domain::nearest::nearest;
use crate::domain::period::Period;

/// Most workloads that one incident may work on: each takes a step, and a plan has at most ten.
const MAX_TARGETS: u32 = 10;
/// Most causes: more than any runbook of the catalogue has by far, and each costs an evaluation.
const MAX_CAUSES: usize = 32;
/// Most actions of one cause: the most that a plan may have steps.
const MAX_ACTIONS: usize = 10;
/// Most queries: each is one question to Prometheus for every look.
const MAX_QUERIES: usize = 10;
/// Most matchers, counted as texts.
const MAX_MATCHERS: usize = 32;
/// Most namespaces in an allow-list.
const MAX_NAMESPACES: usize = 100;
/// Longest wait that makes sense anywhere in a policy; longer is a slip of the unit.
pub(super) const LONGEST: Period = Period::from_mins(60 * 24 * 7);

/// Everything that is wrong with `document`.
pub(super) fn problems(document: &PolicyDocument, names: &Names) -> Vec<Problem> {
    let mut checks = Checks::new(names);
    checks.header(document);
    checks.spec(&document.spec);
    checks.problems()
}

/// There is no namespace to take.
pub(super) fn namespace_missing(path: &FieldPath) -> Problem {
    let message = "`namespace` is missing: the list has more than one namespace to choose from";
    Problem::error("target", path.clone(), message)
        .help("add `namespace: \"{{ labels.namespace }}\"`")
}

/// There is no single way to find the target.
pub(super) fn not_one_way(path: &FieldPath) -> Problem {
    let message = "exactly one of `name`, `selector` and `ownerOf` must be given";
    Problem::error("target", path.clone(), message)
}

pub(super) struct Checks<'n> {
    pub(super) names: &'n Names,
    problems: Vec<Problem>,
}

impl<'n> Checks<'n> {
    pub(super) const fn new(names: &'n Names) -> Self {
        Self { names, problems: Vec::new() }
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }
}

impl Checks<'_> {
    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        path: &FieldPath,
        message: impl Into<String>,
    ) {
        self.push(Problem::error(code, path.clone(), message));
    }

    fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    fn dns_label(&mut self, what: &str, name: &str, path: &FieldPath) {
        if let Err(reason) = KubernetesName::namespace(name) {
            self.error("name", path, format!("`{name}` is no name for {what}: {reason}"));
        }
    }

    pub(super) fn period(&mut self, period: Period, least: Period, path: &FieldPath) {
        if period < least {
            self.error("range", path, format!("`{period}` is less than {least}"));
        }
        if period > LONGEST {
            self.error("range", path, format!("`{period}` is longer than {LONGEST}"));
        }
    }

    fn header(&mut self, document: &PolicyDocument) {
        if document.api_version != API_VERSION {
            let message = format!("`{}` is not a version that is known", document.api_version);
            let path = FieldPath::of("apiVersion");
            self.push(
                Problem::error("version", path, message).help(format!("write {API_VERSION}")),
            );
        }
        if ![KIND, CLUSTER_KIND].contains(&document.kind.as_str()) {
            let message = format!("`{}` is not the kind of a policy", document.kind);
            let path = FieldPath::of("kind");
            self.push(Problem::error("kind", path, message).help(format!("write {KIND}")));
        }
        self.dns_label("a policy", &document.metadata.name, &FieldPath::of("metadata.name"));
        self.own_namespace(&document.metadata, &document.kind, &document.spec.target);
    }

    /// A policy that belongs to a namespace may touch no other.
    fn own_namespace(&mut self, metadata: &Metadata, kind: &str, target: &TargetSpec) {
        let Some(own) = &metadata.namespace else { return };
        let path = FieldPath::of("metadata.namespace");
        if kind == CLUSTER_KIND {
            let message = format!("a {CLUSTER_KIND} belongs to no namespace");
            return self.error("namespace", &path, message);
        }
        self.note(read_namespace(own, &path));
        for (index, namespace) in target.namespaces.iter().enumerate() {
            if namespace != own {
                let path = FieldPath::of("spec.target.namespaces").index(index);
                let message =
                    format!("a {KIND} may touch only its own namespace `{own}`, not `{namespace}`");
                let help = format!("make it a {CLUSTER_KIND} to touch others");
                self.push(Problem::error("namespace", path, message).help(help));
            }
        }
    }

    fn spec(&mut self, spec: &PolicySpec) {
        let path = FieldPath::of("spec");
        if spec.summary.trim().is_empty() {
            self.error("empty", &path.key("summary"), "the summary is empty");
        }
        self.matchers(spec, &path.key("match"));
        self.target(&spec.target, &path.key("target"));
        self.queries(&spec.queries, &path.key("queries"));
        self.causes(spec, &path.key("causes"));
        safeguards::check(self, spec, &path);
        for (index, action) in spec.on_failure.iter().enumerate() {
            self.action(action, spec, &path.key("onFailure").index(index));
        }
        for (index, escalation) in spec.escalate.iter().enumerate() {
            let path = path.key("escalate").index(index);
            self.period(escalation.after, Period::ZERO, &path.key("after"));
            self.receiver(&escalation.to, &path.key("to"));
        }
    }

    fn matchers(&mut self, spec: &PolicySpec, path: &FieldPath) {
        if spec.matchers.len() > MAX_MATCHERS {
            self.error("limit", path, format!("more than {MAX_MATCHERS} matchers"));
        }
        let (mut all, mut broken) = (Vec::new(), false);
        for (index, source) in spec.matchers.iter().enumerate() {
            match self.note(read_matchers(source, &path.index(index))) {
                Some(matchers) => all.extend(matchers),
                None => broken = true,
            }
        }
        if !broken && !all.iter().any(|matcher| matcher.is_positive()) {
            let message = "the policy would match every alert: at least one matcher must ask for \
                           something that is there";
            let help = "add for example `alertname=\"AgentDown\"`";
            self.push(Problem::error("matcher", path.clone(), message).help(help));
        }
    }

    fn target(&mut self, target: &TargetSpec, path: &FieldPath) {
        let namespaces = path.key("namespaces");
        if target.namespaces.is_empty() {
            let message = "the list of namespaces is empty: the policy could touch nothing";
            self.error("target", &namespaces, message);
        }
        if target.namespaces.len() > MAX_NAMESPACES {
            self.error("limit", &namespaces, format!("more than {MAX_NAMESPACES} namespaces"));
        }
        let mut seen = BTreeSet::new();
        for (index, namespace) in target.namespaces.iter().enumerate() {
            let path = namespaces.index(index);
            self.note(read_namespace(namespace, &path));
            if !seen.insert(namespace) {
                self.error("duplicate", &path, format!("`{namespace}` is in the list twice"));
            }
        }
        match &target.namespace {
            Some(source) => self.namespace(source, target, &path.key("namespace")),
            None if target.namespaces.len() > 1 => self.push(namespace_missing(path)),
            None => {}
        }
        let ways = [target.name.is_some(), target.selector.is_some(), target.owner_of.is_some()];
        if ways.into_iter().filter(|given| *given).count() != 1 {
            self.push(not_one_way(path));
        }
        if let Some(source) = &target.name {
            let path = path.key("name");
            let template = self.note(read_template(source, &path));
            self.constant_name(template.as_ref(), source, &path);
        }
        if let Some(owner) = &target.owner_of {
            self.note(read_template(&owner.pod, &path.key("ownerOf").key("pod")));
        }
        if let Some(labels) = &target.selector {
            let path = path.key("selector");
            if labels.is_empty() {
                let message = "the selector is empty: it would find every workload";
                self.error("target", &path, message);
            }
            for (label, source) in labels {
                if !is_label_name(label) {
                    let message = format!("`{label}` is not the name of a Kubernetes label");
                    self.push(Problem::error("name", path.key(label), message).at_key());
                }
                self.note(read_template(source, &path.key(label)));
            }
        }
        if !(1..=MAX_TARGETS).contains(&target.max_targets) {
            let message = format!("`maxTargets` must be between 1 and {MAX_TARGETS}");
            self.error("range", &path.key("maxTargets"), message);
        }
        if target.max_targets > 1 && target.selector.is_none() {
            let message = "`maxTargets` has a meaning only with `selector`";
            self.error("target", &path.key("maxTargets"), message);
        }
    }

    /// A namespace that is written out must be in the list, or the policy can never act.
    fn namespace(&mut self, source: &str, target: &TargetSpec, path: &FieldPath) {
        let template = self.note(read_template(source, path));
        let is_constant = template.is_some_and(|template| template.is_constant());
        if is_constant && !target.namespaces.iter().any(|namespace| namespace == source) {
            let message = format!("`{source}` is not in the list of namespaces");
            let names = target.namespaces.iter().map(String::as_str);
            let help = nearest(source, names);
            self.push(Problem::error("target", path.clone(), message).maybe_help(help));
        }
    }

    fn constant_name(&mut self, template: Option<&Template>, source: &str, path: &FieldPath) {
        if template.is_some_and(Template::is_constant)
            && let Err(reason) = KubernetesName::object(source)
        {
            self.error("name", path, format!("`{source}` is not a Kubernetes name: {reason}"));
        }
    }

    fn queries(&mut self, queries: &BTreeMap<String, String>, path: &FieldPath) {
        if queries.len() > MAX_QUERIES {
            self.error("limit", path, format!("more than {MAX_QUERIES} queries"));
        }
        for (name, source) in queries {
            let path = path.key(name);
            let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let message = format!("`{name}` cannot be used as `queries.{name}`");
                let help = "use letters, digits and `_`";
                self.push(Problem::error("name", path.clone(), message).at_key().help(help));
            }
            self.promql(source, &path);
        }
    }

    pub(super) fn promql(&mut self, source: &str, path: &FieldPath) {
        if source.trim().is_empty() {
            self.error("empty", path, "the query is empty");
        }
        if let Err(error) = Template::parse_promql(source) {
            self.push(template_problem(error, path));
        }
    }

    fn causes(&mut self, spec: &PolicySpec, path: &FieldPath) {
        if spec.causes.is_empty() {
            self.error("empty", path, "the policy has no causes: it could do nothing");
        }
        if spec.causes.len() > MAX_CAUSES {
            self.error("limit", path, format!("more than {MAX_CAUSES} causes"));
        }
        let queries: BTreeSet<String> = spec.queries.keys().cloned().collect();
        let mut seen = BTreeSet::new();
        for (index, cause) in spec.causes.iter().enumerate() {
            let path = path.index(index);
            self.dns_label("a cause", &cause.name, &path.key("name"));
            if !seen.insert(cause.name.as_str()) {
                let message = format!("there are two causes named `{}`", cause.name);
                self.error("duplicate", &path.key("name"), message);
            }
            if let Some(source) = &cause.when {
                let path = path.key("when");
                if let Some(expression) = self.note(read_expression(source, &path)) {
                    for found in typing::problems(&expression, &queries) {
                        let problem = Problem::error("expression", path.clone(), found.message);
                        let problem = problem.within(found.offset, found.length);
                        self.push(problem.maybe_help(found.help));
                    }
                }
            }
            let actions = path.key("actions");
            if cause.actions.is_empty() {
                let message = "the cause has no actions";
                let help = "write `- escalate: {to: RECEIVER}` when a person must act";
                self.push(Problem::error("empty", actions.clone(), message).help(help));
            }
            if cause.actions.len() > MAX_ACTIONS {
                self.error("limit", &actions, format!("more than {MAX_ACTIONS} actions"));
            }
            for (index, action) in cause.actions.iter().enumerate() {
                self.action(action, spec, &actions.index(index));
            }
        }
    }

    fn action(&mut self, action: &ActionSpec, spec: &PolicySpec, path: &FieldPath) {
        let path = path.key(action.name());
        actions::check(self, action, spec.target.kind, &path);
        if let ActionSpec::Escalate(escalate) = action {
            self.receiver(&escalate.to, &path.key("to"));
        }
    }

    fn receiver(&mut self, name: &str, path: &FieldPath) {
        if name.trim().is_empty() {
            return self.error("empty", path, "the receiver's name is empty");
        }
        if let Some(known) = &self.names.receivers
            && !known.contains(name)
        {
            let message = format!("the configuration has no receiver `{name}`");
            let help = nearest(name, known.iter().map(String::as_str));
            self.push(Problem::error("receiver", path.clone(), message).maybe_help(help));
        }
    }
}

/// A label's name as Kubernetes has it: an optional prefix and `/`, then a name.
fn is_label_name(label: &str) -> bool {
    let (prefix, name) = match label.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, label),
    };
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = name.len() <= 63
        && outer(name.chars().next())
        && outer(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    fits && prefix.is_none_or(|prefix| KubernetesName::object(prefix).is_ok())
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
