//! What is refused while planning, and the words in which people are told why: the cluster's own,
//! where the cluster has a say.

use crate::plane::{self, Namespace, until};
use crate::remedy::{Policy, Remedy};
use crate::semantics::manifest;

/// What is refused while planning, and the words in which people are told why.
async fn refused(kind: &str, prepare: impl FnOnce(&Namespace), actions: &str, why: &str) {
    let namespace = Namespace::new("refused");
    namespace.apply(&manifest(kind, "web", "v1"));
    namespace.rolled_out(&format!("{}/web", kind.to_lowercase()));
    prepare(&namespace);
    let before = namespace.get(&format!("{}/web", kind.to_lowercase()));
    let verify = "{within: 80s, rollout: complete, alert: any}";
    let policy = Policy { mode: "auto", kind, name: "web", actions, verify };
    let mut remedy = Remedy::start(&namespace, &policy).await;
    let id = remedy.fire().await;
    let shown = remedy.until_over(&id, "impossible").await;
    assert!(shown["summary"]["standing"].as_str().is_some_and(|it| it.contains(why)), "{shown:#}");
    let after = namespace.get(&format!("{}/web", kind.to_lowercase()));
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
    let changed: Vec<_> =
        plane::audited(&namespace.0).into_iter().filter(crate::witness::changes).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

fn patched(object: &'static str, patch: &'static str) -> impl FnOnce(&Namespace) {
    move |namespace: &Namespace| {
        namespace.kubectl(&["patch", object, &format!("--patch={patch}")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_deployment_is_not_restarted() {
    let pause = patched("deployment/web", r#"{"spec":{"paused":true}}"#);
    refused("Deployment", pause, "[{restart: {}}]", "paused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replaces_pods_only_on_deletion_is_not_restarted() {
    let patch = r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#;
    refused("DaemonSet", patched("daemonset/web", patch), "[{restart: {}}]", "OnDelete").await;
    refused("StatefulSet", patched("statefulset/web", patch), "[{restart: {}}]", "OnDelete").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_way_back_without_history_or_to_a_revision_that_is_gone() {
    refused("Deployment", |_| (), "[{rollback: {}}]", "no earlier revision").await;
    refused("Deployment", |_| (), "[{rollback: {toRevision: 7}}]", "revision 7").await;
    refused("StatefulSet", |_| (), "[{rollback: {}}]", "no earlier revision").await;
}

/// kubectl restarts a partitioned StatefulSet and says "restarted", although pods keep the old
/// template. Whoever set the partition holds a rollout back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_stateful_set_is_left_to_whoever_partitioned_it() {
    let partitioned = || {
        patched(
            "statefulset/web",
            r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}"#,
        )
    };
    let why = "partitioned: the first 1 of its 2 pods would keep the old template";
    for actions in [
        "[{restart: {}}]",
        "[{rollback: {}}]",
        "[{setResources: {limits: {memory: {to: 256Mi}}}}]",
        "[{setProbe: {initialDelaySeconds: 30}}]",
    ] {
        refused("StatefulSet", partitioned(), actions, why).await;
    }
}

/// Puts an admission policy into force in the namespace; gone when dropped.
struct Denial(String);

impl Denial {
    /// Waits until `tried`, a kubectl command that it must refuse, is refused.
    fn new(namespace: &Namespace, expression: &str, message: &str, tried: &[&str]) -> Self {
        let name = format!("orderly-test-{}", namespace.0);
        let policy = format!(
            r#"apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints: {{resourceRules: [{{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}}]}}
  validations: [{{expression: "{expression}", message: "{message}"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec:
  policyName: {name}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {}}}}}}}
"#,
            namespace.0
        );
        namespace.apply(&policy);
        // Policies come into force a moment after they are stored.
        until("admission policy in force", || {
            let (success, said) = namespace.try_kubectl(tried);
            (!success && said.contains(message)).then_some(())
        });
        Self(name)
    }
}

impl Drop for Denial {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            let _left = plane::try_kubectl(&["delete", kind, &self.0], "");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_admission_policy_denies_is_refused_with_its_reason() {
    let mut denial = None;
    let deny = |namespace: &Namespace| {
        let expression = "object.spec.template.spec.containers.all(c, \
                          quantity(c.resources.limits.memory).isLessThan(quantity('200Mi')))";
        let tried =
            ["set", "resources", "deployment/web", "--limits=memory=1Gi", "--dry-run=server"];
        let message = "no more than 200Mi in this house";
        denial = Some(Denial::new(namespace, expression, message, &tried));
    };
    let actions = "[{setResources: {limits: {memory: {to: 256Mi}}}}]";
    refused("Deployment", deny, actions, "no more than 200Mi in this house").await;
}

/// No action of Orderly can touch a field that Kubernetes itself holds immutable: of a workload it
/// changes the pod template and the replicas, and both may always change; selectors, claim templates
/// and the like are in no patch. What a house holds immutable it can touch: here, images, which only a
/// pipeline may set. The rule compares with the stored object, as the server's own rules do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_may_not_change_is_refused_with_the_reason() {
    let mut denial = None;
    let deny = |namespace: &Namespace| {
        namespace.apply(&manifest("Deployment", "web", "v2"));
        namespace.rolled_out("deployment/web");
        let expression = "object.spec.template.spec.containers.all(c, \
                          oldObject.spec.template.spec.containers.exists(o, o.image == c.image))";
        let tried =
            ["set", "image", "deployment/web", "app=registry.example.com/x", "--dry-run=server"];
        let message = "field is immutable: only the pipeline sets images";
        denial = Some(Denial::new(namespace, expression, message, &tried));
    };
    let why = "field is immutable: only the pipeline sets images";
    refused("Deployment", deny, "[{rollback: {toRevision: 1}}]", why).await;
}

/// `limited` of memory for the pods of the namespace, counted.
fn quota(namespace: &Namespace, limited: &str) {
    namespace.kubectl(&["create", "quota", "house", &format!("--hard=limits.memory={limited}")]);
    until("quota counted", || {
        let quota = namespace.get("resourcequota/house");
        (quota["status"]["used"]["limits.memory"] == "256Mi").then_some(())
    });
}

const DOUBLED: &str = "[{setResources: {limits: {memory: {to: 256Mi}}}}]";

/// The API server takes the change of the Deployment and refuses its pods afterwards: a rollout that
/// is stuck. Orderly says so before, in the words that the controller will hear; and it says so only
/// where it is true, to the mebibyte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_quota_leaves_no_room_for_is_refused_in_the_servers_words() {
    let why = "exceeded quota: house, requested: limits.memory=256Mi, used: limits.memory=384Mi, \
               limited: limits.memory=639Mi";
    let stuck = |namespace: &Namespace| {
        quota(namespace, "639Mi");
        // The witness: a twin that nobody holds back.
        let twin = Namespace::new("quota-twin");
        twin.apply(&manifest("Deployment", "web", "v1"));
        twin.rolled_out("deployment/web");
        quota(&twin, "639Mi");
        twin.kubectl(&["set", "resources", "deployment/web", "--limits=memory=256Mi"]);
        until("the controller's own words", || {
            let events = twin.kubectl(&["get", "events", "-o", "json"]);
            events.contains(why).then_some(())
        });
    };
    refused("Deployment", stuck, DOUBLED, why).await;
    let why = "used: limits.memory=256Mi, limited: limits.memory=511Mi";
    let why = format!("exceeded quota: house, requested: limits.memory=256Mi, {why}");
    refused("StatefulSet", |namespace: &Namespace| quota(namespace, "511Mi"), DOUBLED, &why).await;
    let why = "exceeded quota: house, requested: limits.memory=128Mi, used: limits.memory=384Mi, \
               limited: limits.memory=400Mi";
    let few = |namespace: &Namespace| quota(namespace, "400Mi");
    refused("Deployment", few, "[{scale: {to: 4}}]", why).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_quota_just_leaves_room_for_is_done() {
    for (kind, limited) in [("Deployment", "640Mi"), ("StatefulSet", "512Mi")] {
        let namespace = Namespace::new("room");
        namespace.apply(&manifest(kind, "web", "v1"));
        namespace.rolled_out(&format!("{}/web", kind.to_lowercase()));
        quota(&namespace, limited);
        let verify = "{within: 80s, rollout: complete, alert: any}";
        let policy = Policy { mode: "auto", kind, name: "web", actions: DOUBLED, verify };
        let mut remedy = Remedy::start(&namespace, &policy).await;
        remedy.serving.patience = std::time::Duration::from_secs(120);
        let id = remedy.fire().await;
        remedy.until_over(&id, "fixed").await;
    }
}
