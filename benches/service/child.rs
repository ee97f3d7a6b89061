//! A server under test: a process with an address, whose memory and processor time are its own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::floor;
use super::http::{self, Connection};

/// A server that is not ready by then never will be: some start on a million events.
const PATIENCE: Duration = Duration::from_secs(180);
/// A server that has not come to rest by then is measured as it is.
const RESTLESS: Duration = Duration::from_secs(30);
/// How often it is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// Below so much processor time in a look, a server counts as quiet.
const QUIET: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Clock ticks of `/proc/<pid>/stat` are 10 ms on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// A running server; killed when dropped.
pub struct Child {
    process: std::process::Child,
    /// Where webhooks go.
    pub address: String,
    /// From the start of the process to its readiness.
    pub ready_after: Duration,
}

impl Child {
    /// One of the floors.
    pub fn floor(kind: &str, folder: &Path) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args([floor::WORD, kind])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().to_owned();
        Ok(Self { process, address, ready_after: begun.elapsed() })
    }

    /// Orderly's `serve` with this configuration, once it says that it is ready.
    pub fn orderly(
        binary: &Path,
        configuration: &Path,
        (address, admin): (String, String),
        journal: &Path,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(journal.with_extension("log"))?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--init").arg("--config").arg(configuration);
        command.args(["--listen", &address, "--admin-listen", &admin]);
        command.arg("--journal").arg(journal);
        command.stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
        let begun = Instant::now();
        let process =
            command.spawn().with_context(|| format!("cannot start `{}`", binary.display()))?;
        let mut child = Self { process, address, ready_after: Duration::ZERO };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        while !runtime.block_on(ready(&admin)) {
            let log = journal.with_extension("log");
            if let Some(status) = child.process.try_wait()? {
                anyhow::bail!("orderly ended with {status}; see {}", log.display());
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "not ready; see {}", log.display());
            std::thread::sleep(ASK_EVERY);
        }
        child.ready_after = begun.elapsed();
        Ok(child)
    }

    /// Resident memory in MiB: now, and the most there ever was.
    pub fn resident(&self) -> (f64, f64) {
        let path = format!("/proc/{}/status", self.process.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            kib.map_or(f64::NAN, |kib| kib / 1024.0)
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Processor time so far.
    pub fn processor(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The fields after the name in parentheses; user and system time are the 14th and 15th.
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        TICK * ticks
    }

    /// The same by the scheduler's own count, which knows less than a tick; without the threads
    /// that have ended.
    pub fn busy(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let nanoseconds = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Waits until it has nothing left to do; gives how long that took.
    pub fn settle(&self) -> Duration {
        let begun = Instant::now();
        loop {
            let before = self.processor();
            std::thread::sleep(LOOK_EVERY);
            if self.processor().saturating_sub(before) <= QUIET || begun.elapsed() > RESTLESS {
                return begun.elapsed().saturating_sub(LOOK_EVERY);
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

async fn ready(admin: &str) -> bool {
    let Ok(mut connection) = Connection::open(admin).await else { return false };
    matches!(connection.exchange(&http::get("/readyz")).await, Ok(200))
}

/// An address that was free a moment ago.
pub fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
