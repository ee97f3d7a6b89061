//! Checks an expression against the vocabulary before it is ever evaluated: names, fields, calls,
//! and comparisons that can never be true. CEL itself would notice none of it before three o'clock
//! at night.
//!
//! It judges only what it is sure of; the rest is left to evaluation.

mod comparisons;

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::expression::{CompileError, Expression};
use super::tree::{for_each_child, query_name};
use super::vocabulary::{FUNCTIONS, Field, MACROS, Shape, VARIABLES};
use crate::domain::nearest::nearest;
use crate::domain::quantity::Quantity;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    /// Anything.
    Any,
    Null,
    Truth,
    Whole,
    Number,
    /// A text, with the few values it can have, when that is known.
    Text(Option<&'static [&'static str]>),
    Duration,
    Instant,
    Texts,
    Queries,
    List(Box<Self>),
    Object(&'static [Field]),
    Nullable(&'static [Field]),
    Optional(Box<Self>),
}

impl From<Shape> for Type {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Truth => Self::Truth,
            Shape::Whole => Self::Whole,
            Shape::Number => Self::Number,
            Shape::Text => Self::Text(None),
            Shape::OneOf(values) => Self::Text(Some(values)),
            Shape::Duration => Self::Duration,
            Shape::Instant => Self::Instant,
            Shape::Texts => Self::Texts,
            Shape::Queries => Self::Queries,
            Shape::List(inner) => Self::List(Box::new((*inner).into())),
            Shape::Object(fields) => Self::Object(fields),
            Shape::Nullable(fields) => Self::Nullable(fields),
        }
    }
}

/// Values that can be compared with each other.
#[derive(PartialEq, Clone, Copy)]
enum Class {
    Truth,
    Number,
    Text,
    Duration,
    Instant,
    List,
    Object,
    Null,
}

impl Type {
    const fn describe(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Null => "`null`",
            Self::Truth => "true or false",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::Duration => "a duration",
            Self::Instant => "a timestamp",
            Self::Texts => "texts by name",
            Self::Queries => "the answers to the queries",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Nullable(_) => "an object or `null`",
            Self::Optional(_) => "an optional value",
        }
    }

    const fn class(&self) -> Option<Class> {
        match self {
            Self::Any | Self::Nullable(_) => None,
            Self::Null => Some(Class::Null),
            Self::Truth => Some(Class::Truth),
            Self::Whole | Self::Number => Some(Class::Number),
            Self::Text(_) => Some(Class::Text),
            Self::Duration => Some(Class::Duration),
            Self::Instant => Some(Class::Instant),
            Self::List(_) => Some(Class::List),
            Self::Texts | Self::Queries | Self::Object(_) | Self::Optional(_) => {
                Some(Class::Object)
            }
        }
    }

    /// What it is when it may be either.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (same, other) if same == other => same,
            (Self::List(inner), Self::List(other)) => {
                Self::List(Box::new(match (*inner, *other) {
                    (Self::Any, known) | (known, Self::Any) => known,
                    (inner, other) => inner.or(other),
                }))
            }
            (Self::Text(_), Self::Text(_)) => Self::Text(None),
            _ => Self::Any,
        }
    }
}

/// Everything that is surely wrong with `expression` in a policy that asks `queries`.
pub fn problems(expression: &Expression, queries: &BTreeSet<String>) -> Vec<CompileError> {
    let mut check = Check { expression, queries, scope: Vec::new(), problems: Vec::new() };
    let answer = check.of(expression.tree());
    if !matches!(answer, Type::Any | Type::Truth) && check.problems.is_empty() {
        let message = format!("`when` gives {}, not true or false", answer.describe());
        let length = expression.source().len();
        check.problems.push(CompileError { message, offset: 0, length, help: None });
    }
    check.problems
}

/// True when the expression is written as `true`.
pub fn always_holds(expression: &Expression) -> bool {
    match &expression.tree().expr {
        Expr::Literal(LiteralValue::Boolean(value)) => *value.inner(),
        _ => false,
    }
}

struct Check<'e> {
    expression: &'e Expression,
    queries: &'e BTreeSet<String>,
    scope: Vec<(&'e str, Type)>,
    problems: Vec<CompileError>,
}

