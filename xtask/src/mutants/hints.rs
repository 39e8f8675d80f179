//! Which tests are likely to find a mutant: those that have found others in the same file, or in the same crate.

use std::collections::BTreeMap;

use cargo_metadata::{Package, Target};

/// How many programs with tests are tried before all of them.
const LIKELY: usize = 3;

/// A program with tests, as the words by which cargo knows it: `--lib`, or `--test` and its name.
pub(super) type Program = Vec<String>;

/// Every program with tests of a crate.
pub(super) fn all(package: &Package) -> Vec<Program> {
    let program = |target: &Target| {
        let name = target.name.clone();
        if target.is_test() {
            Some(vec!["--test".to_owned(), name])
        } else if target.is_bin() {
            Some(vec!["--bin".to_owned(), name])
        } else if target.is_lib() {
            Some(vec!["--lib".to_owned()])
        } else {
            None
        }
    };
    package.targets.iter().filter_map(program).collect()
}

/// The programs that have found mutants.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// By the file of the mutant, the latest one last.
    by_file: BTreeMap<String, Vec<Program>>,
    by_package: BTreeMap<String, Vec<Program>>,
}

impl Hints {
    /// The likely programs of a mutant. The tests in the code are always among them.
    pub(super) fn of(&self, package: &str, file: &str) -> Vec<Program> {
        let own = vec!["--lib".to_owned()];
        let of_file = self.by_file.get(file).into_iter().flatten().rev();
        let of_package = self.by_package.get(package).into_iter().flatten().rev();
        let mut likely: Vec<&Program> = Vec::new();
        for program in std::iter::once(&own).chain(of_file).chain(of_package) {
            if likely.len() < LIKELY && !likely.contains(&program) {
                likely.push(program);
            }
        }
        likely.into_iter().cloned().collect()
    }

    /// A program has found a mutant.
    pub(super) fn add(&mut self, package: &str, file: &str, program: Program) {
        if program.is_empty() {
            return;
        }
        for (found, key) in [(&mut self.by_file, file), (&mut self.by_package, package)] {
            let programs = found.entry(key.to_owned()).or_default();
            programs.retain(|it| *it != program);
            programs.push(program.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_finders_of_a_file_come_first() {
        let mut hints = Hints::default();
        let test = |name: &str| vec!["--test".to_owned(), name.to_owned()];
        let of = |hints: &Hints, package, file| hints.of(package, file).concat().join(" ");
        assert_eq!(of(&hints, "p", "f.rs"), "--lib");
        for (file, name) in [("f.rs", "a"), ("f.rs", "b"), ("g.rs", "c"), ("f.rs", "a")] {
            hints.add("p", file, test(name));
        }
        hints.add("p", "f.rs", Vec::new());
        assert_eq!(of(&hints, "p", "f.rs"), "--lib --test a --test b");
        assert_eq!(of(&hints, "p", "g.rs"), "--lib --test c --test a");
        assert_eq!(of(&hints, "q", "f.rs"), "--lib --test a --test b");
        assert_eq!(of(&hints, "q", "h.rs"), "--lib");
    }
}
