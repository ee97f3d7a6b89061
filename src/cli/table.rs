//! Tables that fit the terminal: the columns that may shrink do, the widest first, and a text that
//! is cut says so with `…`. Without a terminal nothing is cut, so that what is piped is whole.

use crate::terminal::plain;

/// Between two columns.
const GAP: &str = "  ";
/// A column that shrinks keeps this much.
const LEAST_COLUMN: usize = 8;

/// Whether a column may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// An id, a time, a number: useless when cut.
    Whole,
    /// A sentence, a name: cut at the end when there is no room.
    Shrinks,
}

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As everything.
    #[default]
    Usual,
    /// Well.
    Good,
    /// Somebody should look.
    Attention,
    /// Not well.
    Bad,
    /// Of less interest.
    Faint,
}

impl Tone {
    /// `text` in this tone.
    pub fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Usual => return text.to_owned(),
            Self::Good => "32",
            Self::Attention => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        };
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Column)>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// With these columns.
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Column)>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; cells from outside are made harmless here. Missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let cells = cells.into_iter().map(|(text, tone)| {
            let line: Vec<_> = plain(&text).split_whitespace().map(str::to_owned).collect();
            (line.join(" "), tone)
        });
        self.rows.push(cells.take(self.columns.len()).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As text, within `width` columns when given.
    pub fn render(&self, width: Option<usize>, colour: bool) -> String {
        let widths = self.widths(width);
        let head = self.columns.iter().map(|(name, _)| (*name, Tone::Faint)).collect();
        let rows = self
            .rows
            .iter()
            .map(|row| row.iter().map(|(text, tone)| (text.as_str(), *tone)).collect::<Vec<_>>());
        std::iter::once(head).chain(rows).map(|row| line(&row, &widths, colour)).collect()
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let cell = |index: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(index));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0)
        };
        let columns = self.columns.iter().enumerate();
        let mut widths: Vec<_> =
            columns.map(|(index, (name, _))| cell(index).max(name.chars().count())).collect();
        let Some(room) = width else { return widths };
        let gaps = GAP.len() * self.columns.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        while excess > 0 {
            let shrinking = self.columns.iter().enumerate().filter(|(index, (name, column))| {
                *column == Column::Shrinks
                    && widths[*index] > LEAST_COLUMN.max(name.chars().count())
            });
            let Some((widest, _)) = shrinking.max_by_key(|(index, _)| widths[*index]) else {
                break;
            };
            widths[widest] -= 1;
            excess -= 1;
        }
        widths
    }
}

fn line(row: &[(&str, Tone)], widths: &[usize], colour: bool) -> String {
    let mut line = String::new();
    let mut pending = 0;
    for (index, (width, (text, tone))) in widths.iter().zip(row).enumerate() {
        if index > 0 {
            pending += GAP.len();
        }
        let length = text.chars().count();
        let shown: String = if length > *width {
            text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        } else {
            (*text).to_owned()
        };
        if !shown.is_empty() {
            // Blanks are written only before something, so that no line ends with them.
            line.extend(std::iter::repeat_n(' ', pending));
            pending = 0;
            line.push_str(&tone.paint(&shown, colour));
        }
        pending += width - shown.chars().count();
    }
    line.push('\n');
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            ("ID", Column::Whole),
            ("TARGET", Column::Shrinks),
            ("STANDING", Column::Shrinks),
        ]);
        let long = "waits for 1 approval until 09:30, two people were asked";
        for (id, target, standing) in [
            ("0123456789ab", "production-agents/Deployment/checkout", long),
            ("ba9876543210", "x\u{1b}[2J", ""),
            ("cccccccccccc", "", "fixed\nand verified"),
        ] {
            table.row([
                (id.to_owned(), Tone::Usual),
                (target.to_owned(), Tone::Usual),
                (standing.to_owned(), Tone::Good),
            ]);
        }
        table
    }

    #[test]
    fn a_table_fits_and_without_a_terminal_it_is_whole() {
        for width in [40, 60, 80] {
            let text = table().render(Some(width), false);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.contains("0123456789ab") && text.contains('…'), "{text}");
        }
        insta::assert_snapshot!(
            table().render(Some(60), false) + "\n" + &table().render(None, false)
        );
    }

    #[test]
    fn colour_is_only_there_when_wanted() {
        assert!(!table().render(None, false).contains('\u{1b}'));
        assert!(table().render(None, true).contains("\u{1b}[32mfixed and verified\u{1b}[0m"));
    }
}
