//! Which files of a directory hold policies.
//!
//! A mounted ConfigMap shows each file three times: in `..2026_11_22_…/`, through the link `..data`,
//! and by its name. Names that begin with a dot are skipped, so each policy is found once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::diagnostic::{Diagnostic, SourceFile};
use crate::document::yaml::MAX_FILE;

/// Deepest nesting of directories; linked ones could go round in circles.
const MAX_DEPTH: usize = 8;
/// Most files: ten thousand policies with their tests beside them.
const MAX_FILES: usize = 20_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Files with policies, by name.
    pub files: Vec<SourceFile>,
    /// Tests of policies (`<name>.test.yaml`), by name.
    pub tests: Vec<SourceFile>,
    /// What could not be read.
    pub problems: Vec<Diagnostic>,
}

/// Reads all policy files under `paths`, which are directories or single files.
pub fn read(paths: &[PathBuf]) -> Found {
    let mut search = Search::default();
    for path in paths {
        search.visit(path, 0);
    }
    search.found.files.sort_by(|one, other| one.path.cmp(&other.path));
    search.found.tests.sort_by(|one, other| one.path.cmp(&other.path));
    search.found
}

#[derive(Default)]
struct Search {
    found: Found,
    seen: BTreeSet<PathBuf>,
}

impl Search {
    fn problem(&mut self, path: &Path, what: &str, error: &io::Error) {
        let message = format!("{what} `{}` cannot be read: {error}", path.display());
        self.found.problems.push(Diagnostic::of_file(path, "unreadable", message));
    }

    fn visit(&mut self, path: &Path, depth: usize) {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) => return self.problem(path, "the path", &error),
        };
        if !self.seen.insert(real.clone()) {
            return;
        }
        if real.is_dir() {
            self.directory(path, depth);
        } else if depth == 0 || is_yaml(path) {
            self.file(path);
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} directories inside each other");
            self.found.problems.push(Diagnostic::of_file(path, "limit", message));
            return;
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.problem(path, "the directory", &error),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => self.problem(path, "the directory", &error),
            }
        }
        names.sort();
        for name in names {
            if !name.to_string_lossy().starts_with('.') {
                self.visit(&path.join(name), depth + 1);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        if self.found.files.len() + self.found.tests.len() >= MAX_FILES {
            if self.found.problems.iter().all(|problem| problem.code != "limit") {
                let message = format!("more than {MAX_FILES} files: the rest is not read");
                self.found.problems.push(Diagnostic::of_file(path, "limit", message));
            }
            return;
        }
        let size = fs::metadata(path).map(|metadata| metadata.len());
        match size {
            Ok(size) if size > MAX_FILE as u64 => {
                let message = format!("the file is larger than {MAX_FILE} bytes");
                self.found.problems.push(Diagnostic::of_file(path, "limit", message));
                return;
            }
            Ok(_) => {}
            Err(error) => return self.problem(path, "the file", &error),
        }
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                let file = SourceFile::new(path, text);
                if is_test(path) {
                    self.found.tests.push(file);
                } else {
                    self.found.files.push(file);
                }
            }
            Ok(Err(_)) => {
                let message = "the file is not UTF-8 text";
                self.found.problems.push(Diagnostic::of_file(path, "unreadable", message));
            }
            Err(error) => self.problem(path, "the file", &error),
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// `<name>.test.yaml` holds tests of the policies beside it.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().map(Path::new);
    stem.and_then(Path::extension).is_some_and(|ending| ending == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[SourceFile]) -> Vec<String> {
        let name = |file: &SourceFile| file.path.file_name().map(|n| n.to_string_lossy().into());
        files.iter().filter_map(name).collect()
    }

    #[test]
    fn a_mounted_config_map_shows_each_policy_once() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("..2026_11_22_03_00_00.1");
        fs::create_dir_all(data.join("sub")).expect("a directory");
        fs::write(data.join("a.yaml"), "a: 1\n").expect("a file");
        fs::write(data.join("sub/b.yml"), "b: 1\n").expect("a file");
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, root.path().join(at)).expect("a link");
        };
        link("..2026_11_22_03_00_00.1", "..data");
        link("..data/a.yaml", "a.yaml");
        link("..data/sub", "sub");
        link("..data/a.yaml", "same.yaml");
        let found = read(&[root.path().to_owned()]);
        assert_eq!(names(&found.files), ["a.yaml", "b.yml"]);
        assert!(found.problems.is_empty());
    }

    #[test]
    fn tests_and_strangers_are_set_aside_and_circles_end() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["a.yaml", "a.test.yaml", "b.json", "README.md", ".hidden.yaml"] {
            fs::write(root.path().join(name), "x: 1\n").expect("a file");
        }
        std::os::unix::fs::symlink(".", root.path().join("again")).expect("a link");
        let found = read(&[root.path().to_owned(), root.path().join("a.yaml")]);
        assert_eq!(names(&found.files), ["a.yaml"]);
        assert_eq!(names(&found.tests), ["a.test.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("a.yaml"), [0xff, 0xfe]).expect("a file");
        let found = read(&[root.path().to_owned(), root.path().join("gone")]);
        let codes: Vec<_> = found.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["unreadable", "unreadable"]);
        assert!(found.problems[0].message.contains("not UTF-8"));
        assert!(found.problems[1].message.contains("No such file"));
    }
}
