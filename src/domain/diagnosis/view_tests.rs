//! The view held against its documentation.

use cel::common::types::Kind;

use super::super::sample;
use super::super::vocabulary::{Field, Presence, Shape, VARIABLES};
use super::*;

/// Holds a value against its documented shape; collects what was seen, to prove that the
/// sample shows every field.
fn check(value: &dyn Val, shape: Shape, path: &str, seen: &mut Vec<String>) {
    seen.push(path.to_owned());
    let kind = value.get_type().kind();
    match shape {
        Shape::Truth => assert_eq!(kind, Kind::Boolean, "{path}"),
        Shape::Whole => assert_eq!(kind, Kind::Int, "{path}"),
        Shape::Number => assert_eq!(kind, Kind::Double, "{path}"),
        Shape::Text => assert_eq!(kind, Kind::String, "{path}"),
        Shape::OneOf(values) => {
            let text = value.downcast_ref::<CelString<'_>>().expect(path).inner();
            assert!(values.contains(&text), "{path}: {text}");
        }
        Shape::Duration => assert!(value.downcast_ref::<CelDuration>().is_some(), "{path}"),
        Shape::Instant => assert!(value.downcast_ref::<CelTimestamp>().is_some(), "{path}"),
        Shape::Texts => entries(value, path, |value| {
            assert_eq!(value.get_type().kind(), Kind::String, "{path}");
        }),
        Shape::Queries => entries(value, path, |value| {
            assert_eq!(value.get_type().kind(), Kind::Double, "{path}");
        }),
        Shape::List(inner) => {
            let list = value.downcast_ref::<CelList<'_>>().expect(path);
            for item in list.inner() {
                check(item.as_ref(), *inner, path, seen);
            }
        }
        Shape::Nullable(_) if kind == Kind::NullType => {}
        Shape::Object(fields) | Shape::Nullable(fields) => object(value, fields, path, seen),
    }
}

fn entries(value: &dyn Val, path: &str, check: impl Fn(&dyn Val)) {
    let map = value.downcast_ref::<CelMap<'_>>().expect(path);
    map.inner().values().for_each(|value| check(value.as_ref()));
}

fn object(value: &dyn Val, fields: &[Field], path: &str, seen: &mut Vec<String>) {
    let map = value.downcast_ref::<CelMap<'_>>().expect(path).inner();
    for key in map.keys() {
        let CelMapKey::String(key) = key else { panic!("{path}: {key:?}") };
        let documented = fields.iter().any(|field| field.name == key.inner());
        assert!(documented, "`{path}.{}` is not documented", key.inner());
    }
    for field in fields {
        let path = format!("{path}.{}", field.name);
        match (map.get(&CelMapKey::from(field.name)), field.presence) {
            (Some(value), _) => check(value.as_ref(), field.shape, &path, seen),
            (None, Presence::Sometimes) => {}
            (None, Presence::Always) => panic!("`{path}` is documented and not there"),
        }
    }
}

fn documented(shape: Shape, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match shape {
        Shape::Object(fields) | Shape::Nullable(fields) => {
            for field in fields {
                documented(field.shape, &format!("{path}.{}", field.name), all);
            }
        }
        Shape::List(inner) => {
            documented(*inner, path, all);
        }
        Shape::Truth
        | Shape::Whole
        | Shape::Number
        | Shape::Text
        | Shape::OneOf(_)
        | Shape::Duration
        | Shape::Instant
        | Shape::Texts
        | Shape::Queries => {}
    }
}

#[test]
fn the_view_is_what_the_documentation_says() {
    let mut facts = sample::facts();
    sample::add_the_rest(&mut facts);
    let view = View::new(&sample::alert(), &facts, sample::NOW);
    assert_eq!(view.unknown().count(), 0);
    let (mut seen, mut all) = (Vec::new(), Vec::new());
    for variable in VARIABLES {
        let value = view.value(variable.name).expect(variable.name);
        check(value, variable.shape, variable.name, &mut seen);
        documented(variable.shape, variable.name, &mut all);
    }
    assert_eq!(view.values.len(), VARIABLES.len());
    all.retain(|path| !seen.contains(path));
    assert_eq!(all, [""; 0], "the sample must show every field");
}

#[test]
fn every_variable_is_known_or_says_why_not() {
    for count in [0, 1, 2] {
        let mut facts = sample::facts();
        let target = facts.targets.remove(0);
        facts.targets = vec![target; count];
        let view = View::new(&sample::alert(), &facts, sample::NOW);
        for variable in VARIABLES {
            let known = view.value(variable.name).is_some();
            assert_ne!(known, view.why_unknown(variable.name).is_some(), "{}", variable.name);
        }
    }
}

#[test]
fn the_documentation_is_current() {
    let committed = include_str!("../../../docs/FACTS.md");
    assert_eq!(
        committed,
        super::super::documentation::documentation(),
        "run `orderly schema --facts > docs/FACTS.md`"
    );
}