impl<'e> Check<'e> {
    fn problem(&mut self, node: &IdedExpr, message: String, help: Option<String>) {
        let (offset, length) = self.expression.place(node.id);
        let problem = CompileError { message, offset, length, help };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports a wrong name that stands at or after the place of `node`.
    fn wrong_name(&mut self, node: &IdedExpr, name: &str, message: String, help: Option<String>) {
        let (near, length) = self.expression.place(node.id);
        let found = self.expression.source().get(near..).and_then(|rest| rest.find(name));
        let (offset, length) = found.map_or((near, length), |at| (near + at, name.len()));
        self.problems.push(CompileError { message, offset, length, help });
    }

    fn of(&mut self, node: &'e IdedExpr) -> Type {
        match &node.expr {
            Expr::Unspecified => Type::Any,
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Truth,
                LiteralValue::Bytes(_) => Type::Any,
                LiteralValue::Double(_) => Type::Number,
                LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Whole,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::Text(None),
            },
            Expr::Ident(name) => self.variable(node, name),
            Expr::Select(select) => {
                if let Some(name) = query_name(node) {
                    return self.query(node, name, select.test);
                }
                let object = self.of(&select.operand);
                let found = self.select(node, object, &select.field);
                if select.test { Type::Truth } else { found }
            }
            Expr::List(list) => {
                let types =
                    list.elements.iter().map(|element| self.of(element)).collect::<Vec<_>>();
                let inner = types.into_iter().reduce(Type::or).unwrap_or(Type::Any);
                Type::List(Box::new(inner))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(node, call),
            Expr::Map(_) => {
                for_each_child(node, &mut |child| {
                    self.of(child);
                });
                Type::Any
            }
            Expr::Struct(object) => {
                let message = format!("there is no type `{}`", object.type_name);
                self.problem(node, message, None);
                Type::Any
            }
        }
    }

    fn variable(&mut self, node: &IdedExpr, name: &str) -> Type {
        let bound = self.scope.iter().rev().find(|(bound, _)| *bound == name);
        if let Some((_, found)) = bound {
            return found.clone();
        }
        if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) {
            return variable.shape.into();
        }
        if !name.starts_with('@') {
            let names = VARIABLES.iter().map(|variable| variable.name);
            let bound = self.scope.iter().map(|(bound, _)| *bound).filter(|n| !n.starts_with('@'));
            let help = nearest(name, names.clone().chain(bound)).or_else(|| {
                let all: Vec<_> = names.collect();
                Some(format!("the variables are {}", all.join(", ")))
            });
            self.wrong_name(node, name, format!("there is no variable `{name}`"), help);
        }
        Type::Any
    }

    fn query(&mut self, node: &IdedExpr, name: &str, test: bool) -> Type {
        if !self.queries.contains(name) {
            let help = nearest(name, self.queries.iter().map(String::as_str))
                .or_else(|| Some("declare it under `queries` of the policy".to_owned()));
            self.wrong_name(node, name, format!("the policy asks no query `{name}`"), help);
        }
        if test { Type::Truth } else { Type::Number }
    }

