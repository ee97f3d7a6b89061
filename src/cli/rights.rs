//! What the loaded policies need the API server to allow: looking, where their targets are; and only
//! the writes of their actions, only in their namespaces.

use std::collections::BTreeSet;

use crate::domain::facts::Kind;
use crate::domain::policy::choice::PolicySet;
use crate::domain::policy::spec::{ActionSpec, Mode, WhenAutoscaled};
use crate::kubernetes::access::{self, Access};
use crate::policies::resource::{GROUP, ResourceKind};

/// What finding out needs, and following these kinds of custom resources.
pub fn reading(policies: &PolicySet, resources: &[ResourceKind]) -> Vec<Access> {
    let namespaces: BTreeSet<_> =
        policies.iter().flat_map(|policy| policy.spec.target.namespaces.iter().cloned()).collect();
    let mut needed = access::reading(&namespaces.into_iter().collect::<Vec<_>>());
    needed.extend(resources.iter().flat_map(|kind| access::following(GROUP, kind.plural())));
    needed
}

/// What the actions need of those policies that are not off under this ceiling, and saying in the
/// status of these kinds of custom resources what came of them.
pub fn writing(policies: &PolicySet, ceiling: Mode, resources: &[ResourceKind]) -> Vec<Access> {
    let mut needed: BTreeSet<_> =
        resources.iter().map(|kind| access::telling(GROUP, kind.plural())).collect();
    let specs = policies.iter().map(|policy| &policy.spec);
    for spec in specs.filter(|spec| spec.mode.min(ceiling) != Mode::Off) {
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
