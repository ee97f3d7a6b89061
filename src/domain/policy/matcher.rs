//! Alertmanager's matcher syntax: `alertname="AgentDown"`, `{severity=~"critical|page", team!="x"}`.
//!
//! One text may hold several matchers; all must match. A label that is missing counts as empty,
//! and regular expressions are anchored at both ends, both as in Alertmanager.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

use regex::Regex;

use crate::domain::alert::Labels;

/// Longest matcher text: a policy that needs more wants to be several policies.
pub const MAX_SOURCE: usize = 4 * 1024;
/// Largest compiled regular expression; the library's default of 10 MiB times 10,000 policies
/// would be 100 GiB.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    DoesNotMatch,
}

impl Operator {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::DoesNotMatch => "!~",
        }
    }
}

/// One comparison of one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    operator: Operator,
    value: String,
    regex: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

impl Matcher {
    /// A matcher for the label `name`.
    pub fn new(
        name: impl Into<String>,
        operator: Operator,
        value: impl Into<String>,
    ) -> Result<Self, String> {
        let value = value.into();
        let regex = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::DoesNotMatch => Some(
                regex::RegexBuilder::new(&format!("^(?:{value})$"))
                    .dot_matches_new_line(true)
                    .size_limit(MAX_REGEX_BYTES)
                    .build()
                    .map_err(|error| regex_problem(&value, &error))?,
            ),
        };
        Ok(Self { name: name.into(), operator, value, regex })
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether `labels` pass. A missing label is an empty one.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.accepts(labels.get(&self.name).map_or("", String::as_str))
    }

    /// Whether a label of this value passes.
    pub fn accepts(&self, value: &str) -> bool {
        match (self.operator, &self.regex) {
            (Operator::Equal, _) => value == self.value,
            (Operator::NotEqual, _) => value != self.value,
            (Operator::Matches, regex) => regex.as_ref().is_some_and(|r| r.is_match(value)),
            (Operator::DoesNotMatch, regex) => !regex.as_ref().is_some_and(|r| r.is_match(value)),
        }
    }

    /// True when the label must be there and say something: `a="b"`, `a=~".+"`.
    pub fn is_positive(&self) -> bool {
        !self.accepts("")
            && match self.operator {
                Operator::Equal | Operator::Matches => true,
                Operator::NotEqual | Operator::DoesNotMatch => false,
            }
    }

    /// True when every alert that passes has this label with some value.
    pub fn guarantees_label(&self) -> bool {
        !self.accepts("")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_bare(&self.name) {
            f.write_str(&self.name)?;
        } else {
            write_quoted(f, &self.name)?;
        }
        f.write_str(self.operator.as_str())?;
        write_quoted(f, &self.value)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other if other.is_control() => write!(f, "\\u{:04x}", u32::from(other))?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

fn regex_problem(value: &str, error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the regular expression `{value}` is too large: write a shorter one")
        }
        _ => {
            // The library draws the pattern over several lines; its last line says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("`{value}` is not a regular expression: {reason}")
        }
    }
}

/// A text that is not a list of matchers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseMatcherError {
    /// What is wrong.
    pub message: String,
    /// The byte in the text where it is.
    pub offset: usize,
    /// How many bytes are wrong.
    pub length: usize,
}

/// Reads one or several matchers, with or without braces around them.
pub fn parse(source: &str) -> Result<Vec<Matcher>, ParseMatcherError> {
    if source.len() > MAX_SOURCE {
        let message = format!("the matcher is longer than {MAX_SOURCE} bytes");
        return Err(ParseMatcherError { message, offset: 0, length: source.len() });
    }
    let mut parser = Parser { source, rest: source.char_indices().peekable() };
    parser.list()
}

struct Parser<'s> {
    source: &'s str,
    rest: Peekable<CharIndices<'s>>,
}

