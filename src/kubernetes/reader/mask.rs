//! Masks secrets in texts and objects before they are kept or shown. Pure.
//!
//! Errs towards masking: a word too many behind a mask costs a look at the cluster, a password in
//! the journal cannot be taken back, since the journal never forgets.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "[masked]";

/// Names whose values are secret, inside of longer names too (`DB_PASSWORD`, `x-api-key`).
const SECRET_NAME: &str = "pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|\
     signing[_-]?key|encryption[_-]?key|credential|auth(?:orization)?|cookie|session[_-]?id|\
     connection[_-]?string|dsn|client[_-]?key";

struct Rule {
    pattern: Regex,
    /// The named group `secret` is masked; the rest of the match stays.
    replacement: fn(&Captures<'_>) -> String,
}

fn keep_around(found: &Captures<'_>) -> String {
    let group = |name| found.name(name).map_or("", |part| part.as_str());
    format!("{}{MASK}{}", group("before"), group("after"))
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let patterns = [
        // PEM blocks of private keys, also cut off at the end.
        r"(?s)(?P<before>)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)".to_owned(),
        // JSON web tokens.
        r"(?P<before>)\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?".to_owned(),
        // Bearer and basic credentials.
        r"(?i)(?P<before>\b(?:bearer|basic|digest)\s+)[A-Za-z0-9._~+/=-]{6,}".to_owned(),
        // scheme://user:password@host
        r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)[^\s/]+(?P<after>@)".to_owned(),
        // Access keys of AWS, Google, Slack, GitHub, GitLab, Stripe, model vendors, npm.
        r"(?P<before>)\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}".to_owned(),
        r"(?P<before>)\bAIza[A-Za-z0-9_-]{20,}".to_owned(),
        r"(?P<before>)\bxox[a-z]-[A-Za-z0-9-]{8,}".to_owned(),
        r"(?P<before>)\bxapp-[A-Za-z0-9-]{8,}".to_owned(),
        r"(?P<before>)\b(?:gh[a-z]_|github_pat_|glpat-|npm_)[A-Za-z0-9_-]{10,}".to_owned(),
        r"(?P<before>)\b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{8,}".to_owned(),
        r"(?P<before>)\bhvs\.[A-Za-z0-9_-]{8,}".to_owned(),
        // name = value, name: value, "name": "value", --name value
        format!(
            r#"(?ix)(?P<before> [A-Za-z0-9_.-]* (?:{SECRET_NAME}) [A-Za-z0-9_.-]* \\?["']? \s*(?:=|:=|:|=>)\s* )
               (?: \\?"[^"\r\n]*"? | '[^'\r\n]*'? | [^\s,;&"']+ )"#
        ),
        format!(
            r#"(?ix)(?P<before> (?:^|\s) --?[A-Za-z0-9_.-]* (?:{SECRET_NAME}) [A-Za-z0-9_.-]* \s+ ) [^\s-][^\s]*"#
        ),
        // Long strings of hexadecimal or base 64 in which letters and digits mix.
        r"(?P<before>)\b[A-Fa-f0-9]{40,}\b".to_owned(),
        r"(?P<before>)[A-Za-z0-9+/_-]{60,}={0,2}".to_owned(),
    ];
    let compiled = patterns.iter().map(|pattern| {
        let pattern = Regex::new(pattern).expect("the patterns are constants, tested below");
        Rule { pattern, replacement: keep_around }
    });
    compiled.collect()
});

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!("(?i){SECRET_NAME}")).expect("the pattern is a constant, tested below")
});

/// Digests of images are public and needed: `sha256:` and 64 hexadecimal digits.
static IMAGE_DIGEST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"sha256:[a-f0-9]{64}\b").expect("the pattern is a constant, tested below")
});

/// The text with its secrets masked.
pub fn text(text: &str) -> String {
    // Digests of images are masked around, not in.
    let mut masked = String::with_capacity(text.len());
    let mut rest = 0;
    for digest in IMAGE_DIGEST.find_iter(text) {
        masked.push_str(&piece(&text[rest..digest.start()]));
        masked.push_str(digest.as_str());
        rest = digest.end();
    }
    masked.push_str(&piece(&text[rest..]));
    masked
}

fn piece(text: &str) -> String {
    let mut masked = text.to_owned();
    for rule in RULES.iter() {
        if rule.pattern.is_match(&masked) {
            masked = rule.pattern.replace_all(&masked, rule.replacement).into_owned();
        }
    }
    masked
}

/// Whether a name says that its value is secret.
pub fn is_secret_name(name: &str) -> bool {
    NAME.is_match(name)
}

/// An object with the secrets in its texts masked, and with the literal values of environment
/// variables and annotations whose names say that they are secret.
pub fn value(value: &Value) -> Value {
    match value {
        Value::String(content) => Value::String(text(content)),
        Value::Array(items) => Value::Array(items.iter().map(self::value).collect()),
        Value::Object(fields) => {
            let named = fields.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            let masked = fields.iter().map(|(key, field)| {
                let literal = field.is_string();
                let secret = literal && ((key == "value" && named) || says_secret(key));
                let field = if secret { Value::from(MASK) } else { self::value(field) };
                (key.clone(), field)
            });
            Value::Object(masked.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Kubernetes' own fields with such names hold names of Secrets, not secrets.
fn says_secret(key: &str) -> bool {
    let reference =
        key.ends_with("Name") || key.ends_with("Ref") || key == "tokenExpirationSeconds";
    is_secret_name(key) && !reference
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
