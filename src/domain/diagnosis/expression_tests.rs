//! Expressions over a sample of facts: what holds, what is unknown and why, what is refused.

use proptest::prelude::*;

use super::super::sample;
use super::*;
use crate::domain::facts::{Fact, Facts};

fn verdict_on(facts: &Facts, source: &str) -> Verdict {
    let expression = Expression::compile(source).expect(source);
    expression.evaluate(&View::new(&sample::alert(), facts, sample::NOW))
}

fn verdict(source: &str) -> Verdict {
    verdict_on(&sample::facts(), source)
}

fn why(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unknown { why } => why,
        Verdict::Holds | Verdict::DoesNotHold => panic!("{verdict:?}"),
    }
}

#[test]
fn conditions_of_the_runbooks() {
    let holds = [
        "pods.exists(p, p.containers.exists(c, c.lastTerminated.reason == \"OOMKilled\"))",
        "pods.exists(p, p.containers.exists(c, c.lastTerminated.exitCode == 137))",
        "pods.all(p, p.containers.all(c, c.terminated.exitCode == -1 && !has(c.terminated.age)))",
        "rollout.age < duration(\"30m\") && rollout.state == \"complete\"",
        "now - alert.startsAt >= duration(\"5m\")",
        "queries.errorRate > 0.05 && has(queries.errorRate) && !has(queries.nothing)",
        "queries[\"errorRate\"] == 0.12",
        "logs.exists(l, l.previous && l.text.matches(\"(?i)rate.?limit\"))",
        "quantity(target.containers[0].limits.memory) < quantity(\"1Gi\")",
        "quantity(\"1Gi\") == 1073741824.0 && quantity(\"1Gi\") == quantity(\"1024Mi\")",
        "labels.?team.orValue(\"none\") == \"none\" && labels.severity == \"critical\"",
        "target.replicas.desired + 1 == 4 && pods.size() == 1 && size(pods) == 1",
        "revisions.exists(r, !r.current && r.health == \"served\" && r.servedFor > duration(\"24h\"))",
        "autoscaler == null && verticalAutoscaler == null && owners == []",
        "events.exists(e, e.reason == \"BackOff\" && e.count > 3)",
        "pods.map(p, p.name).exists(n, n.startsWith(\"support\"))",
        "related.exists(r, r.name == \"postgres\" && r.replicas.ready < r.replicas.desired)",
        "true || pods[7].ready",
    ];
    for source in holds {
        assert_eq!(verdict(source), Verdict::Holds, "{source}");
    }
    assert_eq!(verdict("target.paused"), Verdict::DoesNotHold);
}

#[test]
fn whatever_goes_wrong_is_unknown_and_says_why() {
    let cases = [
        ("pods[7].ready", "the list is shorter than that"),
        ("target.replicas.desired / 0 == 1", "division by zero"),
        ("target.name", "the expression gives a string, not true or false"),
        ("nothing == 1", "there is no `nothing`"),
        ("labels.team == \"x\"", "`team` is missing: ask with `has()` before reading it"),
        ("target.name > 3", "found no matching overload for `_>_`"),
        ("quantity(target.name) > 1.0", "`quantity` failed: `support-agent-deployment` is not"),
        ("9223372036854775807 + 1 > 0", "a number is too large"),
        ("autoscaler.max > 3", "found no matching overload"),
    ];
    for (source, text) in cases {
        let why = why(verdict(source));
        assert!(why.contains(text), "{source}: {why}");
    }
}

#[test]
fn an_unknown_fact_is_never_an_absent_one() {
    let mut facts = sample::facts();
    facts.targets[0].pods = sample::unknown("pods: 403 Forbidden");
    facts.queries.insert("broken".to_owned(), sample::unknown("Prometheus: timed out"));
    let unknown = [
        "pods.exists(p, !p.ready)",
        "pods == []",
        "pods.size() == 0",
        "!pods.exists(p, !p.ready)",
        "queries.broken > 1.0",
        "has(queries.broken)",
        "!has(queries.broken)",
        "queries.?broken.orValue(0.0) == 0.0",
        "\"broken\" in queries",
        "queries == {}",
        "queries.size() == 1",
        "queries.broken > 1.0 || queries.errorRate > 1.0",
    ];
    for source in unknown {
        let why = why(verdict_on(&facts, source));
        assert!(why.contains("403 Forbidden") || why.contains("timed out"), "{source}: {why}");
    }
    // What is known decides where it can.
    let known = "queries.broken > 1.0 || queries.errorRate > 0.05";
    assert_eq!(verdict_on(&facts, known), Verdict::Holds);
    assert_eq!(verdict_on(&facts, "queries.errorRate > 0.05"), Verdict::Holds);
    let rollout = "pods.exists(p, p.ready) || rollout.age < duration('30m')";
    assert_eq!(verdict_on(&facts, rollout), Verdict::Holds);
}

