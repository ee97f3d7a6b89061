//! The services that are called besides Kubernetes, from the configuration.

use crate::alertmanager::Alertmanager;
use crate::clock::SharedClock;
use crate::config::{BasicSpec, Config, ReceiverSpec};
use crate::notify::webhook::{Address, Webhook};
use crate::notify::{Receiver, Receivers};
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

/// Whom policies can tell.
pub fn receivers(config: &Config, clock: &SharedClock) -> Receivers {
    let all = config.receivers.iter().map(|(name, spec)| {
        let receiver = match spec {
            ReceiverSpec::Log {} => Receiver::Log,
            ReceiverSpec::Webhook(spec) => {
                let address = match (&spec.url, &spec.url_file) {
                    (_, Some(file)) => Address::File(file.clone()),
                    (Some(url), None) => Address::Given(url.expose().to_owned().into()),
                    // Refused when the configuration is read.
                    (None, None) => Address::Given(String::new().into()),
                };
                let webhook = Webhook::new(address, Credentials::None, None, clock.clone());
                Receiver::Webhook(webhook)
            }
        };
        (name.clone(), receiver)
    });
    Receivers::new(all.collect())
}
