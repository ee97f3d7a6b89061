//! Sends the requests for a workload's facts and puts the answers together.
//!
//! What a request's failure means is decided here: 404 on a kind whose definition is optional is
//! absent, everything else that fails is unknown with its reason.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde_json::Value;

use super::pods::{Belonging, Seen};
use super::{ReadError, convert, history, logs, ownership, pods, rollout};
use crate::domain::facts::{
    Autoscaler, ClusterEvent, DisruptionBudget, Fact, Kind, LogExcerpt, Node, Pod, Revision,
    Target, VerticalAutoscaler, Workload,
};
use crate::kubernetes::connection::{CallError, ReadConnection};
use crate::kubernetes::{json, path};

/// Requests of one collection under way at one time, within the connection's own budget.
const AT_ONCE: usize = 6;
/// Events that are kept: more than a person reads, enough for every pattern.
const EVENTS: usize = 50;
/// Revisions whose events are looked at: the newest and the one before it.
const EVENT_REVISIONS: usize = 2;
/// Pods whose events are looked at, those in trouble first.
const EVENT_PODS: usize = 6;
/// Up to so many nodes are read one by one; more are listed.
const SINGLE_NODES: usize = 6;

/// A part that was looked for, and where.
struct Part<T> {
    source: String,
    at: Timestamp,
    found: Result<T, String>,
}

impl<T> Part<T> {
    fn fact(self) -> Fact<T> {
        let Self { source, at, found } = self;
        match found {
            Ok(value) => Fact::Known { value, source, at },
            Err(why) => Fact::Unknown { source, at, why },
        }
    }
}

impl<T> Part<Option<T>> {
    fn optional(self) -> Fact<T> {
        let Self { source, at, found } = self;
        match found {
            Ok(Some(value)) => Fact::Known { value, source, at },
            Ok(None) => Fact::Absent { source, at },
            Err(why) => Fact::Unknown { source, at, why },
        }
    }
}

/// One collection.
struct Collecting<'a> {
    connection: &'a ReadConnection,
    target: &'a Target,
    object: Value,
}

pub(super) async fn workload(
    connection: &ReadConnection,
    target: &Target,
) -> Result<Workload, ReadError> {
    let path = path::workload(target.kind, &target.namespace, &target.name);
    let object = match connection.get(&path).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Err(ReadError::NotFound(target.clone())),
        Err(error) => return Err(ReadError::Call { target: target.clone(), error }),
    };
    if json::uid(&object).is_empty() {
        let what = "it has no `metadata.uid`".to_owned();
        return Err(ReadError::Strange { target: target.clone(), what });
    }
    let Some(strategy) = rollout::strategy(target.kind, &object) else {
        let what = "its update strategy is not one that is known here".to_owned();
        return Err(ReadError::Strange { target: target.clone(), what });
    };
    let this = Collecting { connection, target, object };
    let (revisions, pods, autoscaler, budgets, vertical_autoscaler) = tokio::join!(
        this.history(),
        this.pods(),
        this.autoscaler(),
        this.budgets(),
        this.vertical_autoscaler(),
    );
    let owned =
        revisions.found.as_ref().map(|items| history::owned(items, json::uid(&this.object)));
    let seen = this.seen(&pods, owned.as_deref().map_err(|why| (*why).clone()));
    let (events, logs, nodes) = tokio::join!(
        this.events(owned.as_deref().unwrap_or_default(), &seen),
        this.logs(&seen),
        this.nodes(&seen),
    );
    let known = seen.found.as_deref().ok();
    let started = owned.as_ref().ok();
    let started = started.and_then(|items| history::started(target.kind, &this.object, items));
    let history = owned
        .as_ref()
        .map(|items| history::revisions(target.kind, &this.object, items, known))
        .map_err(|why| (*why).clone());
    let revisions: Part<Vec<Revision>> =
        Part { source: revisions.source.clone(), at: revisions.at, found: history };
    let pods: Part<Vec<Pod>> = Part {
        source: seen.source,
        at: seen.at,
        found: seen.found.map(|seen| seen.into_iter().map(|seen| seen.pod).collect()),
    };
    Ok(Workload {
        target: target.clone(),
        uid: json::uid(&this.object).to_owned(),
        resource_version: json::resource_version(&this.object).to_owned(),
        generation: json::generation(&this.object),
        replicas: rollout::replicas(target.kind, &this.object),
        rollout: rollout::judge(target.kind, &this.object, &strategy, started),
        strategy,
        paused: json::is_true(&this.object, &["spec", "paused"]),
        owners: ownership::owners(&this.object, target),
        object: convert::stripped(&this.object),
        revisions: revisions.fact(),
        pods: pods.fact(),
        events: events.fact(),
        logs: logs.fact(),
        autoscaler: autoscaler.optional(),
        budgets: budgets.fact(),
        vertical_autoscaler: vertical_autoscaler.optional(),
        nodes: nodes.fact(),
    })
}