#[test]
fn several_workloads_are_joined_or_unknown() {
    let mut facts = sample::facts();
    facts.targets.push(facts.targets[0].clone());
    assert_eq!(verdict_on(&facts, "pods.size() == 2 && targets.size() == 2"), Verdict::Holds);
    let text = "`rollout` is unknown: the policy's selector found 2 workloads; use `targets`";
    assert_eq!(why(verdict_on(&facts, "rollout.state == 'complete'")), text);
    let each = "targets.all(t, t.rollout.state == 'complete')";
    assert_eq!(verdict_on(&facts, each), Verdict::Holds);
    facts.targets[1].events = sample::unknown("no");
    assert_eq!(why(verdict_on(&facts, "events == []")), "`events` is unknown: no");
    facts.targets.clear();
    assert_eq!(
        why(verdict_on(&facts, "pods == []")),
        "`pods` is unknown: the policy's target was not found"
    );
}

#[test]
fn absent_is_empty() {
    let mut facts = sample::facts();
    let absent = || Fact::Absent { source: "here".to_owned(), at: sample::NOW };
    facts.targets[0].events = Fact::Absent { source: "here".to_owned(), at: sample::NOW };
    facts.targets[0].rollout.started = None;
    facts.queries.insert("empty".to_owned(), absent());
    assert_eq!(verdict_on(&facts, "events == [] && !has(queries.empty)"), Verdict::Holds);
    assert!(why(verdict_on(&facts, "rollout.age < duration('30m')")).contains("`age` is missing"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let deep = "(1==".repeat(10) + "1" + &")".repeat(10);
    assert!(Expression::compile(&deep).is_ok());
    let cases = [
        ("", 0, "the expression is empty"),
        ("pods.exists(p, ", 15, "the expression ends too early"),
        ("labels.a = 'b'", 9, "`=` is not understood"),
        ("true false", 5, "`false` is not expected here"),
        ("'é' == 'é' é", 13, "`é` is not understood"),
        ("pods.exists(1, true)", 12, "a comprehension's first argument is a new name"),
        ("true && labels.a.matches('(')", 25, "not a regular expression: unclosed group"),
        (&"(".repeat(500), 0, "more than 10 brackets"),
        (&"1-".repeat(300), 0, ""),
        (&"true ? 1 : ".repeat(9), 0, "more than 8 choices"),
        (&"x".repeat(1025), 0, "longer than 1024 bytes"),
        (&("1-".repeat(60) + "1"), 0, "more than 48 levels deep"),
        (&("1+".repeat(17) + "1"), 0, "more than 16 additions"),
        ("[1].map(a, a).map(a, a).map(a, a).map(a, a) == []", 0, "more than 3 comprehensions"),
    ];
    for (source, offset, text) in cases {
        let error = Expression::compile(source).expect_err(source);
        assert!(error.message.contains(text), "{source}: {error}");
        if !text.is_empty() {
            assert_eq!(error.offset, offset, "{source}");
        }
    }
}

#[test]
fn the_deepest_expressions_fit_into_a_small_stack() {
    let accepted = [
        "!".repeat(1000) + "true",
        "labels".to_owned() + &"['a']".repeat(47),
        "1-".repeat(46) + "1",
        "(1==".repeat(10) + "1" + &")".repeat(10),
        "a||".repeat(330) + "a",
        "[".repeat(10) + &"]".repeat(10),
        "(true?".repeat(8) + "1" + &":1)".repeat(8),
        "true?1:".repeat(8) + "1",
    ];
    for source in accepted {
        let _verdict = verdict(&source);
    }
}

#[test]
fn the_budget_stops_a_runaway() {
    let many = format!("[{}]", ["1"; 60].join(","));
    let source = format!("{many}.all(a, {many}.all(b, {many}.all(c, a + b + c > 0)))");
    let text = "the expression looked at more than 50000 elements";
    assert_eq!(why(verdict(&source)), text);
    let absorbed =
        format!("{many}.exists(a, {many}.exists(b, {many}.exists(c, c > 1)) || a > 1) || true");
    assert_eq!(why(verdict(&absorbed)), text);
}

proptest! {
    #[test]
    fn any_text_is_an_answer_not_a_panic(
        source in proptest::collection::vec(
            proptest::sample::select(vec![
                "pods", ".", "exists", "(", ")", "p", ",", "==", "\"x\"", "[", "]", "0", "&&",
                "!", "{", "}", ":", "?", "has", "target", "name", "-", "+", "1.5", "'", "é",
            ]),
            0..30,
        ),
    ) {
        if let Ok(expression) = Expression::compile(&source.concat()) {
            let _verdict =
                expression.evaluate(&View::new(&sample::alert(), &sample::facts(), sample::NOW));
        }
    }
}
