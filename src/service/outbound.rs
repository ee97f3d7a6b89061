//! The services that are called besides Kubernetes, from the configuration.

use crate::alertmanager::Alertmanager;
use crate::clock::SharedClock;
use crate::config::{BasicSpec, Config, ReceiverSpec, WebhookReceiverSpec};
use crate::notify::delivery::{Address, Delivery};
use crate::notify::places::Places;
use crate::notify::{Receiver, Receivers, pagerduty};
use crate::outbound::{Credentials, OutboundError, Service};
use crate::prometheus::Prometheus;

fn credentials(bearer: Option<&std::path::PathBuf>, basic: Option<&BasicSpec>) -> Credentials {
    match (bearer, basic) {
        (Some(file), _) => Credentials::BearerFile(file.clone()),
        (None, Some(basic)) => Credentials::Basic {
            username: basic.username.clone(),
            password_file: basic.password_file.clone(),
        },
        (None, None) => Credentials::None,
    }
}

/// Prometheus, when it is configured.
pub fn prometheus(config: &Config) -> Result<Option<Prometheus>, OutboundError> {
    let Some(spec) = &config.prometheus else { return Ok(None) };
    let service = Service {
        url: spec.url.url().to_string(),
        credentials: credentials(spec.bearer_token_file.as_ref(), spec.basic.as_ref()),
        ca_file: spec.ca_file.clone(),
    };
    Prometheus::new(&service).map(Some)
}

/// Alertmanager, when it is configured.
pub fn alertmanager(
    config: &Config,
    clock: &SharedClock,
) -> Result<Option<Alertmanager>, OutboundError> {
    let Some(spec) = &config.alertmanager else { return Ok(None) };
    let credentials = credentials(spec.bearer_token_file.as_ref(), spec.basic.as_ref());
    let replica = |url: String| Service {
        url,
        credentials: credentials.clone(),
        ca_file: spec.ca_file.clone(),
    };
    let replicas: Vec<_> = spec.urls.iter().map(|it| replica(it.url().to_string())).collect();
    Alertmanager::new(&replicas, clock.clone()).map(Some)
}

/// Where people reach what messages point at.
pub fn places(config: &Config) -> Places {
    let address = |endpoint: &crate::config::Endpoint| {
        endpoint.url().as_str().trim_end_matches('/').to_owned()
    };
    Places { console: None, alertmanager: config.links.alertmanager.as_ref().map(address) }
}

/// Whom policies can tell.
pub fn receivers(config: &Config, clock: &SharedClock) -> Receivers {
    let to = |address: Address| Delivery::new(address, clock.clone());
    let all = config.receivers.iter().map(|(name, spec)| {
        let receiver = match spec {
            ReceiverSpec::Log {} => Receiver::Log,
            ReceiverSpec::Webhook(spec) => Receiver::Webhook(to(address(spec))),
            ReceiverSpec::Teams(spec) => Receiver::Teams(to(address(spec))),
            ReceiverSpec::PagerDuty(spec) => {
                let url = spec.url.as_ref().map(|url| url.url().to_string());
                let url = url.unwrap_or_else(|| pagerduty::ADDRESS.to_owned());
                Receiver::PagerDuty {
                    to: to(Address::Given(url.into())),
                    routing_key: spec.routing_key_file.clone(),
                }
            }
        };
        (name.clone(), receiver)
    });
    Receivers::new(all.collect(), places(config))
}

fn address(spec: &WebhookReceiverSpec) -> Address {
    match (&spec.url, &spec.url_file) {
        (_, Some(file)) => Address::File(file.clone()),
        (Some(url), None) => Address::Given(url.expose().to_owned().into()),
        // Refused when the configuration is read.
        (None, None) => Address::Given(String::new().into()),
    }
}
