//! The journal's file: there, writable, and its end as it was written.

use std::fs::OpenOptions;
use std::path::Path;

use super::Finding;
use crate::journal::verify::verify_tail;
use crate::journal::{OpenError, TAIL_ENTRIES, sqlite};

const SUBJECT: &str = "journal";

/// Looks at the file. The service may have it open at the same time.
pub async fn examine(path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let reader = match sqlite::open_read_only(path).await {
        Ok(reader) => reader,
        Err(OpenError::Missing { .. }) => {
            let advice = format!("create it with `orderly init --journal {shown}`");
            return vec![Finding::fail(SUBJECT, format!("there is none at `{shown}`"), advice)];
        }
        Err(error) => return vec![Finding::fail(SUBJECT, error.to_string(), "")],
    };
    let mut findings = vec![match verify_tail(&reader, TAIL_ENTRIES).await {
        Ok(Ok(head)) => {
            let checked = head.seq.min(TAIL_ENTRIES as u64);
            let seen = format!("`{shown}` has {} entries, the last {checked} are sound", head.seq);
            Finding::ok(SUBJECT, seen)
        }
        Ok(Err(bad)) => Finding::fail(
            SUBJECT,
            format!("`{shown}`: {bad}"),
            format!("keep the file as it is; `orderly audit verify {shown}` says more"),
        ),
        Err(failure) => Finding::fail(SUBJECT, format!("`{shown}`: {failure}"), ""),
    }];
    // Opens only; SQLite's locks belong to the process that serves, not to this one.
    if let Err(error) = OpenOptions::new().append(true).open(path) {
        let advice = "the service must be able to write it, and the directory that it is in";
        findings.push(Finding::fail(SUBJECT, format!("`{shown}`: {error}"), advice));
    }
    findings
}
