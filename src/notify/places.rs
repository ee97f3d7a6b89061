//! Where people reach what messages point at.

use url::form_urlencoded::byte_serialize;

use crate::domain::alert::Alert;
use crate::domain::briefing::{Briefing, Link};
use crate::domain::id::IncidentId;
use crate::domain::incident::Incident;

/// Addresses for people, from the configuration; what is not given is not linked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The console's address, without a slash at the end; nothing while there is none.
    pub console: Option<String>,
    /// Alertmanager's pages, without a slash at the end.
    pub alertmanager: Option<String>,
}

impl Places {
    /// The briefing about an incident, with the links that are known here.
    pub fn brief(&self, incident: &Incident) -> Briefing {
        let mut briefing = Briefing::of(incident);
        briefing.links.extend(self.alerts(incident.alert()));
        briefing.links.extend(self.page(&incident.id));
        briefing
    }

    /// The console's page about an incident.
    pub fn page(&self, id: &IncidentId) -> Option<Link> {
        let console = self.console.as_deref()?;
        Link::new("Console", &format!("{console}/incidents/{id}"))
    }

    /// Alertmanager's page with the alerts of this name and namespace.
    fn alerts(&self, alert: &Alert) -> Option<Link> {
        let base = self.alertmanager.as_deref()?;
        let matchers: Vec<_> = ["alertname", "namespace"]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={:?}", alert.labels.get(name)?)))
            .collect();
        let filter: String =
            byte_serialize(format!("{{{}}}", matchers.join(",")).as_bytes()).collect();
        // Alertmanager's pages read `+` as a plus.
        Link::new("Alertmanager", &format!("{base}/#/alerts?filter={}", filter.replace('+', "%20")))
    }
}
