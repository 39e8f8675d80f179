//! Breakages: small changes of the product, each of which breaks one requirement. They are data, in `xtask/breakages.toml`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::citation::Citation;

/// Place of the list, from the root of the workspace.
pub(super) const LIST: &str = "xtask/breakages.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    breakage: Vec<Breakage>,
}

/// A change that breaks a requirement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Breakage {
    pub(super) id: String,
    /// From the root of the workspace.
    pub(super) file: String,
    /// Stands once in the file.
    pub(super) search: String,
    pub(super) replace: String,
}

/// The tests of one program that cite a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tests {
    pub(super) package: String,
    /// The words by which cargo knows the program.
    pub(super) target: Vec<String>,
    pub(super) names: Vec<String>,
}

impl Breakage {
    /// The text of the file with the breakage in it.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        ensure!(
            self.search != self.replace,
            "{}: it changes nothing in {}",
            self.id,
            self.file
        );
        match text.matches(&self.search).count() {
            1 => Ok(text.replacen(&self.search, &self.replace, 1)),
            count => bail!(
                "{}: the text to break stands {count} times in {}: {:?}",
                self.id,
                self.file,
                self.search
            ),
        }
    }

    /// A name that is another one as soon as the broken file or one of the tests is.
    pub(super) fn name(&self, root: &Path, citations: &[&Citation]) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        (&self.search, &self.replace).hash(&mut hasher);
        let tests = citations.iter().map(|citation| &citation.file);
        for file in std::iter::once(&self.file).chain(tests) {
            let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
            text.hash(&mut hasher);
        }
        citations.iter().for_each(|citation| citation.test.hash(&mut hasher));
        Ok(format!("{} {:016x}", self.id, hasher.finish()))
    }
}

/// The breakages of a list.
pub(super) fn parse(text: &str) -> Result<Vec<Breakage>> {
    let list: List = toml::from_str(text).with_context(|| format!("cannot read {LIST}"))?;
    Ok(list.breakage)
}

/// The breakages of the workspace, if each can be made and names a test.
pub(super) fn load(root: &Path, citations: &[Citation]) -> Result<Vec<Breakage>> {
    let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let breakages = parse(&text)?;
    for breakage in &breakages {
        let file = std::fs::read_to_string(root.join(&breakage.file));
        breakage.apply(&file.with_context(|| format!("{}: cannot read {}", breakage.id, breakage.file))?)?;
        ensure!(
            citations.iter().any(|citation| citation.id == breakage.id),
            "{}: no test cites it",
            breakage.id
        );
    }
    Ok(breakages)
}

/// The tests of these citations by the programs that have them. `packages` are names and folders.
pub(super) fn tests(citations: &[&Citation], packages: &[(String, String)]) -> Result<Vec<Tests>> {
    let mut programs: BTreeMap<(String, Vec<String>), Vec<String>> = BTreeMap::new();
    for citation in citations {
        let of = packages.iter().find_map(|(name, folder)| {
            let inside = citation.file.strip_prefix(folder.as_str())?.strip_prefix('/')?;
            Some((name, inside))
        });
        let (package, inside) = of.with_context(|| format!("{} is in no crate", citation.file))?;
        let target = match inside.strip_prefix("tests/") {
            Some(program) => vec!["--test".to_owned(), program.trim_end_matches(".rs").to_owned()],
            None => vec!["--lib".to_owned()],
        };
        let tests = programs.entry((package.clone(), target)).or_default();
        tests.push(full_name(inside, &citation.test));
    }
    let tests = programs
        .into_iter()
        .map(|((package, target), names)| Tests { package, target, names });
    Ok(tests.collect())
}

/// The name of a test in its program: tests of a library stand in the module `tests` of their file.
fn full_name(inside: &str, test: &str) -> String {
    match inside.strip_prefix("src/") {
        Some(file) => {
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            format!("{module}::tests::{test}")
        }
        None => test.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[[breakage]]\nid = 'CFG-D-01'\nfile = 'f.rs'\nsearch = 'a == b'\nreplace = 'a != b'\n";

    #[test]
    fn a_breakage_changes_the_one_place_it_names() {
        let breakage = parse(ONE).unwrap().remove(0);
        assert_eq!(breakage.apply("if a == b {}").unwrap(), "if a != b {}");
        assert!(breakage.apply("if a < b {}").is_err(), "stale");
        assert!(breakage.apply("a == b, a == b").is_err(), "ambiguous");
        assert!(parse(&ONE.replace("search", "sarch")).is_err());
    }

    #[test]
    fn a_breakage_that_changes_nothing_is_refused() {
        let breakage = parse(&ONE.replace("a != b", "a == b")).unwrap().remove(0);
        assert!(breakage.apply("if a == b {}").is_err());
    }

    #[test]
    fn tests_are_grouped_by_their_program() {
        let citation = |file: &str, test: &str| Citation {
            id: "CFG-D-01".to_owned(),
            file: file.to_owned(),
            test: test.to_owned(),
        };
        let citations = [
            citation("crates/x/src/a/b.rs", "unit"),
            citation("crates/x/tests/t.rs", "one"),
            citation("crates/x/tests/t.rs", "two"),
        ];
        let packages = [
            ("xy".to_owned(), "crates/xy".to_owned()),
            ("x".to_owned(), "crates/x".to_owned()),
        ];
        let citations: Vec<&Citation> = citations.iter().collect();
        let found = tests(&citations, &packages).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.target.join(" "), it.names.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                ("--lib".to_owned(), "a::b::tests::unit".to_owned()),
                ("--test t".to_owned(), "one two".to_owned())
            ]
        );
        assert!(tests(&citations, &packages[..1]).is_err());
    }
}
