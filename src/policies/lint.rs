//! Everything that is wrong or unwise with a set of policy files.
//!
//! What is wrong with one policy is found in `domain`; here it gets its place, and what only shows
//! between policies, or is legal and unwise, is added.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::parse::{self, ParsedPolicy};
use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::places::Places;
use crate::domain::diagnosis::typing;
use crate::domain::nearest::nearest;
use crate::domain::policy::choice::Specificity;
use crate::domain::policy::compiled::{CompiledPolicy, Names};
use crate::domain::policy::matcher::{Matcher, Operator};
use crate::domain::policy::problem::{FieldPath, Problem, Severity};
use crate::domain::policy::spec::{ActionSpec, Mode};
use crate::domain::policy::template::Template;

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Report {
    /// The policies that can be used.
    pub policies: Vec<LoadedPolicy>,
    /// Those that cannot, by name, as far as they have one.
    pub refused: Vec<RefusedPolicy>,
    /// What is wrong or unwise, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// A policy and where it is written.
#[derive(Clone, Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Arc<CompiledPolicy>,
    /// Where its fields stand.
    pub places: Places,
}

/// A policy that cannot be used.
#[derive(Clone, Debug)]
pub struct RefusedPolicy {
    /// Its name; absent when it has none, or the file is no YAML.
    pub name: Option<String>,
    /// Its file.
    pub file: SourceFile,
    /// The first thing that is wrong, with its place.
    pub why: String,
}

impl Report {
    /// Whether something keeps a policy from being used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// Checks all policies of `files` and holds them against each other.
pub fn check(files: &[SourceFile], names: &Names) -> Report {
    let mut report = Report::default();
    for file in files {
        match parse::parse(file) {
            Ok(documents) => {
                documents.into_iter().for_each(|parsed| one(parsed, names, &mut report));
            }
            Err(diagnostic) => {
                let why = diagnostic.one_line();
                report.refused.push(RefusedPolicy { name: None, file: file.clone(), why });
                report.diagnostics.push(*diagnostic);
            }
        }
    }
    duplicates(&mut report);
    overlaps(&mut report);
    report.diagnostics.sort_by(|one, other| {
        let key = |found: &Diagnostic| (found.file.clone(), found.line, found.column);
        key(one).cmp(&key(other))
    });
    report
}

fn one(parsed: ParsedPolicy, names: &Names, report: &mut Report) {
    let ParsedPolicy { document, name, places, mut problems } = parsed;
    let compiled = document.map(|document| CompiledPolicy::compile(document, names));
    let policy = match compiled {
        Some(Ok(policy)) => {
            problems.extend(unwise(&policy));
            Some(Arc::new(policy))
        }
        Some(Err(found)) => {
            problems.extend(found);
            None
        }
        None => None,
    };
    let found = problems.iter().map(|problem| places.diagnostic(problem, name.as_deref()));
    let found: Vec<_> = found.collect();
    match policy {
        Some(policy) => report.policies.push(LoadedPolicy { policy, places }),
        None => {
            let error = found.iter().find(|found| found.severity == Severity::Error);
            let why = error.map_or_else(String::new, Diagnostic::one_line);
            report.refused.push(RefusedPolicy { name, file: places.file, why });
        }
    }
    report.diagnostics.extend(found);
}

/// What is legal and probably not meant.
fn unwise(policy: &CompiledPolicy) -> Vec<Problem> {
    let mut problems = Vec::new();
    unreachable(policy, &mut problems);
    labels(policy, &mut problems);
    labels_of_causes(policy, &mut problems);
    queries(policy, &mut problems);
    people(policy, &mut problems);
    problems
}

fn unreachable(policy: &CompiledPolicy, problems: &mut Vec<Problem>) {
    let path = FieldPath::of("spec.causes");
    let mut always: Option<&str> = None;
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, cause) in policy.causes.iter().enumerate() {
        let path = path.index(index);
        if let Some(earlier) = always {
            let message = format!("`{}` is never reached: `{earlier}` always holds", cause.name);
            let help = "move it up, or give the other one a `when`";
            let problem = Problem::warning("unreachable-cause", path.key("name"), message);
            problems.push(problem.help(help));
            continue;
        }
        let Some(when) = &cause.when else {
            always = Some(&cause.name);
            continue;
        };
        if typing::always_holds(when) {
            always = Some(&cause.name);
        }
        let source = when.source().trim();
        match seen.iter().find(|(_, earlier)| *earlier == source) {
            Some((earlier, _)) => {
                let message = format!("`{}` asks the same as `{earlier}`", cause.name);
                let problem = Problem::warning("unreachable-cause", path.key("when"), message);
                problems.push(problem.help("it is never reached: change one of the two"));
            }
            None => seen.push((&cause.name, source)),
        }
    }
}

