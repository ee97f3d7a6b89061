//! Foreign text in Slack's own markup: escaped, so that a label `<!channel>` calls nobody and a log
//! line is no link, and cut to the length that Slack takes after escaping.

/// What stands where a text was cut.
const CUT: char = '…';

/// `text` for a `mrkdwn` field, at most `limit` characters long.
pub fn escape(text: &str, limit: usize) -> String {
    fitted(text, limit, |c| match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        // A backtick would open or end code that somebody else began.
        '`' => "ʼ".into(),
        '\n' | '\t' => c.into(),
        c if c.is_control() => ' '.into(),
        c => c.into(),
    })
}

/// The same in one line.
pub fn line(text: &str, limit: usize) -> String {
    escape(&text.split_whitespace().collect::<Vec<_>>().join(" "), limit)
}

/// `text` for a `plain_text` field, which knows no markup: one line, at most `limit` characters.
pub fn plain(text: &str, limit: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    fitted(&text, limit, |c| if c.is_control() { ' '.into() } else { c.into() })
}

/// `text` as a block of code in a `mrkdwn` field, at most `limit` characters long.
pub fn code(text: &str, limit: usize) -> String {
    const FENCES: usize = 8;
    let body = escape(text.trim_end_matches('\n'), limit.saturating_sub(FENCES));
    format!("```\n{body}\n```")
}

/// A long text in parts that each fit a block of code of `limit` characters, cut between lines; at
/// most `parts` of them, and whether something is left out.
pub fn pages(text: &str, limit: usize, parts: usize) -> (Vec<String>, bool) {
    const FENCES: usize = 8;
    let room = limit.saturating_sub(FENCES);
    let mut pages: Vec<String> = Vec::new();
    let mut page = String::new();
    let mut length = 0;
    for line in text.lines() {
        let escaped = escape(line, room.saturating_sub(1));
        let size = escaped.chars().count() + 1;
        if length > 0 && length + size > room {
            pages.push(format!("```\n{page}```"));
            if pages.len() == parts {
                return (pages, true);
            }
            page.clear();
            length = 0;
        }
        page.push_str(&escaped);
        page.push('\n');
        length += size;
    }
    if length > 0 {
        pages.push(format!("```\n{page}```"));
    }
    (pages, false)
}

/// Lines of markup under each other, as many as fit whole.
pub fn joined(lines: &[String], limit: usize) -> String {
    let mut text = String::new();
    let mut length = 0;
    for line in lines {
        let size = line.chars().count() + 1;
        // Room for the mark is kept.
        if length + size + 1 > limit {
            text.push(CUT);
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
        length += size;
    }
    text
}

enum Piece {
    One(char),
    Many(&'static str),
}

impl From<char> for Piece {
    fn from(c: char) -> Self {
        Self::One(c)
    }
}

impl From<&'static str> for Piece {
    fn from(text: &'static str) -> Self {
        Self::Many(text)
    }
}

/// Each character as `shown`, cut so that the whole has at most `limit` characters.
fn fitted(text: &str, limit: usize, shown: impl Fn(char) -> Piece) -> String {
    let mut out = String::new();
    let mut length = 0;
    // Where to cut, should the rest not fit: before this byte there is room for the mark.
    let mut safe = 0;
    for c in text.chars() {
        let before = out.len();
        length += match shown(c) {
            Piece::One(c) => {
                out.push(c);
                1
            }
            Piece::Many(text) => {
                out.push_str(text);
                text.chars().count()
            }
        };
        if length > limit {
            out.truncate(safe.min(before));
            out.push(CUT);
            return out;
        }
        if length < limit {
            safe = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_called_by_a_label() {
        let label = "<!channel> <@U123> <https://evil|ok> & `x`";
        let shown = escape(label, 200);
        assert_eq!(shown, "&lt;!channel&gt; &lt;@U123&gt; &lt;https://evil|ok&gt; &amp; ʼxʼ");
        assert_eq!(line("a\n\u{1b}[2Jb", 20), "a  [2Jb");
        assert_eq!(plain("<!here>\nok", 20), "<!here> ok");
    }

    #[test]
    fn what_is_too_long_is_cut_after_escaping_and_never_inside_an_escape() {
        assert_eq!(escape("<<<", 12), "&lt;&lt;&lt;");
        assert_eq!(escape("<<<", 11), "&lt;&lt;…");
        assert_eq!(escape("<<<", 8), "&lt;…");
        assert_eq!(plain("abcdef", 4), "abc…");
        assert_eq!(plain("abcd", 4), "abcd");
    }

    #[test]
    fn a_long_diff_is_cut_between_its_lines() {
        let text = (0..10).map(|n| format!("line {n}\n")).collect::<String>();
        let (pages, cut) = pages(&text, 30, 10);
        assert!(!cut);
        assert_eq!(pages[0], "```\nline 0\nline 1\nline 2\n```");
        assert!(pages.iter().all(|page| page.chars().count() <= 30), "{pages:?}");
        let (some, cut) = super::pages(&text, 30, 2);
        assert!(cut && some.len() == 2);
    }

    proptest! {
        #[test]
        fn every_text_fits_and_holds_no_markup(text in "\\PC{0,80}[<>&`]{0,5}\\PC{0,80}", limit in 1_usize..120) {
            for shown in [escape(&text, limit), line(&text, limit), plain(&text, limit)] {
                prop_assert!(shown.chars().count() <= limit, "{shown}");
            }
            let shown = escape(&text, limit);
            prop_assert!(!shown.contains(['<', '>', '`']), "{shown}");
        }
    }
}
