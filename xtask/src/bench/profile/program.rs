//! The image as an ELF file: where its code is, what reads the counter of instructions, and which source an address comes from.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::Context as Lines;
use addr2line::gimli::{Dwarf, EndianSlice, RunTimeEndian, SectionId};
use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

use super::trace::Marks;

/// The function that the image calls when counting begins.
const BEGINS: &str = "counting_begins";
/// The function that a bracket is.
const AROUND: &str = "Bracket::around";
/// The directory of the sources of Rust's libraries.
const LIBRARY: &str = "/library/";
/// `csrr rd, instret` whatever `rd` is.
const READ: (u32, u32) = (0xffff_f07f, 0xc020_2073);

/// A program with its debug information.
pub(super) struct Program<'a> {
    lines: Lines<EndianSlice<'a, RunTimeEndian>>,
    pub(super) marks: Marks,
    /// Where its code is.
    pub(super) code: Range<u64>,
    /// The directory whose files have short names.
    root: PathBuf,
    /// Files that were asked for, by lines.
    sources: HashMap<String, Vec<String>>,
}

/// A function that an instruction belongs to, inlined or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    /// Zero if it is not known.
    pub(super) line: u32,
    /// Whether it is of Rust's own libraries.
    pub(super) is_library: bool,
}

impl<'a> Program<'a> {
    /// Reads a program, an ELF file that was built from the sources below `root`.
    pub(super) fn parse(file: &'a [u8], root: &Path) -> Result<Self> {
        let elf = object::File::parse(file).context("the image is no program")?;
        let mut code: Option<Range<u64>> = None;
        let mut reads = Vec::new();
        for section in elf.sections().filter(|section| section.kind() == SectionKind::Text) {
            let bytes = section.data().context("the program has no code")?;
            let start = section.address();
            let end = start + bytes.len() as u64;
            code = Some(code.map_or(start..end, |code| code.start.min(start)..code.end.max(end)));
            // Instructions begin at even addresses. A match in the middle of one is never executed.
            for (place, window) in bytes.windows(4).enumerate().step_by(2) {
                let word = u32::from_le_bytes([window[0], window[1], window[2], window[3]]);
                if word & READ.0 == READ.1 {
                    reads.push(start + place as u64);
                }
            }
        }
        let begins = elf
            .symbols()
            .find(|symbol| symbol.name().is_ok_and(|name| name.contains(BEGINS)));
        let begins = begins
            .with_context(|| format!("the program has no function {BEGINS}"))?
            .address();
        if elf.section_by_name(".debug_line").is_none() {
            bail!("the program has no debug information; the release profile of Cargo.toml asks for it");
        }
        let load = |id: SectionId| -> Result<EndianSlice<'a, RunTimeEndian>, object::Error> {
            let section = elf.section_by_name(id.name());
            let bytes = section.map_or(Ok(&[][..]), |section| section.data())?;
            Ok(EndianSlice::new(bytes, RunTimeEndian::Little))
        };
        let dwarf = Dwarf::load(load).context("cannot read the debug information")?;
        let mut program = Program {
            lines: Lines::from_dwarf(dwarf).context("cannot read the debug information")?,
            marks: Marks {
                begins,
                ..Marks::default()
            },
            code: code.context("the program has no code")?,
            root: root.to_owned(),
            sources: HashMap::new(),
        };
        for read in reads {
            let frames = program.frames(read)?;
            let is_outer = frames.iter().any(|frame| frame.function.contains(AROUND));
            let marks = &mut program.marks;
            let of_its_kind = if is_outer {
                &mut marks.reads
            } else {
                &mut marks.inner_reads
            };
            of_its_kind.insert(read);
        }
        ensure!(!program.marks.reads.is_empty(), "the program has no function {AROUND}");
        Ok(program)
    }

    /// The functions that the instruction at an address belongs to: the one that was called first, then those inlined into it. What is
    /// inlined from Rust's libraries is a matter of the function that uses it.
    pub(super) fn frames(&self, address: u64) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        let mut found = self
            .lines
            .find_frames(address)
            .skip_all_loads()
            .context("cannot read the debug information")?;
        while let Some(frame) = found.next().context("cannot read the debug information")? {
            let function = frame
                .function
                .as_ref()
                .and_then(|name| Some(name.demangle().ok()?.into_owned()));
            let location = frame.location;
            let file = location.as_ref().and_then(|location| location.file).unwrap_or("?");
            frames.push(Frame {
                function: function.unwrap_or_else(|| format!("{address:#x}")),
                file: self.short(file),
                is_library: file.contains(LIBRARY),
                line: location.and_then(|location| location.line).unwrap_or(0),
            });
        }
        frames.reverse();
        if let Some(last) = frames.iter().rposition(|frame| !frame.is_library) {
            frames.truncate(last + 1);
        }
        if frames.is_empty() {
            frames.push(Frame {
                function: format!("{address:#x}"),
                file: "?".to_owned(),
                line: 0,
                is_library: false,
            });
        }
        Ok(frames)
    }

    /// A line of the source, where it is at hand.
    pub(super) fn source(&mut self, file: &str, line: u32) -> &str {
        let root = &self.root;
        let lines = self.sources.entry(file.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            text.lines().map(|line| line.trim().to_owned()).collect()
        });
        let place = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        place.and_then(|place| lines.get(place)).map_or("", String::as_str)
    }

    /// The name of a file below the root, or of the library or crate that it is in.
    fn short(&self, file: &str) -> String {
        let path = Path::new(file);
        if let Ok(below) = path.strip_prefix(&self.root) {
            return below.display().to_string();
        }
        match file.split_once(LIBRARY).or_else(|| file.split_once("/registry/src/")) {
            Some((_, name)) => name.to_owned(),
            None => file.to_owned(),
        }
    }
}
