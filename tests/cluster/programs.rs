//! Prometheus and Alertmanager as Debian packages them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program beside Orderly, ended with the test.
pub struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts it there; what it says goes to a file beside.
pub fn program(name: &str, directory: &Path, arguments: &[String]) -> Program {
    let log = std::fs::File::create(directory.join(format!("{name}-{}.log", free_port()))).unwrap();
    let child = Command::new(name)
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Program(child.unwrap_or_else(|error| panic!("{name} (from Debian's packages): {error}")))
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
