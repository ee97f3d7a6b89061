//! Expressions over facts, in CEL, with guards.
//!
//! The library has no type check, no cost limit and no deadline, so this adds: a short source, a
//! shallow tree, few nested comprehensions, few additions, and a budget of elements that one
//! evaluation may look at. Evaluation is total: whatever goes wrong is [`Verdict::Unknown`], never
//! false (invariant 7). Names and fields are checked by [`super::typing`].

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::common::types::{self, CelBool, CelDouble, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Program, Value};

use super::tree::{CHARGE, Labels, Limits, MAX_DEPTH, Queries, guard, shape};
use super::view::View;
use crate::domain::quantity::Quantity;

/// Longest expression: a condition that needs more wants to be two causes. Also what keeps the
/// parser's recursion inside a thread's stack.
pub const MAX_SOURCE: usize = 1024;
/// Deepest brackets, asked before parsing: without optimisation the parser takes 85 KiB of stack for
/// each, and a thread has 2 MiB. Real conditions have four.
const MAX_BRACKETS: usize = 10;
/// Choices (`? :`), for the same reason: 20 KiB each.
const MAX_CHOICES: usize = 8;
/// Comprehensions inside each other: pods, their containers, and one more.
const MAX_NESTING: usize = 3;
/// `+` in one expression: joined texts grow by powers when comprehensions repeat them, and the
/// element budget does not see memory.
const MAX_ADDITIONS: usize = 16;
/// Elements that one evaluation may look at: 1,000 pods with 4 containers ten times, and under a
/// tenth of a second.
const BUDGET: u64 = 50_000;
/// Longest reason that is kept: an error of the library may quote a whole log.
const MAX_REASON: usize = 300;

/// What an expression says about the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is true.
    Holds,
    /// It is false.
    DoesNotHold,
    /// It cannot be said.
    Unknown {
        /// Why not, naming the fact.
        why: String,
    },
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong.
    pub message: String,
    /// The byte in the source where it is.
    pub offset: usize,
    /// How many bytes are wrong.
    pub length: usize,
    /// What to write instead, when that is known.
    pub help: Option<String>,
}

/// A checked expression.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    source: String,
    program: Program,
    /// The program's tree with every comprehension charged to the budget.
    guarded: IdedExpr,
    queries: Queries,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let string = vec![types::STRING_TYPE];
    env.add_overload("quantity", "orderly_quantity", string, quantity)
        .and_then(|()| env.add_overload(CHARGE, "orderly_charge", vec![types::DYN_TYPE], charge))
        .expect("the names are not taken by the standard library");
    Arc::new(env)
});

thread_local! {
    // Evaluation runs to its end on one thread; the library's overloads carry no state of their own.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

fn quantity<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|arg| arg.downcast_ref::<CelString<'_>>());
    let text = text.map_or("", |text| text.inner());
    let amount: Quantity =
        text.parse().map_err(|error| ExecutionError::function_error("quantity", error))?;
    Ok(CowVal::owned(CelDouble::from(amount.thousandths() as f64 / 1000.0)))
}

/// Takes the elements of a list from the budget and hands the list back.
fn charge<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let size = list.as_sizer().map_or(0, |sizer| *sizer.size().inner());
    let cost = u64::try_from(size).unwrap_or(0) + 1;
    let left = LEFT.get().checked_sub(cost);
    LEFT.set(left.unwrap_or(0));
    match left {
        Some(_) => Ok(list),
        None => Err(ExecutionError::function_error(CHARGE, "the budget is spent")),
    }
}

