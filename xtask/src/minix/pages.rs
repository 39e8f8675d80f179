//! The pages for users of MINIX quote the programs: what they quote is what the programs say.

use std::path::Path;

const VBLKCTL: &str = "crates/minix/vblkctl";
const TROUBLE: &str = "docs/minix-trouble.md";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust sources below a directory.
fn sources(directory: &str) -> String {
    all(directory, "rs")
}

/// All files below a directory whose names have this end.
fn all(directory: &str, end: &str) -> String {
    let mut text = String::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == end) {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

/// The section under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The texts between two marks, line by line.
fn between<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().flat_map(move |line| line.split(mark).skip(1).step_by(2))
}

/// The first columns of the tables.
fn first_columns(text: &str) -> impl Iterator<Item = &str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.split('|').nth(1))
}

/// The parts of a quotation that stand for themselves: `...`, `N` and names in capitals stand for others.
fn parts(quoted: &str) -> Vec<String> {
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase());
    let stands_for_others = |word: &str| {
        let mut words = word.split(|letter: char| !letter.is_ascii_alphanumeric());
        word.contains("...") || word.contains(|letter: char| letter.is_ascii_digit()) || words.any(is_name)
    };
    let mut parts = vec![String::new()];
    for word in quoted.split(' ') {
        match parts.last_mut() {
            Some(part) if !stands_for_others(word) => *part = format!("{part} {word}").trim_start().to_owned(),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn every_command_of_vblkctl_is_shown() {
    let (page, source) = (read("docs/minix.md"), sources(&format!("{VBLKCTL}/src")));
    let usage = source.split("usage: vblkctl").nth(1).unwrap();
    let lines = usage.lines().skip_while(|line| !line.starts_with("  info"));
    let commands: Vec<_> = lines
        .map_while(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|command| !command.starts_with(['-', '[']))
        .collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for command in commands {
        let is_shown = page.lines().any(|line| {
            let words = line.strip_prefix("# vblkctl ").map(|words| format!("{words} "));
            words.is_some_and(|words| {
                words.starts_with(&format!("{command} ")) || words.contains(&format!(" {command} "))
            })
        });
        assert!(is_shown, "{command}");
    }
}

#[test]
fn every_event_of_the_log_is_explained() {
    let (page, outputs) = (read(TROUBLE), all(&format!("{VBLKCTL}/tests/golden"), "txt"));
    let events: Vec<_> = outputs.lines().filter_map(|line| line.split_once(" s ago  ")).collect();
    assert!(events.len() >= 14, "{events:?}");
    // An event of a kind that vblkctl does not know is its numbers.
    let known = events.into_iter().filter(|(_, event)| !event.starts_with("event "));
    for (_, event) in known {
        let start: String = event.chars().take_while(|letter| !letter.is_ascii_digit()).collect();
        let start = start.split(": ").next().unwrap().trim_end();
        assert!(page.contains(&format!("`{start}")), "`{start}` is not on the page");
    }
}

#[test]
fn what_is_quoted_of_vblkctl_is_what_it_says() {
    let (page, source) = (read(TROUBLE), sources(&format!("{VBLKCTL}/src")));
    let mut missing = Vec::new();
    for quoted in first_columns(section(&page, "`vblkctl` does not work")).flat_map(|column| between(column, "`")) {
        missing.extend(parts(quoted).into_iter().filter(|part| !source.contains(part)));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    let slow = section(&page, "Requests are slow");
    for label in first_columns(slow).flat_map(|column| between(column, "*")) {
        assert!(source.contains(label), "{label}");
    }
}

#[test]
fn what_is_quoted_of_the_console_is_what_the_service_says() {
    let page = read("docs/minix.md");
    let source = [
        "crates/minix/virtio-blk-mmio/src",
        "crates/minix/blockdriver/src",
        "crates/minix/rt/src",
        "crates/virtio",
    ]
    .map(sources)
    .concat();
    // Texts go over several lines.
    let source = source
        .replace("\\\n", " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let quoted: Vec<_> = first_columns(section(&page, "Console output"))
        .flat_map(|column| between(column, "`"))
        .collect();
    assert!(quoted.len() > 30, "{quoted:?}");
    let mut missing = Vec::new();
    for quoted in quoted {
        missing.extend(parts(quoted).into_iter().filter(|part| !source.contains(part)));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
