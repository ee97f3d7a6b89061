//! The house rules, executed: who may use whom, that every file is reached, opens with its purpose
//! and stays readable, and that every invariant names a test that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use of the others. `domain` uses nobody; whoever decides cannot act.
const MAY_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("domain", &[]),
    ("secret", &["clock"]),
    ("outbound", &["clock", "secret"]),
    ("config", &["document", "domain", "secret"]),
    ("metrics", &["domain", "journal", "kubernetes"]),
    ("telemetry", &["config", "outbound", "terminal"]),
    ("terminal", &[]),
    ("lifecycle", &["clock"]),
    ("journal", &["clock", "domain"]),
    ("document", &["domain"]),
    ("policies", &["clock", "document", "domain"]),
    ("kubernetes", &["clock", "domain"]),
    ("prometheus", &["clock", "domain", "outbound"]),
    ("alertmanager", &["clock", "domain", "outbound"]),
    ("notify", &["clock", "domain", "outbound"]),
    ("slack", &["clock", "domain", "outbound"]),
    (
        "correspondence",
        &["clock", "config", "domain", "engine", "http", "journal", "metrics", "notify", "slack"],
    ),
    ("http", &["clock", "config", "domain", "metrics", "secret", "slack"]),
    (
        "engine",
        &[
            "alertmanager",
            "clock",
            "domain",
            "http",
            "journal",
            "kubernetes",
            "metrics",
            "notify",
            "prometheus",
        ],
    ),
    ("sandbox", &["clock"]),
];

/// The rooms that put the others together.
const COMPOSE: &[&str] = &["cli", "service", "main", "lib"];

/// What the pure part must not name: input, output, time, chance and the libraries of the ports.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio::",
    "kube::",
    "k8s_openapi::",
    "sqlx::",
    "axum::",
    "reqwest::",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "rand::",
];

/// Lines of a file, tests in files of their own excluded: beyond this it has two reasons to change.
const LONGEST: usize = 500;

/// How the names of files end that hold only tests.
const TEST_FILES: &[&str] = &["tests", "exhaustive", "properties", "testing"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of this repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("a file of src");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code without its comments: prose may speak of anything.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms that `crate::ROOM` names in a text.
fn used(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        let word = |text: &str| {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
        };
        if let Some(list) = part.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            rooms.extend(list.split(',').map(|item| word(item.trim())));
        } else {
            rooms.insert(word(part));
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src")) {
        let room = room(&path);
        if COMPOSE.contains(&room.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: room `{room}` is not in the rule", relative(&path)));
            continue;
        };
        let text = code(&fs::read_to_string(&path).expect("readable"));
        for other in used(&text) {
            let known =
                MAY_USE.iter().any(|(name, _)| *name == other) || COMPOSE.contains(&other.as_str());
            if known && other != room && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: `{room}` may not use `{other}`", relative(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src/domain")) {
        let text = code(&fs::read_to_string(&path).expect("readable"));
        for word in NOT_IN_DOMAIN {
            if text.contains(word) {
                wrong.push(format!("{}: names `{word}`", relative(&path)));
            }
        }
        if text.contains("async fn") || text.contains(".await") {
            wrong.push(format!("{}: waits", relative(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_its_purpose_and_stays_readable() {
    let mut wrong = Vec::new();
    for below in ["src", "tests", "benches"] {
        let below = root().join(below);
        for path in if below.exists() { sources(&below) } else { Vec::new() } {
            let text = fs::read_to_string(&path).expect("readable");
            if !text.starts_with("//!") {
                wrong.push(format!("{}: does not open with `//!`", relative(&path)));
            }
            let lines = text.lines().count();
            let name = path.file_stem().expect("a name").to_string_lossy();
            let tests = TEST_FILES.iter().any(|end| name.ends_with(end));
            if below.ends_with("src") && !tests && lines > LONGEST {
                wrong.push(format!("{}: {lines} lines", relative(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files that a file's `mod` declarations reach.
fn reached(from: &Path, all: &mut BTreeSet<PathBuf>) {
    if !all.insert(from.to_path_buf()) {
        return;
    }
    let text = code(&fs::read_to_string(from).expect("readable"));
    let directory = from.parent().expect("a directory");
    let stem = from.file_stem().expect("a name").to_string_lossy().into_owned();
    let own = match stem.as_str() {
        "mod" | "lib" | "main" => directory.to_path_buf(),
        _ if directory.ends_with("tests") => directory.to_path_buf(),
        stem => directory.join(stem),
    };
    let mut path_attribute = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"") {
            path_attribute = path.split('"').next().map(str::to_owned);
            continue;
        }
        let declared = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ")
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = declared {
            let candidates = match path_attribute.take() {
                Some(path) => vec![directory.join(path)],
                None => {
                    vec![own.join(format!("{name}.rs")), own.join(name).join("mod.rs")]
                }
            };
            for candidate in candidates.iter().filter(|path| path.exists()) {
                reached(candidate, all);
            }
        }
    }
}

#[test]
fn every_file_is_reached() {
    let mut all = BTreeSet::new();
    reached(&root().join("src/lib.rs"), &mut all);
    reached(&root().join("src/main.rs"), &mut all);
    let mut files = sources(&root().join("src"));
    for suite in ["tests/it", "tests/cluster"] {
        reached(&root().join(suite).join("main.rs"), &mut all);
        files.extend(sources(&root().join(suite)));
    }
    let dead: Vec<_> =
        files.iter().filter(|path| !all.contains(*path)).map(|p| relative(p)).collect();
    assert!(dead.is_empty(), "no module reaches: {}", dead.join(", "));
}

/// `ARCHITECTURE.md` lists the invariants as `N. text` and below each `Test: name, name`.
#[test]
fn every_invariant_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let section = text.split("## Invariants").nth(1).expect("a section `Invariants`");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut all_code = String::new();
    for below in ["src", "tests"] {
        for path in sources(&root().join(below)) {
            all_code.push_str(&fs::read_to_string(&path).expect("readable"));
        }
    }
    let mut numbered = 0;
    let mut wrong = Vec::new();
    for line in section.lines() {
        if line.chars().next().is_some_and(|c| c.is_ascii_digit()) {
            numbered += 1;
        }
        let Some(names) = line.trim().strip_prefix("Test: ") else { continue };
        for name in names.split(", ").map(|name| name.trim_matches(['`', '.'])) {
            if !all_code.contains(&format!("fn {name}(")) {
                wrong.push(format!("no test is called `{name}`"));
            }
        }
    }
    let tests = section.matches("Test: ").count();
    assert!(numbered >= 10, "only {numbered} invariants");
    assert_eq!(numbered, tests, "each invariant names its tests");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
