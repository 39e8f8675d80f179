//! The package sources apt is configured with, as far as needed to add a suite of the same archive.

use std::path::Path;

/// One entry of apt's configuration that gives binary packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) uris: Vec<String>,
    pub(crate) suites: Vec<String>,
    pub(crate) components: Vec<String>,
    /// A key file, or a key itself over several lines.
    pub(crate) signed_by: Option<String>,
}

/// All entries of this machine.
pub(crate) fn of_this_machine() -> Vec<Source> {
    let mut sources = read(Path::new("/etc/apt/sources.list"));
    let mut files: Vec<_> = std::fs::read_dir("/etc/apt/sources.list.d")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    sources.extend(files.iter().flat_map(|file| read(file)));
    sources
}

fn read(file: &Path) -> Vec<Source> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("list") => text.lines().filter_map(one_line).collect(),
        Some("sources") => stanzas(&text),
        _ => Vec::new(),
    }
}

/// `deb [option=value ...] uri suite component...`
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uris = vec![words.next()?];
    let suites = vec![words.next()?];
    Some(Source {
        uris,
        suites,
        components: words.collect(),
        signed_by,
    })
}

/// The newer form: paragraphs of `Field: value`, where a line that starts with a space goes on with the field before.
fn stanzas(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            *value += &format!("\n{line}");
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let field = |name: &str| {
        fields
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.clone())
    };
    let words = |name: &str| {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let switched_off = field("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if switched_off || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by"),
    })
}

/// Whether one of the sources has the suite.
pub(crate) fn have_suite(sources: &[Source], suite: &str) -> bool {
    sources
        .iter()
        .any(|source| source.suites.iter().any(|have| have == suite))
}

/// The text of a source for `suite` from the archive that already gives `release`, trusted by the same key. None if no
/// source gives that release.
pub(crate) fn sibling_suite(sources: &[Source], release: &str, suite: &str) -> Option<String> {
    let archive = sources.iter().find(|source| {
        source.suites.iter().any(|have| have == release) && source.components.iter().any(|have| have == "main")
    })?;
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n",
        archive.uris.join(" ")
    );
    if let Some(key) = &archive.signed_by {
        text += &format!("Signed-By:{}{key}\n", if key.starts_with('\n') { "" } else { " " });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_FORM: &str = "\
Types: deb
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";

    #[test]
    fn both_forms_give_the_same_sibling() {
        let old_form = [
            "# deb http://commented.example/debian bookworm main",
            "deb-src http://mirror.example/debian bookworm main",
            "deb [arch=amd64 signed-by=/usr/share/keyrings/archive.gpg] http://mirror.example/debian bookworm main contrib",
        ];
        let expected = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\n\
                        Components: main\nSigned-By: /usr/share/keyrings/archive.gpg\n";
        let old: Vec<Source> = old_form.iter().filter_map(|line| one_line(line)).collect();
        assert_eq!(old.len(), 1);
        for sources in [stanzas(NEW_FORM), old] {
            assert_eq!(
                sibling_suite(&sources, "bookworm", "bookworm-backports").as_deref(),
                Some(expected)
            );
            assert!(!have_suite(&sources, "bookworm-backports"));
            assert_eq!(sibling_suite(&sources, "trixie", "trixie-backports"), None);
        }
    }

    #[test]
    fn a_key_over_several_lines_is_kept() {
        let sources = stanzas(NEW_FORM);
        assert_eq!(sources.len(), 2);
        let text = sibling_suite(&sources, "bookworm-security", "x").unwrap();
        assert!(
            text.ends_with("Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"),
            "{text}"
        );
        assert_eq!(stanzas(&text)[0].signed_by, sources[1].signed_by);
    }

    #[test]
    fn a_suite_that_is_there_is_seen() {
        let source = one_line("deb http://mirror.example/debian bookworm-backports main").unwrap();
        assert!(have_suite(&[source], "bookworm-backports"));
        assert!(one_line("deb http://mirror.example/debian").is_none());
        assert!(one_line("debris http://mirror.example/debian sid main").is_none());
    }
}
