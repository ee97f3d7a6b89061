//! Expressions over facts, in CEL, with guards.
//!
//! The library has no type check, no cost limit and no deadline, so this adds: a short source, a
//! shallow tree, few nested comprehensions, few additions, and a budget of elements that one
//! evaluation may look at. Evaluation is total: whatever goes wrong is [`Verdict::Unknown`], never
//! false (invariant 7). Names and fields are checked by [`super::typing`].

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{self, CelBool, CelDouble, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, Program, Value};

use super::view::View;
use crate::domain::quantity::Quantity;

/// Longest expression: a condition that needs more wants to be two causes. Also what keeps the
/// parser's recursion inside a thread's stack.
pub const MAX_SOURCE: usize = 1024;
/// Deepest tree: evaluation recurses, and without optimisation 100 levels overflow the 2 MiB stack
/// of a thread, which ends the process. Real conditions have about a dozen.
const MAX_DEPTH: usize = 48;
/// Deepest brackets, asked before parsing because the parser recurses a dozen calls for each.
const MAX_BRACKETS: usize = 24;
/// The parser's own limit of 96 levels needs some 6 MiB without optimisation; a thread of the
/// service has 2 MiB, and running over ends the process.
const PARSER_STACK: usize = 32 * 1024 * 1024;
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
/// The counter's name; no source can contain it, `@` is no letter of CEL.
const CHARGE: &str = "@charge";

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

