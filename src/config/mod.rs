//! The configuration: one YAML file, flags and `ORDERLY_*` environment, in that order of growing
//! precedence, over defaults with which `orderly serve --policies policies/` suffices.
//!
//! A problem names file, line and column and says what to do; all problems of one run are reported
//! together. Secrets are never in here, only the paths of the files that hold them.

mod address;
mod flags;
mod slack;
mod spec;
mod validate;

pub use address::{Endpoint, ListenAddress, SecretUrl, TokenSha256};
pub use flags::Flags;
pub use slack::{ChannelSpec, SlackGroupSpec, SlackSpec};
pub use spec::{
    AdminSpec, AlertmanagerSpec, BasicSpec, Config, JournalSpec, KubernetesSpec, LimitsSpec,
    LinksSpec, LogFormat, LogSpec, MutualTlsSpec, OtlpSpec, PagerDutySpec, PersonSpec,
    PolicyResources, PrometheusSpec, ReceiverSpec, Role, TlsSpec, WebhookAuthSpec,
    WebhookReceiverSpec, WebhookSpec,
};
pub use validate::Warning;

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::places::Places;
use crate::document::yaml::MAX_FILE;
use crate::document::{self, Read};
use crate::domain::policy::problem::Severity;

/// The code of a problem that is not one of the document as such.
const CODE: &str = "configuration";

static SCHEMA: LazyLock<Value> = LazyLock::new(document::schema_of::<Config>);

/// Everything that is wrong with the configuration, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one; one with a flag names no file.
    pub problems: Vec<Diagnostic>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Diagnostic::one_line).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<Diagnostic> for ConfigError {
    fn from(problem: Diagnostic) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Config {
    /// The configuration that `flags` (which include the environment) and the file they name give.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let Some(path) = &flags.config else {
            return Self::from_text(None, "", flags);
        };
        let text = read(path)?;
        Self::from_text(Some(path), &text, flags)
    }

    /// The same from a file's text. Relative paths in it start at the file's directory.
    pub fn from_text(path: Option<&Path>, text: &str, flags: &Flags) -> Result<Self, ConfigError> {
        let file = SourceFile::new(path.unwrap_or(Path::new("")), text);
        let read: Option<Read<Self>> = document::read(&file, &SCHEMA, address::TEXTS)
            .map_err(|problems| ConfigError { problems })?;
        let (mut config, places) = match read {
            Some(read) => (read.value, Some(read.places)),
            None => (Self::default(), None),
        };
        if let Some(directory) = path.and_then(Path::parent) {
            config.resolve(directory);
        }
        flags.apply(&mut config);
        let faults = config.faults();
        if faults.is_empty() {
            return Ok(config);
        }
        let problems = faults.into_iter().map(|fault| fault.found_in(places.as_ref()));
        Err(ConfigError { problems: problems.collect() })
    }
}

impl validate::Fault {
    /// The fault with its place; a flag has none.
    fn found_in(self, places: Option<&Places>) -> Diagnostic {
        let written = places.and_then(|places| places.nearest(&self.at));
        let mut found = match written {
            Some((file, span)) => Diagnostic::at(file, span, Severity::Error, CODE, self.message),
            None => Diagnostic::of_file(Path::new(""), CODE, self.message),
        };
        found.help = self.help;
        found
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE as u64 => {
            let message = format!("the file is larger than {MAX_FILE} bytes");
            return Err(Diagnostic::of_file(path, CODE, message).into());
        }
        Ok(_) | Err(_) => {}
    }
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the configuration: {error}");
        let mut problem = Diagnostic::of_file(path, CODE, message);
        let help = "give the path with `--config` or `ORDERLY_CONFIG`, or leave it out to start \
                    with the defaults";
        problem.help = Some(help.to_owned());
        problem.into()
    })
}
