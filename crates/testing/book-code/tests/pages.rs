//! The code on pages of the book is that of files which are compiled: above each piece the page names the file.

use std::fs;
use std::path::{Path, PathBuf};

/// The pages whose code is quoted.
const PAGES: [&str; 1] = ["from-virtio-drivers.md"];

/// A line of a quotation that stands for lines left out.
const LEFT_OUT: &str = "// ...";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs")
}

/// The targets of the links in a line that are Rust files.
fn sources(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|target| target.ends_with(".rs"))
}

/// The pieces of Rust code on a page, each with the file that was named last, and the number of its first line.
fn pieces(page: &str) -> Vec<(usize, Option<&str>, Vec<&str>)> {
    let mut pieces = Vec::new();
    let mut source = None;
    let mut lines = (1..).zip(page.lines());
    while let Some((number, line)) = lines.next() {
        if line.starts_with("```rust") {
            let code = lines.by_ref().map(|(_, line)| line.trim());
            pieces.push((number, source, code.take_while(|line| *line != "```").collect()));
        } else if line.starts_with('#') {
            source = None;
        } else {
            source = sources(line).last().or(source);
        }
    }
    pieces
}

/// The first part of a quotation that is not in the text, one after the other.
fn missing<'a>(quoted: &[&'a str], text: &str) -> Option<Vec<&'a str>> {
    let text: Vec<&str> = text.lines().map(str::trim).collect();
    let mut from = 0;
    for part in quoted.split(|line| *line == LEFT_OUT) {
        let part: Vec<&str> = part.to_vec();
        if part.is_empty() {
            continue;
        }
        let Some(place) = text[from..].windows(part.len()).position(|lines| lines == part) else {
            return Some(part);
        };
        from += place + part.len();
    }
    None
}

#[test]
fn code_on_the_pages_is_that_of_the_named_files() {
    for page in PAGES {
        let text = fs::read_to_string(docs().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        let pieces = pieces(&text);
        assert!(!pieces.is_empty(), "{page} has no code");
        for (number, source, quoted) in pieces {
            let source = source.unwrap_or_else(|| panic!("{page}, line {number}: no file is named above"));
            let file = fs::read_to_string(docs().join(source)).unwrap_or_else(|error| panic!("{source}: {error}"));
            if let Some(part) = missing(&quoted, &file) {
                panic!("{page}, line {number}: not in {source}:\n{}", part.join("\n"));
            }
        }
    }
}

#[test]
fn a_quotation_that_differs_is_found() {
    let text = "fn one() {\n    two();\n    three();\n}\n";
    assert_eq!(missing(&["fn one() {", "// ...", "three();"], text), None);
    assert_eq!(missing(&["two();", "}"], text), Some(vec!["two();", "}"]));
    assert_eq!(missing(&["three();", "// ...", "two();"], text), Some(vec!["two();"]));
    let page = "[a](../a.rs)\n```rust,ignore\nx\n```\n## Next\n```rust\ny\n```\n";
    let found = pieces(page);
    assert_eq!(found, [(2, Some("../a.rs"), vec!["x"]), (6, None, vec!["y"])]);
}
