//! What an alert costs as alerts, policies, open incidents and the journal grow.
//!
//! Each point is an Orderly of its own. A flood of alerts that no policy answers is taken in and
//! correlated; for the other series fifty alerts open an incident each, which is diagnosed, planned,
//! tried out by the API server and closed as a dry run. Done is when the journal says so. The API
//! server is the sandbox in this process: its time is in the time of an alert, not in the processor time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::child::Child;
use super::history::{A_FEW_OPEN, History};
use super::http::Connection;
use super::load::{Load, Pace, pour};
use super::payload::single;
use super::plot::{Panel, Series, svg};
use super::report::{Table, load_average, median, thousands};
use super::site::{Site, deployments};
use super::tail::Tail;

const FACTORS: [u64; 5] = [1, 10, 100, 1_000, 10_000];
/// What is multiplied by the factors: a series' first point.
const ENTRIES: u64 = 100;
/// Deployments, and alerts of one round: each is for one of them.
const PROBES: u64 = 50;
const ROUNDS: usize = 3;
/// Alerts of a flood, over all its rounds: a single one is repeated until its figure is steady.
const FLOOD_AT_LEAST: u64 = 300;
/// Policies in one file.
const IN_A_FILE: u64 = 100;
/// What the whole part may take: five minutes with what is under way when they are over.
const PART: Duration = Duration::from_secs(280);
/// A round that is not over by then never will be.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "growth";

/// What grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growing {
    Alerts,
    Policies,
    Open,
    Journal,
}

impl Growing {
    const ALL: [Self; 4] = [Self::Alerts, Self::Policies, Self::Open, Self::Journal];

    const fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts at once",
            Self::Policies => "policies",
            Self::Open => "open incidents",
            Self::Journal => "journal entries (× 100)",
        }
    }

    const fn size(self, factor: u64) -> u64 {
        match self {
            Self::Alerts | Self::Policies | Self::Open => factor,
            Self::Journal => factor * ENTRIES,
        }
    }
}

/// One point of a series. Times are of one alert.
struct Point {
    growing: Growing,
    factor: u64,
    took: Duration,
    processor: Duration,
    ready: Duration,
    resident_mib: f64,
}

/// Everything is measured, printed and drawn. With `ORDERLY_BENCH_DOCS` set it goes to `docs/`.
pub fn measure(
    site: &Site,
    runtime: &Runtime,
    history: &History<'_>,
    table: &mut Table,
) -> anyhow::Result<()> {
    let names = (0..PROBES).map(name);
    site.sandbox.apply_yaml(&deployments(NAMESPACE, names))?;
    // Played before the first point, whose time says how long the others may take.
    history.course_entries()?;
    let load_before = load_average();
    let mut points = Vec::new();
    let mut cut = Vec::new();
    let part = Instant::now();
    for growing in Growing::ALL {
        let mut before = (Duration::ZERO, Duration::ZERO);
        for factor in FACTORS {
            // What is made for a point grows with it, and so may the measuring.
            let expected = before.0 * 10 + before.1 * 2;
            let left = PART.saturating_sub(part.elapsed());
            if expected > left {
                let size = thousands(growing.size(factor) as f64);
                let (expected, left) = (expected.as_secs(), left.as_secs());
                let why = format!("expected to take {expected} s, and {left} s are left");
                cut.push(format!("{}: {size} and beyond not measured: {why}", growing.name()));
                break;
            }
            let begun = Instant::now();
            let stage = Stage { site, runtime, history, growing, factor };
            let (orderly, journal) = stage.prepare()?;
            let prepared = begun.elapsed();
            let point = stage.point(&orderly, &journal).with_context(|| {
                let log = std::fs::read_to_string(journal.with_extension("log"));
                let size = growing.size(factor);
                format!("{size} {}; Orderly said: {}", growing.name(), log.unwrap_or_default())
            })?;
            let size = thousands(growing.size(factor) as f64);
            eprintln!("  {size} {}: {}", growing.name(), short(point.took));
            before = (prepared, begun.elapsed() - prepared);
            site.sandbox.clear_audit();
            points.push(point);
        }
    }
    let text = page(&points, &cut, &load_before);
    println!("\n{text}");
    let drawn = draw(&points);
    let folder = publish(&text, &drawn)?;
    table.scale("growth: points measured, and written", points.len().to_string());
    table.scale("  to", folder.display().to_string());
    for cut in cut {
        table.scale("  cut", cut);
    }
    Ok(())
}