/// A template needs labels that the matchers do not ask for: some alerts would name no target.
fn labels(policy: &CompiledPolicy, problems: &mut Vec<Problem>) {
    let target = &policy.spec.target;
    let path = FieldPath::of("spec.target");
    let mut templates: Vec<(FieldPath, Option<Template>)> = Vec::new();
    let plain = [("namespace", &target.namespace), ("name", &target.name)];
    for (field, source) in plain {
        let template = source.as_ref().and_then(|source| Template::parse(source).ok());
        templates.push((path.key(field), template));
    }
    if let Some(owner) = &target.owner_of {
        templates.push((path.key("ownerOf").key("pod"), Template::parse(&owner.pod).ok()));
    }
    for (label, source) in target.selector.iter().flatten() {
        templates.push((path.key("selector").key(label), Template::parse(source).ok()));
    }
    let promql = |source: &str| Template::parse_promql(source).ok();
    for (name, source) in &policy.spec.queries {
        templates.push((FieldPath::of("spec.queries").key(name), promql(source)));
    }
    if let Some(query) = &policy.spec.verify.query {
        templates.push((FieldPath::of("spec.verify.query.expr"), promql(&query.expr)));
    }
    let mut told = BTreeSet::new();
    for (path, template) in &templates {
        let required = template.iter().flat_map(Template::required_labels);
        for label in required {
            let asked = policy
                .matchers
                .iter()
                .any(|matcher| matcher.name() == label && matcher.guarantees_label());
            if !asked && told.insert(label) {
                let message = format!("no matcher asks for the label `{label}`");
                let problem = Problem::warning("unguaranteed-label", path.clone(), message);
                let help = format!(
                    "an alert without it names no target: add `{label}!=\"\"` to `match`, or use `default(\"…\")`"
                );
                let place = template.as_ref().and_then(|template| template.source().find(label));
                problems.push(match place {
                    Some(at) => problem.within(at, label.len()).help(help),
                    None => problem.help(help),
                });
            }
        }
    }
}

/// A cause reads a label that the matchers do not ask for: of an alert without it, whether the cause
/// holds cannot be decided. Often it is misspelt.
fn labels_of_causes(policy: &CompiledPolicy, problems: &mut Vec<Problem>) {
    let certain: Vec<_> = policy
        .matchers
        .iter()
        .filter(|matcher| matcher.guarantees_label())
        .map(|matcher| matcher.name())
        .collect();
    for (index, cause) in policy.causes.iter().enumerate() {
        let mut told = BTreeSet::new();
        for (label, (at, length)) in cause.when.iter().flat_map(|when| when.labels()) {
            if certain.contains(&label) || !told.insert(label) {
                continue;
            }
            let path = FieldPath::of("spec.causes").index(index).key("when");
            let message = format!("no matcher asks for the label `{label}`");
            let problem = Problem::warning("unguaranteed-label", path, message);
            let help = nearest(label, certain.iter().copied()).unwrap_or_else(|| {
                format!(
                    "of an alert without it this cannot be decided: add `{label}!=\"\"` to `match`, \
                     or write `labels.?{label}.orValue(\"\")`"
                )
            });
            problems.push(problem.within(at, length).help(help));
        }
    }
}

fn queries(policy: &CompiledPolicy, problems: &mut Vec<Problem>) {
    for name in policy.spec.queries.keys() {
        let expressions = policy.causes.iter().filter_map(|cause| cause.when.as_ref());
        if !expressions.into_iter().any(|when| when.asks_query(name)) {
            let path = FieldPath::of("spec.queries").key(name);
            let message = format!("no cause asks `queries.{name}`");
            let problem = Problem::warning("unused-query", path, message).at_key();
            problems.push(problem.help("remove it: it is asked for every incident"));
        }
    }
}

