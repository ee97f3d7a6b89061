//! The table: what was measured, how much it was, what it should be.

use std::fmt;

/// Whether a figure is what it should be.
#[derive(Clone, Copy)]
pub enum Verdict {
    Met,
    Missed,
    /// There is no target: for scale.
    None,
}

impl Verdict {
    pub fn when(met: bool) -> Self {
        if met { Self::Met } else { Self::Missed }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::None => "",
        })
    }
}

struct Row {
    what: String,
    figure: String,
    target: String,
    verdict: Verdict,
}

/// The figures so far.
pub struct Table {
    rows: Vec<Row>,
    load_before: String,
}

impl Table {
    pub fn begin() -> Self {
        Self { rows: Vec::new(), load_before: load_average() }
    }

    /// A figure with a target.
    pub fn row(&mut self, what: &str, figure: String, target: &str, verdict: Verdict) {
        eprintln!("  {what}: {figure}");
        let (what, target) = (what.to_owned(), target.to_owned());
        self.rows.push(Row { what, figure, target, verdict });
    }

    /// A figure for scale.
    pub fn scale(&mut self, what: &str, figure: String) {
        self.row(what, figure, "", Verdict::None);
    }

    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!();
        println!(
            "{cores} cores, load average {} before and {} after",
            self.load_before,
            load_average()
        );
        let width = |of: fn(&Row) -> &str| {
            self.rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
        };
        let (what, figure) = (width(|row| &row.what), width(|row| &row.figure));
        let target = width(|row| &row.target);
        for row in &self.rows {
            let line = format!(
                "{:<what$}  {:>figure$}  {:<target$}  {}",
                row.what, row.figure, row.target, row.verdict
            );
            println!("{}", line.trim_end());
        }
    }
}

pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// `12345` as `12,345`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The middle of the values; of an even number of them the upper one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which `share` of the sorted values are.
pub fn quantile(sorted: &[u32], share: f64) -> f64 {
    let place = ((sorted.len() as f64) * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |it| f64::from(*it))
}
