//! The pages quote the examples: what they quote is what is in the files.
//!
//! A quotation is a block of code after a line that ends with the name of the file and a colon.

use std::path::Path;

use clap::ValueEnum;

use super::Name;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that may quote: README files of crates, and docs.
fn pages() -> Vec<String> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let groups = entries(&root().join("crates"));
    let crates = groups.iter().flat_map(|group| entries(group));
    let readmes = crates
        .map(|folder| folder.join("README.md"))
        .filter(|path| path.exists());
    let docs = entries(&root().join("docs")).into_iter();
    let docs = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    readmes.chain(docs).map(|path| read(&path)).collect()
}

/// The quotations of a page: file and code.
fn quotations(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        let file = before.strip_suffix("`:").and_then(|text| text.rsplit_once('`'));
        match file {
            Some((_, file)) if line.starts_with("```") && file.starts_with("examples/") => {
                let code: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
                found.push((file.to_owned(), code.join("\n")));
            }
            _ => {}
        }
        if !line.is_empty() {
            before = line;
        }
    }
    found
}

/// Whether the lines of `code` stand in `source` one after the other, all of them indented by as much more.
fn is_part(code: &str, source: &str) -> bool {
    let (code, source): (Vec<_>, Vec<_>) = (code.lines().collect(), source.lines().collect());
    let depth = |line: &str| line.len() - line.trim_start().len();
    source.windows(code.len().max(1)).any(|part| {
        let Some(more) = depth(part[0]).checked_sub(code.first().map_or(0, |line| depth(line))) else {
            return false;
        };
        part.iter()
            .zip(&code)
            .all(|(line, quoted)| line.get(more.min(line.len())..) == Some(quoted))
    })
}

#[test]
fn what_is_quoted_is_in_the_example_and_each_example_is_quoted() {
    let quotations: Vec<_> = pages().iter().flat_map(|page| quotations(page)).collect();
    for (file, code) in &quotations {
        assert!(
            is_part(code, &read(&root().join(file))),
            "not in {file} as quoted:\n{code}"
        );
    }
    for name in Name::value_variants() {
        let folder = format!("examples/{}/", name.package());
        assert!(
            quotations.iter().any(|(file, _)| file.starts_with(&folder)),
            "no page quotes {folder}"
        );
    }
}

#[test]
fn a_quotation_that_differs_is_found() {
    let source = "fn a() {\n    b();\n\n    c();\n}\n";
    for (code, is_there) in [
        ("b();\n\nc();", true),
        ("fn a() {\n    b();", true),
        ("b();\nc();", false),
        ("b();\n\n  c();", false),
        ("d();", false),
    ] {
        assert_eq!(is_part(code, source), is_there, "{code}");
    }
    let page = "See `examples/x/src/main.rs`:\n\n```ignore\nb();\n```\n\n```\nother\n```\n";
    assert_eq!(
        quotations(page),
        [("examples/x/src/main.rs".to_owned(), "b();".to_owned())]
    );
}
