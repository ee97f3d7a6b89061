//! What may refuse a valid write: admission webhooks of the scenario, and quotas.

use serde_json::Value;

use super::cluster::Cluster;
use super::error::ApiError;
use super::object::{self, text};
use super::resources::{PODS, RESOURCE_QUOTAS, ResourceType};

impl Cluster {
    /// Asks the scripted admission webhooks.
    pub(super) fn admit(
        &self,
        verb: &str,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        for denial in &self.denials {
            if fits(&denial.verb, verb)
                && fits(&denial.resource, kind.plural)
                && fits(&denial.namespace, namespace)
                && fits(&denial.name, name)
            {
                return Err(ApiError::denied(&denial.webhook, &denial.message, denial.code));
            }
        }
        Ok(())
    }

    /// Holds the number of pods against the quotas of the namespace.
    pub(super) fn quota(
        &self,
        kind: &ResourceType,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        if *kind != PODS {
            return Ok(());
        }
        for quota in self.store.list(&RESOURCE_QUOTAS, Some(namespace)) {
            let hard = quota
                .pointer("/spec/hard/pods")
                .or_else(|| quota.pointer("/spec/hard/count~1pods"));
            let Some(hard) = hard.and_then(|hard| match hard {
                Value::String(text) => text.parse::<usize>().ok(),
                other => other.as_u64().and_then(|n| usize::try_from(n).ok()),
            }) else {
                continue;
            };
            let finished =
                |pod: &Value| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
            let used = self.store.list(&PODS, Some(namespace)).filter(|pod| !finished(pod)).count();
            if used >= hard {
                let why = format!(
                    "exceeded quota: {}, requested: pods=1, used: pods={used}, limited: pods={hard}",
                    object::name(quota)
                );
                return Err(ApiError::forbidden(kind, name, &why));
            }
        }
        Ok(())
    }
}
