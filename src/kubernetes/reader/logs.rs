//! Chooses whose last lines to read, and bounds and masks what was read. Pure.

use super::mask;
use crate::domain::facts::{ContainerState, LogExcerpt, Pod};

/// Lines of one log: what fits a screen beside the plan.
pub const LINES: &str = "40";
/// Bytes of one log, asked of the kubelet and enforced here.
pub const BYTES: usize = 16 * 1024;
/// [`BYTES`] as a query parameter.
pub const BYTES_TEXT: &str = "16384";
/// Logs that are read for one workload: pods of one workload fail alike.
pub const EXCERPTS: usize = 3;

/// A log to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which pod.
    pub pod: String,
    /// Which container.
    pub container: String,
    /// Of the run before the present one.
    pub previous: bool,
}

/// Whose logs to read: containers that ended badly, latest end first.
pub fn wanted(pods: &[Pod]) -> Vec<Wanted> {
    let mut found = Vec::new();
    for pod in pods.iter().filter(|pod| !pod.terminating) {
        for container in &pod.containers {
            let Some(end) = container.last_terminated.as_ref() else { continue };
            // An init container that completed has nothing to tell.
            if end.exit_code == 0 && container.restarts == 0 {
                continue;
            }
            // The kubelet's `previous` is the run before the last restart; a container that ended
            // and was not restarted has its log still in the present place.
            let previous = match container.state {
                ContainerState::Terminated(_) => false,
                ContainerState::Running { .. } | ContainerState::Waiting { .. } => true,
            };
            let wanted =
                Wanted { pod: pod.name.clone(), container: container.name.clone(), previous };
            found.push((end.finished, wanted));
        }
    }
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    found.into_iter().map(|(_, wanted)| wanted).take(EXCERPTS).collect()
}

/// What was read, bounded to its end and masked.
pub fn excerpt(wanted: Wanted, text: &str) -> LogExcerpt {
    let printable = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    // Masked before the cut: a secret that is cut in half would not be recognised.
    let whole = mask::text(text);
    let masked = if whole.len() <= BYTES {
        whole
    } else {
        let mut start = whole.len() - BYTES;
        while !whole.is_char_boundary(start) {
            start += 1;
        }
        whole[start..].to_owned()
    };
    LogExcerpt {
        pod: wanted.pod,
        container: wanted.container,
        previous: wanted.previous,
        text: masked.chars().map(printable).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::facts::{Container, Termination};

    fn pod(name: &str, restarts: i64, exit_code: i64, minute: i64, state: ContainerState) -> Pod {
        let finished = jiff::Timestamp::from_second(minute * 60).ok();
        let end =
            Termination { reason: "Error".into(), exit_code, finished, message: String::new() };
        Pod {
            name: name.to_owned(),
            uid: String::new(),
            phase: "Running".to_owned(),
            reason: None,
            ready: false,
            terminating: false,
            created: jiff::Timestamp::UNIX_EPOCH,
            node: None,
            unschedulable: None,
            revision: None,
            containers: vec![Container {
                name: "agent".to_owned(),
                init: false,
                image: String::new(),
                ready: false,
                restarts,
                state,
                last_terminated: Some(end),
                limits: [].into(),
                requests: [].into(),
            }],
        }
    }

    #[test]
    fn the_latest_bad_ends_are_read_and_completions_are_not() {
        let waiting = || ContainerState::Waiting {
            reason: "CrashLoopBackOff".into(),
            message: String::new(),
        };
        let pods = [
            pod("old", 2, 1, 1, waiting()),
            pod("done", 0, 0, 9, ContainerState::Running { since: None }),
            pod("new", 1, 137, 5, waiting()),
        ];
        let names: Vec<_> = wanted(&pods).into_iter().map(|wanted| wanted.pod).collect();
        assert_eq!(names, ["new", "old"]);
    }

    #[test]
    fn an_excerpt_is_the_end_bounded_masked_and_printable() {
        let wanted = Wanted { pod: "p".into(), container: "c".into(), previous: true };
        let text = format!("{}\u{1b}[31mpassword=hunter2\nend", "ä".repeat(BYTES));
        let excerpt = excerpt(wanted, &text);
        assert!(excerpt.text.len() <= BYTES);
        assert!(excerpt.text.ends_with("password=[masked]\nend"), "{}", excerpt.text);
        assert!(!excerpt.text.contains('\u{1b}'));
    }
}
