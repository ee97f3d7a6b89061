//! Finds who else manages an object and would undo a change to it. Pure.
//!
//! Marks are believed only when they describe the object itself: copied annotations are common.
//! `app.kubernetes.io/instance` alone is no mark of Argo CD, since most charts set it.

use serde_json::Value;

use crate::domain::facts::{Owner, Target};
use crate::kubernetes::json;

const ARGO_CD: &str = "argocd.argoproj.io/tracking-id";
const FLUX_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";

/// Everybody who says that the object is theirs.
pub fn owners(object: &Value, target: &Target) -> Vec<Owner> {
    let mut owners = Vec::new();
    let tracking = json::annotation(object, ARGO_CD);
    if let Some(application) = tracking.and_then(|id| argo_cd_application(id, target)) {
        owners.push(Owner::ArgoCd { application });
    }
    let disabled = [json::annotation(object, FLUX_RECONCILE), json::label(object, FLUX_RECONCILE)];
    if !disabled.contains(&Some("disabled"))
        && let Some(name) = flux_name(object, "kustomize.toolkit.fluxcd.io")
    {
        owners.push(Owner::FluxKustomization { name });
    }
    // A HelmRelease installs through Helm, so its objects carry Helm's marks too; the HelmRelease is
    // the owner that acts.
    if let Some(name) = flux_name(object, "helm.toolkit.fluxcd.io") {
        owners.push(Owner::FluxHelmRelease { name });
    } else if json::label(object, "app.kubernetes.io/managed-by") == Some("Helm")
        && let Some(release) = json::annotation(object, HELM_RELEASE)
    {
        owners.push(Owner::Helm { release: release.to_owned() });
    }
    if let Some(owner) = json::controller(object) {
        owners.push(Owner::Controller {
            kind: json::owned(owner, &["kind"]),
            name: json::owned(owner, &["name"]),
        });
    }
    owners
}

/// `<application>:<group>/<Kind>:<namespace>/<name>`; the application when the rest is this object.
fn argo_cd_application(id: &str, target: &Target) -> Option<String> {
    let own = format!(":apps/{}:{}/{}", target.kind, target.namespace, target.name);
    let application = id.strip_suffix(&own)?;
    (!application.is_empty()).then(|| application.to_owned())
}

fn flux_name(object: &Value, prefix: &str) -> Option<String> {
    let name = json::label(object, &format!("{prefix}/name"))?;
    let namespace = json::label(object, &format!("{prefix}/namespace"))?;
    Some(format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::facts::Kind;

    fn owners_of(metadata: Value) -> Vec<Owner> {
        let target =
            Target { kind: Kind::Deployment, namespace: "prod".into(), name: "api".into() };
        owners(&json!({ "metadata": metadata }), &target)
    }

    #[test]
    fn argo_cd_counts_only_when_its_id_describes_the_object() {
        let own = owners_of(json!({"annotations": {ARGO_CD: "shop:apps/Deployment:prod/api"}}));
        assert_eq!(own, [Owner::ArgoCd { application: "shop".into() }]);
        let copied =
            owners_of(json!({"annotations": {ARGO_CD: "shop:apps/Deployment:prod/other"}}));
        assert_eq!(copied, []);
        let chart = owners_of(json!({"labels": {"app.kubernetes.io/instance": "shop"}}));
        assert_eq!(chart, []);
    }

    #[test]
    fn flux_helm_and_controllers_are_named() {
        let flux = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}});
        assert_eq!(
            owners_of(flux.clone()),
            [Owner::FluxKustomization { name: "flux-system/apps".into() }]
        );
        let mut opted_out = flux;
        opted_out["annotations"] = json!({FLUX_RECONCILE: "disabled"});
        assert_eq!(owners_of(opted_out), []);
        let helm = json!({"labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {HELM_RELEASE: "shop"}});
        assert_eq!(owners_of(helm), [Owner::Helm { release: "shop".into() }]);
        let made =
            json!({"ownerReferences": [{"kind": "Rollout", "name": "api", "controller": true}]});
        assert_eq!(
            owners_of(made),
            [Owner::Controller { kind: "Rollout".into(), name: "api".into() }]
        );
    }
}
