//! The ground of a world as the people and machines of a scenario touch it.

use orderly::sandbox::{
    Alertmanager, Fault, FaultMatch, FaultOutcome, QueryAnswer, QueryMatch, Sandbox, View,
};
use serde_json::Value;

use super::script::Query;
use crate::world::Ground;

/// A ground on which a scenario can be played. What it is asked for must be possible there: a
/// scenario that is refused something is wrong.
pub trait Stage: Ground {
    /// Creates or updates objects, as `kubectl apply` does.
    fn apply(&self, manifests: &str);
    /// Changes an object by a strategic merge patch, as somebody in the cluster does.
    fn patch(&self, resource: &str, namespace: &str, name: &str, patch: &Value);
    /// One object, by the plural of its kind.
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Value;
    /// The names of a workload's pods.
    fn pods_of(&self, namespace: &str, workload: &str) -> Vec<String>;
    /// Breaks the connection of the next such write, before or after it is carried out.
    fn break_connection(&self, verb: &str, resource: &str, carried_out: bool);
    /// What Orderly sent to change the cluster, a line a request; dry runs and Events left out.
    fn writes(&self) -> Vec<String>;
    /// Has Prometheus answer so.
    fn answer(&self, query: Query);
    /// The Alertmanager, to let alerts fire and resolve.
    fn alertmanager(&self) -> Alertmanager;
}

impl Stage for Sandbox {
    fn apply(&self, manifests: &str) {
        self.apply_yaml(manifests).expect("applied");
    }

    fn patch(&self, resource: &str, namespace: &str, name: &str, patch: &Value) {
        Self::patch(self, resource, namespace, name, patch).expect("patched");
    }

    fn get(&self, resource: &str, namespace: &str, name: &str) -> Value {
        Self::get(self, resource, namespace, name).expect("it exists")
    }

    fn pods_of(&self, namespace: &str, workload: &str) -> Vec<String> {
        let pods = Self::pods_of(self, namespace, workload);
        pods.iter().map(|pod| pod["metadata"]["name"].as_str().expect("text").to_owned()).collect()
    }

    fn break_connection(&self, verb: &str, resource: &str, carried_out: bool) {
        let outcome = if carried_out { FaultOutcome::DropAfter } else { FaultOutcome::DropBefore };
        self.fault(Fault::once(FaultMatch::write(verb, resource), outcome));
    }

    fn writes(&self) -> Vec<String> {
        let writes = Self::writes(self).into_iter().filter(|entry| entry.resource != "events");
        writes.map(|entry| format!("{} {}", entry.verb, entry.path)).collect()
    }

    fn answer(&self, query: Query) {
        let on = QueryMatch::Contains(vec![query.contains.clone()]);
        self.set_query(on, move |view: &View<'_>| {
            let bad = query.serves.as_ref().is_some_and(|serves| {
                view.serves_image(&serves.namespace, &serves.workload, &serves.image)
            });
            QueryAnswer::value(if bad { query.bad } else { query.good })
        });
    }

    fn alertmanager(&self) -> Alertmanager {
        Self::alertmanager(self)
    }
}
