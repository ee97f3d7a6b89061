//! PromQL's quotes, as far as templates need them: where a value is put, and how it is escaped
//! there so that it cannot end the string that it stands in.

/// What must be escaped where a value is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    Nothing,
    PromqlString,
    PromqlRegex,
}

/// Hexadecimal escapes mean the same in both kinds of PromQL quotes.
pub(super) fn escape(value: &str, quoting: Quoting, into: &mut String) {
    let quoted = match quoting {
        Quoting::Nothing => return into.push_str(value),
        Quoting::PromqlString => value.to_owned(),
        Quoting::PromqlRegex => regex::escape(value),
    };
    for character in quoted.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\x22"),
            '\'' => into.push_str("\\x27"),
            '\n' => into.push_str("\\n"),
            control if control.is_ascii_control() => {
                into.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => into.push(other),
        }
    }
}

/// Follows PromQL's quotes through the text between placeholders.
#[derive(Default)]
pub(super) struct Promql {
    pub(super) quote: Option<char>,
    escaped: bool,
    comment: bool,
    /// The last characters outside quotes, spaces left out: tells `=~` from `=`.
    before: [char; 2],
}

impl Promql {
    pub(super) fn read(&mut self, text: &str) {
        for character in text.chars() {
            match self.quote {
                _ if self.comment => self.comment = character != '\n',
                Some(_) if self.escaped => self.escaped = false,
                Some('"' | '\'') if character == '\\' => self.escaped = true,
                Some(quote) if character == quote => {
                    self.quote = None;
                    self.before = [' '; 2];
                }
                Some(_) => {}
                None if character == '#' => self.comment = true,
                None if matches!(character, '"' | '\'' | '`') => self.quote = Some(character),
                None if character.is_whitespace() => {}
                None => self.before = [self.before[1], character],
            }
        }
    }

    pub(super) fn quoting(&self) -> Option<Quoting> {
        match self.quote {
            _ if self.comment || self.escaped => None,
            Some('"' | '\'') => Some(match self.before {
                ['=' | '!', '~'] => Quoting::PromqlRegex,
                _ => Quoting::PromqlString,
            }),
            Some(_) | None => None,
        }
    }
}
