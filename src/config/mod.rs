//! The configuration: one YAML file, flags and `ORDERLY_*` environment, in that order of growing
//! precedence, over defaults with which `orderly serve --policies policies/` suffices.
//!
//! A problem names file, line and column and says what to do; all problems of one run are reported
//! together. Secrets are never in here, only the paths of the files that hold them.

mod address;
mod flags;
mod places;
mod spec;
mod validate;

pub use address::{Endpoint, ListenAddress, SecretUrl, TokenSha256};
pub use flags::Flags;
pub use spec::{
    AdminSpec, AlertmanagerSpec, BasicSpec, Config, JournalSpec, KubernetesSpec, LimitsSpec,
    LogFormat, LogSpec, MutualTlsSpec, OtlpSpec, PersonSpec, PrometheusSpec, ReceiverSpec, Role,
    TlsSpec, WebhookAuthSpec, WebhookReceiverSpec, WebhookSpec,
};
pub use validate::Warning;

use std::fmt;
use std::path::{Path, PathBuf};

/// A configuration is written by hand; what is larger is another file.
const CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file, when the problem is in one.
    pub file: Option<PathBuf>,
    /// Line and column, both from 1, when the problem has a place.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub message: String,
    /// What to do, when there is more to say.
    pub help: Option<String>,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some((line, column)) = self.place {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with the configuration, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<ConfigProblem> for ConfigError {
    fn from(problem: ConfigProblem) -> Self {
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
        let mut config = places::parse(path, text)?;
        if let Some(directory) = path.and_then(Path::parent) {
            config.resolve(directory);
        }
        flags.apply(&mut config);
        let faults = config.faults();
        if faults.is_empty() {
            return Ok(config);
        }
        let places = places::Places::read(text);
        let problems = faults.into_iter().map(|fault| {
            let place = places.nearest(&fault.at);
            let file = place.and(path).map(Path::to_owned);
            ConfigProblem { file, place, message: fault.message, help: fault.help }
        });
        Err(ConfigError { problems: problems.collect() })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let problem = |message: String, help: Option<&str>| ConfigProblem {
        file: Some(path.to_owned()),
        place: None,
        message,
        help: help.map(str::to_owned),
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > CONFIG_BYTES => {
            return Err(problem("the file is larger than 4 MiB".to_owned(), None).into());
        }
        Ok(_) | Err(_) => {}
    }
    std::fs::read_to_string(path).map_err(|error| {
        let help = "give the path with `--config` or `ORDERLY_CONFIG`, or leave it out to start \
                    with the defaults";
        problem(format!("cannot read the configuration: {error}"), Some(help)).into()
    })
}
