//! `orderly demo`: three remediations in an embedded cluster, told as they happen.
//!
//! Nothing is faked but the cluster: the alerts come in through the webhook, the decisions are the
//! service's, the answers come from the sandbox's Kubernetes, Prometheus and Alertmanager APIs.

mod stories;
mod tell;
mod world;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;

use crate::cli::client::{Client, ServerFlags};
use crate::clock::{SharedClock, SystemClock};
use crate::domain::event::{Event, Outcome, Stream};
use crate::domain::id::{Episode, Fingerprint, IncidentId};
use crate::http::api::ApproveRequest;
use crate::journal::codec;
use crate::service::Service;

use stories::Story;
use tell::{Look, Teller};
use world::World;

/// Watch three remediations in an embedded cluster. Needs nothing but this program.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Run unattended: approve by itself, end after the stories, exit 0 only if all three ended as
    /// told.
    #[arg(long)]
    pub once: bool,
    /// Where the journal, the policies and the kubeconfig are put. Default: a new directory in the
    /// system's temporary one.
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Write the service's log to standard error as well.
    #[arg(long)]
    pub log: bool,
}

/// How long one story may take: the slowest takes half a minute.
const PATIENCE: SignedDuration = SignedDuration::from_mins(3);
/// And how long a person may think.
const THINKING: SignedDuration = SignedDuration::from_mins(60);

/// Runs the command.
///
/// # Errors
/// What could not be started.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let clock: SharedClock = Arc::new(SystemClock);
    let teller = Teller::new(clock.now());
    if args.log {
        let log = crate::config::LogSpec::default();
        let _telemetry = crate::telemetry::Telemetry::install(&log, None)?;
    }
    let (world, service) = World::start(args.directory.clone(), &clock).await?;
    teller.say(
        Look::Title,
        "Orderly carries out your runbooks. Three stories, in an embedded cluster.",
    );
    teller.say(
        Look::Faint,
        &format!(
            "webhooks and API at http://{}, metrics at http://{}/metrics; a runbook's minutes are \
             seconds here",
            service.address, service.admin
        ),
    );
    let server = format!("http://{}", service.address);
    let flags = ServerFlags { server: server.parse()?, token_file: None, ca_file: None };
    let client = Client::new(&flags)?;
    let show = Show {
        world: &world,
        service: &service,
        clock: &clock,
        client: &client,
        teller,
        once: args.once,
    };
    let mut results = Vec::new();
    for story in stories::all(&world.sandbox) {
        let told = show.tell(&story).await?;
        results.push((story.title, told));
    }
    show.results(&results);
    let all_well = results.iter().all(|(_, told)| told.as_expected);
    if args.once {
        service.stop().await?;
        world.sandbox.shutdown().await;
        return Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show.where_to_look();
    service.run().await?;
    world.sandbox.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// How a story ended.
struct Told {
    outcome: Option<Outcome>,
    seconds: f64,
    as_expected: bool,
    id: IncidentId,
}

struct Show<'a> {
    world: &'a World,
    service: &'a Service,
    clock: &'a SharedClock,
    client: &'a Client,
    teller: Teller,
    once: bool,
}