/// A fix that does not help must end with a person.
fn people(policy: &CompiledPolicy, problems: &mut Vec<Problem>) {
    let spec = &policy.spec;
    let acts = matches!(spec.mode, Mode::Approval | Mode::Auto);
    let tells = |action: &ActionSpec| matches!(action, ActionSpec::Escalate(_));
    if acts && spec.escalate.is_empty() && !spec.on_failure.iter().any(tells) {
        let message = "nobody is told when the fix does not help";
        let path = FieldPath::of("spec.mode");
        let problem = Problem::warning("no-escalation", path, message);
        problems.push(problem.help("add `onFailure: [{escalate: {to: RECEIVER}}]`, or `escalate`"));
    }
}

/// The first of two policies of one name stays, by the name of its file.
fn duplicates(report: &mut Report) {
    let name = parse::name_path();
    let mut kept: Vec<LoadedPolicy> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for loaded in std::mem::take(&mut report.policies) {
        let first = by_name.get(&loaded.policy.name).map(|place| &kept[*place]);
        let Some(first) = first else {
            by_name.insert(loaded.policy.name.clone(), kept.len());
            kept.push(loaded);
            continue;
        };
        let message = format!(
            "there is a policy named `{}` already, in `{}`",
            loaded.policy.name,
            first.places.file.path.display()
        );
        let problem = Problem::error("duplicate-policy", name.clone(), message);
        let diagnostic = loaded.places.diagnostic(&problem, Some(&loaded.policy.name));
        let diagnostic =
            diagnostic.related(&first.places.file, first.places.value(&name), "the first one");
        let why = diagnostic.one_line();
        let file = loaded.places.file.clone();
        // Without a name: the policy that has the name is in force.
        report.refused.push(RefusedPolicy { name: None, file, why });
        report.diagnostics.push(diagnostic);
    }
    report.policies = kept;
}

/// Two policies between which only their names decide.
fn overlaps(report: &mut Report) {
    let path = FieldPath::of("spec.match");
    // Only those that ask for the same alertname, or for none, are held against each other: of ten
    // thousand policies each with each would take half a minute.
    let mut alike: HashMap<(i32, Option<&str>), Vec<&LoadedPolicy>> = HashMap::new();
    for later in &report.policies {
        let key = (later.policy.spec.priority, alertname(&later.policy.matchers));
        let before = alike.entry(key).or_default();
        let earlier = before.iter().find(|earlier| {
            let (one, other) = (&earlier.policy, &later.policy);
            Specificity::of(one) == Specificity::of(other)
                && can_both_match(&one.matchers, &other.matchers)
        });
        let earlier = earlier.copied();
        before.push(later);
        let Some(earlier) = earlier else { continue };
        let (one, other) = (&earlier.policy.name, &later.policy.name);
        let winner = one.min(other);
        let message = format!("`{other}` and `{one}` can match the same alert");
        let problem = Problem::warning("overlap", path.clone(), message);
        let problem = problem.help(format!(
            "`{winner}` is taken only because its name comes first: set `priority`, or ask more narrowly"
        ));
        let diagnostic = later.places.diagnostic(&problem, Some(other));
        let place = earlier.places.value(&path);
        report.diagnostics.push(diagnostic.related(&earlier.places.file, place, "the other one"));
    }
}

/// The alertname that is asked for, when one is. Policies that ask for none are meant to catch what is
/// left over.
fn alertname(matchers: &[Matcher]) -> Option<&str> {
    let equal =
        |matcher: &&Matcher| matcher.name() == "alertname" && matcher.operator() == Operator::Equal;
    matchers.iter().find(equal).map(Matcher::value)
}

/// Whether some alert could pass both. Sure only of "no": two expressions are not compared.
fn can_both_match(one: &[Matcher], other: &[Matcher]) -> bool {
    let excluded = |by: &[Matcher], from: &[Matcher]| {
        by.iter().filter(|matcher| matcher.operator() == Operator::Equal).any(|fixed| {
            from.iter()
                .filter(|matcher| matcher.name() == fixed.name())
                .any(|matcher| !matcher.accepts(fixed.value()))
        })
    };
    !excluded(one, other) && !excluded(other, one)
}
