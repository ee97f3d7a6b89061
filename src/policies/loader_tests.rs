//! What stays in force while files and custom resources change.

use std::fs;

use super::*;
use crate::clock::{Clock as _, ManualClock};

const NOON: Timestamp = Timestamp::constant(1_767_614_400, 0);

fn text(name: &str, mode: &str) -> String {
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  summary: s\n  match: ['alertname=\"{name}\"']\n  mode: {mode}\n  \
         target: {{kind: Deployment, namespaces: [a], name: b}}\n  \
         causes: [{{name: otherwise, actions: [{{escalate: {{to: oncall}}}}]}}]\n  \
         escalate: [{{after: 5m, to: oncall}}]\n"
    )
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_in = Self(tempfile::tempdir().expect("a directory"));
        files.iter().for_each(|(name, mode)| files_in.policy(name, mode));
        files_in
    }

    fn policy(&self, name: &str, mode: &str) {
        self.write(name, &text(name, mode));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(format!("{name}.yaml")), text).expect("a file");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(format!("{name}.yaml"))).expect("a file");
    }

    fn open(&self) -> PolicyStore {
        PolicyStore::open(vec![self.0.path().to_owned()], Names::default(), NOON)
    }
}

fn modes(store: &PolicyStore) -> Vec<(String, Mode)> {
    let status = store.status();
    status.policies.into_iter().map(|policy| (policy.name, policy.mode)).collect()
}

fn stale(store: &PolicyStore) -> Vec<String> {
    store.status().stale().map(|policy| policy.name.clone()).collect()
}

#[test]
fn a_bad_policy_keeps_its_last_good_version_and_touches_no_other() {
    let files = Files::new(&[("a", "auto"), ("b", "auto")]);
    let store = files.open();
    let before = store.current();
    for bad in [
        text("a", "bold"),
        text("a", "auto").replace("[a]", "[]"),
        "a: [".to_owned(),
        "metadata: {}\n".to_owned(),
        "\u{fffd}".to_owned(),
    ] {
        files.write("a", &bad);
        assert_eq!(store.reload(NOON), Reload::Changed);
        assert_eq!(
            modes(&store),
            [("a".to_owned(), Mode::Auto), ("b".to_owned(), Mode::Auto)],
            "{bad}"
        );
        assert_eq!(stale(&store), ["a"], "{bad}");
        assert_eq!(store.status().bad_files(), 1, "{bad}");
        let why = store.status().policies[0].kept_because.clone().expect("a reason");
        assert!(why.contains("a.yaml"), "{why}");
        assert!(Arc::ptr_eq(&before, &store.current()), "nobody is told of a change");
    }
    // One that never was in force is bad as well.
    files.policy("a", "approval");
    files.write("c", &text("c", "bold"));
    store.reload(NOON);
    assert_eq!((stale(&store).len(), store.status().bad_files()), (0, 1));
    files.remove("c");
    store.reload(NOON);
    assert_eq!(modes(&store)[0].1, Mode::Approval);
    assert_eq!(store.status().bad_files(), 0);
    assert!(stale(&store).is_empty() && store.status().diagnostics.is_empty());
    assert!(!Arc::ptr_eq(&before, &store.current()));
}

#[test]
fn a_policy_that_is_gone_is_gone_and_a_directory_that_cannot_be_read_takes_nothing() {
    let files = Files::new(&[("a", "auto"), ("b", "auto")]);
    let store = files.open();
    files.remove("a");
    store.reload(NOON);
    assert_eq!(modes(&store), [("b".to_owned(), Mode::Auto)]);
    let moved = files.0.path().with_extension("moved");
    fs::rename(files.0.path(), &moved).expect("moved");
    store.reload(NOON);
    assert_eq!(stale(&store), ["b"]);
    assert_eq!(store.current().len(), 1);
    fs::rename(&moved, files.0.path()).expect("moved back");
    store.reload(NOON);
    assert!(stale(&store).is_empty());
}

