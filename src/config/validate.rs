//! What must hold between the keys of the configuration. Pure: no file other than the configuration
//! is looked at, so that a pull request can be checked where the secrets are not.

use std::collections::BTreeSet;

use super::slack::is_id;
use super::spec::{BasicSpec, Config, PersonSpec, ReceiverSpec};
use crate::domain::policy::problem::FieldPath;
use crate::domain::policy::safeguards::rails_problems;

/// Smaller than one large alert group: every real Alertmanager would be refused.
const LEAST_BODY_BYTES: usize = 64 * 1024;
/// Several bodies are in memory at once; more than this each and the pod's limit is the next bound.
const MOST_BODY_BYTES: usize = 128 * 1024 * 1024;
/// A longer queue would not be drained within Alertmanager's own patience of about ten seconds.
const MOST_QUEUE: usize = 1_000_000;
/// A name is shown in tables and in the journal of each approval.
const NAME_CHARACTERS: usize = 100;

/// A fault with the path of its key.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: FieldPath,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Something that works but that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl Config {
    /// What is allowed but worth a line in the log at the start.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let auth = &self.webhook.auth;
        let open = !self.listen.is_loopback();
        if open && self.insecure_webhook && !auth.is_configured() {
            warnings.push(format!(
                "anyone who reaches `{}` can send alerts: set `webhook.auth`",
                self.listen
            ));
        }
        let passwords = auth.bearer_token_file.is_some() || auth.basic.is_some();
        if open && self.tls.is_none() && (passwords || !self.people.is_empty()) {
            warnings.push(format!(
                "tokens travel unencrypted to `{}`: set `tls`, or let a proxy beside it end TLS",
                self.listen
            ));
        }
        if open && self.people.is_empty() {
            warnings.push(
                "nobody can use the API: list `people`, or listen on the loopback interface"
                    .to_owned(),
            );
        }
        warnings.into_iter().map(Warning).collect()
    }

    /// Everything that is wrong.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults(Vec::new());
        self.check_listeners(&mut faults);
        self.check_limits(&mut faults);
        self.check_people(&mut faults);
        self.check_receivers(&mut faults);
        self.check_slack(&mut faults);
        self.check_neighbours(&mut faults);
        // Who says that no custom resources are policies wants none; who says nothing forgot them.
        if self.policies.is_empty() && self.policy_resources.is_none() {
            faults.add(
                &["policies"],
                "no policies are given",
                "name their directory with `--policies` or the key `policies`, or take those of \
                 the cluster with `--policy-resources`",
            );
        }
        let found = rails_problems(&self.rails, &FieldPath::of("rails")).into_iter();
        faults.0.extend(found.map(|it| Fault { at: it.path, message: it.message, help: it.help }));
        if let Some(monitoring) = &self.rails.monitoring
            && monitoring.watchdog.is_none()
            && monitoring.query.is_none()
        {
            faults.add(
                &["rails", "monitoring"],
                "`rails.monitoring` asks nothing",
                "give `watchdog` or `query`, or leave `monitoring` out",
            );
        }
        faults.0
    }

    fn check_listeners(&self, faults: &mut Faults) {
        let auth = &self.webhook.auth;
        if !auth.is_configured() && !self.insecure_webhook && !self.listen.is_loopback() {
            faults.add(
                &["listen"],
                &format!(
                    "anyone who reaches `{}` could send alerts: no webhook authentication is \
                     configured",
                    self.listen
                ),
                "set `webhook.auth.bearerTokenFile`, `webhook.auth.basic` or \
                 `webhook.auth.mutualTls`, listen on `127.0.0.1`, or accept it with \
                 `--insecure-webhook`",
            );
        }
        if auth.mutual_tls.is_some() && self.tls.is_none() {
            faults.add(
                &["webhook", "auth", "mutualTls"],
                "client certificates need TLS",
                "set `tls.certFile` and `tls.keyFile`",
            );
        }
        if let Some(basic) = &auth.basic {
            check_basic(faults, &["webhook", "auth", "basic"], basic);
        }
        if self.listen.get() == self.admin.listen.get() && self.listen.get().port() != 0 {
            faults.add(
                &["admin", "listen"],
                &format!("both listeners are given `{}`", self.listen),
                "use another port for `admin.listen`",
            );
        }
    }

    fn check_limits(&self, faults: &mut Faults) {
        let limits = &self.limits;
        if !(LEAST_BODY_BYTES..=MOST_BODY_BYTES).contains(&limits.body_bytes) {
            faults.add(
                &["limits", "bodyBytes"],
                &format!("a body limit of {} bytes is out of range", limits.body_bytes),
                &format!("choose {LEAST_BODY_BYTES} to {MOST_BODY_BYTES}"),
            );
        }
        if !(1..=MOST_QUEUE).contains(&limits.queue) {
            faults.add(
                &["limits", "queue"],
                &format!("a queue of {} webhooks is out of range", limits.queue),
                &format!("choose 1 to {MOST_QUEUE}"),
            );
        }
    }

    fn check_people(&self, faults: &mut Faults) {
        let (mut names, mut slack_users) = (BTreeSet::new(), BTreeSet::new());
        for (index, person) in self.people.iter().enumerate() {
            let index = index.to_string();
            let PersonSpec { name, groups: _, role: _, slack_user, token_file, token_sha256 } =
                person;
            let plain = !name.is_empty()
                && name.chars().count() <= NAME_CHARACTERS
                && !name.chars().any(char::is_control);
            if !plain {
                faults.add(
                    &["people", &index, "name"],
                    "a name must be 1 to 100 printable characters",
                    "write the name that the journal shall show",
                );
            }
            if !names.insert(name) {
                faults.add(
                    &["people", &index, "name"],
                    &format!("`{name}` is listed twice"),
                    "keep one entry for each person",
                );
            }
            if let Some(user) = slack_user
                && !is_id(user, USERS)
            {
                faults.add(&["people", &index, "slackUser"], &not_an_id(user), USER_HELP);
            }
            if let Some(user) = slack_user
                && !slack_users.insert(user)
            {
                faults.add(
                    &["people", &index, "slackUser"],
                    &format!("`{user}` is two people"),
                    "keep it with one of them",
                );
            }
            // Who decides only in Slack needs no token.
            if token_file.is_none() && token_sha256.is_none() && slack_user.is_some() {
                continue;
            }
            if token_file.is_some() == token_sha256.is_some() {
                faults.add(
                    &["people", &index],
                    &format!("`{name}` needs exactly one of `tokenFile` and `tokenSha256`"),
                    "`printf %s TOKEN | sha256sum` prints the second",
                );
            }
        }
    }

    fn check_receivers(&self, faults: &mut Faults) {
        for (name, receiver) in &self.receivers {
            match receiver {
                ReceiverSpec::Webhook(webhook) | ReceiverSpec::Teams(webhook) => {
                    let kind = match receiver {
                        ReceiverSpec::Teams(_) => "teams",
                        _ => "webhook",
                    };
                    if webhook.url.is_some() == webhook.url_file.is_some() {
                        faults.add(
                            &["receivers", name, kind],
                            &format!("`{name}` needs exactly one of `url` and `urlFile`"),
                            "use `urlFile` when the URL is a secret",
                        );
                    }
                }
                ReceiverSpec::PagerDuty(_) | ReceiverSpec::Log {} => {}
            }
        }
    }

    fn check_slack(&self, faults: &mut Faults) {
        let Some(slack) = &self.slack else { return };
        if !is_id(&slack.workspace, "TE") {
            faults.add(
                &["slack", "workspace"],
                &not_an_id(&slack.workspace),
                "write the workspace's id, `T…`: it is in the address of Slack in a browser",
            );
        }
        if slack.channels.is_empty() {
            let help = "add `{channel: C…}` for everything";
            faults.add(&["slack", "channels"], "no message would go anywhere", help);
        }
        for (index, route) in slack.channels.iter().enumerate() {
            if !is_id(&route.channel, "CGD") {
                faults.add(
                    &["slack", "channels", &index.to_string(), "channel"],
                    &not_an_id(&route.channel),
                    "write the channel's id, `C…`: it stands at the end of the channel's details",
                );
            }
        }
        for (name, group) in &slack.groups {
            for user in group.users.iter().filter(|user| !is_id(user, USERS)) {
                faults.add(&["slack", "groups", name, "users"], &not_an_id(user), USER_HELP);
            }
            for id in group.user_groups.iter().filter(|id| !is_id(id, "S")) {
                let help = "write the user group's id, `S…`";
                faults.add(&["slack", "groups", name, "userGroups"], &not_an_id(id), help);
            }
        }
    }

    fn check_neighbours(&self, faults: &mut Faults) {
        if let Some(prometheus) = &self.prometheus {
            let both = prometheus.bearer_token_file.is_some() && prometheus.basic.is_some();
            check_one_way(faults, "prometheus", both);
            if let Some(basic) = &prometheus.basic {
                check_basic(faults, &["prometheus", "basic"], basic);
            }
        }
        if let Some(alertmanager) = &self.alertmanager {
            let both = alertmanager.bearer_token_file.is_some() && alertmanager.basic.is_some();
            check_one_way(faults, "alertmanager", both);
            if let Some(basic) = &alertmanager.basic {
                check_basic(faults, &["alertmanager", "basic"], basic);
            }
            if alertmanager.urls.is_empty() {
                faults.add(
                    &["alertmanager", "urls"],
                    "no Alertmanager is named",
                    "list its URL, or leave `alertmanager` out",
                );
            }
        }
        let kubernetes = &self.kubernetes;
        if kubernetes.write_context.is_some() && kubernetes.write_token_file.is_some() {
            faults.add(
                &["kubernetes", "writeTokenFile"],
                "both `writeContext` and `writeTokenFile` say who writes",
                "keep one of the two",
            );
        }
    }
}

fn check_one_way(faults: &mut Faults, key: &str, both: bool) {
    if both {
        faults.add(
            &[key],
            &format!("`{key}` has both `bearerTokenFile` and `basic`"),
            "keep one of the two",
        );
    }
}

fn check_basic(faults: &mut Faults, at: &[&str], basic: &BasicSpec) {
    // RFC 7617: the first colon ends the user.
    if basic.username.is_empty() || basic.username.contains(':') {
        faults.add(at, "a user name must not be empty or contain `:`", "change `username`");
    }
}

/// The first letters of a user's id.
const USERS: &str = "UW";
const USER_HELP: &str = "write the user's id, `U…`: names in Slack are chosen freely";

fn not_an_id(text: &str) -> String {
    let text: String = text.chars().take(40).collect();
    format!("`{text}` is not the id of one in Slack")
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, at: &[&str], message: &str, help: &str) {
        self.0.push(Fault {
            at: at.iter().fold(FieldPath::default(), |path, step| match step.parse() {
                Ok(index) => path.index(index),
                Err(_) => path.key(step),
            }),
            message: message.to_owned(),
            help: Some(help.to_owned()),
        });
    }
}
