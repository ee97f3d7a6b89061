//! A page for people: headings, named lines, diffs. Every text from outside is made harmless on its
//! way in.

use std::io::Write as _;

use super::table::Tone;
use crate::terminal::{colour, plain, width, wrap};

/// How far what belongs to a heading is moved in.
const INDENT: &str = "  ";

/// A text is not broken into less than this, however narrow the terminal is.
const LEAST_ROOM: usize = 20;

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    text: String,
    colour: bool,
    /// Where lines are broken; nowhere when absent.
    width: Option<usize>,
}

impl Page {
    /// An empty one, with colour or without.
    pub fn new(colour: bool) -> Self {
        Self { text: String::new(), colour, width: None }
    }

    /// An empty one for standard output as it is.
    pub fn for_stdout() -> Self {
        Self { width: width(), ..Self::new(colour(&std::io::stdout())) }
    }

    /// The first line.
    pub fn title(&mut self, text: &str) {
        let text = self.bold(&plain(text));
        self.text.push_str(&text);
        self.text.push('\n');
    }

    /// What follows belongs to this.
    pub fn heading(&mut self, text: &str) {
        let text = self.bold(&plain(text));
        self.text.push('\n');
        self.text.push_str(&text);
        self.text.push('\n');
    }

    /// Lines under the heading.
    pub fn line(&mut self, text: &str) {
        self.toned(Tone::Usual, text);
    }

    /// Lines in a tone.
    pub fn toned(&mut self, tone: Tone, text: &str) {
        self.at(1, tone, text);
    }

    /// Lines that belong to the one before.
    pub fn detail(&mut self, tone: Tone, text: &str) {
        self.at(2, tone, text);
    }

    /// Words in front, in a tone, and the text that they are about.
    pub fn marked(&mut self, tone: Tone, mark: &str, width: usize, text: &str) {
        let mark = plain(mark);
        let gap = " ".repeat(width.saturating_sub(mark.chars().count()));
        let mark = tone.paint(&mark, self.colour);
        self.text.push_str(INDENT);
        self.text.push_str(&mark);
        self.text.push_str(&gap);
        self.text.push_str(INDENT);
        let hang = width + 2 * INDENT.len();
        let room = self.width.map(|columns| columns.saturating_sub(hang).max(LEAST_ROOM));
        for (number, line) in plain(text).lines().enumerate() {
            for (part, line) in wrap(line, room, 0).lines().enumerate() {
                if number + part > 0 {
                    self.text.push_str(&" ".repeat(hang));
                }
                self.text.push_str(line);
                self.text.push('\n');
            }
        }
    }

    /// A unified diff.
    pub fn diff(&mut self, diff: &str) {
        for line in diff.lines() {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Faint,
                Some(_) | None => Tone::Usual,
            };
            self.put(2, tone, &plain(line));
        }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prints it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self) -> std::io::Result<()> {
        print(&self.text)
    }

    fn at(&mut self, depth: usize, tone: Tone, text: &str) {
        let indent = depth * INDENT.len();
        let room = self.width.map(|columns| columns.saturating_sub(indent).max(LEAST_ROOM));
        for line in plain(text).lines() {
            for line in wrap(line, room, 0).lines() {
                self.put(depth, tone, line);
            }
            if line.is_empty() {
                self.text.push('\n');
            }
        }
    }

    fn put(&mut self, depth: usize, tone: Tone, line: &str) {
        if !line.is_empty() {
            self.text.push_str(&INDENT.repeat(depth));
            self.text.push_str(&tone.paint(line, self.colour));
        }
        self.text.push('\n');
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Writes to standard output and sees that it arrived.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a value for programs.
///
/// # Errors
/// When it cannot be written.
pub fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(value)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_cannot_steer_the_terminal_and_diffs_are_coloured() {
        let mut page = Page::new(true);
        page.title("x\u{1b}[2J");
        page.marked(Tone::Bad, "deny", 5, "first\nsecond");
        page.diff("@@ -1 +1 @@\n a\n-b\n+c\u{1b}[31m");
        let shown = page.text().replace('\u{1b}', "<ESC>");
        assert_eq!(
            shown,
            "<ESC>[1mx\\u{1b}[2J<ESC>[0m\n  <ESC>[31mdeny<ESC>[0m   first\n         second\n    \
             <ESC>[2m@@ -1 +1 @@<ESC>[0m\n     a\n    <ESC>[31m-b<ESC>[0m\n    \
             <ESC>[32m+c\\u{1b}[31m<ESC>[0m\n"
        );
    }
}
