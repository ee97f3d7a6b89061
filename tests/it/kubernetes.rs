//! Reading from a cluster and writing to it, over HTTP, against the sandbox.

mod reading;
mod writing;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use orderly::clock::ManualClock;
use orderly::domain::facts::{Kind, Target};
use orderly::kubernetes::connection::{Identity, ReadConnection, WriteConnection};
use orderly::kubernetes::reader::Reader;
use orderly::kubernetes::writer::Writer;
use orderly::sandbox::{Contents, Options, Sandbox};

/// A sandbox cluster with both of Orderly's hands in it, on a clock that stands still.
struct World {
    sandbox: Sandbox,
    clock: Arc<ManualClock>,
    reader: Reader,
    writer: Writer,
}

async fn world(contents: Contents) -> World {
    let now: Timestamp = "2026-03-02T09:00:00Z".parse().expect("a time");
    let clock = Arc::new(ManualClock::new(now));
    let options = Options { contents, ..Options::new(clock.clone()) };
    let sandbox = Sandbox::start(options).await.expect("a sandbox");
    let identity = Identity { server: Some(sandbox.url()), ..Identity::default() };
    let read = ReadConnection::connect(&identity, clock.clone()).await.expect("a client");
    let write = WriteConnection::connect(&identity, clock.clone()).await.expect("a client");
    World { sandbox, clock, reader: Reader::new(read), writer: Writer::new(write, "orderly-0") }
}

/// A Deployment whose second revision, an hour old, has three pods that are ready.
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: default, labels: {app: api}}
spec:
  replicas: 3
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: agent
        image: registry.example.com/api:v1
        resources: {limits: {memory: 512Mi}}
";

/// A small cluster with one Deployment, `default/api`, that went from v1 to v2.
async fn deployed() -> World {
    let world = world(Contents::Empty).await;
    world.sandbox.apply_yaml(DEPLOYMENT).expect("accepted");
    world.pass(SignedDuration::from_hours(1));
    let place = ("default", "api");
    let image = "registry.example.com/api:v2";
    world.sandbox.set_image("deployments", place, "agent", image).expect("accepted");
    world.pass(SignedDuration::from_hours(1));
    world
}

impl World {
    /// Lets time pass in the cluster.
    fn pass(&self, time: SignedDuration) {
        self.sandbox.tick();
        self.clock.advance(time);
        self.sandbox.tick();
    }
}

fn target(namespace: &str, name: &str) -> Target {
    Target { kind: Kind::Deployment, namespace: namespace.to_owned(), name: name.to_owned() }
}
