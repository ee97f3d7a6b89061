//! What the two identities may do, compared with what the loaded policies need: only their actions,
//! only in their namespaces.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Level};
use crate::domain::facts::Kind;
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::spec::{ActionSpec, Mode, PolicySpec, WhenAutoscaled};
use crate::kubernetes::access::{self, Access, Verdict};
use crate::kubernetes::connection::{ReadConnection, WriteConnection};

/// Resources that many clusters do not have, or that only make facts richer.
const OPTIONAL: [&str; 4] = ["verticalpodautoscalers", "scaledobjects", "nodes", "events"];

const ADVICE: &str =
    "bind the roles of `deploy/`, or take the namespace or action out of the policies";

/// What reading needs.
pub async fn of_reader(reader: &ReadConnection, policies: &PolicySet) -> Vec<Finding> {
    let namespaces: BTreeSet<_> =
        policies.iter().flat_map(|policy| policy.spec.target.namespaces.iter().cloned()).collect();
    let namespaces: Vec<_> = namespaces.into_iter().collect();
    let needed = access::reading(&namespaces);
    judge("reading", access::review_reader(reader, &needed).await)
}

/// What the policies' actions need. A dry run needs them as well: the API server asks for the same
/// rights.
pub async fn of_writer(
    writer: &WriteConnection,
    policies: &PolicySet,
    ceiling: Mode,
) -> Vec<Finding> {
    let specs = policies.iter().map(|policy| &policy.spec);
    let needed = writing(specs.filter(|spec| spec.mode.min(ceiling) != Mode::Off));
    if needed.is_empty() {
        return vec![Finding::ok("writing", "no policy changes anything")];
    }
    judge("writing", access::review_writer(writer, &needed).await)
}

fn writing<'a>(specs: impl Iterator<Item = &'a PolicySpec>) -> Vec<Access> {
    let mut needed = BTreeSet::new();
    for spec in specs {
        let causes = spec.causes.iter().flat_map(|cause| &cause.actions);
        for action in causes.chain(&spec.on_failure) {
            let kind = action.on().map_or(spec.target.kind, |on| on.kind);
            for namespace in &spec.target.namespaces {
                needed.extend(of_action(action, kind, namespace));
            }
        }
    }
    needed.into_iter().collect()
}

fn of_action(action: &ActionSpec, kind: Kind, namespace: &str) -> Vec<Access> {
    let mut needed = access::writing(action.name(), kind, namespace);
    if let ActionSpec::Scale(spec) = action {
        match spec.when_autoscaled {
            WhenAutoscaled::RaiseMinReplicas => {
                needed.extend(access::writing("raiseMinReplicas", kind, namespace));
            }
            WhenAutoscaled::Refuse => {}
        }
    }
    needed
}

/// One line for each namespace.
fn judge(what: &str, verdicts: Vec<(Access, Verdict)>) -> Vec<Finding> {
    let mut places: BTreeMap<String, Vec<(Access, Verdict)>> = BTreeMap::new();
    for (access, verdict) in verdicts {
        let place = access.namespace.clone().unwrap_or_else(|| "the cluster".to_owned());
        places.entry(place).or_default().push((access, verdict));
    }
    places.into_iter().map(|(place, verdicts)| judge_place(what, &place, &verdicts)).collect()
}

fn judge_place(what: &str, place: &str, verdicts: &[(Access, Verdict)]) -> Finding {
    let subject = format!("{what} in {place}");
    let mut missing = Vec::new();
    let mut level = Level::Ok;
    for (access, verdict) in verdicts {
        let why = match verdict {
            Verdict::Allowed => continue,
            Verdict::Denied => format!("may not {access}"),
            Verdict::Unknown { why } => format!("whether it may {access} is unknown: {why}"),
        };
        missing.push(why);
        if !OPTIONAL.contains(&access.resource) {
            level = Level::Fail;
        } else if level == Level::Ok {
            level = Level::Warn;
        }
    }
    match level {
        Level::Ok => Finding::ok(&subject, format!("has the {} rights it needs", verdicts.len())),
        Level::Warn => Finding::warn(&subject, missing.join("\n"), ADVICE),
        Level::Fail => Finding::fail(&subject, missing.join("\n"), ADVICE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_fails_unless_it_only_makes_facts_richer() {
        let needed = access::reading(&["prod".to_owned()]);
        let verdicts = |denied: &str| {
            let verdict = |access: &Access| match access.resource == denied {
                true => Verdict::Denied,
                false => Verdict::Allowed,
            };
            let verdicts = needed.iter().map(|access| (access.clone(), verdict(access)));
            judge("reading", verdicts.collect())
        };
        let levels = |denied| verdicts(denied).iter().map(|it| it.level).collect::<Vec<_>>();
        assert_eq!(levels("nothing"), [Level::Ok, Level::Ok]);
        assert_eq!(levels("scaledobjects"), [Level::Warn, Level::Ok]);
        assert_eq!(levels("pods"), [Level::Fail, Level::Ok]);
        let seen = &verdicts("replicasets")[0].seen;
        assert_eq!(
            seen,
            "may not get replicasets.apps in prod\nmay not list replicasets.apps in prod"
        );
    }
}
