//! What the terminal is: how wide, whether it takes colour, and that texts from outside cannot
//! steer it.

use std::borrow::Cow;
use std::io::IsTerminal;

/// When nobody says how wide it is: what every terminal has.
const USUAL_WIDTH: usize = 80;
/// Narrower than this no table can be read; it overflows instead.
const LEAST_WIDTH: usize = 40;

/// Whether to write colour to `stream`: only to a terminal, and not when `NO_COLOR` says no
/// (no-color.org) or the terminal is `dumb`.
pub fn colour(stream: &impl IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !unwanted && !dumb
}

/// How many columns standard output has; `None` when it is not a terminal, where nothing is cut.
/// `COLUMNS` decides where it is set.
pub fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    match columns {
        Some(columns) => Some(columns.max(LEAST_WIDTH)),
        None if std::io::stdout().is_terminal() => {
            Some(measured().unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH))
        }
        None => None,
    }
}

/// A text from outside with everything made visible that would steer a terminal or turn the reading
/// direction.
pub fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| {
        if steers(c) {
            Cow::Owned(c.escape_unicode().to_string())
        } else {
            Cow::Owned(c.to_string())
        }
    });
    Cow::Owned(shown.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_cannot_steer_the_terminal() {
        assert_eq!(plain("ordinary ä\n"), "ordinary ä\n");
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\0\r"), r"a\u{1b}[2Jb\u{202e}c\u{0}\u{d}");
    }
}