/// One point, before it is measured.
struct Stage<'a> {
    site: &'a Site,
    runtime: &'a Runtime,
    history: &'a History<'a>,
    growing: Growing,
    factor: u64,
}

impl Stage<'_> {
    /// An Orderly with the size that is wanted, at rest, and its journal.
    fn prepare(&self) -> anyhow::Result<(Child, PathBuf)> {
        let Self { growing, factor, .. } = *self;
        let size = growing.size(factor);
        let mut policies = vec![probe_policy()];
        let journal = match growing {
            Growing::Alerts => self.site.new_journal(),
            Growing::Policies => {
                policies.extend(other_policies(size));
                self.site.new_journal()
            }
            Growing::Open => self.history.journal(0, size)?.journal,
            Growing::Journal => self.history.journal(size, A_FEW_OPEN)?.journal,
        };
        let name = format!("growth-{}-{factor}", growing as u8);
        let configuration = self.site.configure(&name, &self.site.kubeconfig, &policies)?;
        let orderly = self.site.orderly_with(&configuration, &journal)?;
        orderly.settle();
        Ok((orderly, journal))
    }

    fn point(&self, orderly: &Child, journal: &Path) -> anyhow::Result<Point> {
        let (alerts, rounds) = match self.growing {
            Growing::Alerts => {
                let rounds = (FLOOD_AT_LEAST / self.factor).clamp(ROUNDS as u64, 30);
                (self.factor, rounds as usize)
            }
            Growing::Policies | Growing::Open | Growing::Journal => (PROBES, ROUNDS),
        };
        // The first connections to the API server and the first compilation of the policy are not
        // what grows.
        self.round(orderly, journal, PROBES, Growing::Policies)?;
        let before = orderly.busy();
        let mut times = Vec::new();
        for _ in 0..rounds {
            let took = self.round(orderly, journal, alerts, self.growing)?;
            times.push(took.as_secs_f64() / alerts as f64);
        }
        let processor = orderly.busy().saturating_sub(before);
        let each = u32::try_from(alerts * rounds as u64)?;
        orderly.settle();
        let (growing, factor) = (self.growing, self.factor);
        Ok(Point {
            growing,
            factor,
            took: Duration::from_secs_f64(median(&mut times)),
            processor: processor / each,
            ready: orderly.ready_after,
            resident_mib: orderly.resident().0,
        })
    }

    /// Some alerts, until everything that follows from them has been done.
    fn round(
        &self,
        orderly: &Child,
        journal: &Path,
        alerts: u64,
        growing: Growing,
    ) -> anyhow::Result<Duration> {
        let mut tail = self.runtime.block_on(Tail::at_the_end_of(journal))?;
        let begun = Instant::now();
        match growing {
            Growing::Alerts => {
                let connections = usize::try_from(alerts)?.min(64);
                let (pace, within) = (Pace::Closed, PATIENCE);
                let load = Load { connections, alerts: 1, pace, within, at_most: alerts };
                let outcome = pour(&orderly.address, load)?;
                anyhow::ensure!(outcome.accepted == alerts, "{} refused", outcome.refused);
            }
            Growing::Policies | Growing::Open | Growing::Journal => {
                self.runtime.block_on(probe(&orderly.address, alerts))?;
            }
        }
        self.runtime.block_on(tail.until(PATIENCE, |tail| tail.idle_after(alerts)))?;
        let took = begun.elapsed();
        anyhow::ensure!(
            growing == Growing::Alerts || tail.closed() == alerts,
            "{} of {alerts} alerts became an incident",
            tail.closed()
        );
        Ok(took)
    }
}

/// An alert for each of the first deployments, one after another.
async fn probe(address: &str, alerts: u64) -> anyhow::Result<()> {
    let mut webhooks = Connection::open(address).await?;
    for number in 0..alerts {
        let deployment = name(number);
        let labels = [
            ("alertname", "BenchProbe"),
            ("deployment", deployment.as_str()),
            ("namespace", NAMESPACE),
            ("severity", "critical"),
        ];
        let answer = webhooks.exchange(&single("firing", &labels, Timestamp::now())).await?;
        anyhow::ensure!(answer == 202, "the webhook answered {answer}: {}", webhooks.text());
    }
    Ok(())
}

