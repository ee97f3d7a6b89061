//! Deletion and eviction: preconditions, grace periods, finalizers, disruption budgets.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{self, number, text};
use super::resources::{ALL, DISRUPTION_BUDGETS, NAMESPACES, PODS, ResourceType, Scope};
use super::selectors::LabelSelector;
use super::write::Effect;

impl Cluster {
    /// Deletes an object; what is answered is the object on its way out, or a `Status`.
    pub(super) fn delete(
        &mut self,
        kind: &'static ResourceType,
        (namespace, name): (&str, &str),
        options: &Value,
        effect: Effect,
        now: Timestamp,
    ) -> Result<Arc<Value>, ApiError> {
        self.touched = now;
        let found = self.store.get(kind, namespace, name).cloned();
        let found = found.ok_or_else(|| ApiError::not_found(kind, name))?;
        preconditions(kind, &found, options)?;
        self.admit("delete", kind, namespace, name)?;
        if *kind == PODS
            && let Some(leaving) = self.delete_pod(&found, options, effect, now)
        {
            return Ok(leaving);
        }
        let done = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": name, "group": kind.group, "kind": kind.plural, "uid": object::uid(&found),
            },
        });
        if effect == Effect::DryRun {
            return Ok(Arc::new(if *kind == PODS { (*found).clone() } else { done }));
        }
        if text(options, "/propagationPolicy") == "Orphan" || flag_orphans(options) {
            self.orphan(object::uid(&found));
        }
        if !object::items(&found, "/metadata/finalizers").is_empty() {
            let leaving = self.store.modify(kind, namespace, name, |object| {
                object::default(object, &["metadata", "deletionTimestamp"], object::rfc3339(now));
                object::default(object, &["metadata", "deletionGracePeriodSeconds"], 0);
            });
            return Ok(leaving.unwrap_or(found));
        }
        if *kind == NAMESPACES {
            self.empty_namespace(name);
        }
        self.pods.remove(object::uid(&found));
        let last = self.store.remove(kind, namespace, name);
        Ok(if *kind == PODS { last.unwrap_or(found) } else { Arc::new(done) })
    }

    /// Begins the end of a pod; `None` when it is to vanish at once.
    fn delete_pod(
        &mut self,
        pod: &Arc<Value>,
        options: &Value,
        effect: Effect,
        now: Timestamp,
    ) -> Option<Arc<Value>> {
        let wanted = number(options, "/gracePeriodSeconds");
        let own = number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
        let mut grace = match wanted {
            Some(seconds) if seconds < 0 => 1,
            Some(seconds) => seconds,
            None => own,
        };
        let finished = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if text(pod, "/spec/nodeName").is_empty() || finished {
            grace = 0;
        }
        if grace == 0 && object::items(pod, "/metadata/finalizers").is_empty() {
            return None;
        }
        if object::terminating(pod) {
            // A second deletion can only shorten the grace.
            let left = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(grace);
            grace = grace.min(left);
        }
        if effect == Effect::DryRun {
            return Some(Arc::clone(pod));
        }
        let deadline = now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        self.store.modify(&PODS, object::namespace(pod), object::name(pod), |pod| {
            object::put(pod, &["metadata", "deletionTimestamp"], object::rfc3339(deadline));
            object::put(pod, &["metadata", "deletionGracePeriodSeconds"], grace);
        })
    }

    /// Takes the reference to `owner` from its dependents, so that they survive it.
    fn orphan(&mut self, owner: &str) {
        let dependents: Vec<Arc<Value>> = self
            .store
            .everything()
            .filter(|(_, object)| object::controlled_by(object, owner))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        for dependent in dependents {
            let kind = ALL.into_iter().find(|kind| {
                dependent["kind"] == kind.kind && dependent["apiVersion"] == kind.api_version()
            });
            if let Some(kind) = kind {
                let (namespace, name) = (object::namespace(&dependent), object::name(&dependent));
                self.store.modify(kind, namespace, name, |dependent| {
                    object::take(dependent, &["metadata", "ownerReferences"]);
                });
            }
        }
    }

    fn empty_namespace(&mut self, namespace: &str) {
        for kind in ALL.into_iter().filter(|kind| kind.scope == Scope::Namespaced) {
            let names: Vec<String> = self
                .store
                .list(kind, Some(namespace))
                .map(|object| object::name(object).to_owned())
                .collect();
            for name in names {
                self.store.remove(kind, namespace, &name);
            }
        }
    }

    /// Evicts a pod, if its disruption budget allows it.
    pub(super) fn evict(
        &mut self,
        namespace: &str,
        name: &str,
        eviction: &Value,
        effect: Effect,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let named = object::name(eviction);
        if !named.is_empty() && named != name {
            return Err(ApiError::bad_request(format!(
                "name in URL does not match name in Eviction object: {name} != {named}"
            )));
        }
        let pod = self.store.get(&PODS, namespace, name).cloned();
        let pod = pod.ok_or_else(|| ApiError::not_found(&PODS, name))?;
        let options = eviction.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
        preconditions(&PODS, &pod, &options)?;
        let within = object::items(&options, "/dryRun").iter().any(|word| word == "All");
        let effect = if within { Effect::DryRun } else { effect };
        let unprotected = matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed" | "Pending")
            || object::terminating(&pod);
        if !unprotected {
            self.spend_budget(namespace, &pod, effect)?;
        }
        if effect == Effect::Store {
            self.store.modify(&PODS, namespace, name, |pod| {
                let at = object::rfc3339(now);
                let list = object::child(pod, &["status", "conditions"]);
                if let Some(list) = list.as_array_mut() {
                    list.push(json!({
                        "type": "DisruptionTarget", "status": "True",
                        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
                        "lastTransitionTime": at,
                    }));
                }
            });
        }
        self.delete(&PODS, (namespace, name), &without_version(options), effect, now)?;
        Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        }))
    }

    fn spend_budget(
        &mut self,
        namespace: &str,
        pod: &Value,
        effect: Effect,
    ) -> Result<(), ApiError> {
        let covering: Vec<Arc<Value>> = self
            .store
            .list(&DISRUPTION_BUDGETS, Some(namespace))
            .filter(|budget| {
                LabelSelector::of_object(budget.pointer("/spec/selector"))
                    .is_some_and(|selector| selector.matches(pod))
            })
            .cloned()
            .collect();
        let budget = match covering.as_slice() {
            [] => return Ok(()),
            [one] => one,
            _ => {
                return Err(ApiError::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction \
                     subresource does not support.",
                ));
            }
        };
        let counts = |field: &str| number(budget, &format!("/status/{field}")).unwrap_or(0);
        if !object::pod_ready(pod) {
            let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
            let desired = counts("desiredHealthy");
            if always || (desired > 0 && counts("currentHealthy") >= desired) {
                return Ok(());
            }
        }
        let name = object::name(budget);
        if counts("observedGeneration") < number(budget, "/metadata/generation").unwrap_or(0) {
            let message =
                format!("The disruption budget {name} is still being processed by the server.");
            return Err(ApiError::disruption_budget(&message, Some(10)));
        }
        if counts("disruptionsAllowed") <= 0 {
            let message = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                counts("desiredHealthy"),
                counts("currentHealthy")
            );
            return Err(ApiError::disruption_budget(&message, None));
        }
        if effect == Effect::Store {
            let left = counts("disruptionsAllowed") - 1;
            let name = name.to_owned();
            self.store.modify(&DISRUPTION_BUDGETS, namespace, &name, |budget| {
                budget["status"]["disruptionsAllowed"] = json!(left);
            });
        }
        Ok(())
    }
}

fn flag_orphans(options: &Value) -> bool {
    object::flag(options, "/orphanDependents")
}

/// The eviction itself has changed the pod; its precondition was checked before that.
fn without_version(mut options: Value) -> Value {
    object::take(&mut options, &["preconditions", "resourceVersion"]);
    options
}

fn preconditions(kind: &ResourceType, found: &Value, options: &Value) -> Result<(), ApiError> {
    for (field, words) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let wanted = text(options, &format!("/preconditions/{field}"));
        let live = text(found, &format!("/metadata/{field}"));
        if !wanted.is_empty() && wanted != live {
            let why = format!(
                "Precondition failed: {words} in precondition: {wanted}, {words} in object meta: {live}"
            );
            return Err(ApiError::conflict(kind, object::name(found), &why));
        }
    }
    Ok(())
}
