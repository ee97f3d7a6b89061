//! What two tellings of a scenario have in common when nothing is wrong, although controllers take
//! their time and names are given by chance.
//!
//! This is all that is left out of the comparison:
//! - names that a controller, the API server or Alertmanager makes up: pods, silences;
//! - how far a rollout, or the pods that must be stable, have come, where a resolution criterion waits
//!   for them;
//! - of looks at resolution criteria one after the other, all but the last: how many there are depends
//!   on how soon the controllers are done.

use regex::Regex;

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// A transcript without what may differ.
pub fn comparable(transcript: &str) -> String {
    let pods = pattern(r"\b([a-z-]+)-[a-z0-9]{8,10}-[a-z0-9]{5}\b");
    let silences = pattern(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b");
    let progress = pattern(r"\b(rollout|stable) does not hold: [^;]*");
    let text = silences.replace_all(transcript, "<silence>");
    let text = pods.replace_all(&text, "$1-<pod>");
    let text = progress.replace_all(&text, "$1 does not hold");

    // `TIME    [INCIDENT] CRITERION holds: WHY; CRITERION does not hold: WHY`
    let look = pattern(r"^ *\S+    (\[\w+\]) \w+ (holds|does not hold)\b");
    let whose = |line: &str| look.captures(line).map(|found| found[1].to_owned());
    let lines: Vec<_> = text.lines().collect();
    let mut kept = String::new();
    for (number, line) in lines.iter().enumerate() {
        let next = lines.get(number + 1).and_then(|line| whose(line));
        if whose(line).is_none_or(|incident| next != Some(incident)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn only_progress_and_chance_are_left_out() {
    let told = "   0s    [a] step 1 done: stored\n   0s    [a] rollout does not hold: waits; alert does \
                not hold: 1 alert still fires\n   9s    [a] rollout holds: it is complete; alert does \
                not hold: 1 alert still fires\n  10s  > somebody looks at web-5d4f8c7b9-x2x9z\n  15s    \
                [a] rollout does not hold: 1 of 2; alert holds: over\n  20s    [a] fixed: it is complete\n";
    assert_eq!(
        comparable(told),
        "   0s    [a] step 1 done: stored\n   9s    [a] rollout holds: it is complete; alert does not \
         hold: 1 alert still fires\n  10s  > somebody looks at web-<pod>\n  15s    [a] rollout does not \
         hold; alert holds: over\n  20s    [a] fixed: it is complete\n"
    );
}