impl Expression {
    /// Reads an expression and holds it against the limits.
    pub fn compile(source: &str) -> Result<Self, CompileError> {
        let whole =
            |message: String| CompileError { message, offset: 0, length: source.len(), help: None };
        if source.trim().is_empty() {
            return Err(whole("the expression is empty: leave `when` out instead".to_owned()));
        }
        if source.len() > MAX_SOURCE {
            return Err(whole(format!("the expression is longer than {MAX_SOURCE} bytes")));
        }
        let (brackets, choices) = shape(source);
        if brackets > MAX_BRACKETS {
            return Err(whole(format!("more than {MAX_BRACKETS} brackets inside each other")));
        }
        if choices > MAX_CHOICES {
            return Err(whole(format!("more than {MAX_CHOICES} choices (`? :`)")));
        }
        // The parser panics on some texts that are no expressions.
        let parsed = catch_unwind(AssertUnwindSafe(|| ENVIRONMENT.compile(source)));
        let program = match parsed {
            Ok(Ok(program)) => program,
            Ok(Err(errors)) => return Err(syntax(source, &errors)),
            Err(_panic) => return Err(whole("this is not a CEL expression".to_owned())),
        };
        let mut limits = Limits::default();
        limits.walk(program.expression(), 1, 0);
        if limits.depth > MAX_DEPTH {
            return Err(whole(format!("the expression is more than {MAX_DEPTH} levels deep")));
        }
        if limits.nesting > MAX_NESTING {
            let message = format!("more than {MAX_NESTING} comprehensions inside each other");
            return Err(whole(message));
        }
        if limits.additions > MAX_ADDITIONS {
            return Err(whole(format!("more than {MAX_ADDITIONS} additions")));
        }
        if let Some((id, message)) = limits.pattern {
            let (offset, length) = place(&program, source, id);
            return Err(CompileError { message, offset, length, help: None });
        }
        let mut guarded = program.expression().clone();
        guard(&mut guarded);
        let queries = limits.queries;
        Ok(Self(Arc::new(Compiled { source: source.to_owned(), program, guarded, queries })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether the expression uses the answer to this query.
    pub fn asks_query(&self, name: &str) -> bool {
        match &self.0.queries {
            Queries::These(names) => names.contains(name),
            Queries::All => true,
        }
    }

    /// The labels that it reads without asking whether they are there, each with the bytes of the
    /// source that do.
    pub fn labels(&self) -> Vec<(&str, (usize, usize))> {
        // A node's place is its dot or bracket; the name comes right after it.
        let place = |(name, id): (&'_ str, u64)| {
            let (at, length) = self.place(id);
            let after = self.source().get(at..).and_then(|rest| rest.find(name));
            after.map_or((at, length), |after| (at + after, name.len()))
        };
        let mut labels = Labels::default();
        labels.walk(self.tree());
        let Labels { read, asked } = labels;
        let unasked = read.into_iter().filter(|(name, _)| !asked.contains(name));
        unasked.map(|read| (read.0, place(read))).collect()
    }

    /// The tree as it was written.
    pub(super) fn tree(&self) -> &IdedExpr {
        self.0.program.expression()
    }

    /// The bytes of the source that a node of the tree was made from: where, and how many.
    pub(super) fn place(&self, id: u64) -> (usize, usize) {
        place(&self.0.program, &self.0.source, id)
    }

    /// What the expression says about the facts. Total: an error, a missing fact, a spent budget
    /// and an answer other than true or false are all unknown.
    pub fn evaluate(&self, view: &View) -> Verdict {
        let unknown_queries = self.unknown_queries(view);
        let scope = Scope { view, queries_hidden: !unknown_queries.is_empty() };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&scope);
        LEFT.set(BUDGET);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let value = Value::resolve_val(&self.0.guarded, &context)?;
            let answer = value.downcast_ref::<CelBool>().map(|answer| *answer.inner());
            Ok(answer.ok_or_else(|| value.get_type().name().to_owned()))
        }));
        if LEFT.get() == 0 {
            let why = format!("the expression looked at more than {BUDGET} elements");
            return Verdict::Unknown { why };
        }
        let why = match outcome {
            Ok(Ok(Ok(true))) => return Verdict::Holds,
            Ok(Ok(Ok(false))) => return Verdict::DoesNotHold,
            Ok(Ok(Err(kind))) => format!("the expression gives a {kind}, not true or false"),
            Ok(Err(error)) => reason(&error, view, &unknown_queries),
            Err(_panic) => "the expression could not be evaluated".to_owned(),
        };
        Verdict::Unknown { why }
    }

    /// The unknown answers among those that the expression uses.
    fn unknown_queries<'v>(&self, view: &'v View) -> Vec<(&'v str, &'v str)> {
        let unknown = view.unknown().filter_map(|(name, why)| {
            let name = name.strip_prefix("queries.")?;
            self.asks_query(name).then_some((name, why))
        });
        unknown.collect()
    }
}