    fn select(&mut self, node: &IdedExpr, object: Type, name: &str) -> Type {
        match object {
            Type::Any => Type::Any,
            Type::Texts => Type::Text(None),
            Type::Queries => self.query(node, name, false),
            Type::Object(fields) | Type::Nullable(fields) => {
                if let Some(field) = fields.iter().find(|field| field.name == name) {
                    return field.shape.into();
                }
                let names = fields.iter().map(|field| field.name);
                let help = nearest(name, names.clone()).or_else(|| {
                    let all: Vec<_> = names.collect();
                    Some(format!("the fields are {}", all.join(", ")))
                });
                self.wrong_name(node, name, format!("there is no field `{name}` here"), help);
                Type::Any
            }
            Type::Optional(inner) => Type::Optional(Box::new(self.select(node, *inner, name))),
            Type::List(_) => {
                let message = format!("a list has no field `{name}`");
                let help = format!("ask its elements: `.exists(x, x.{name} ...)`");
                self.wrong_name(node, name, message, Some(help));
                Type::Any
            }
            other @ (Type::Null
            | Type::Truth
            | Type::Whole
            | Type::Number
            | Type::Text(_)
            | Type::Duration
            | Type::Instant) => {
                let message = format!("{} has no field `{name}`", other.describe());
                self.wrong_name(node, name, message, None);
                Type::Any
            }
        }
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) -> Type {
        let range = self.of(&comprehension.iter_range);
        let element = match range {
            Type::List(inner) => *inner,
            Type::Texts | Type::Queries => Type::Text(None),
            Type::Any => Type::Any,
            other => {
                let message = format!("{} has no elements to ask", other.describe());
                self.problem(&comprehension.iter_range, message, None);
                Type::Any
            }
        };
        let accumulator = self.of(&comprehension.accu_init);
        let outer = self.scope.len();
        self.scope.push((&comprehension.accu_var, accumulator));
        self.scope.push((&comprehension.iter_var, element));
        self.of(&comprehension.loop_cond);
        let step = self.of(&comprehension.loop_step);
        let result = match &comprehension.result.expr {
            Expr::Ident(name) if *name == comprehension.accu_var => step,
            _ => self.of(&comprehension.result),
        };
        self.scope.truncate(outer);
        result
    }