impl Parser<'_> {
    fn list(&mut self) -> Result<Vec<Matcher>, ParseMatcherError> {
        let braces = self.skip_if('{');
        let mut matchers = Vec::new();
        loop {
            self.skip_space();
            match self.rest.peek() {
                None if braces => return Err(self.error("a `}` is missing at the end")),
                None => break,
                Some((_, '}')) if braces => {
                    self.rest.next();
                    break;
                }
                Some(_) => {}
            }
            matchers.push(self.matcher()?);
            self.skip_space();
            match self.rest.peek() {
                None => {}
                Some((_, '}')) if braces => {}
                Some((_, '}')) => return Err(self.error("this `}` has no `{`")),
                Some((_, ',')) => {
                    self.rest.next();
                }
                Some(_) => return Err(self.error("a `,` is missing between two matchers")),
            }
        }
        self.skip_space();
        if self.rest.peek().is_some() {
            return Err(self.error("nothing may follow here"));
        }
        if matchers.is_empty() {
            return Err(
                self.error("no matcher is given: write for example `alertname=\"AgentDown\"`")
            );
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher, ParseMatcherError> {
        let start = self.offset();
        let name = self.word("a label's name")?;
        if name.is_empty() {
            return Err(self.error_at(start, "a label's name cannot be empty"));
        }
        self.skip_space();
        let at = self.offset();
        let operator = match self.rest.next().map(|(_, c)| c) {
            Some('=') if self.skip_if('~') => Operator::Matches,
            Some('=') => Operator::Equal,
            Some('!') if self.skip_if('=') => Operator::NotEqual,
            Some('!') if self.skip_if('~') => Operator::DoesNotMatch,
            _ => {
                let message = format!("after `{name}` one of `=`, `!=`, `=~` and `!~` is missing");
                return Err(self.error_at(at, &message));
            }
        };
        self.skip_space();
        let at = self.offset();
        let value = self.word("a value")?;
        let length = self.offset() - at;
        Matcher::new(name, operator, value).map_err(|message| ParseMatcherError {
            message,
            offset: at,
            length,
        })
    }

    /// A quoted text, or a bare run of characters without a meaning of their own.
    fn word(&mut self, what: &str) -> Result<String, ParseMatcherError> {
        let start = self.offset();
        if self.skip_if('"') {
            return self.quoted(start);
        }
        while self.rest.peek().is_some_and(|(_, c)| is_plain(*c)) {
            self.rest.next();
        }
        let word = &self.source[start..self.offset()];
        if word.is_empty() {
            return Err(self.error(&format!("{what} is missing")));
        }
        Ok(word.to_owned())
    }

    fn quoted(&mut self, start: usize) -> Result<String, ParseMatcherError> {
        let mut text = String::new();
        while let Some((at, character)) = self.rest.next() {
            match character {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped(at)?),
                other => text.push(other),
            }
        }
        Err(self.error_at(start, "the closing `\"` is missing"))
    }

    fn escaped(&mut self, at: usize) -> Result<char, ParseMatcherError> {
        let digits = match self.rest.next().map(|(_, c)| c) {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(same @ ('"' | '\\')) => return Ok(same),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let mut code = 0_u32;
        let mut left = digits;
        while left > 0 {
            let digit = self.rest.next().and_then(|(_, c)| c.to_digit(16));
            match digit {
                Some(digit) => code = code.wrapping_mul(16).wrapping_add(digit),
                None => break,
            }
            left -= 1;
        }
        let character = char::from_u32(code).filter(|c| digits > 2 || c.is_ascii());
        match character {
            Some(character) if digits > 0 && left == 0 => Ok(character),
            _ => {
                let message = "this escape is not known: write `\\\\`, `\\\"`, `\\n`, `\\t`, \
                               `\\r` or `\\u00e9`";
                Err(self.error_at(at, message))
            }
        }
    }

    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.source.len(), |(at, _)| *at)
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    }

    fn skip_if(&mut self, wanted: char) -> bool {
        if wanted == '{' {
            self.skip_space();
        }
        self.rest.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn error(&mut self, message: &str) -> ParseMatcherError {
        let offset = self.offset();
        self.error_at(offset, message)
    }

    fn error_at(&mut self, offset: usize, message: &str) -> ParseMatcherError {
        let end = self.offset().max(offset + 1).min(self.source.len());
        let message = message.to_owned();
        ParseMatcherError { message, offset, length: end.saturating_sub(offset) }
    }
}

