//! `docs/FACTS.md`: the words of `when` for people, written from the vocabulary.

use std::fmt::Write as _;

use super::vocabulary::{FUNCTIONS, Field, MACROS, Presence, Several, Shape, VARIABLES};

const INTRODUCTION: &str = "\
# What `when` can ask

Generated from the table that the service and `orderly check` use; do not edit by hand.

A cause's `when` is an expression in [CEL](https://cel.dev). It is evaluated over the facts that
were collected for the incident, and has three outcomes: it **holds**, it **does not hold**, or it
is **unknown**. Unknown is not false: when a cause before the one that holds is unknown, nothing is
done and people are told why. An expression is unknown when it needs a fact that could not be found
out, reads a field that is missing, fails in any other way, gives something other than true or
false, or takes too long. As usual in CEL, `true || x` is true and `false && x` is false whatever
`x` is.

Absent is not unknown: what was looked for and is not there is an empty list, an empty text, or
`null`, as said below. A field marked *sometimes* may be missing: ask with `has()` first.

Limits: 1024 characters, 10 brackets and 3 comprehensions (`exists`, `map`, ...) inside each other,
16 additions, 8 choices (`? :`), 50,000 elements looked at.
";

/// The text of `docs/FACTS.md`.
pub fn documentation() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Variables\n");
    for variable in VARIABLES {
        let _infallible = write!(
            text,
            "\n### `{}`\n\n{} ({}{})\n",
            variable.name,
            variable.doc,
            variable.shape.describe(),
            match variable.several {
                Several::Same => "",
                Several::Union => "; with several workloads those of all",
                Several::Unknown => "; unknown with several workloads, use `targets`",
            }
        );
        // `targets` and `related` repeat the table of `target`.
        if matches!(variable.name, "targets" | "related") {
            text.push_str("\nEach has the fields of `target`.\n");
            continue;
        }
        let fields = variable.shape.fields();
        if !fields.is_empty() {
            text.push_str("\n| field | is | |\n|---|---|---|\n");
            rows(&mut text, "", fields);
        }
    }
    for (title, functions) in [("Functions", FUNCTIONS), ("Macros", MACROS)] {
        let _infallible = write!(text, "\n## {title}\n\n| name | |\n|---|---|\n");
        for function in functions {
            let _infallible = writeln!(text, "| `{}` | {} |", function.name, function.doc);
        }
    }
    text
}

fn rows(text: &mut String, prefix: &str, fields: &[Field]) {
    for field in fields {
        let presence = match field.presence {
            Presence::Always => "",
            Presence::Sometimes => " (*sometimes*)",
        };
        let (name, doc) = (field.name, field.doc);
        let shape = field.shape.describe();
        let _infallible = writeln!(text, "| `{prefix}{name}` | {shape}{presence} | {doc} |");
        let list = if matches!(field.shape, Shape::List(_)) { "[]" } else { "" };
        rows(text, &format!("{prefix}{name}{list}."), field.shape.fields());
    }
}