/// Which answers of `queries` an expression uses.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Queries {
    These(BTreeSet<String>),
    All,
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
        if brackets(source) > MAX_BRACKETS {
            return Err(whole(format!("more than {MAX_BRACKETS} brackets inside each other")));
        }
        let program = match parse(source) {
            Some(Ok(program)) => program,
            Some(Err(errors)) => return Err(syntax(source, &errors)),
            None => return Err(whole("this is not a CEL expression".to_owned())),
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
        value.map(|value| CowVal::Borrowed(value))
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

/// The deepest nesting of brackets outside quotes.
fn brackets(source: &str) -> usize {
    let (mut depth, mut deepest, mut quote, mut escaped) = (0_usize, 0, None, false);
    for character in source.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None => match character {
                '"' | '\'' => quote = Some(character),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Parses on a thread with room enough. The parser panics on some texts that are no expressions:
/// then there is no answer.
fn parse(source: &str) -> Option<Result<Program, cel::ParseErrors>> {
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
        let parser = parser.spawn_scoped(scope, || {
            catch_unwind(AssertUnwindSafe(|| ENVIRONMENT.compile(source))).ok()
        });
        parser.ok()?.join().ok()?
    })
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

/// Measures a tree before it is accepted.
struct Limits {
    depth: usize,
    nesting: usize,
    additions: usize,
    pattern: Option<(u64, String)>,
    queries: Queries,
}

impl Default for Limits {
    fn default() -> Self {
        let queries = Queries::These(BTreeSet::new());
        Self { depth: 0, nesting: 0, additions: 0, pattern: None, queries }
    }
}

impl Limits {
    fn walk(&mut self, node: &IdedExpr, depth: usize, nesting: usize) {
        self.depth = self.depth.max(depth);
        self.nesting = self.nesting.max(nesting);
        if depth > MAX_DEPTH {
            return;
        }
        if let Some(name) = query_name(node) {
            if let Queries::These(names) = &mut self.queries {
                names.insert(name.to_owned());
            }
            return;
        }
        match &node.expr {
            Expr::Ident(name) if name == "queries" => self.queries = Queries::All,
            Expr::Call(call) => {
                // Each `map` and `filter` brings one `+` of its own, inside the comprehension.
                if call.func_name == operators::ADD && !appends(call) {
                    self.additions += 1;
                }
                if call.func_name == "matches" {
                    self.pattern(call);
                }
            }
            _ => {}
        }
        let inner = match &node.expr {
            Expr::Comprehension(_) => nesting + 1,
            _ => nesting,
        };
        for_each_child(node, &mut |child| self.walk(child, depth + 1, inner));
        self.nesting = self.nesting.max(inner);
    }

    /// A pattern that is written out is checked now rather than at night.
    fn pattern(&mut self, call: &CallExpr) {
        let Some(argument) = call.args.last() else { return };
        if let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr
            && let Err(error) = regex::Regex::new(pattern.inner())
        {
            let text = error.to_string();
            let text = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("this is not a regular expression: {text}");
            self.pattern.get_or_insert((argument.id, message));
        }
    }
}

/// `queries.NAME`, `has(queries.NAME)` or `queries["NAME"]`.
pub(super) fn query_name(node: &IdedExpr) -> Option<&str> {
    let is_queries = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == "queries");
    match &node.expr {
        Expr::Select(select) if is_queries(&select.operand) => Some(&select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [list, index] if is_queries(list) => match &index.expr {
                Expr::Literal(LiteralValue::String(name)) => Some(name.inner()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn appends(call: &CallExpr) -> bool {
    matches!(call.args.first().map(|arg| &arg.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
}

/// Calls `visit` with every direct child.
pub(super) fn for_each_child<'e>(node: &'e IdedExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            call.target.iter().for_each(|target| visit(target));
            call.args.iter().for_each(visit);
        }
        Expr::Comprehension(comprehension) => {
            visit(&comprehension.iter_range);
            visit(&comprehension.accu_init);
            visit(&comprehension.loop_cond);
            visit(&comprehension.loop_step);
            visit(&comprehension.result);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entries(&entry.expr, visit)),
        Expr::Select(select) => visit(&select.operand),
        Expr::Struct(object) => {
            object.entries.iter().for_each(|entry| entries(&entry.expr, visit));
        }
    }
}

fn entries<'e>(entry: &'e EntryExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => visit(&field.value),
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
    }
}

/// Charges every comprehension's elements to the budget before it begins.
fn guard(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                guard(target);
            }
            call.args.iter_mut().for_each(guard);
        }
        Expr::Comprehension(comprehension) => {
            guard(&mut comprehension.iter_range);
            guard(&mut comprehension.accu_init);
            guard(&mut comprehension.loop_cond);
            guard(&mut comprehension.loop_step);
            guard(&mut comprehension.result);
            let range = std::mem::take(&mut comprehension.iter_range);
            let id = range.id;
            let call = CallExpr { func_name: CHARGE.to_owned(), target: None, args: vec![range] };
            comprehension.iter_range = IdedExpr { id, expr: Expr::Call(call) };
        }
        Expr::List(list) => list.elements.iter_mut().for_each(guard),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| guard_entry(&mut entry.expr)),
        Expr::Select(select) => guard(&mut select.operand),
        Expr::Struct(object) => {
            object.entries.iter_mut().for_each(|entry| guard_entry(&mut entry.expr));
        }
    }
}

fn guard_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => guard(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            guard(&mut entry.key);
            guard(&mut entry.value);
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(
            why(verdict_on(&facts, "rollout.age < duration('30m')")).contains("`age` is missing")
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let deep = "(1==".repeat(24) + "1" + &")".repeat(24);
        assert!(Expression::compile(&deep).is_ok());
        let cases = [
            ("", 0, "the expression is empty"),
            ("pods.exists(p, ", 15, "the expression ends too early"),
            ("labels.a = 'b'", 9, "`=` is not understood"),
            ("true false", 5, "`false` is not expected here"),
            ("'é' == 'é' é", 13, "`é` is not understood"),
            ("pods.exists(1, true)", 12, "a comprehension's first argument is a new name"),
            ("true && labels.a.matches('(')", 25, "not a regular expression: unclosed group"),
            (&"(".repeat(500), 0, "more than 24 brackets"),
            (&"1-".repeat(300), 0, ""),
            (&"true ? 1 : ".repeat(90), 0, ""),
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
            "(1==".repeat(24) + "1" + &")".repeat(24),
            "a||".repeat(330) + "a",
            "[".repeat(24) + &"]".repeat(24),
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
}