impl Collecting<'_> {
    fn part<T>(&self, source: impl Into<String>, found: Result<T, String>) -> Part<T> {
        Part { source: source.into(), at: self.connection.clock().now(), found }
    }

    fn path(&self, api_version: &str, plural: &str) -> String {
        path::namespaced(api_version, &self.target.namespace, plural)
    }

    /// The label selector of the workload, which its pods and history objects share.
    fn selector(&self) -> Result<String, String> {
        let selector = json::at(&self.object, &["spec", "selector"]);
        selector
            .and_then(convert::selector)
            .ok_or_else(|| "the workload's `spec.selector` cannot be written as a query".to_owned())
    }

    async fn selected(&self, path: &str) -> Result<Vec<Value>, String> {
        let selector = self.selector()?;
        let listed = self.connection.list(path, &[("labelSelector", &selector)]).await;
        listed.map_err(why)
    }

    async fn history(&self) -> Part<Vec<Value>> {
        let path = match self.target.kind {
            Kind::Deployment => self.path("apps/v1", "replicasets"),
            Kind::StatefulSet | Kind::DaemonSet => self.path("apps/v1", "controllerrevisions"),
        };
        let found = self.selected(&path).await;
        self.part(path, found)
    }

    async fn pods(&self) -> Part<Vec<Value>> {
        let path = self.path("v1", "pods");
        let found = self.selected(&path).await;
        self.part(path, found)
    }

    /// The pods that belong to the workload. A Deployment's cannot be told from others without its
    /// ReplicaSets.
    fn seen(&self, pods: &Part<Vec<Value>>, history: Result<&[&Value], String>) -> Part<Vec<Seen>> {
        let min_ready = json::number(&self.object, &["spec", "minReadySeconds"]);
        let belonging = self.belonging(history);
        let found = pods.found.clone().and_then(|items| {
            let now = self.connection.clock().now();
            Ok(pods::seen(&items, &belonging?, min_ready.unwrap_or_default(), now))
        });
        Part { source: pods.source.clone(), at: pods.at, found }
    }

    fn belonging(&self, history: Result<&[&Value], String>) -> Result<Belonging, String> {
        let mut belonging = Belonging::default();
        match self.target.kind {
            Kind::Deployment => {
                for item in history.map_err(|why| format!("its ReplicaSets are unknown: {why}"))? {
                    belonging.owners.insert(json::uid(item).to_owned());
                    belonging
                        .revisions
                        .insert(json::uid(item).to_owned(), json::name(item).to_owned());
                }
            }
            Kind::StatefulSet | Kind::DaemonSet => {
                belonging.owners.insert(json::uid(&self.object).to_owned());
                // A StatefulSet's pods carry the revision's name, a DaemonSet's its hash.
                for item in history.unwrap_or_default() {
                    let name = json::name(item).to_owned();
                    let hashes = ["controller-revision-hash", "controller.kubernetes.io/hash"];
                    for hash in hashes.iter().filter_map(|label| json::label(item, label)) {
                        belonging.revisions.insert(hash.to_owned(), name.clone());
                    }
                    belonging.revisions.insert(name.clone(), name);
                }
            }
        }
        Ok(belonging)
    }

    async fn autoscaler(&self) -> Part<Option<Autoscaler>> {
        let path = self.path("autoscaling/v2", "horizontalpodautoscalers");
        let listed = self.connection.list(&path, &[]).await.map_err(why);
        let is_its = |item: &&Value| {
            convert::refers_to(json::at(item, &["spec", "scaleTargetRef"]), self.target)
        };
        match listed.map(|items| items.iter().find(is_its).map(convert::autoscaler)) {
            Ok(None) => {
                // KEDA takes its autoscaler away while it is paused, and still owns the replicas.
                let keda = self.path("keda.sh/v1alpha1", "scaledobjects");
                let found = self.optional_kind(&keda).await;
                let found = found
                    .map(|items| items.iter().find(is_its).map(convert::scaled_object))
                    .map_err(|why| format!("no autoscaler, but KEDA's objects are unknown: {why}"));
                self.part(format!("{path} and {keda}"), found)
            }
            found => self.part(path, found),
        }
    }

    async fn vertical_autoscaler(&self) -> Part<Option<VerticalAutoscaler>> {
        let path = self.path("autoscaling.k8s.io/v1", "verticalpodautoscalers");
        let found = self.optional_kind(&path).await.map(|items| {
            let mut its = items.iter().filter(|item| {
                convert::refers_to(json::at(item, &["spec", "targetRef"]), self.target)
            });
            its.next().map(convert::vertical_autoscaler)
        });
        self.part(path, found)
    }

    /// A list of a kind that a cluster may not have.
    async fn optional_kind(&self, path: &str) -> Result<Vec<Value>, String> {
        match self.connection.list(path, &[]).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed.map_err(why),
        }
    }

    async fn budgets(&self) -> Part<Vec<DisruptionBudget>> {
        let path = self.path("policy/v1", "poddisruptionbudgets");
        let labels = json::at(&self.object, &["spec", "template", "metadata", "labels"]);
        let labels = labels.unwrap_or(&Value::Null);
        let listed = self.connection.list(&path, &[]).await.map_err(why);
        let found = listed.map(|items| {
            let covers =
                |item: &&Value| convert::selects(json::at(item, &["spec", "selector"]), labels);
            items.iter().filter(covers).map(convert::budget).collect()
        });
        self.part(path, found)
    }

    async fn events(&self, history: &[&Value], seen: &Part<Vec<Seen>>) -> Part<Vec<ClusterEvent>> {
        let path = self.path("v1", "events");
        let mut uids = vec![json::uid(&self.object).to_owned()];
        if self.target.kind == Kind::Deployment {
            let mut newest: Vec<&&Value> = history.iter().collect();
            newest.sort_by_key(|item| std::cmp::Reverse(json::created(item)));
            uids.extend(newest.iter().take(EVENT_REVISIONS).map(|item| json::uid(item).to_owned()));
        }
        let mut pods: Vec<&Pod> = seen.found.iter().flatten().map(|seen| &seen.pod).collect();
        pods.sort_by_key(|pod| (pods::failure(pod).is_none(), pod.ready, -pod.restarts()));
        uids.extend(pods.iter().take(EVENT_PODS).map(|pod| pod.uid.clone()));
        let requests = uids.into_iter().map(|uid| {
            let path = &path;
            async move {
                let field = format!("involvedObject.uid={uid}");
                let items = self.connection.list(path, &[("fieldSelector", &field)]).await?;
                // The same uid again, so that a server that knows no field selectors does no harm.
                let about = |item: &&Value| {
                    json::text(item, &["involvedObject", "uid"]) == Some(uid.as_str())
                };
                Ok(items.iter().filter(about).map(convert::event).collect::<Vec<_>>())
            }
        });
        let found = gather(requests).await.map(|lists| {
            let mut events = lists.concat();
            events.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.regarding.cmp(&b.regarding)));
            events.truncate(EVENTS);
            events
        });
        self.part(path, found)
    }

    async fn logs(&self, seen: &Part<Vec<Seen>>) -> Part<Vec<LogExcerpt>> {
        let source = format!("{}/<pod>/log", self.path("v1", "pods"));
        let pods = match &seen.found {
            Ok(seen) => seen.iter().map(|seen| seen.pod.clone()).collect::<Vec<_>>(),
            Err(why) => return self.part(source, Err(format!("its pods are unknown: {why}"))),
        };
        let wanted = logs::wanted(&pods);
        let none_wanted = wanted.is_empty();
        let requests = wanted.into_iter().map(|wanted| async move {
            let pod = path::object("v1", &self.target.namespace, "pods", &wanted.pod);
            let mut query = vec![
                ("container", wanted.container.as_str()),
                ("tailLines", logs::LINES),
                ("limitBytes", logs::BYTES_TEXT),
            ];
            if wanted.previous {
                query.push(("previous", "true"));
            }
            let path = format!("{pod}/log{}", path::query(&query));
            let text = self.connection.get_text(&path).await?;
            Ok(logs::excerpt(wanted, &text))
        });
        let answers: Vec<Result<LogExcerpt, CallError>> =
            stream::iter(requests).buffered(AT_ONCE).collect().await;
        // Logs of a container that the kubelet has thrown away are no reason to hide the others.
        let mut failed = None;
        let mut excerpts = Vec::new();
        for answer in answers {
            match answer {
                Ok(excerpt) => excerpts.push(excerpt),
                Err(error) => failed = Some(why(error)),
            }
        }
        let found = match failed {
            Some(why) if excerpts.is_empty() && !none_wanted => Err(why),
            Some(_) | None => Ok(excerpts),
        };
        self.part(source, found)
    }

    async fn nodes(&self, seen: &Part<Vec<Seen>>) -> Part<Vec<Node>> {
        let source = path::cluster("v1", "nodes", None);
        let names: BTreeSet<String> = match &seen.found {
            Ok(seen) => seen.iter().filter_map(|seen| seen.pod.node.clone()).collect(),
            Err(why) => return self.part(source, Err(format!("its pods are unknown: {why}"))),
        };
        if names.len() > SINGLE_NODES {
            let listed = self.connection.list(&source, &[]).await.map_err(why);
            let found = listed.map(|items| {
                let its = items.iter().filter(|item| names.contains(json::name(item)));
                its.map(convert::node).collect()
            });
            return self.part(source, found);
        }
        let requests = names.into_iter().map(|name| async move {
            match self.connection.get(&path::cluster("v1", "nodes", Some(&name))).await {
                Ok(item) => Ok(convert::node(&item)),
                Err(error) if error.is_not_found() => {
                    let trouble = vec!["the node is gone".to_owned()];
                    Ok(Node { name, ready: false, trouble })
                }
                Err(error) => Err(error),
            }
        });
        let found = gather(requests).await;
        self.part(source, found)
    }
}

/// All answers, in order; the first failure is the failure of all.
async fn gather<T, F>(requests: impl Iterator<Item = F>) -> Result<Vec<T>, String>
where
    F: Future<Output = Result<T, CallError>>,
{
    let answers: Vec<Result<T, CallError>> =
        stream::iter(requests).buffered(AT_ONCE).collect().await;
    answers.into_iter().collect::<Result<_, _>>().map_err(why)
}

fn why(error: CallError) -> String {
    error.to_string()
}