/// Finds variables in the view. While an answer that the expression uses is unknown, `queries` as
/// a whole is hidden and only the known answers can be read, so that `has()` cannot take an
/// unknown answer for a missing one.
struct Scope<'v> {
    view: &'v View,
    queries_hidden: bool,
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = match variable.strip_prefix("queries.") {
            Some(name) if self.queries_hidden => self.view.query(name),
            Some(_) => None,
            None if self.queries_hidden && variable == "queries" => None,
            None => self.view.value(variable),
        };
        value.map(CowVal::Borrowed)
    }
}

fn reason(error: &ExecutionError, view: &View, queries: &[(&str, &str)]) -> String {
    let text = match error {
        ExecutionError::UndeclaredReference(name) => match (view.why_unknown(name), queries) {
            (Some(why), _) => format!("`{name}` is unknown: {why}"),
            (None, [(query, why), ..]) if name.as_str() == "queries" => {
                format!("`queries.{query}` is unknown: {why}")
            }
            (None, _) => format!("there is no `{name}`"),
        },
        ExecutionError::NoSuchKey(name) => {
            format!("`{name}` is missing: ask with `has()` before reading it")
        }
        ExecutionError::NoSuchOverload(_) => error.to_string().replace('\'', "`"),
        ExecutionError::FunctionError { function, message } => {
            format!("`{function}` failed: {message}")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number is too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "the list is shorter than that".to_owned(),
        _ => "the values do not fit the operation".to_owned(),
    };
    text.chars().take(MAX_REASON).collect()
}

fn syntax(source: &str, errors: &cel::ParseErrors) -> CompileError {
    let first = errors.errors.first();
    let (line, column) = first.map_or((1, 1), |error| error.pos);
    let text = first.map_or("not an expression", |error| error.msg.as_str());
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = source.get(start..).unwrap_or("");
    let within: usize = rest.chars().take(column - 1).map(char::len_utf8).sum();
    let offset = (start + within).min(source.len());
    let length = source[offset..].chars().next().map_or(0, char::len_utf8);
    let (message, help) = in_plain_words(text);
    CompileError { message, offset, length, help }
}

/// The parser speaks of tokens, and lists every one that it would have taken.
fn in_plain_words(text: &str) -> (String, Option<String>) {
    let text = text.trim_start_matches("Syntax error: ");
    let text = text.split(" expecting ").next().unwrap_or(text);
    let quoted = || {
        let inner = text.split_once('\'').map_or("", |(_, rest)| rest);
        inner.strip_suffix('\'').unwrap_or(inner).trim().to_owned()
    };
    if text.contains("<EOF>") {
        ("the expression ends too early".to_owned(), None)
    } else if text.starts_with("token recognition error") {
        let found = quoted();
        let help = match found.as_str() {
            "=" => Some("compare with `==`".to_owned()),
            "&" => Some("write `&&`".to_owned()),
            _ if found.starts_with(['"', '\'']) => Some("close the quote".to_owned()),
            _ => None,
        };
        (format!("`{found}` is not understood"), help)
    } else if text.starts_with("extraneous input") || text.starts_with("mismatched input") {
        (format!("`{}` is not expected here", quoted()), None)
    } else if text.contains("Recursion limit") {
        ("the expression is nested too deeply".to_owned(), None)
    } else if text.starts_with("argument must be a simple name") {
        ("a comprehension's first argument is a new name".to_owned(), None)
    } else {
        ("this is not a CEL expression".to_owned(), None)
    }
}

/// The bytes that a node was made from. For a selection that is its dot, for a comprehension and a
/// call its bracket: enough to point at.
fn place(program: &Program, source: &str, id: u64) -> (usize, usize) {
    let Some((start, stop)) = program.source_info().offset_for(id) else {
        return (0, source.len());
    };
    let (start, end) = (start as usize, (stop as usize).saturating_add(1).min(source.len()));
    match source.get(start..end) {
        Some(text) => (start, text.len()),
        None => (0, source.len()),
    }
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
