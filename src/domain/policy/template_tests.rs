//! Templates: their syntax, and hostile labels.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn render(source: &str, pairs: &[(&str, &str)]) -> Result<String, TemplateError> {
    Template::parse(source)?.render_with(&labels(pairs), &Labels::new())
}

fn promql(source: &str, value: &str) -> String {
    let template = Template::parse_promql(source).expect("a template");
    template.render_with(&labels(&[("a", value)]), &Labels::new()).expect("a query")
}

#[test]
fn names_are_made_from_labels() {
    let alert = [("agent_id", "Support"), ("k8s.pod", "p-1")];
    assert_eq!(render("{{ labels.agent_id }}-x", &alert).as_deref(), Ok("Support-x"));
    assert_eq!(render("{{labels.agent_id|lower}}", &alert).as_deref(), Ok("support"));
    assert_eq!(render("{{ labels[\"k8s.pod\"] }}", &alert).as_deref(), Ok("p-1"));
    assert_eq!(render("{{ labels.x | default('y') }}", &alert).as_deref(), Ok("y"));
    let trimmed = "{{ labels['k8s.pod'] | trimPrefix(\"p-\") | trimSuffix(\"z\") }}";
    assert_eq!(render(trimmed, &alert).as_deref(), Ok("1"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("{{ labels.x", 0, "closing `}}` is missing"),
        ("{{ 7*7 }}", 3, "write `{{ labels.NAME }}`"),
        ("a{% for x in y %}", 1, "only `{{ labels.NAME }}` placeholders"),
        ("{{ labels }}", 3, "say which one"),
        ("{{ labels.x | upper }}", 14, "the filters are"),
        ("{{ labels.x + 1 }}", 12, "only `|` and a filter"),
        ("{{ labels[x] }}", 10, "quoted text is missing"),
    ];
    for (source, at, text) in cases {
        match Template::parse(source) {
            Err(TemplateError::Syntax { message, offset, .. }) => {
                assert!(message.contains(text), "{source}: {message}");
                assert_eq!(offset, at, "{source}");
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn hostile_labels_make_no_name() {
    let hostile = [
        "../../kube-system",
        "{{ 7*7 }}",
        "a b",
        "A",
        "-a",
        "a-",
        "a..b",
        "a/../b",
        "%2e%2e",
        "a\nb",
        "é",
    ];
    for value in hostile {
        let template = Template::parse("{{ labels.a }}").expect("a template");
        let rendered = template.render_with(&labels(&[("a", value)]), &Labels::new());
        assert_eq!(rendered.as_deref(), Ok(value), "a label's value is never a template");
        assert!(KubernetesName::object(value).is_err(), "{value}");
        assert!(KubernetesName::namespace(value).is_err(), "{value}");
    }
    assert!(KubernetesName::object("a.b-c.d").is_ok());
    assert!(KubernetesName::namespace("a.b").is_err());
    assert!(KubernetesName::object(&"a".repeat(254)).is_err());
    assert!(KubernetesName::namespace(&"a".repeat(64)).is_err());
    assert!(label_value("").is_ok() && label_value("a=b,c").is_err());
}

#[test]
fn a_missing_or_empty_label_is_an_error_that_names_it() {
    let error = render("{{ labels.agent_id }}", &[("agent_id", "")]).expect_err("empty");
    assert_eq!(
        error.to_string(),
        "the alert has no label `agent_id`, which `{{ labels.agent_id }}` needs"
    );
}

#[test]
fn a_value_cannot_leave_its_quotes_in_promql() {
    let query = r#"up{a="{{ labels.a }}"}"#;
    assert_eq!(promql(query, "x"), r#"up{a="x"}"#);
    assert_eq!(promql(query, "x\"} or vector(0) #"), r#"up{a="x\x22} or vector(0) #"}"#);
    assert_eq!(promql(query, "\\"), r#"up{a="\\"}"#);
    assert_eq!(promql("up{a='{{ labels.a }}'}", "x'\n"), r"up{a='x\x27\n'}");
    assert_eq!(promql(r#"up{a=~"{{ labels.a }}-.*"}"#, "a.*"), r#"up{a=~"a\\.\\*-.*"}"#);
    assert_eq!(promql(r#"up{a !~ "{{ labels.a }}"}"#, "|"), r#"up{a !~ "\\|"}"#);
    assert_eq!(promql(r#"up{b=~"x",a="{{ labels.a }}"}"#, "a.b"), r#"up{b=~"x",a="a.b"}"#);
    for outside in ["{{ labels.a }}", "up{a=`{{ labels.a }}`}", "up # \"{{ labels.a }}\""] {
        assert!(Template::parse_promql(outside).is_err(), "{outside}");
    }
}

#[test]
fn only_labels_without_a_default_are_required() {
    let template =
        Template::parse("{{ labels.a }}{{ labels.b | default('x') }}{{ annotations.c }}");
    let required = template.expect("a template").required_labels().len();
    assert_eq!(required, 1);
}

proptest! {
    #[test]
    fn any_text_is_an_answer_not_a_panic(source in any::<String>(), value in any::<String>()) {
        for template in [Template::parse(&source), Template::parse_promql(&source)].into_iter().flatten() {
            let _answer = template.render_with(&labels(&[("a", &value)]), &Labels::new());
        }
    }

    #[test]
    fn no_value_ends_a_promql_string(value in "(?s).+") {
        let query = promql(r#"up{a="{{ labels.a }}"}"#, &value);
        let inner = query.strip_prefix("up{a=\"").and_then(|rest| rest.strip_suffix("\"}"));
        let inner = inner.expect("the frame is intact");
        prop_assert!(!inner.contains(['"', '\'', '\n']));
        let mut state = Promql::default();
        state.read(&query);
        prop_assert!(state.quote.is_none());
    }

    #[test]
    fn what_is_a_name_is_harmless_in_a_path(value in "[a-z0-9./%{}-]{0,12}") {
        if let Ok(name) = KubernetesName::object(&value) {
            let harmless = !name.as_str().contains(['/', '%', '{']) && !name.as_str().contains("..");
            prop_assert!(harmless);
        }
    }
}
