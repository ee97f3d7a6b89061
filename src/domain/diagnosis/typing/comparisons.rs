//! Comparisons and sums: values of different kinds are never equal, have no order and no sum.

use cel::common::ast::{Expr, IdedExpr};

use super::{Check, Class, Type, literal_text};
use crate::domain::nearest::nearest;

impl Check<'_> {
    pub(super) fn expect_truth(&mut self, node: &IdedExpr, found: &Type) {
        if !matches!(found, Type::Any | Type::Truth) {
            let message = format!("this is {}, not true or false", found.describe());
            self.problem(node, message, None);
        }
    }

    /// A comparison of different kinds is never equal; one with a text that cannot be is not either.
    pub(super) fn same(&mut self, node: &IdedExpr, nodes: &[IdedExpr], left: &Type, right: &Type) {
        if let (Some(one), Some(other)) = (left.class(), right.class())
            && one != other
        {
            let message = format!("{} is never equal to {}", left.describe(), right.describe());
            return self.problem(node, message, None);
        }
        for (found, node) in [(left, nodes.get(1)), (right, nodes.first())] {
            if let (Type::Text(Some(values)), Some(node)) = (found, node) {
                self.one_of(node, values);
            }
        }
    }

    fn one_of(&mut self, node: &IdedExpr, values: &'static [&'static str]) {
        if let Some(text) = literal_text(node)
            && !values.contains(&text)
        {
            let help = nearest(text, values.iter().copied())
                .or_else(|| Some(format!("it can be {}", values.join(", "))));
            self.problem(node, format!("it is never `{text}`"), help);
        }
    }

    pub(super) fn ordered(&mut self, node: &IdedExpr, left: &Type, right: &Type) {
        if let (Some(one), Some(other)) = (left.class(), right.class()) {
            let has_order = !matches!(one, Class::List | Class::Object | Class::Null);
            if one != other || !has_order {
                let (left, right) = (left.describe(), right.describe());
                let message = format!("{left} cannot be ordered with {right}");
                self.problem(node, message, None);
            }
        }
    }

    pub(super) fn contained(
        &mut self,
        node: &IdedExpr,
        nodes: &[IdedExpr],
        item: &Type,
        list: &Type,
    ) {
        let element = match list {
            Type::Any => return,
            Type::List(inner) => inner.as_ref().clone(),
            Type::Texts | Type::Queries => Type::Text(None),
            other => {
                let message = format!("{} has no elements to look in", other.describe());
                let help = matches!(other, Type::Text(_)).then(|| "use `.contains()`".to_owned());
                return self.problem(node, message, help);
            }
        };
        if let (Some(one), Some(other)) = (item.class(), element.class())
            && one != other
        {
            let (item, element) = (item.describe(), element.describe());
            return self.problem(node, format!("{item} is never equal to {element}"), None);
        }
        if let (Type::Text(Some(values)), Some(Expr::List(list))) =
            (item, nodes.get(1).map(|node| &node.expr))
        {
            list.elements.iter().for_each(|element| self.one_of(element, values));
        }
        if let (Type::Queries, Some(name)) = (list, nodes.first().and_then(literal_text)) {
            self.query(node, name, true);
        }
    }

    pub(super) fn sum(&mut self, node: &IdedExpr, sign: &str, left: &Type, right: &Type) -> Type {
        match (left, right, sign) {
            (Type::Any, _, _) | (_, Type::Any, _) => Type::Any,
            (Type::Whole, Type::Whole, _) => Type::Whole,
            (Type::Number, Type::Number, _) => Type::Number,
            (Type::Text(_), Type::Text(_), "+") => Type::Text(None),
            (Type::List(_), Type::List(_), "+") => left.clone().or(right.clone()),
            (Type::Duration, Type::Duration, "+" | "-") => Type::Duration,
            (Type::Instant, Type::Duration, "+" | "-") | (Type::Duration, Type::Instant, "+") => {
                Type::Instant
            }
            (Type::Instant, Type::Instant, "-") => Type::Duration,
            (Type::Whole, Type::Number, _) | (Type::Number, Type::Whole, _) => {
                let message = "CEL does not calculate with whole numbers and fractions together";
                let help = "write `2.0` instead of `2`, or use `double()`";
                self.problem(node, message.to_owned(), Some(help.to_owned()));
                Type::Any
            }
            _ => {
                let (left, right) = (left.describe(), right.describe());
                let message = format!("{left} and {right} cannot be calculated with");
                self.problem(node, message, None);
                Type::Any
            }
        }
    }
}
