//! The configuration: one YAML file, flags and `ORDERLY_*` environment, in that order of growing
//! precedence, over defaults with which `orderly serve --policies policies/` suffices.
//!
//! A problem names file, line and column and says what to do; all problems of one run are reported
//! together. Secrets are never in here, only the paths of the files that hold them.

mod address;
mod flags;
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
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::places::Places;
use crate::document::{self, Read};
use crate::domain::policy::problem::Severity;

static SCHEMA: LazyLock<Value> = LazyLock::new(document::schema_of::<Config>);

/// A configuration is written by hand; what is larger is another file.
const CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The file, when the problem is in one.
    pub file: Option<PathBuf>,
    /// Line and column, both from 1, when the problem has a place.
    pub place: Option<(usize, usize)>,
    /// The bytes of the file that it is about, when it has a place.
    pub span: Option<Range<usize>>,
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
        let file = SourceFile { path: Arc::from(path.unwrap_or(Path::new(""))), text: text.into() };
        let read: Option<Read<Self>> = document::read(&file, &SCHEMA, address::TEXTS)
            .map_err(|found| ConfigError { problems: found.into_iter().map(shape).collect() })?;
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

/// What is wrong with the document as such.
fn shape(found: Diagnostic) -> ConfigProblem {
    ConfigProblem {
        file: Some(found.file).filter(|file| !file.is_empty()).map(PathBuf::from),
        place: found.line.zip(found.column),
        span: found.span,
        message: found.message,
        help: found.help,
    }
}

impl validate::Fault {
    /// The fault with its place; a flag has none.
    fn found_in(self, places: Option<&Places>) -> ConfigProblem {
        let written = places.and_then(|places| places.nearest(&self.at));
        let diagnostic = written.map(|(file, span)| {
            Diagnostic::at(file, span, Severity::Error, "configuration", self.message.clone())
        });
        match diagnostic {
            Some(found) => ConfigProblem { help: self.help, ..shape(found) },
            None => {
                let (message, help) = (self.message, self.help);
                ConfigProblem { file: None, place: None, span: None, message, help }
            }
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let problem = |message: String, help: Option<&str>| ConfigProblem {
        file: Some(path.to_owned()),
        place: None,
        span: None,
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
