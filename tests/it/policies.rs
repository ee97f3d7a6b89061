//! What people see of policies: the check with the offending text underlined, the tests of policies,
//! and that what is shipped passes both.

use std::path::PathBuf;

use annotate_snippets::Renderer;
use orderly::cli::Format;
use orderly::cli::check::{self, CheckArgs};
use orderly::cli::test::{self, TestArgs};

fn checked(args: &CheckArgs) -> (String, bool) {
    let mut out = Vec::new();
    let passed = check::write(args, &Renderer::plain(), &mut out).expect("written");
    (String::from_utf8(out).expect("text"), passed)
}

fn tested(args: &TestArgs) -> (String, bool) {
    let mut out = Vec::new();
    let passed = test::write(args, &Renderer::plain(), &mut out).expect("written");
    (String::from_utf8(out).expect("text"), passed)
}

fn check_args(path: &str) -> CheckArgs {
    CheckArgs {
        paths: vec![PathBuf::from(path)],
        format: Format::Text,
        config: None,
        strict: false,
    }
}

fn test_args(path: &str) -> TestArgs {
    TestArgs { paths: vec![PathBuf::from(path)], format: Format::Text, verbose: true }
}

#[test]
fn every_mistake_is_underlined() {
    let (text, passed) = checked(&check_args("tests/it/fixtures/bad-policies"));
    assert!(!passed);
    insta::assert_snapshot!(text);
}

#[test]
fn programs_read_the_same_as_json() {
    let mut args = check_args("tests/it/fixtures/bad-policies/unwise.yaml");
    args.format = Format::Json;
    let (text, passed) = checked(&args);
    assert!(passed, "warnings alone do not fail");
    insta::assert_snapshot!(text);
    args.strict = true;
    assert!(!checked(&args).1, "unless they are asked to");
}

#[test]
fn receivers_and_groups_are_held_against_the_configuration() {
    let with = |name: &str| {
        let mut args = check_args("policies/high-error-rate-forge.yaml");
        args.config = Some(PathBuf::from(format!("tests/it/fixtures/check-config/{name}.yaml")));
        checked(&args)
    };
    insta::assert_snapshot!(with("misspelt-receiver").0);
    insta::assert_snapshot!(with("misspelt-key").0);
    assert!(with("good").1);
    assert!(!with("gone").1);
}

#[test]
fn what_is_shipped_is_good() {
    let mut args = check_args("policies");
    args.strict = true;
    let (text, passed) = checked(&args);
    assert!(passed, "{text}");
    let (text, passed) = tested(&test_args("policies"));
    assert!(passed, "{text}");
}

#[test]
fn every_cause_that_is_shipped_has_a_test() {
    for entry in std::fs::read_dir("policies").expect("policies") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".yaml").filter(|stem| !stem.ends_with(".test")) else {
            continue;
        };
        let policy = std::fs::read_to_string(&path).expect("readable");
        let tests = path.with_file_name(format!("{stem}.test.yaml"));
        let tests = std::fs::read_to_string(tests).expect("tests beside the policy");
        let causes = policy.lines().filter_map(|line| line.strip_prefix("    - name: "));
        for cause in causes {
            assert!(tests.contains(&format!("cause: {cause}")), "{stem}: `{cause}` has no test");
        }
    }
}

#[test]
fn a_test_that_fails_says_what_was_decided_instead() {
    let (text, passed) = tested(&test_args("tests/it/fixtures/failing-tests"));
    assert!(!passed);
    insta::assert_snapshot!(text);
}

#[test]
fn no_tests_are_no_success() {
    let directory = tempfile::tempdir().expect("a directory");
    let (text, passed) = tested(&test_args(&directory.path().display().to_string()));
    assert!(!passed);
    assert_eq!(text, "there are no tests: write NAME.test.yaml beside a policy\n");
}