/// Alertmanager's rule for what may stand without quotes.
fn is_plain(character: char) -> bool {
    !character.is_whitespace()
        && !matches!(character, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(source: &str) -> Vec<String> {
        parse(source).expect("matchers").iter().map(ToString::to_string).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_ways_to_write_it() {
        assert_eq!(shown(r#"alertname="AgentDown""#), [r#"alertname="AgentDown""#]);
        assert_eq!(shown("alertname=AgentDown"), [r#"alertname="AgentDown""#]);
        assert_eq!(shown(r#"{ a = "b" , c=~"d|e", }"#), [r#"a="b""#, r#"c=~"d|e""#]);
        assert_eq!(shown(r#"a!="b",c!~"d""#), [r#"a!="b""#, r#"c!~"d""#]);
        assert_eq!(shown(r#""k8s pod"="é\u00e9\"\\""#), [r#""k8s pod"="éé\"\\""#]);
        assert_eq!(shown(r#"a="b,}=""#), [r#"a="b,}=""#]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let cases = [
            ("", 0, "no matcher is given"),
            ("{}", 2, "no matcher is given"),
            ("alertname", 9, "after `alertname` one of"),
            ("=x", 0, "a label's name is missing"),
            ("a=", 2, "a value is missing"),
            (r#"a="b" c="d""#, 6, "a `,` is missing"),
            (r#"{a="b""#, 6, "a `}` is missing"),
            (r#"a="b"}"#, 5, "this `}` has no `{`"),
            (r#"{a="b"} c"#, 8, "nothing may follow"),
            (r#"a="b"#, 2, "closing `\"` is missing"),
            (r#"a="\q""#, 3, "this escape is not known"),
            (r#"a="\xff""#, 3, "this escape is not known"),
            (r#"a=~"(""#, 3, "`(` is not a regular expression: unclosed group"),
            (r#"a=~"(\\w{100}){100}""#, 3, "is too large"),
        ];
        for (source, offset, text) in cases {
            let error = parse(source).expect_err(source);
            assert!(error.message.contains(text), "{source}: {error}");
            assert_eq!(error.offset, offset, "{source}");
        }
    }

    #[test]
    fn a_missing_label_is_empty_and_expressions_are_anchored() {
        let alert = labels(&[("alertname", "AgentDown"), ("severity", "critical")]);
        let holds = |source: &str| parse(source).expect("a matcher")[0].matches(&alert);
        assert!(holds(r#"team="""#));
        assert!(holds(r#"team!="x""#));
        assert!(holds(r#"team=~".*""#));
        assert!(!holds(r#"team=~".+""#));
        assert!(!holds(r#"alertname=~"Agent""#));
        assert!(holds(r#"alertname=~"Agent.*|x""#));
        assert!(!holds(r#"alertname=~"x|Agent""#));
        assert!(holds(r#"alertname!~"Agent""#));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(name in "[^\u{0}]{1,8}", value in any::<String>(), negative: bool) {
            let operator = if negative { Operator::NotEqual } else { Operator::Equal };
            let matcher = Matcher::new(name, operator, value).expect("no regular expression");
            prop_assert_eq!(parse(&matcher.to_string()), Ok(vec![matcher]));
        }

        #[test]
        fn agrees_with_a_plain_reference(
            wanted in "[ab]{0,3}",
            given in proptest::option::of("[ab]{0,3}"),
            operator in 0..4usize,
        ) {
            let all = [Operator::Equal, Operator::NotEqual, Operator::Matches, Operator::DoesNotMatch];
            let operator = all[operator];
            let matcher = Matcher::new("l", operator, wanted.clone()).expect("plain letters");
            let value = given.clone().unwrap_or_default();
            // Over plain letters an anchored expression is equality.
            let expected = match operator {
                Operator::Equal | Operator::Matches => value == wanted,
                Operator::NotEqual | Operator::DoesNotMatch => value != wanted,
            };
            let labels: Labels = given.map(|value| ("l".to_owned(), value)).into_iter().collect();
            prop_assert_eq!(matcher.matches(&labels), expected);
        }

        #[test]
        fn any_text_is_an_answer_not_a_panic(text in any::<String>()) {
            let _answer = parse(&text);
        }
    }
}
