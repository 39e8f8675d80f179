//! The text of `system.conf`, read as `minix-service` reads it: `minix/lib/libc/gen/configfile.c` and
//! `minix/commands/minix-service/parse.c` of the source tree.

use std::ops::Range;

use anyhow::{Result, bail};

/// Characters of a word, beside letters, digits and all that is not ASCII.
const SPECIAL: &[u8] = b"!#$%&*+-./:<=>?[\\]^_|~";

/// One statement: words and lists up to a `;`.
#[derive(Debug)]
struct Statement<'a> {
    /// From its first word to its last item.
    items: Range<usize>,
    /// The same, with the `;` if it has one.
    whole: Range<usize>,
    /// The words before the first list, without what quotes and escapes mean.
    words: Vec<&'a str>,
    /// What is between the braces of its lists.
    lists: Vec<Range<usize>>,
    /// Its last item is a list, and it has no other.
    ends_with_its_list: bool,
}

/// Where the entry of a service is in a text: from the word `service` to its `};`. Of several entries the first is the one that
/// counts.
pub(super) fn entry(text: &str, name: &str) -> Result<Option<Range<usize>>> {
    let statements = statements(text)?;
    let Some(found) = statements.into_iter().find(|statement| is_of(statement, name)) else {
        return Ok(None);
    };
    if !found.ends_with_its_list {
        bail!(
            "line {}: `service {name}` is not one list with a `;`",
            line_of(text, found.items.start)
        );
    }
    Ok(Some(found.whole))
}

/// Whether other files are taken in: entries may be in those.
pub(super) fn includes(text: &str) -> Result<bool> {
    let statements = statements(text)?;
    Ok(statements
        .iter()
        .any(|statement| statement.words.first() == Some(&"include")))
}

/// The scheduling priority that the entry of a service sets.
pub(super) fn priority(text: &str, name: &str) -> Result<Option<u32>> {
    let statements = statements(text)?;
    let entry = statements.iter().find(|statement| is_of(statement, name));
    let Some(list) = entry.and_then(|entry| entry.lists.first()) else {
        return Ok(None);
    };
    // `minix-service` goes through all of them.
    let mut priority = None;
    for statement in self::statements(&text[list.clone()])? {
        if let ["priority", number] = statement.words[..] {
            priority = number.parse().ok();
        }
    }
    Ok(priority)
}

fn is_of(statement: &Statement<'_>, name: &str) -> bool {
    matches!(statement.words[..], ["service", of, ..] if of == name)
}

/// The number of the line that a place is in, counted from 1.
fn line_of(text: &str, place: usize) -> usize {
    1 + text[..place].matches('\n').count()
}

fn statements(text: &str) -> Result<Vec<Statement<'_>>> {
    let mut reader = Reader { text, place: 0 };
    let statements = reader.list()?;
    match reader.next() {
        None => Ok(statements),
        Some(_) => reader.unexpected(),
    }
}

