//! What is wrong with a payload, and in which field.

use std::cell::{Cell, RefCell};

/// No message repeats more of the body than this.
const QUOTED_CHARACTERS: usize = 160;

/// What is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PayloadError {
    /// The field (RFC 6901); empty for the body as a whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl PayloadError {
    pub(super) fn new(error: &serde_json::Error, place: &Place) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let text = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let message = match error.classify() {
            serde_json::error::Category::Eof => {
                format!("the body ends too early, at line {line} column {column}")
            }
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
                format!("not JSON: {text} at line {line} column {column}")
            }
            serde_json::error::Category::Data => misfit(text),
        };
        Self { pointer: place.pointer(), message, hint: None }
    }

    pub(super) fn prometheus_list() -> Self {
        Self {
            pointer: String::new(),
            message: "expected an object, found a list".to_owned(),
            hint: Some(
                "this is what Prometheus sends to an Alertmanager: keep Alertmanager between them, \
                 with this URL in one of its `webhook_configs`",
            ),
        }
    }

    pub(super) fn no_object(empty: bool) -> Self {
        let message = if empty { "the body is empty" } else { "the body is not a JSON object" };
        Self { pointer: String::new(), message: message.to_owned(), hint: Some(WHAT_IS_EXPECTED) }
    }

    pub(super) fn no_alerts() -> Self {
        Self {
            pointer: "/alerts".to_owned(),
            message: "the list of alerts is missing".to_owned(),
            hint: Some(WHAT_IS_EXPECTED),
        }
    }

    pub(super) fn version(found: &str) -> Self {
        let found: String = found.chars().take(QUOTED_CHARACTERS).collect();
        Self {
            pointer: "/version".to_owned(),
            message: format!("version `{found}` of the payload is not known"),
            hint: Some(WHAT_IS_EXPECTED),
        }
    }
}

const WHAT_IS_EXPECTED: &str = "expected Alertmanager's webhook payload, version 4, as it is \
                                without `payload` in `webhook_configs`";

fn misfit(text: &str) -> String {
    let turned =
        text.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    let text = match turned {
        Some((found, expected)) => {
            let found = match found {
                "sequence" => "a list",
                "map" => "an object",
                other => other,
            };
            format!("expected {expected}, found {found}")
        }
        None => text.to_owned(),
    };
    if text.chars().count() > QUOTED_CHARACTERS {
        let cut: String = text.chars().take(QUOTED_CHARACTERS).collect();
        return cut + "…";
    }
    text
}

/// Where the parser is. Written on the way, read only when something is wrong.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) field: Cell<Option<&'static str>>,
    pub(super) alert: Cell<Option<usize>>,
    pub(super) alert_field: Cell<Option<&'static str>>,
    pub(super) key: RefCell<Option<String>>,
}

impl Place {
    /// Notes the key of a map in which an error was met.
    pub(super) fn at_key<E>(&self, key: &str, error: E) -> E {
        self.key.replace(Some(key.chars().take(QUOTED_CHARACTERS).collect()));
        error
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        let index = self.alert.get().map(|index| index.to_string());
        let key = self.key.borrow();
        let steps = [self.field.get(), index.as_deref(), self.alert_field.get(), key.as_deref()];
        for step in steps.into_iter().flatten() {
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}
