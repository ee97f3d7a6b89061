//! Slack, from the configuration: the conversation, and the door or the connections by which clicks
//! come.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config::{Config, SlackSpec};
use crate::correspondence::{Correspondence, Linked, Means, Settings};
use crate::engine::Engine;
use crate::http::api::Incidents;
use crate::http::slack::SlackDoor;
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::outbound::{Credentials, OutboundError, Service};
use crate::secret::SecretFile;
use crate::slack::api::Api;
use crate::slack::members::{Group, Members};
use crate::slack::seal::Sealer;
use crate::slack::socket::{self, Connected};

use super::outbound;

/// How often the connections are counted.
const COUNT: SignedDuration = SignedDuration::from_secs(5);

/// Slack's API as the bot.
pub fn api(spec: &SlackSpec) -> Result<Api, OutboundError> {
    under(spec, &spec.bot_token_file)
}

/// Slack's API as the app, when clicks come over Socket Mode.
pub fn app(spec: &SlackSpec) -> Result<Option<Api>, OutboundError> {
    spec.app_token_file.as_ref().map(|file| under(spec, file)).transpose()
}

fn under(spec: &SlackSpec, token: &std::path::Path) -> Result<Api, OutboundError> {
    Api::new(&Service {
        url: spec.api_url.url().to_string(),
        credentials: Credentials::BearerFile(token.to_owned()),
        ca_file: spec.ca_file.clone(),
    })
}

/// Who is who.
pub fn members(spec: &SlackSpec) -> Members {
    let group = |(name, group): (&String, &crate::config::SlackGroupSpec)| {
        let (users, user_groups) = (group.users.clone(), group.user_groups.clone());
        (name.clone(), Group { users, user_groups })
    };
    Members::new(spec.workspace.clone(), spec.groups.iter().map(group).collect())
}

fn settings(config: &Config, spec: &SlackSpec) -> Settings {
    let people = config.people.iter().filter_map(|person| {
        let linked =
            Linked { name: person.name.clone(), groups: person.groups.clone(), role: person.role };
        Some((person.slack_user.clone()?, linked))
    });
    Settings {
        channels: spec.channels.clone(),
        roles: spec.groups.iter().map(|(name, group)| (name.clone(), group.role)).collect(),
        people: people.collect::<BTreeMap<_, _>>(),
        storm: config.rails.storm,
        places: outbound::places(config),
    }
}

/// What seals the buttons: a secret that only this service and Slack have, and this journal. Without
/// a way for clicks to come there are no buttons.
fn sealer(
    spec: &SlackSpec,
    engine: &Engine,
    clock: &SharedClock,
) -> anyhow::Result<Option<Sealer>> {
    let heard = spec.signing_secret_file.as_ref().or(spec.app_token_file.as_ref());
    let Some(file) = heard else { return Ok(None) };
    let now = clock.now();
    let secret = SecretFile::open(file, now)?.current(now)?;
    let journal = engine.journal().identity().id.to_string();
    Ok(Some(Sealer::new(&journal, &secret)))
}

/// Starts the conversation; gives the door, when clicks come over HTTP.
///
/// # Errors
/// When a secret cannot be read, or what was said so far.
pub async fn start(
    config: &Config,
    engine: &Engine,
    desk: &Arc<dyn Incidents>,
    metrics: &Arc<Metrics>,
    clock: &SharedClock,
    tasks: &mut Tasks,
) -> anyhow::Result<Option<Arc<SlackDoor>>> {
    let Some(spec) = &config.slack else { return Ok(None) };
    let stop = tasks.stop();
    let means = Means {
        engine: engine.clone(),
        desk: desk.clone(),
        api: api(spec).context("Slack cannot be called")?,
        members: members(spec),
        sealer: sealer(spec, engine, clock).context("a secret of Slack cannot be read")?,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let (conversation, running) =
        Correspondence::start(means, settings(config, spec), stop.clone()).await?;
    for (name, task) in running {
        tasks.spawn(name, async move { Ok(task.await?) });
    }
    if let Some(app) = app(spec).context("Slack cannot be called")? {
        listen(&app, &conversation, metrics, clock, tasks, &stop);
    }
    let Some(secret) = &spec.signing_secret_file else { return Ok(None) };
    let secret = SecretFile::open(secret, clock.now())?;
    Ok(Some(Arc::new(SlackDoor::new(secret, Arc::new(conversation), clock.clone()))))
}

/// Socket Mode: two connections, each kept for ever.
fn listen(
    app: &Api,
    conversation: &Correspondence,
    metrics: &Arc<Metrics>,
    clock: &SharedClock,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) {
    let connected = Arc::new(Connected::default());
    for name in ["slack connection 1", "slack connection 2"] {
        let (app, listener) = (app.clone(), Arc::new(conversation.clone()));
        let keeping = socket::keep(app, listener, connected.clone(), clock.clone(), stop.clone());
        tasks.spawn(name, async move {
            keeping.await;
            Ok(())
        });
    }
    let (metrics, clock, stop) = (metrics.clone(), clock.clone(), stop.clone());
    tasks.spawn("slack connection metrics", async move {
        loop {
            metrics.slack_connections(connected.count());
            let again = clock.now().saturating_add(COUNT)?;
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = clock.sleep_until(again) => {}
            }
        }
    });
}