impl Show<'_> {
    /// Plays one story and tells it.
    async fn tell(&self, story: &Story) -> anyhow::Result<Told> {
        self.teller.say(Look::Plain, "");
        self.teller.say(Look::Title, story.title);
        self.teller.say(Look::Faint, &format!("  {}", story.intro));
        let began = self.clock.now();
        let starts_at = Story::starts_at(began);
        let pairs = story.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fingerprint = Fingerprint::of(pairs);
        let id = IncidentId::of(Episode { fingerprint, starts_at });
        let before = self.world.spec_of(story);
        self.world.fire(story, starts_at).await?;
        let outcome = tokio::select! {
            outcome = self.follow(&id) => outcome?,
            () = self.world.resolve_when_healed(story, starts_at, self.clock) => {
                self.follow_rest(&id).await?
            }
        };
        let unchanged = story.outcome != Outcome::DryRun || before == self.world.spec_of(story);
        if !unchanged {
            self.teller.say(Look::Bad, "  the dry run changed the workload");
        }
        let seconds = self.clock.now().duration_since(began).as_secs_f64();
        let as_expected = outcome == Some(story.outcome) && unchanged;
        Ok(Told { outcome, seconds, as_expected, id })
    }

    async fn follow_rest(&self, id: &IncidentId) -> anyhow::Result<Option<Outcome>> {
        self.follow(id).await
    }

    /// Tells the incident's events until it is over.
    async fn follow(&self, id: &IncidentId) -> anyhow::Result<Option<Outcome>> {
        let journal = self.service.engine.journal();
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let mut head = journal.subscribe();
        let mut deadline = self.clock.now() + PATIENCE;
        loop {
            head.borrow_and_update();
            let entries = journal.read_stream(&stream).await?;
            for entry in entries.iter().skip(self.world.told(id)) {
                let recorded = codec::decode(entry)?;
                self.world.tell_one(id);
                self.teller.event(recorded.at, &recorded.event);
                match &recorded.event {
                    Event::ApprovalRequested { digest, .. } => {
                        deadline = self.clock.now() + if self.once { PATIENCE } else { THINKING };
                        self.ask(id, &digest.to_string()).await?;
                    }
                    Event::ApprovalGiven { .. } => deadline = self.clock.now() + PATIENCE,
                    Event::IncidentClosed { outcome, .. } => return Ok(Some(*outcome)),
                    _ => {}
                }
            }
            tokio::select! {
                _ = head.changed() => {}
                () = self.clock.sleep_until(deadline) => {
                    self.teller.say(Look::Bad, "  this story takes too long; something is wrong");
                    return Ok(None);
                }
            }
        }
    }

    /// Asks for approval: by itself, in the terminal, or by telling what to type elsewhere.
    async fn ask(&self, id: &IncidentId, digest: &str) -> anyhow::Result<()> {
        let approve = ApproveRequest { digest: Some(digest.parse()?), reason: None };
        if self.once {
            self.client.approve(id, &approve).await?;
            return Ok(());
        }
        let server = if self.service.address.port() == 8080 {
            String::new()
        } else {
            format!(" --server http://{}", self.service.address)
        };
        let other = format!("orderly approve {id}{server}");
        if !std::io::stdin().is_terminal() {
            self.teller.say(Look::Ask, &format!("  approve it in another terminal: {other}"));
            return Ok(());
        }
        self.teller.ask(&format!("  Approve? [y/n] (or in another terminal: {other}) "));
        let journal = self.service.engine.journal();
        let mut head = journal.subscribe();
        let stream = codec::stream_id(&Stream::Incident(id.clone()));
        let seen = journal.read_stream(&stream).await?.len();
        let mut answer = world::read_line();
        loop {
            tokio::select! {
                line = &mut answer => {
                    let yes = line.is_ok_and(|line| line.trim().to_lowercase().starts_with('y'));
                    if yes {
                        self.client.approve(id, &approve).await?;
                    } else {
                        let reason = "said no in the demo's terminal".parse()?;
                        let refuse = crate::http::api::RefuseRequest { reason };
                        self.client.refuse(id, &refuse).await?;
                    }
                    return Ok(());
                }
                _ = head.changed() => {
                    // Somebody decided elsewhere.
                    if journal.read_stream(&stream).await?.len() > seen {
                        self.teller.say(Look::Plain, "");
                        return Ok(());
                    }
                }
            }
        }
    }

    fn results(&self, results: &[(&str, Told)]) {
        self.teller.say(Look::Plain, "");
        self.teller.say(Look::Title, "How the stories ended");
        for (title, told) in results {
            let outcome = told.outcome.map_or("unfinished", Outcome::name);
            let look = if told.as_expected { Look::Good } else { Look::Bad };
            let verdict = if told.as_expected { "as told" } else { "NOT as told" };
            let line = format!(
                "  {outcome:<10} {:>5.1}s  {verdict:<11} {title}  ({})",
                told.seconds, told.id
            );
            self.teller.say(look, &line);
        }
    }

    fn where_to_look(&self) {
        let api = self.service.address;
        let admin = self.service.admin;
        let server =
            if api.port() == 8080 { String::new() } else { format!(" --server http://{api}") };
        let directory = self.world.directory.display();
        let lines = [
            format!("orderly audit{server}                   every event, with its hash"),
            format!("orderly incidents{server}               what happened, in a table"),
            format!("orderly audit verify {directory}/orderly.db"),
            format!("curl http://{admin}/metrics"),
            format!("kubectl --kubeconfig {directory}/kubeconfig get deployments -A"),
            format!("the policies: {directory}/policies (change one, it is read again)"),
        ];
        self.teller.say(Look::Plain, "");
        self.teller.say(Look::Title, "Where to look next (this stays up until Ctrl-C)");
        for line in lines {
            self.teller.say(Look::Plain, &format!("  {line}"));
        }
    }
}