#[test]
fn a_second_policy_of_one_name_does_not_replace_the_first() {
    let files = Files::new(&[("a", "auto")]);
    files.write("b", &text("a", "off"));
    let store = files.open();
    assert_eq!(modes(&store), [("a".to_owned(), Mode::Auto)]);
    assert_eq!(store.status().diagnostics[0].code, "duplicate-policy");
}

fn resource(name: &str, mode: &str) -> PolicyResource {
    let document: serde_json::Value = serde_saphyr::from_str(&text(name, mode)).expect("a policy");
    PolicyResource::read(ResourceKind::Cluster, &document).expect("it has a name")
}

#[test]
fn custom_resources_stand_beside_files_and_a_file_keeps_its_name() {
    let files = Files::new(&[("a", "auto")]);
    let store = files.open();
    let all = vec![resource("a", "approval"), resource("b", "approval"), resource("c", "bold")];
    store.set_resources(ResourceKind::Cluster, Ok(all), NOON);
    assert_eq!(modes(&store), [("a".to_owned(), Mode::Auto), ("b".to_owned(), Mode::Approval)]);
    let judged = store.judged();
    let refused = |name: &str| {
        let one = judged.iter().find(|judged| judged.name == name).expect("it is there");
        one.refused().map(Diagnostic::one_line)
    };
    let why = refused("a").expect("the file has the name");
    assert!(why.starts_with("ClusterRemediationPolicy/a: metadata.name: there is"), "{why}");
    assert!(why.contains("a.yaml"), "it names the other: {why}");
    assert_eq!(refused("b"), None);
    assert!(refused("c").expect("a mistake").contains("spec.mode"));
    assert_eq!(store.status().bad_files(), 2);
}

#[test]
fn a_resource_that_turns_bad_keeps_its_last_good_version_and_one_out_of_reach_too() {
    let files = Files::new(&[("a", "auto")]);
    let store = files.open();
    let set = |listed| store.set_resources(ResourceKind::Cluster, listed, NOON);
    set(Ok(vec![resource("b", "approval")]));
    set(Ok(vec![resource("b", "bold")]));
    assert_eq!(modes(&store)[1], ("b".to_owned(), Mode::Approval));
    assert_eq!(stale(&store), ["b"]);
    let judged = store.judged().remove(0);
    assert!(judged.refused().is_some() && judged.in_force.is_some());
    set(Err("403".to_owned()));
    assert_eq!(stale(&store), ["b"]);
    set(Ok(vec![]));
    assert_eq!(modes(&store).len(), 1);
}

#[test]
fn nothing_new_is_noticed_and_a_version_keeps_its_date() {
    let files = Files::new(&[("a", "auto")]);
    let store = files.open();
    let later = NOON + SignedDuration::from_hours(1);
    assert_eq!(store.reload(later), Reload::Unchanged);
    files.policy("b", "auto");
    assert_eq!(store.reload(later), Reload::Changed);
    let since: Vec<_> = store.status().policies.iter().map(|policy| policy.since).collect();
    assert_eq!(since, [NOON, later]);
    assert_eq!(store.status().read, Some(later));
}

#[tokio::test]
async fn files_are_read_again_when_they_change_and_every_minute() {
    let files = Files::new(&[("a", "auto")]);
    let clock = Arc::new(ManualClock::new(NOON));
    let store = Arc::new(files.open());
    let mut told = store.subscribe();
    let stop = CancellationToken::new();
    let shared: SharedClock = clock.clone();
    let task = tokio::spawn(Arc::clone(&store).keep_current(shared, stop.clone()));
    files.policy("b", "auto");
    // Whether the file system tells or not: time goes on until the change is seen.
    while store.current().len() < 2 {
        clock.advance(SignedDuration::from_secs(60));
        let _changed =
            tokio::time::timeout(std::time::Duration::from_millis(50), told.changed()).await;
    }
    assert!(clock.now() > NOON);
    stop.cancel();
    task.await.expect("it ends when it is told to");
}
