//! What the check of names and kinds accepts, and what it says about the rest.

use super::*;

fn found(source: &str) -> Vec<(String, String, Option<String>)> {
    let expression = Expression::compile(source).expect(source);
    let queries = BTreeSet::from(["errorRate".to_owned()]);
    let problems = problems(&expression, &queries).into_iter();
    let with_text = problems.map(|problem| {
        let text = &source[problem.offset..problem.offset + problem.length];
        (problem.message.clone(), text.to_owned(), problem.help)
    });
    with_text.collect()
}

#[test]
fn good_expressions_pass() {
    let good = [
        "pods.exists(p, p.containers.exists(c, c.lastTerminated.reason == 'OOMKilled'))",
        "pods.filter(p, !p.ready).map(p, p.name).exists(n, n.startsWith('a'))",
        "pods.map(p, p.containers.map(c, c.name)).size() > 1",
        "pods.exists_one(p, p.ready) || pods.all(p, p.age > duration('1h30m'))",
        "queries.errorRate > 0.05 && has(queries.errorRate) && 'errorRate' in queries",
        "labels.?team.orValue('none') == 'none' && labels['x y'] == 'z' && 'a' in labels",
        "autoscaler != null && autoscaler.max > 3",
        "now - alert.startsAt >= duration('5m') && now > timestamp('2026-11-22T03:00:00Z')",
        "rollout.state in ['stuck', 'progressing'] && has(rollout.age)",
        "quantity(target.containers[0].limits.memory) * 2.0 < quantity('4Gi')",
        "now.getHours('Europe/Berlin') < 6 && int(labels.code) > 3",
        "target.replicas.desired - target.replicas.ready > 1 ? true : false",
        "owners == [] && owners.exists(o, o.manager == 'ArgoCD') && nodes.all(n, n.trouble == [])",
        "logs.exists(l, l.text.matches('x') || matches(l.text, 'y'))",
        "events.exists(e, e.type == 'Warning' && 'Pod/x' == e.regarding)",
        "true",
    ];
    for source in good {
        assert_eq!(found(source), [], "{source}");
    }
    let whole = Expression::compile("true").expect("true");
    assert!(always_holds(&whole));
}

#[test]
fn what_is_surely_wrong_is_said_with_its_place_and_a_way_out() {
    let cases = [
        ("pod.exists(p, true)", "pod", "there is no variable `pod`", "did you mean `pods`?"),
        (
            "pods.exists(p, p.container.exists(c, true))",
            "container",
            "there is no field `container` here",
            "did you mean `containers`?",
        ),
        (
            "pods.exists(p, p.containers.exists(c, c.lastTerminated.exitcode == 137))",
            "exitcode",
            "there is no field `exitcode` here",
            "did you mean `exitCode`?",
        ),
        (
            "pods.exists(p, q.ready)",
            "q",
            "there is no variable `q`",
            "the variables are now, alert",
        ),
        ("pods.ready", "ready", "a list has no field `ready`", "ask its elements"),
        ("target.name.x == 'a'", "x", "a text has no field `x`", ""),
        (
            "queries.errorrate > 0.1",
            "errorrate",
            "the policy asks no query `errorrate`",
            "did you mean `errorRate`?",
        ),
        (
            "'é' == labels.a && has(rollout.agee)",
            "agee",
            "there is no field `agee` here",
            "did you mean `age`?",
        ),
        (
            "rollout.state == 'completed'",
            "'completed'",
            "it is never `completed`",
            "did you mean `complete`?",
        ),
        ("'Stuck' != rollout.state", "'Stuck'", "it is never `Stuck`", "did you mean `stuck`?"),
        (
            "rollout.state in ['stuck', 'gone']",
            "'gone'",
            "it is never `gone`",
            "it can be complete",
        ),
        ("pods.exists(p, p.restarts == '3')", "==", "a whole number is never equal to a text", ""),
        ("pods.exists(p, p.name > 3)", ">", "a text cannot be ordered with a whole number", ""),
        (
            "rollout.age < duration('1d')",
            "'1d'",
            "`1d` is not a length of time in CEL",
            "a day is `24h`",
        ),
        ("now > timestamp('yesterday')", "'yesterday'", "`yesterday` is not a point in time", ""),
        ("quantity('1 GB') > 1.0", "'1 GB'", "`1 GB` is not a quantity", ""),
        (
            "quantity('1Gi') * 2 > 1.0",
            "*",
            "CEL does not calculate with whole numbers and fractions",
            "write `2.0`",
        ),
        ("pods.size()", "pods.size()", "`when` gives a whole number, not true or false", ""),
        ("target.name && true", "name", "this is a text, not true or false", ""),
        ("pods.exist(p, true)", "exist", "there is no function `exist`", "did you mean `exists`?"),
        (
            "pods.exists(p)",
            "exists",
            "`exists` is not used like this",
            "`pods.exists(p, !p.ready)`",
        ),
        (
            "pods.contains('x')",
            "(",
            "`contains` asks a text, and this is a list",
            "ask each element",
        ),
        ("target.name.exists(c, true)", ".", "a text has no elements to ask", ""),
        ("'a' in target.name", "in", "a text has no elements to look in", "use `.contains()`"),
        ("size()  > 1", "(", "`size` is not called like this", "`size(pods)`"),
    ];
    for (source, text, message, help) in cases {
        let problems = found(source);
        let (found, place, way_out) = problems.first().unwrap_or_else(|| panic!("{source}"));
        assert!(found.contains(message), "{source}: {found}");
        assert!(way_out.as_deref().unwrap_or("").contains(help), "{source}: {way_out:?}");
        if text != "name" {
            assert_eq!(place, text, "{source}");
        }
    }
}