#[derive(Debug)]
struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.place).copied()
    }

    fn unexpected<T>(&self) -> Result<T> {
        let line = line_of(self.text, self.place);
        match self.text[self.place..].chars().next() {
            None => bail!("line {line}: ends in the middle of a statement"),
            Some(found) => bail!("line {line}: unexpected `{found}`"),
        }
    }

    /// White space and comments. A `#` begins a comment only after white space, and at the very start.
    fn skip_white(&mut self) {
        let mut is_after_white = self.place == 0;
        loop {
            match self.next() {
                Some(b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r') => {
                    self.place += 1;
                    is_after_white = true;
                }
                Some(b'#') if is_after_white => {
                    let rest = &self.text[self.place..];
                    self.place += rest.find('\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Statements up to the end of the text or a `}`.
    fn list(&mut self) -> Result<Vec<Statement<'a>>> {
        let mut statements = Vec::new();
        loop {
            self.skip_white();
            match self.next() {
                None | Some(b'}') => return Ok(statements),
                Some(b';') => self.place += 1,
                Some(_) => statements.push(self.statement()?),
            }
        }
    }

    fn statement(&mut self) -> Result<Statement<'a>> {
        let start = self.place;
        let mut statement = Statement {
            items: start..start,
            whole: start..start,
            words: Vec::new(),
            lists: Vec::new(),
            ends_with_its_list: false,
        };
        loop {
            self.skip_white();
            match self.next() {
                Some(b';') => {
                    self.place += 1;
                    statement.whole = start..self.place;
                    return Ok(statement);
                }
                // The last statement of a list needs none.
                None | Some(b'}') => {
                    statement.whole = statement.items.clone();
                    return Ok(statement);
                }
                Some(b'{') if self.place > start => {
                    self.place += 1;
                    let list = self.place;
                    self.list()?;
                    statement.lists.push(list..self.place);
                    if self.next() != Some(b'}') {
                        return self.unexpected();
                    }
                    self.place += 1;
                    statement.ends_with_its_list = statement.lists.len() == 1;
                }
                Some(_) => {
                    let word = self.word()?;
                    statement.ends_with_its_list = false;
                    if statement.lists.is_empty() {
                        statement.words.push(word);
                    }
                }
            }
            statement.items.end = self.place;
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        let start = self.place;
        let quote = self.next().filter(|first| matches!(first, b'\'' | b'"'));
        self.place += usize::from(quote.is_some());
        loop {
            match (self.next(), quote) {
                (Some(found), Some(quote)) if found == quote => {
                    self.place += 1;
                    break;
                }
                (None | Some(b'\n'), Some(_)) => bail!("line {}: a string is not closed", line_of(self.text, start)),
                (Some(b'\\'), _) => self.escape(),
                (Some(_), Some(_)) => self.place += 1,
                (Some(found), None) if found.is_ascii_alphanumeric() || found >= 0x80 || SPECIAL.contains(&found) => {
                    self.place += 1;
                }
                (_, None) if self.place == start => return self.unexpected(),
                (_, None) => break,
            }
        }
        Ok(&self.text[start..self.place])
    }

    /// A backslash and what belongs to it: one character, or the white space up to where the word goes on.
    fn escape(&mut self) {
        self.place += 1;
        match self.text[self.place..].chars().next() {
            Some(' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r') => self.skip_white(),
            Some(found) => self.place += found.len_utf8(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> &str {
        &text[entry(text, "disk").unwrap().unwrap()]
    }

    #[test]
    fn entries_are_found_however_they_are_written() {
        for entry in [
            "service disk { uid 0; };",
            "service disk{uid 0;};",
            "service\n\t  disk\n{\n\tuid\t0;\n}\n;",
            "service disk { ipc a b # } not the end\n; };",
            "service disk { ipc '}' \"};\"; };",
            "service disk { io 0x1000:0x10 };",
            "service disk { class { a; }; };",
            "service disk { };",
            "service disk {\r\n\tuid 0;\r\n};",
        ] {
            for (before, after) in [
                ("", ""),
                ("# service disk { uid 1; };\n", "\n# end"),
                ("service other { uid 0; };\n\n", "\nservice last { uid 0; };\n"),
                ("service diskette { uid 0; };\n", "service disk2 { };"),
                ("\t#service disk { };\n;;", " # why it is there\n"),
            ] {
                assert_eq!(found(&format!("{before}{entry}{after}")), entry);
            }
        }
    }

    #[test]
    fn the_first_of_two_entries_counts() {
        assert_eq!(
            found("service disk { uid 1; };\nservice disk { uid 2; };"),
            "service disk { uid 1; };"
        );
    }

    #[test]
    fn the_last_statement_needs_no_semicolon() {
        assert_eq!(found("service disk { uid 0 }\n"), "service disk { uid 0 }");
    }

    /// `minix-service` takes it for a part of a word as well.
    #[test]
    fn a_hash_after_a_semicolon_begins_no_comment() {
        assert!(entry("service a { uid 0;# }\n};", "a").is_err());
        assert!(
            entry("service a { uid 0; };#\nservice disk { };", "disk")
                .unwrap()
                .is_none()
        );
        assert_eq!(
            found("service a { uid 0; }; # \nservice disk { };"),
            "service disk { };"
        );
    }

    #[test]
    fn no_entry_is_found_where_none_is() {
        for text in [
            "",
            "\n",
            "# service disk { };",
            "service other { ipc disk; };",
            "service 'disk' { };",
        ] {
            assert!(entry(text, "disk").unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn broken_text_is_refused_with_the_line() {
        for (text, line) in [
            ("service disk {\n uid 0;\n", "line 3: ends in the middle"),
            ("\nservice disk { uid 0; }; }", "line 2: unexpected `}`"),
            ("service other { ipc 'a\n; };", "line 1: a string is not closed"),
            ("service other ( uid 0; );", "line 1: unexpected `(`"),
            (
                "service disk { uid 0; }\nservice other { };",
                "line 1: `service disk` is not one list",
            ),
            ("\nservice disk uid 0;", "line 2: `service disk` is not one list"),
        ] {
            let error = entry(text, "disk").map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }

    #[test]
    fn priorities_are_read_from_the_entry_of_their_service() {
        let text = "service a { priority 3; };\nservice mfs { # priority 1;\n priority 5; quantum 500; };";
        assert_eq!(priority(text, "mfs").unwrap(), Some(5));
        assert_eq!(priority(text, "a").unwrap(), Some(3));
        assert_eq!(priority(text, "b").unwrap(), None);
        assert_eq!(priority("service mfs { };", "mfs").unwrap(), None);
    }

    #[test]
    fn included_files_are_noticed() {
        assert!(includes("include \"more\";\nservice a { };").unwrap());
        assert!(!includes("# include more;\nservice include { };").unwrap());
    }
}
