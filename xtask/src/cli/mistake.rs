//! A mistake in the command line as one line that names the option at fault.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong, without an end of line.
pub(crate) fn line(error: &clap::Error) -> String {
    needing(error).unwrap_or_else(|| first_paragraph(&error.to_string()))
}

/// Of an option that needs another one clap names only the other one. Both are in its line of usage.
fn needing(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let (ContextValue::Strings(missing), ContextValue::StyledStr(usage)) =
        (error.get(ContextKind::InvalidArg)?, error.get(ContextKind::Usage)?)
    else {
        return None;
    };
    let usage = usage.to_string();
    let is_missing = |option: &&str| missing.iter().any(|name| name.split(' ').next() == Some(option));
    let given: Vec<_> = usage
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .filter(|option| !is_missing(option))
        .collect();
    let needs = if given.len() == 1 { "needs" } else { "need" };
    (!given.is_empty()).then(|| format!("error: {} {needs} {}", given.join(" and "), missing.join(" and ")))
}

/// Clap's first paragraph, and its tip if there is one.
fn first_paragraph(error: &str) -> String {
    let paragraph = error.lines().map(str::trim).take_while(|line| !line.is_empty());
    let mut line = paragraph.collect::<Vec<_>>().join(" ");
    if let Some(tip) = error.lines().find_map(|line| line.trim().strip_prefix("tip: ")) {
        line += "; ";
        line += tip;
    }
    line
}
