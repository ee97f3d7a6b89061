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

/// Breaks `line` between words so that no part is longer than `width`; all but the first begin with
/// `hang` spaces. A word that is longer than a line stays whole, for it is copied from the screen.
pub fn wrap(line: &str, width: Option<usize>, hang: usize) -> Cow<'_, str> {
    let Some(width) = width.filter(|width| line.chars().count() > *width) else {
        return Cow::Borrowed(line);
    };
    // On a narrow terminal a deep indentation would leave one word a line.
    let hang = hang.min(width / 2);
    let indent = line.len() - line.trim_start().len();
    let mut wrapped = line[..indent].to_owned();
    let mut used = indent;
    let mut begins = true;
    for word in line[indent..].split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if !begins && used + length > width {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(hang));
            used = hang;
        }
        wrapped.push_str(word);
        used += word.chars().count();
        begins = false;
    }
    Cow::Owned(wrapped)
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

    #[test]
    fn long_lines_are_broken_between_words_and_hang() {
        let line = "  10.5s  the cause is found";
        assert_eq!(wrap(line, None, 9), line);
        assert_eq!(wrap(line, Some(40), 9), line);
        assert_eq!(wrap(line, Some(18), 9), "  10.5s  the cause\n         is found");
        assert_eq!(wrap("see https://example.com/x", Some(10), 2), "see\n  https://example.com/x");
        assert_eq!(wrap("ä ö ü", Some(3), 0), "ä ö\nü");
    }
}
