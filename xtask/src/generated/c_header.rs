//! A header for C, made from the sources of a crate by `cbindgen`.

use anyhow::{Context, Result};

use super::Generated;
use crate::cli::Kind;
use crate::workspace::{Workspace, directory};

/// Makes the header of a crate from these files in its `src`. `file` is its place in the crate.
pub(super) fn generate(
    workspace: &Workspace,
    name: &str,
    sources: &[&str],
    file: &str,
    config: cbindgen::Config,
) -> Result<Generated> {
    let package = directory(workspace.package(name)?);
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = sources.iter().fold(builder, |builder, source| {
        builder.with_src(package.join("src").join(source))
    });
    let mut text = Vec::new();
    builder
        .generate()
        .context("cbindgen cannot read the sources")?
        .write(&mut text);
    let text = String::from_utf8(text).context("cbindgen wrote no text")?;
    Ok(Generated {
        file: package.join(file),
        text: for_c(&text),
        kind: Kind::Header,
    })
}

/// Without what has a meaning in Rust only: constants that are no number in C, and links in comments.
fn for_c(text: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    for line in text.lines() {
        let value = line.strip_prefix("#define ").and_then(|define| define.split_once(' '));
        if value.is_some_and(|(_, value)| value.contains('{') || value.contains("_BYTES / ")) {
            while kept.last().is_some_and(|line| line.starts_with("//")) {
                kept.pop();
            }
            continue;
        }
        let line = line
            .replace("(1 << 31)", "0x80000000")
            .replace("_T_BARRIER_BIT", "_T_BARRIER")
            .replace("// # Safety", "// The part of the caller:");
        kept.push(without_links(&line));
    }
    kept.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// The line with the names of links instead of the links.
fn without_links(line: &str) -> String {
    let mut parts = line.split("[`");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("`]").unwrap_or((part, ""));
        let rest = match rest.strip_prefix('(').and_then(|link| link.split_once(')')) {
            Some((_, rest)) => rest,
            None => rest,
        };
        text += &format!("`{name}`{rest}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_rust_knows_is_left_out() {
        let text = "// A value.\n#define X_NONE (struct x){ .a = 1 }\n// The bit, see [`a::b`](Self::b) and [`c`].\n#define X_T_BARRIER_BIT (1 << 31)\n";
        assert_eq!(
            for_c(text),
            "// The bit, see `a::b` and `c`.\n#define X_T_BARRIER 0x80000000\n"
        );
    }
}
