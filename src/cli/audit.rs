//! `orderly audit`: reads the journal, from the service or from a file; `orderly audit verify` proves
//! that nobody changed it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::client::{Client, ServerFlags};
use super::page::{Page, print, print_json};
use super::table::{Column, Table, Tone};
use super::{Format, incidents};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::event::Outcome;
use crate::domain::explain::clock;
use crate::domain::id::IncidentId;
use crate::domain::period::Period;
use crate::http::api::{AuditEntry, AuditFilter};
use crate::journal::{self, Anchor, Anchored, Hash, VerifyReport, sqlite};
use crate::service::audit_page;
use crate::terminal;

/// Rows that a table is given at once: their columns are as wide as the widest of these.
const ROWS: usize = 500;

/// Read what was decided and done, or verify that nobody changed the record.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// Which entries.
    #[command(flatten)]
    pub read: ReadArgs,
}

/// What else can be done with the journal.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Check every entry of a journal's file against the hash chain, and name the first bad one.
    Verify(VerifyArgs),
}

/// Which entries, and how they are printed.
#[derive(Args, Debug)]
pub struct ReadArgs {
    /// From then on: how long ago (`90s`, `1h`, `2d`), or a time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<Timestamp>,
    /// Only of incidents that this policy answers
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Only of incidents whose target contains this
    #[arg(long, value_name = "TEXT")]
    pub target: Option<String>,
    /// Only of incidents that ended so
    #[arg(long, value_parser = outcome)]
    pub outcome: Option<Outcome>,
    /// Only of this incident; the beginning of its id suffices
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// How many at most [default: all]
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = EntryFormat::Table)]
    pub format: EntryFormat,
    /// Read this journal's file instead of asking the service
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// How entries are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EntryFormat {
    /// For people.
    Table,
    /// For programs: one object a line, with the whole event.
    Jsonl,
}

/// Verify a journal.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The journal's file
    #[arg(env = "ORDERLY_JOURNAL", default_value = "orderly.db")]
    pub file: PathBuf,
    /// An entry's number and hash that were noted elsewhere: finds a journal that was cut off or
    /// written anew
    #[arg(long, value_name = "SEQ:HASH", value_parser = anchor)]
    pub anchor: Option<Anchor>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago: Period = text.parse().map_err(|_| {
        "write how long ago, such as `90s`, `1h` or `2d`, or a time such as \
         `2026-01-31T09:00:00Z`"
            .to_owned()
    })?;
    SystemClock.now().saturating_sub(ago.get()).map_err(|error| error.to_string())
}

fn outcome(text: &str) -> Result<Outcome, String> {
    Outcome::ALL.into_iter().find(|outcome| outcome.name() == text).ok_or_else(|| {
        let names: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        format!("write one of: {}", names.join(", "))
    })
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let parsed = text.split_once(':').and_then(|(seq, hash)| {
        Some(Anchor { seq: seq.parse().ok()?, hash: Hash::from_hex(hash).ok()? })
    });
    parsed.ok_or_else(|| {
        "write the number of an entry, a colon, and its hash of 64 hex digits, as \
         `orderly audit verify` prints them"
            .to_owned()
    })
}

/// Reads or verifies.
///
/// # Errors
/// When the journal cannot be read, or the service does not answer.
pub fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => super::block_on(read(&args.read)),
        Some(AuditCommand::Verify(args)) => super::block_on(verify(args)),
    }
}

async fn read(args: &ReadArgs) -> anyhow::Result<ExitCode> {
    let mut filter = AuditFilter {
        since: args.since,
        until: None,
        incident: None,
        policy: args.policy.clone(),
        target: args.target.clone(),
        outcome: args.outcome,
        limit: args.limit,
    };
    let mut printer = Printer::new(args.format);
    match &args.journal {
        Some(path) => {
            let whole = |id: &String| id.parse::<IncidentId>();
            filter.incident = args.incident.as_ref().map(whole).transpose()?;
            from_file(path, &filter, &mut printer).await?;
        }
        None => {
            let client = Client::new(&args.server)?;
            if let Some(id) = &args.incident {
                filter.incident = Some(incidents::find(&client, id).await?);
            }
            client.audit(&filter, |entry| printer.entry(&entry)).await?;
        }
    }
    printer.end()?;
    Ok(ExitCode::SUCCESS)
}

async fn from_file(path: &Path, filter: &AuditFilter, printer: &mut Printer) -> anyhow::Result<()> {
    let journal = sqlite::open_read_only(path).await?;
    let mut left = filter.limit.unwrap_or(usize::MAX);
    let mut after = 0;
    while left > 0 {
        let page = audit_page(&journal, filter, after).await.map_err(|error| anyhow!("{error}"))?;
        for entry in page.entries.iter().take(left) {
            printer.entry(entry)?;
        }
        left = left.saturating_sub(page.entries.len());
        match page.next {
            Some(next) if next > after => after = next,
            Some(_) | None => break,
        }
    }
    Ok(())
}

/// Prints entries as they come.
struct Printer {
    format: EntryFormat,
    table: Table,
    rows: usize,
    printed: bool,
}

