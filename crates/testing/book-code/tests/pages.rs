//! The code on pages of the book is that of files which are compiled: the line above each piece ends with the name of the file and a colon.

use std::fs;
use std::path::{Path, PathBuf};

/// The pages whose code is quoted.
const PAGES: [&str; 2] = ["porting.md", "from-virtio-drivers.md"];

/// A line of a quotation that stands for lines left out.
const LEFT_OUT: &str = "// ...";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The pieces of Rust and C code on a page: the number of the first line, the file, which the line above names before a colon, and the code.
fn pieces(page: &str) -> Vec<(usize, Option<&str>, Vec<&str>)> {
    let mut pieces = Vec::new();
    let mut above = "";
    let mut lines = (1..).zip(page.lines());
    while let Some((number, line)) = lines.next() {
        if line.starts_with("```rust") || line == "```c" {
            let named = above.strip_suffix("`:").and_then(|text| text.rsplit_once('`'));
            let code = lines.by_ref().map(|(_, line)| line.trim());
            let code = code.take_while(|line| *line != "```").collect();
            pieces.push((number, named.map(|(_, file)| file), code));
        }
        if !line.is_empty() {
            above = line;
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
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        let pieces = pieces(&text);
        assert!(!pieces.is_empty(), "{page} has no code");
        for (number, source, quoted) in pieces {
            let source = source.unwrap_or_else(|| panic!("{page}, line {number}: no file is named above"));
            let file = fs::read_to_string(root().join(source)).unwrap_or_else(|error| panic!("{source}: {error}"));
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
    let page = "See `a.rs`:\n\n```rust,ignore\nx\n```\nNext.\n```rust\ny\n```\n";
    let found = pieces(page);
    assert_eq!(found, [(3, Some("a.rs"), vec!["x"]), (7, None, vec!["y"])]);
}
