//! A page of tables, and which types have to be on it.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::path::Path;

use bitflags::Flags;
use minix_abi::Layout;

/// The page, as far as it is written.
pub(crate) struct Page {
    pub(crate) text: String,
    /// Types that are on it.
    pub(crate) types: BTreeSet<&'static str>,
}

impl Page {
    pub(crate) fn line(&mut self, line: impl Display) {
        writeln!(self.text, "{line}").unwrap();
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.line(format_args!("\n## {title}"));
    }

    pub(crate) fn table(&mut self, title: impl Display, about: &str, columns: &str) {
        self.line(format_args!("\n### {title}\n\n{about}\n\n{columns}"));
        self.line(format_args!("|{}", "---|".repeat(columns.matches('|').count() - 1)));
    }

    pub(crate) fn structure<T: Layout>(&mut self, about: &str) {
        self.types.insert(T::NAME);
        let title = format!("`{}`: {} bytes", T::NAME, T::BYTES);
        self.table(title, about, "| offset | length | field | type |");
        for field in T::FIELDS {
            let (offset, bytes) = (field.offset, field.bytes);
            self.line(format_args!(
                "| {offset} | {bytes} | `{}` | `{}` |",
                field.name, field.kind
            ));
        }
    }

    pub(crate) fn codes<T: Copy>(
        &mut self,
        name: &'static str,
        about: &str,
        list: &[(&str, T)],
        number: impl Fn(T) -> String,
    ) {
        self.types.insert(name);
        self.table(format!("`{name}`"), about, "| name | value |");
        for (name, code) in list {
            self.line(format_args!("| `{name}` | {} |", number(*code)));
        }
    }

    pub(crate) fn flags<T: Flags<Bits = u32>>(&mut self, name: &'static str, about: &str) {
        self.types.insert(name);
        self.table(format!("`{name}`"), about, "| flag | bit |");
        for flag in T::FLAGS.iter().filter(|flag| flag.is_named()) {
            self.line(format_args!("| `{}` | {:#x} |", flag.name(), flag.value().bits()));
        }
    }

    pub(crate) fn limits(&mut self, list: &[(&str, u64)]) {
        self.line("\n### Limits and constants\n\n| what | value |\n|---|---|");
        for (what, value) in list {
            let value = if *value < 1 << 24 {
                format!("{value}")
            } else {
                format!("{value:#x}")
            };
            self.line(format_args!("| {what} | {value} |"));
        }
    }
}

/// The types that the crate declares by its macros.
pub(crate) fn declared() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut in_macro = false;
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                if let Some(rest) = line.strip_prefix("layout!(") {
                    names.extend(rest.split(',').next().map(str::to_owned));
                }
                in_macro = line == "codes! {" || line == "flags! {" || in_macro && line != "}";
                if let Some(rest) = line.strip_prefix("    pub struct ").filter(|_| in_macro) {
                    names.extend(rest.split('(').next().map(str::to_owned));
                }
            }
        }
    }
    assert!(names.contains("BdevRequest") && names.contains("Endpoint") && names.contains("IrqPolicy"));
    names
}