    fn call(&mut self, node: &'e IdedExpr, call: &'e CallExpr) -> Type {
        if self.is_unknown_function(node, &call.func_name) {
            return Type::Any;
        }
        let target = call.target.as_ref().map(|target| self.of(target));
        // A selection of a field by `?.` carries the field's name as a text.
        let arguments: Vec<Type> = call.args.iter().map(|argument| self.of(argument)).collect();
        let name = call.func_name.as_str();
        match (name, arguments.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, types) => {
                for (argument, found) in call.args.iter().zip(types) {
                    self.expect_truth(argument, found);
                }
                Type::Truth
            }
            (operators::NOT_STRICTLY_FALSE, _) => Type::Truth,
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.expect_truth(&call.args[0], condition);
                yes.clone().or(no.clone())
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.same(node, &call.args, left, right);
                Type::Truth
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                self.ordered(node, left, right);
                Type::Truth
            }
            (operators::IN, [item, list]) => {
                self.contained(node, &call.args, item, list);
                Type::Truth
            }
            (operators::INDEX, [list, index]) => self.index(node, &call.args[1], list, index),
            (operators::OPT_INDEX, [list, index]) => {
                let found = self.index(node, &call.args[1], list, index);
                Type::Optional(Box::new(found))
            }
            (operators::OPT_SELECT, [object, _]) => {
                let field = literal_text(&call.args[1]).unwrap_or("");
                Type::Optional(Box::new(self.select(node, object.clone(), field)))
            }
            (operators::ADD, [left, right]) => self.sum(node, "+", left, right),
            (operators::SUBSTRACT, [left, right]) => self.sum(node, "-", left, right),
            (operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [left, right]) => {
                self.sum(node, "this", left, right)
            }
            (operators::NEGATE, [inner]) => inner.clone(),
            _ => self.function(node, call, target, &arguments),
        }
    }

    /// Reports a function that does not exist. Its arguments are not looked at: a macro that was
    /// misspelt binds no names, and every use of one would be reported too.
    fn is_unknown_function(&mut self, node: &IdedExpr, name: &str) -> bool {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_name && !FUNCTIONS.iter().any(|function| function.name == name) {
            let is_macro = MACROS.iter().any(|function| function.name == name);
            let (message, help) = if is_macro {
                let example = MACROS.iter().find(|function| function.name == name);
                let message = format!("`{name}` is not used like this");
                (message, example.map(|example| format!("write {}", example.doc)))
            } else {
                let names = FUNCTIONS.iter().chain(MACROS).map(|function| function.name);
                (format!("there is no function `{name}`"), nearest(name, names))
            };
            // A call's place is its bracket; the name stands before it.
            let (bracket, _) = self.expression.place(node.id);
            let before = self.expression.source().get(..bracket).and_then(|text| text.rfind(name));
            let (offset, length) = before.map_or((bracket, 1), |at| (at, name.len()));
            self.problems.push(CompileError { message, offset, length, help });
            return true;
        }
        false
    }

    fn index(&mut self, node: &IdedExpr, index: &IdedExpr, list: &Type, by: &Type) -> Type {
        match (list, literal_text(index)) {
            (Type::List(inner), _) => {
                if by.class().is_some_and(|class| class != Class::Number) {
                    let message = format!("{} is no position in a list", by.describe());
                    self.problem(index, message, None);
                }
                inner.as_ref().clone()
            }
            (Type::Texts, _) => Type::Text(None),
            (Type::Queries, None) => Type::Number,
            (object, Some(name)) => self.select(node, object.clone(), name),
            (_, None) => Type::Any,
        }
    }

    fn function(
        &mut self,
        node: &'e IdedExpr,
        call: &'e CallExpr,
        target: Option<Type>,
        arguments: &[Type],
    ) -> Type {
        let name = call.func_name.as_str();
        let literal = call.args.first().and_then(literal_text);
        match (name, &target, arguments) {
            ("size", Some(_), []) | ("size", None, [_]) => Type::Whole,
            ("contains" | "startsWith" | "endsWith" | "matches", Some(on), [_]) => {
                self.expect_text(node, name, on);
                Type::Truth
            }
            ("matches", None, [on, _]) => {
                self.expect_text(node, name, on);
                Type::Truth
            }
            ("duration", None, [_]) => {
                if let Some(text) = literal.filter(|text| !is_duration(text)) {
                    let message = format!("`{text}` is not a length of time in CEL");
                    let help = "write for example `90s`, `30m`, `1h30m`; a day is `24h`";
                    self.problem(&call.args[0], message, Some(help.to_owned()));
                }
                Type::Duration
            }
            ("timestamp", None, [_]) => {
                if let Some(text) = literal.filter(|t| t.parse::<jiff::Timestamp>().is_err()) {
                    let message = format!("`{text}` is not a point in time");
                    let help = "write for example `2026-11-22T03:00:00Z`";
                    self.problem(&call.args[0], message, Some(help.to_owned()));
                }
                Type::Instant
            }
            ("quantity", None, [given]) => {
                if let Some(Err(error)) = literal.map(str::parse::<Quantity>) {
                    self.problem(&call.args[0], error.to_string(), None);
                } else {
                    self.expect_text(&call.args[0], name, given);
                }
                Type::Number
            }
            ("int", None, [_]) => Type::Whole,
            ("double", None, [_]) => Type::Number,
            ("string", None, [_]) => Type::Text(None),
            ("getHours" | "getMinutes" | "getDayOfWeek", Some(_), [] | [_]) => Type::Whole,
            ("hasValue", Some(_), []) => Type::Truth,
            ("orValue", Some(Type::Optional(inner)), [other]) => {
                inner.as_ref().clone().or(other.clone())
            }
            ("orValue", Some(_), [_]) => Type::Any,
            _ => {
                let example = FUNCTIONS.iter().find(|function| function.name == name);
                let help = example.map(|example| format!("write {}", example.doc));
                self.problem(node, format!("`{name}` is not called like this"), help);
                Type::Any
            }
        }
    }

    fn expect_text(&mut self, node: &IdedExpr, name: &str, found: &Type) {
        if !matches!(found, Type::Any | Type::Text(_)) {
            let message = format!("`{name}` asks a text, and this is {}", found.describe());
            let help = matches!(found, Type::List(_))
                .then(|| "ask each element: `.exists(x, ...)`, or `value in list`".to_owned());
            self.problem(node, message, help);
        }
    }
}

fn literal_text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Go's durations, which CEL takes: `1h30m`, `-1.5s`, `100ms`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let after = &rest[number..];
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"].into_iter();
        let unit = unit.filter(|unit| after.starts_with(unit)).max_by_key(|unit| unit.len());
        match unit {
            Some(unit) if number > 0 => rest = &after[unit.len()..],
            _ => return text == "0",
        }
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
#[path = "typing_tests.rs"]
mod tests;
