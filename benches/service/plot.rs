//! A plot with logarithmic axes as SVG: panels side by side, a line for each series.
//!
//! Written by hand, because it is a hundred lines and its text has to be readable on light and on
//! dark pages: the colours follow what the reader's browser prefers.

use std::fmt::Write as _;

/// One line: its name and its points.
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// One pair of axes.
pub struct Panel {
    pub title: &'static str,
    pub series: Vec<Series>,
}

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
/// Around the axes of a panel.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const ABOVE: f64 = 40.0;
const BELOW: f64 = 44.0;
const LEGEND: f64 = 30.0;

/// Of Okabe and Ito's palette those that stand out from white and from black, and a grey that does,
/// for readers' programs that do not say which they prefer.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#6e7781}\
.title{font-weight:600}\
.small{font-size:10px}\
.grid{stroke:#8c959f;stroke-opacity:.35;stroke-width:1}\
.axis{stroke:#57606a;stroke-width:1}\
.line{fill:none;stroke-width:2}\
.s0{stroke:#0072b2}.d0{fill:#0072b2}\
.s1{stroke:#d55e00}.d1{fill:#d55e00}\
.s2{stroke:#009e73}.d2{fill:#009e73}\
.s3{stroke:#b3689b}.d3{fill:#b3689b}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#9198a1}\
.s0{stroke:#56b4e9}.d0{fill:#56b4e9}.s3{stroke:#cc79a7}.d3{fill:#cc79a7}}";

/// The panels as one document; `across` is what the horizontal axes say.
pub fn svg(what: &str, across: &str, panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let height = HEIGHT + LEGEND;
    let mut out = String::new();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>",
        escaped(what)
    )
    .unwrap();
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut out, panel, WIDTH * place as f64, across);
    }
    legend(&mut out, panels);
    out + "</svg>\n"
}

/// A logarithmic axis: whole powers of ten at both ends.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let exponents: Vec<f64> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let low = exponents.iter().copied().fold(f64::INFINITY, f64::min);
        let high = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match low.is_finite() {
            true => (low.floor() as i32, high.ceil() as i32),
            false => (0, 1),
        };
        Self { low, high: high.max(low + 1), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, f64)> {
        (self.low..=self.high).map(|exponent| {
            let value = 10_f64.powi(exponent);
            (value, self.place(value))
        })
    }
}

fn draw(out: &mut String, panel: &Panel, x: f64, across: &str) {
    let all = || panel.series.iter().flat_map(|series| &series.points);
    let bottom = HEIGHT - BELOW;
    let wide = Axis::over(all().map(|point| point.0), x + LEFT, x + WIDTH - RIGHT);
    let high = Axis::over(all().map(|point| point.1), bottom, ABOVE);
    for (value, at) in wide.ticks() {
        line(out, "grid", (at, ABOVE), (at, bottom));
        text(out, "small", "middle", (at, bottom + 14.0), &number(value));
    }
    for (value, at) in high.ticks() {
        line(out, "grid", (wide.from, at), (wide.to, at));
        text(out, "small", "end", (wide.from - 5.0, at + 3.5), &number(value));
    }
    line(out, "axis", (wide.from, bottom), (wide.to, bottom));
    line(out, "axis", (wide.from, ABOVE), (wide.from, bottom));
    text(out, "title", "start", (x + 8.0, 20.0), panel.title);
    text(out, "small", "middle", ((wide.from + wide.to) / 2.0, bottom + 32.0), across);
    for (place, series) in panel.series.iter().enumerate() {
        let points: Vec<_> =
            series.points.iter().map(|(x, y)| (wide.place(*x), high.place(*y))).collect();
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(out, "<polyline class=\"line s{place}\" points=\"{}\"/>", path.join(" ")).unwrap();
        for (x, y) in points {
            writeln!(out, "<circle class=\"d{place}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>")
                .unwrap();
        }
    }
}

/// The names, once for all panels: they have the same series.
fn legend(out: &mut String, panels: &[Panel]) {
    let Some(panel) = panels.first() else { return };
    let at = HEIGHT + LEGEND / 2.0;
    let each = WIDTH * panels.len() as f64 / panel.series.len().max(1) as f64;
    for (place, series) in panel.series.iter().enumerate() {
        let x = each * place as f64 + 16.0;
        line(out, &format!("line s{place}"), (x, at), (x + 24.0, at));
        text(out, "", "start", (x + 30.0, at + 4.0), series.name);
    }
}

fn line(out: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    )
    .unwrap();
}

fn text(out: &mut String, class: &str, anchor: &str, (x, y): (f64, f64), said: &str) {
    let said = escaped(said);
    writeln!(
        out,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{said}</text>"
    )
    .unwrap();
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// `10,000`, `1`, `0.01`.
fn number(value: f64) -> String {
    if value >= 1.0 { super::report::thousands(value) } else { format!("{value}") }
}
