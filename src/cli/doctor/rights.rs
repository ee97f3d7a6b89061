//! What the two identities may do, compared with what the loaded policies need: only their actions,
//! only in their namespaces.

use std::collections::BTreeMap;

use super::super::rights;
use super::{Finding, Level};
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::spec::Mode;
use crate::kubernetes::access::{self, Access, Verdict};
use crate::kubernetes::connection::{ReadConnection, WriteConnection};
use crate::policies::resource::ResourceKind;

/// Resources that many clusters do not have, or that only make facts richer.
const OPTIONAL: [&str; 4] = ["verticalpodautoscalers", "scaledobjects", "nodes", "events"];

const ADVICE: &str =
    "bind what `orderly rbac` prints, or take the namespace or action out of the policies";

/// What reading needs.
pub async fn of_reader(
    reader: &ReadConnection,
    policies: &PolicySet,
    resources: &[ResourceKind],
) -> Vec<Finding> {
    let needed = rights::reading(policies, resources);
    judge("reading", access::review_reader(reader, &needed).await)
}

/// What the policies' actions need. A dry run needs them as well: the API server asks for the same
/// rights.
pub async fn of_writer(
    writer: &WriteConnection,
    policies: &PolicySet,
    ceiling: Mode,
    resources: &[ResourceKind],
) -> Vec<Finding> {
    let needed = rights::writing(policies, ceiling, resources);
    if needed.is_empty() {
        return vec![Finding::ok("writing", "no policy changes anything")];
    }
    judge("writing", access::review_writer(writer, &needed).await)
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