impl Printer {
    fn new(format: EntryFormat) -> Self {
        Self { format, table: Self::empty(), rows: 0, printed: false }
    }

    fn empty() -> Table {
        Table::new([
            ("ENTRY", Column::Whole),
            ("TIME (UTC)", Column::Whole),
            ("INCIDENT", Column::Whole),
            ("POLICY", Column::Shrinks),
            ("EVENT", Column::Whole),
            ("WHAT", Column::Shrinks),
        ])
    }

    fn entry(&mut self, entry: &AuditEntry) -> anyhow::Result<()> {
        match self.format {
            EntryFormat::Jsonl => {
                let line = serde_json::to_string(entry)?;
                writeln!(std::io::stdout().lock(), "{line}")?;
            }
            EntryFormat::Table => {
                let incident = entry.stream.strip_prefix("incident/").unwrap_or_default();
                self.table.row([
                    (entry.seq.to_string(), Tone::Faint),
                    (entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(), Tone::Usual),
                    (incident.to_owned(), Tone::Usual),
                    (entry.policy.clone().unwrap_or_default(), Tone::Usual),
                    (entry.kind.clone(), Tone::Usual),
                    (entry.line.clone(), Tone::Usual),
                ]);
                self.rows += 1;
                if self.rows == ROWS {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let table = std::mem::replace(&mut self.table, Self::empty());
        self.rows = 0;
        self.printed = true;
        print(&table.render(terminal::width(), terminal::colour(&std::io::stdout())))
    }

    fn end(&mut self) -> std::io::Result<()> {
        match self.format {
            EntryFormat::Jsonl => std::io::stdout().lock().flush(),
            EntryFormat::Table if self.rows > 0 => self.flush(),
            EntryFormat::Table if self.printed => Ok(()),
            EntryFormat::Table => print("no entries\n"),
        }
    }
}

async fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let reader = sqlite::open_read_only(&args.file).await?;
    let report = journal::verify(&reader, args.anchor).await;
    let report = report.with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let last = match report.entries {
        0 => None,
        seq => reader.read(seq, 1).await.ok().and_then(|it| it.first().map(|last| last.time)),
    };
    match args.format {
        Format::Json => print_json(&in_json(&report))?,
        Format::Text => in_words(args, &report, last).print()?,
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn anchored(report: &VerifyReport) -> (&'static str, Tone) {
    match report.anchored {
        Anchored::NotAsked => {
            ("none was given: an end that was cut off would not be noticed", Tone::Faint)
        }
        Anchored::Holds => ("the entry is there, with that hash", Tone::Good),
        Anchored::Differs { .. } => {
            ("the entry has another hash: the journal was written anew before or at it", Tone::Bad)
        }
        Anchored::NotReached => {
            ("the entry is not there: the journal was cut off, or is bad before it", Tone::Bad)
        }
    }
}

fn in_words(args: &VerifyArgs, report: &VerifyReport, last: Option<Timestamp>) -> Page {
    let mut page = Page::for_stdout();
    let file = args.file.display();
    match &report.first_bad {
        None if report.is_sound() => page.title(&format!("`{file}` is sound")),
        None => page.title(&format!("`{file}` is NOT sound")),
        Some(bad) => page.title(&format!("`{file}` is NOT sound: {bad}")),
    }
    let until = last.map_or_else(String::new, |at| format!(", until {}", clock(at)));
    page.line(&format!("sound up to entry {}{until}", report.entries));
    page.line(&format!("to keep elsewhere: --anchor {}:{}", report.head.seq, report.head.hash));
    for damage in &report.damage {
        page.toned(Tone::Bad, &format!("damage: {damage}"));
    }
    let (anchor, tone) = anchored(report);
    page.toned(tone, &format!("anchor: {anchor}"));
    if !report.is_sound() {
        page.line("keep this file as it is, and restore the last good copy beside it");
    }
    page
}

fn in_json(report: &VerifyReport) -> serde_json::Value {
    let bad = report.first_bad.as_ref();
    json!({
        "sound": report.is_sound(),
        "entries": report.entries,
        "head": {"seq": report.head.seq, "hash": report.head.hash.to_string()},
        "firstBad": bad.map(|bad| json!({"seq": bad.seq, "flaw": bad.flaw.to_string()})),
        "anchor": match report.anchored {
            Anchored::NotAsked => "not-asked",
            Anchored::Holds => "holds",
            Anchored::Differs { .. } => "differs",
            Anchored::NotReached => "not-reached",
        },
        "damage": report.damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_say_what_they_want() {
        assert_eq!(outcome("not-fixed"), Ok(Outcome::NotFixed));
        assert!(outcome("repaired").is_err_and(|why| why.contains("fixed, recovered")));
        assert_eq!(since("1970-01-01T00:00:01Z").map(|at| at.as_second()), Ok(1));
        assert!(since("yesterday").is_err_and(|why| why.contains("`1h`")));
        let hash = "ab".repeat(32);
        assert_eq!(anchor(&format!("7:{hash}")).map(|anchor| anchor.seq), Ok(7));
        assert!(anchor("7").is_err() && anchor("x:ab").is_err());
    }
}
