//! Walks over an expression's tree: how large it is, which queries it asks, and the guard that
//! charges every comprehension to the budget.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// Deepest tree: evaluation recurses, and without optimisation 100 levels overflow the 2 MiB stack
/// of a thread, which ends the process. Real conditions have about a dozen.
pub(super) const MAX_DEPTH: usize = 48;
/// The counter's name; no source can contain it, `@` is no letter of CEL.
pub(super) const CHARGE: &str = "@charge";

/// Which answers of `queries` an expression uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Queries {
    These(BTreeSet<String>),
    All,
}

/// The deepest nesting of brackets, and the question marks, outside quotes.
pub(super) fn shape(source: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut choices) = (0_usize, 0, 0);
    let (mut quote, mut escaped) = (None, false);
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
                '?' => choices += 1,
                _ => {}
            },
        }
        deepest = deepest.max(depth);
    }
    (deepest, choices)
}

/// Measures a tree before it is accepted.
pub(super) struct Limits {
    pub(super) depth: usize,
    pub(super) nesting: usize,
    pub(super) additions: usize,
    pub(super) pattern: Option<(u64, String)>,
    pub(super) queries: Queries,
}

impl Default for Limits {
    fn default() -> Self {
        let queries = Queries::These(BTreeSet::new());
        Self { depth: 0, nesting: 0, additions: 0, pattern: None, queries }
    }
}

impl Limits {
    pub(super) fn walk(&mut self, node: &IdedExpr, depth: usize, nesting: usize) {
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
    member(node, "queries")
}

/// `of.name` or `of["name"]`; `has(of.name)` too.
fn member<'e>(node: &'e IdedExpr, of: &str) -> Option<&'e str> {
    let is_it = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == of);
    match &node.expr {
        Expr::Select(select) if is_it(&select.operand) => Some(&select.field),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [map, name] if is_it(map) => literal(name),
            _ => None,
        },
        _ => None,
    }
}

fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The labels that an expression reads, each with the node that does, and those whose presence it
/// asks for: `has(labels.name)`, `"name" in labels`.
#[derive(Default)]
pub(super) struct Labels<'e> {
    pub(super) read: Vec<(&'e str, u64)>,
    pub(super) asked: BTreeSet<&'e str>,
}

impl<'e> Labels<'e> {
    pub(super) fn walk(&mut self, node: &'e IdedExpr) {
        let asks = matches!(&node.expr, Expr::Select(select) if select.test);
        match (member(node, "labels"), &node.expr) {
            (Some(name), _) if asks => {
                self.asked.insert(name);
            }
            (Some(name), _) => self.read.push((name, node.id)),
            (None, Expr::Call(call)) if call.func_name == operators::IN => {
                if let [name, map] = call.args.as_slice()
                    && matches!(&map.expr, Expr::Ident(map) if map == "labels")
                {
                    self.asked.extend(literal(name));
                }
            }
            (None, _) => {}
        }
        for_each_child(node, &mut |child| self.walk(child));
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
pub(super) fn guard(node: &mut IdedExpr) {
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
