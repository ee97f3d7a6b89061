//! Everything that can be wrong with a policy whose shape is right.
//!
//! Reports all of it at once, each with the field that it stands in. What spans several policies,
//! and what is only unwise, is the lint's.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;

use super::actions;
use super::compiled::{
    Names, read_expression, read_matchers, read_namespace, read_template, template_problem,
};
use super::name::KubernetesName;
use super::problem::{FieldPath, Problem};
use super::spec::{
    API_VERSION, ActionSpec, FreezeSpec, KIND, Mode, PolicyDocument, PolicySpec, QuerySpec,
    TargetSpec,
};
use super::template::Template;
use crate::domain::diagnosis::typing;
use crate::domain::nearest::nearest;
use crate::domain::period::Period;

/// Most workloads that one incident may work on: the plan's limit of steps is ten, twice that
/// leaves room for a restart of several that need one step each in two incidents.
const MAX_TARGETS: u32 = 20;
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
const LONGEST: Period = Period::from_mins(60 * 24 * 7);
/// People that one plan can ask for.
const MAX_QUORUM: u32 = 10;

/// Everything that is wrong with `document`.
pub(super) fn problems(document: &PolicyDocument, names: &Names) -> Vec<Problem> {
    let mut checks = Checks { names, problems: Vec::new() };
    checks.header(document);
    checks.spec(&document.spec);
    checks.problems
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
    names: &'n Names,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn error(&mut self, code: &'static str, path: &FieldPath, message: impl Into<String>) {
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
        if document.kind != KIND {
            let message = format!("`{}` is not the kind of a policy", document.kind);
            let path = FieldPath::of("kind");
            self.push(Problem::error("kind", path, message).help(format!("write {KIND}")));
        }
        self.dns_label("a policy", &document.metadata.name, &FieldPath::of("metadata.name"));
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
        self.gates(spec, &path.key("gates"));
        self.approval(spec, &path.key("approval"));
        self.verify(spec, &path.key("verify"));
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

    fn promql(&mut self, source: &str, path: &FieldPath) {
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

    fn gates(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let gates = &spec.gates;
        self.period(gates.cooldown, Period::ZERO, &path.key("cooldown"));
        let limit = path.key("limit");
        if gates.limit.actions == 0 {
            let message = "a limit of no actions is mode `dry-run`";
            self.push(
                Problem::error("range", limit.key("actions"), message)
                    .help("write `mode: dry-run`"),
            );
        }
        self.period(gates.limit.per, Period::from_secs(1), &limit.key("per"));
        if gates.min_ready_percent > 100 {
            let message = format!("`{}` percent is more than all", gates.min_ready_percent);
            self.error("range", &path.key("minReadyPercent"), message);
        }
        for (index, freeze) in gates.freeze.iter().enumerate() {
            self.freeze(freeze, &path.key("freeze").index(index));
        }
    }

    fn freeze(&mut self, freeze: &FreezeSpec, path: &FieldPath) {
        if Cron::from_str(&freeze.starts).is_err() {
            let message = format!("`{}` is not a cron expression", freeze.starts);
            let problem = Problem::error("cron", path.key("starts"), message);
            self.push(problem.help("write five fields, for example `0 18 * * FRI`"));
        } else if freeze.starts.split_whitespace().count() != 5 {
            let message = format!("`{}` does not have five fields", freeze.starts);
            let problem = Problem::error("cron", path.key("starts"), message);
            self.push(problem.help("minute, hour, day, month, weekday: `0 18 * * FRI`"));
        }
        if TimeZone::get(&freeze.zone).is_err() {
            let message = format!("`{}` is not a time zone", freeze.zone);
            let problem = Problem::error("zone", path.key("zone"), message);
            self.push(problem.help("write an IANA name such as `Europe/Berlin` or `UTC`"));
        }
        self.period(freeze.lasts, Period::from_secs(1), &path.key("lasts"));
    }

    fn approval(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let approval = &spec.approval;
        if !(1..=MAX_QUORUM).contains(&approval.quorum) {
            let message = format!("`quorum` must be between 1 and {MAX_QUORUM}");
            self.error("range", &path.key("quorum"), message);
        }
        self.period(approval.expires_after, Period::from_secs(30), &path.key("expiresAfter"));
        for (index, group) in approval.approvers.iter().enumerate() {
            let path = path.key("approvers").index(index);
            if let Some(known) = &self.names.groups
                && !known.contains(group)
            {
                let message = format!("the configuration has no group `{group}`");
                let help = nearest(group, known.iter().map(String::as_str));
                self.push(Problem::error("group", path, message).maybe_help(help));
            }
        }
    }

    fn verify(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let verify = &spec.verify;
        if matches!(spec.mode, Mode::Approval | Mode::Auto) {
            self.period(verify.within, Period::from_secs(1), &path.key("within"));
        }
        self.period(verify.stable_for, Period::ZERO, &path.key("stableFor"));
        if verify.stable_for >= verify.within && verify.stable_for > Period::ZERO {
            let message = format!(
                "`{}` of stability can never be seen within `{}`",
                verify.stable_for, verify.within
            );
            let help = "make `within` longer than `stableFor`";
            let problem = Problem::error("verify", path.key("stableFor"), message);
            self.push(problem.help(help));
        }
        if let Some(query) = &verify.query {
            self.query(query, verify.within, &path.key("query"));
        }
    }

    fn query(&mut self, query: &QuerySpec, within: Period, path: &FieldPath) {
        self.promql(&query.expr, &path.key("expr"));
        if query.below.is_some() == query.above.is_some() {
            let message = "exactly one of `below` and `above` must be given";
            self.error("verify", path, message);
        }
        for (name, value) in [("below", query.below), ("above", query.above)] {
            if value.is_some_and(|value| !value.is_finite()) {
                self.error("range", &path.key(name), "the threshold must be a number");
            }
        }
        self.period(query.hold, Period::ZERO, &path.key("for"));
        if query.hold >= within && query.hold > Period::ZERO {
            let message = format!("`{}` can never pass within `{within}`", query.hold);
            let help = "make `verify.within` longer than `for`";
            self.push(Problem::error("verify", path.key("for"), message).help(help));
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
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{changed, errors, with_spec};
    use super::*;

    fn causes(action: Value) -> Value {
        json!({"causes": [{"name": "a", "actions": [action]}]})
    }

    /// Every mistake with what is said about it.
    fn mistakes() -> Vec<(Value, &'static str)> {
        let memory =
            |amount: Value| causes(json!({"setResources": {"limits": {"memory": amount}}}));
        let freeze = |window: Value| json!({"gates": {"freeze": [window]}});
        vec![
            (json!({"summary": " "}), "spec.summary: the summary is empty"),
            (json!({"match": []}), "spec.match: the policy would match every alert"),
            (json!({"match": ["a!=\"b\""]}), "spec.match: the policy would match every alert"),
            (json!({"match": ["a=~\".*\""]}), "spec.match: the policy would match every alert"),
            (json!({"match": ["a=\"b"]}), "spec.match[0]: the closing `\"` is missing"),
            (
                json!({"target": {"namespaces": []}}),
                "spec.target.namespaces: the list of namespaces is empty",
            ),
            (
                json!({"target": {"namespaces": ["A"]}}),
                "spec.target.namespaces[0]: `A` is not the name of a namespace",
            ),
            (
                json!({"target": {"namespaces": ["a", "a"]}}),
                "spec.target.namespaces[1]: `a` is in the list twice",
            ),
            (json!({"target": {"namespace": null}}), "spec.target: `namespace` is missing"),
            (
                json!({"target": {"namespace": "ai-agent"}}),
                "spec.target.namespace: `ai-agent` is not in the list of namespaces (did you mean `ai-agents`?)",
            ),
            (
                json!({"target": {"name": null}}),
                "spec.target: exactly one of `name`, `selector` and `ownerOf`",
            ),
            (json!({"target": {"ownerOf": {"pod": "x"}}}), "spec.target: exactly one of"),
            (
                json!({"target": {"name": "{{ label.x }}"}}),
                "spec.target.name: write `{{ labels.NAME }}`",
            ),
            (
                json!({"target": {"name": "A_b"}}),
                "spec.target.name: `A_b` is not a Kubernetes name",
            ),
            (
                json!({"target": {"name": null, "selector": {}}}),
                "spec.target.selector: the selector is empty",
            ),
            (
                json!({"target": {"name": null, "selector": {"a b": "x"}}}),
                "spec.target.selector.a b: `a b` is not the name of a Kubernetes label",
            ),
            (
                json!({"target": {"maxTargets": 0}}),
                "spec.target.maxTargets: `maxTargets` must be between 1 and 20",
            ),
            (
                json!({"target": {"maxTargets": 3}}),
                "spec.target.maxTargets: `maxTargets` has a meaning only with `selector`",
            ),
            (
                json!({"queries": {"a-b": "up"}}),
                "spec.queries.a-b: `a-b` cannot be used as `queries.a-b`",
            ),
            (
                json!({"queries": {"q": "rate({{ labels.x }}[5m])"}}),
                "spec.queries.q: in PromQL a placeholder must stand inside",
            ),
            (json!({"queries": {"q": ""}}), "spec.queries.q: the query is empty"),
            (json!({"causes": []}), "spec.causes: the policy has no causes"),
            (
                json!({"causes": [{"name": "A", "actions": [{"restart": {}}]}]}),
                "spec.causes[0].name: `A` is no name for a cause",
            ),
            (
                json!({"causes": [{"name": "a", "actions": []}]}),
                "spec.causes[0].actions: the cause has no actions",
            ),
            (
                json!({"causes": [{"name": "a", "when": "pod.ready", "actions": [{"restart": {}}]}]}),
                "spec.causes[0].when: there is no variable `pod` (did you mean `pods`?)",
            ),
            (
                json!({"causes": [{"name": "a", "when": "(", "actions": [{"restart": {}}]}]}),
                "spec.causes[0].when: the expression ends too early",
            ),
            (
                json!({"causes": [{"name": "a", "when": "true", "actions": [{"restart": {}}]}, {"name": "a", "actions": [{"restart": {}}]}]}),
                "spec.causes[1].name: there are two causes named `a`",
            ),
            (
                causes(json!({"scale": {}})),
                "spec.causes[0].actions[0].scale: exactly one of `to`, `by` and `percent`",
            ),
            (causes(json!({"scale": {"to": 1, "by": 1, "max": 3}})), "scale: exactly one of"),
            (causes(json!({"scale": {"by": 1}})), "scale: `max` is missing"),
            (causes(json!({"scale": {"by": -1}})), "scale: `min` is missing"),
            (causes(json!({"scale": {"percent": 150}})), "scale: `max` is missing"),
            (causes(json!({"scale": {"by": 0, "max": 1}})), "scale.by: a change by 0 is none"),
            (
                causes(json!({"scale": {"to": 5, "max": 3}})),
                "scale.to: `to` 5 is outside `min` and `max`",
            ),
            (
                causes(json!({"scale": {"to": 5, "max": 3, "min": 4}})),
                "scale.min: `min` 4 is above `max` 3",
            ),
            (causes(json!({"scale": {"to": 5000}})), "scale.to: more than 1000 replicas"),
            (
                causes(json!({"scale": {"percent": 0, "min": 1}})),
                "scale.percent: must be between 1 and 1000",
            ),
            (
                causes(json!({"scale": {"to": 1, "on": {"kind": "DaemonSet", "name": "x"}}})),
                "scale: `scale` cannot be done to a DaemonSet",
            ),
            (
                causes(
                    json!({"restart": {"on": {"kind": "StatefulSet", "name": "{{ labels.x }}"}}}),
                ),
                "restart.on.name: the name of another workload cannot be a template",
            ),
            (
                causes(json!({"rollback": {"toRevision": 0}})),
                "rollback.toRevision: revisions are numbered from 1",
            ),
            (causes(json!({"setResources": {}})), "setResources: neither `limits` nor `requests`"),
            (
                causes(json!({"setResources": {"limits": {"memroy": {"to": "1Gi"}}}})),
                "limits.memroy: `memroy` is not a resource that can be changed (did you mean `memory`?)",
            ),
            (memory(json!({})), "memory: exactly one of `to`, `multiply` and `add`"),
            (memory(json!({"multiply": 2})), "memory: `max` is missing"),
            (memory(json!({"add": "1Gi"})), "memory: `max` is missing"),
            (
                memory(json!({"multiply": 1, "max": "1Gi"})),
                "memory.multiply: `multiply` must be above 1",
            ),
            (memory(json!({"to": "4Gi", "max": "2Gi"})), "memory.to: `to` 4Gi is above `max` 2Gi"),
            (memory(json!({"to": "0"})), "memory.to: must be more than nothing"),
            (causes(json!({"setProbe": {}})), "setProbe: at least one of"),
            (
                causes(json!({"setProbe": {"periodSeconds": 0}})),
                "setProbe.periodSeconds: must be between 1 and 3600",
            ),
            (
                causes(json!({"setProbe": {"container": "A", "periodSeconds": 1}})),
                "setProbe.container: `A` is not the name of a container",
            ),
            (
                causes(json!({"escalate": {"to": "oncal"}})),
                "escalate.to: the configuration has no receiver `oncal` (did you mean `oncall`?)",
            ),
            (
                causes(json!({"escalate": {"to": "oncall", "message": ""}})),
                "escalate.message: the message is empty",
            ),
            (json!({"onFailure": [{"scale": {}}]}), "spec.onFailure[0].scale: exactly one of"),
            (
                json!({"escalate": [{"after": "15m", "to": ""}]}),
                "spec.escalate[0].to: the receiver's name is empty",
            ),
            (json!({"gates": {"cooldown": "8d"}}), "spec.gates.cooldown: `8d` is longer than 7d"),
            (
                json!({"gates": {"limit": {"actions": 0, "per": "0s"}}}),
                "spec.gates.limit.actions: a limit of no actions",
            ),
            (
                json!({"gates": {"limit": {"actions": 1, "per": "0s"}}}),
                "spec.gates.limit.per: `0s` is less than 1s",
            ),
            (
                json!({"gates": {"minReadyPercent": 101}}),
                "spec.gates.minReadyPercent: `101` percent is more than all",
            ),
            (
                freeze(json!({"name": "x", "starts": "often", "lasts": "1h"})),
                "freeze[0].starts: `often` is not a cron expression",
            ),
            (
                freeze(json!({"name": "x", "starts": "0 0 18 * * FRI", "lasts": "1h"})),
                "freeze[0].starts: ",
            ),
            (
                freeze(json!({"name": "x", "starts": "0 18 * * FRI", "lasts": "0s"})),
                "freeze[0].lasts: `0s` is less than 1s",
            ),
            (
                freeze(
                    json!({"name": "x", "starts": "0 18 * * FRI", "lasts": "1h", "zone": "Berlin"}),
                ),
                "freeze[0].zone: `Berlin` is not a time zone",
            ),
            (
                json!({"approval": {"quorum": 0}}),
                "spec.approval.quorum: `quorum` must be between 1 and 10",
            ),
            (
                json!({"approval": {"approvers": ["sra"]}}),
                "spec.approval.approvers[0]: the configuration has no group `sra` (did you mean `sre`?)",
            ),
            (
                json!({"approval": {"expiresAfter": "1s"}}),
                "spec.approval.expiresAfter: `1s` is less than 30s",
            ),
            (json!({"verify": {"within": "0s"}}), "spec.verify.within: `0s` is less than 1s"),
            (
                json!({"verify": {"stableFor": "30m"}}),
                "spec.verify.stableFor: `30m` of stability can never be seen within `10m`",
            ),
            (
                json!({"verify": {"query": {"expr": "up"}}}),
                "spec.verify.query: exactly one of `below` and `above`",
            ),
            (
                json!({"verify": {"query": {"expr": "up", "below": 1, "for": "10m"}}}),
                "spec.verify.query.for: `10m` can never pass within `10m`",
            ),
        ]
    }

    #[test]
    fn every_mistake_is_found_and_named() {
        let names = Names {
            receivers: Some(BTreeSet::from(["oncall".to_owned()])),
            groups: Some(BTreeSet::from(["sre".to_owned()])),
        };
        assert_eq!(errors(with_spec(json!({})), &names), [""; 0]);
        for (patch, expected) in mistakes() {
            let found = errors(with_spec(patch.clone()), &names);
            assert!(found.iter().any(|text| text.contains(expected)), "{patch}: {found:#?}");
        }
    }

    #[test]
    fn the_header_is_checked_too_and_all_is_said_at_once() {
        let document = changed(json!({
            "apiVersion": "v1", "kind": "Policy", "metadata": {"name": "Agent Down"},
        }));
        let found = errors(document, &Names::default());
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(
            found[0].contains("`v1` is not a version that is known (write orderly.dev/v1alpha1)")
        );
    }
}
