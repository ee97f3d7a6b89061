//! `orderly serve` as a process, with what it wrote to standard error.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "two suites use it, and not all of it both")]
#![allow(clippy::disallowed_methods, reason = "another process goes by the real time")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, StatusCode};

/// How long the process may take for anything, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with what it wrote to standard error.
pub struct Serving {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub api: String,
    pub admin: String,
    /// How long it may take for anything.
    pub patience: Duration,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.child.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Serving {
    /// Starts `serve` there, with `orderly.yaml` as its configuration.
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orderly"));
        Self::start_within(directory, command.env_clear(), arguments)
    }

    /// The same by a command of which the program is the last word: with other circumstances around
    /// it. It must become the program, not start it.
    pub fn start_within(directory: &Path, command: &mut Command, arguments: &[&str]) -> Self {
        let (api, admin) = (free_port(), free_port());
        let mut child = command
            .current_dir(directory)
            .args(["serve", "--config", "orderly.yaml"])
            .args(["--listen", &format!("127.0.0.1:{api}")])
            .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let (api, admin) = (format!("http://127.0.0.1:{api}"), format!("http://127.0.0.1:{admin}"));
        Self { child, log, api, admin, patience: PATIENCE }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Looks again and again until something is found.
    pub async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        let end = std::time::Instant::now() + self.patience;
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            let late = std::time::Instant::now() > end;
            assert!(ended.is_none() && !late, "no {what}: {ended:?}\n{}", self.log().join("\n"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn ready(&mut self) {
        let _already = rustls::crypto::ring::default_provider().install_default();
        self.until("readiness", async |this: &Self| {
            let answer = Client::new().get(format!("{}/readyz", this.admin)).send().await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(std::time::Instant::now() < end, "it goes on:\n{}", self.log().join("\n"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills it, as the kernel does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end in good order.
    pub fn terminate(&self) {
        let sent =
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}