fn name(number: u64) -> String {
    format!("probe-{number:02}")
}

fn probe_policy() -> String {
    policy("bench-probe", "BenchProbe", "dry-run")
}

/// So many other policies, each for an alert of its own.
fn other_policies(count: u64) -> impl Iterator<Item = String> {
    (0..count.div_ceil(IN_A_FILE)).map(move |file| {
        let numbers = file * IN_A_FILE..count.min((file + 1) * IN_A_FILE);
        let one =
            |number| policy(&format!("team-{number}"), &format!("Team{number}Down"), "approval");
        numbers.map(one).collect::<Vec<_>>().join("---\n")
    })
}

fn policy(name: &str, alertname: &str, mode: &str) -> String {
    format!(
        "apiVersion: orderly.dev/v1alpha1\nkind: RemediationPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
         summary: Something has to be restarted\n  match: ['alertname=\"{alertname}\"']\n  target: \
         {{kind: Deployment, namespaces: [{NAMESPACE}], name: '{{{{ labels.deployment }}}}'}}\n  mode: \
         {mode}\n  causes:\n    - name: otherwise\n      actions: [{{restart: {{}}}}]\n  gates: \
         {{cooldown: 0s, limit: {{actions: 1000, per: 1h}}}}\n  verify: {{within: 1m, rollout: complete, \
         alert: any}}\n"
    )
}

/// The figures as Markdown.
fn page(points: &[Point], cut: &[String], load_before: &str) -> String {
    let mut text = String::from(
        "| what grows | to | an alert, until all is done | processor time of it | resident memory | \
         start to ready |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for point in points {
        writeln!(
            text,
            "| {} | {} | {} | {} | {:.1} MiB | {:.2} s |",
            match point.growing {
                Growing::Journal => "journal entries",
                other => other.name(),
            },
            thousands(point.growing.size(point.factor) as f64),
            short(point.took),
            short(point.processor),
            point.resident_mib,
            point.ready.as_secs_f64(),
        )
        .unwrap();
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let day = Timestamp::now().strftime("%Y-%m-%d");
    let after = load_average();
    writeln!(text, "\n{day}; {cores} cores, load average {load_before} before and {after} after.")
        .unwrap();
    for cut in cut {
        writeln!(text, "{cut}.").unwrap();
    }
    text
}

/// With three digits or so.
fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        small if small < 1_000.0 => format!("{small:.0} µs"),
        large => format!("{:.2} ms", large / 1_000.0),
    }
}

fn draw(points: &[Point]) -> String {
    let panel = |title, of: fn(&Point) -> f64| {
        let series = |growing: Growing| Series {
            name: growing.name(),
            points: points
                .iter()
                .filter(|point| point.growing == growing)
                .map(|point| (point.factor as f64, of(point)))
                .collect(),
        };
        Panel { title, series: Growing::ALL.map(series).into_iter().collect() }
    };
    let panels = [
        panel("an alert, until all is done (ms)", |it| it.took.as_secs_f64() * 1e3),
        panel("processor time of an alert (ms)", |it| it.processor.as_secs_f64() * 1e3),
        panel("resident memory (MiB)", |it| it.resident_mib),
    ];
    svg("What an alert costs as things grow", "times as many", &panels)
}

const BEGIN: &str = "<!-- growth: written by the benchmark -->\n";
const END: &str = "<!-- end -->\n";

/// Into `docs/` when that is wanted, else beside the build; gives the folder.
fn publish(text: &str, drawn: &str) -> anyhow::Result<PathBuf> {
    if std::env::var_os("ORDERLY_BENCH_DOCS").is_none() {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(folder.join("growth.svg"), drawn)?;
        std::fs::write(folder.join("growth.md"), text)?;
        return Ok(folder);
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::write(folder.join("growth.svg"), drawn)?;
    let path = folder.join("PERFORMANCE.md");
    let page = std::fs::read_to_string(&path)?;
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head, tail))
    });
    let Some((head, tail)) = parts else {
        anyhow::bail!("{} has no place for the table of growth", path.display());
    };
    std::fs::write(&path, format!("{head}{BEGIN}{text}{END}{tail}"))?;
    Ok(folder)
}
