//! A system with one disk that answers by a script, and texts to compare with.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

use minix_abi::Errno;
use minix_abi::disk_control::{RangeRequest, VERSION};
use minix_abi::ioctl::IoctlCode;
use minix_abi::trace::TraceEntry;
use minix_abi::vfs::{Descriptor, OpenMode};
use vblkctl::{Calls, DONE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The descriptor of the disk.
const DISK: Descriptor = Descriptor(5);

const RANGES: [IoctlCode; 3] = [IoctlCode::VBLKDISCARD, IoctlCode::VBLKZERO, IoctlCode::VBLKERASE];

/// A system with one disk. A request without an answer is not known.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answers: HashMap<u64, VecDeque<Result<Vec<u8>, Errno>>>,
    pub(crate) open: Option<Errno>,
    /// That error is only for writing.
    pub(crate) readable: bool,
    pub(crate) terminal: Option<&'static [u8]>,
    /// What is typed cannot be read.
    pub(crate) unreadable: bool,
    pub(crate) asked: Vec<(IoctlCode, Vec<u8>)>,
    pub(crate) opened: Vec<OpenMode>,
    pub(crate) closed: usize,
    pub(crate) slept: Vec<Duration>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    /// Writes to standard output.
    pub(crate) writes: usize,
    /// So many of them are taken, the others refused.
    pub(crate) taken: Option<usize>,
    /// Writes to standard output that were refused.
    pub(crate) refused: usize,
    /// Standard error output takes nothing.
    pub(crate) silent: bool,
    /// Sleeping fails.
    pub(crate) restless: bool,
    /// The last sectors of a range of fewer than 64 MiB are left out, so many.
    pub(crate) short_by: u64,
}

impl Script {
    /// The next answer to such a request; the last one stays.
    pub(crate) fn answer(mut self, code: IoctlCode, answer: Result<&[u8], Errno>) -> Self {
        let queue = self.answers.entry(code.0).or_default();
        queue.push_back(answer.map(<[u8]>::to_vec));
        self
    }

    /// The next report of the service.
    pub(crate) fn report(self, code: IoctlCode, report: &(impl IntoBytes + Immutable + ?Sized)) -> Self {
        self.answer(code, Ok(report.as_bytes()))
    }

    /// A disk of so many sectors, in blocks of 4096 bytes.
    pub(crate) fn sized(sectors: u64) -> Self {
        Self::default()
            .report(IoctlCode::VBLKVERSION, &VERSION)
            .report(IoctlCode::DIOCGMEDIASIZE, &(sectors * 512))
            .report(IoctlCode::DIOCGSECTORSIZE, &4096_u32)
    }

    pub(crate) fn run(&mut self, line: &str) -> u8 {
        vblkctl::run(self, line.split_whitespace())
    }

    /// What a command prints that goes well.
    pub(crate) fn printed(mut self, line: &str) -> String {
        assert_eq!(self.run(line), DONE, "{line}: {}", self.err());
        assert_eq!((self.err(), self.opened.len(), self.closed), ("", 1, 1), "{line}");
        String::from_utf8(self.out).unwrap()
    }

    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub(crate) fn err(&self) -> &str {
        std::str::from_utf8(&self.err).unwrap()
    }

    /// The ranges that were asked for.
    pub(crate) fn ranges(&self) -> Vec<(IoctlCode, RangeRequest)> {
        let ranges = self.asked.iter().filter(|(code, _)| RANGES.contains(code));
        ranges
            .map(|(code, bytes)| (*code, RangeRequest::read_from_bytes(bytes).unwrap()))
            .collect()
    }

    /// The requests that were made, without their arguments.
    pub(crate) fn codes(&self) -> Vec<IoctlCode> {
        self.asked.iter().map(|(code, _)| *code).collect()
    }
}

impl Calls for Script {
    fn open(&mut self, name: &CStr, mode: OpenMode) -> Result<Descriptor, Errno> {
        assert_eq!(name, c"/dev/c0d0");
        self.opened.push(mode);
        match self.open {
            Some(errno) if mode == OpenMode::O_RDWR || !self.readable => Err(errno),
            _ => Ok(DISK),
        }
    }

    fn close(&mut self, file: Descriptor) {
        assert_eq!(file, DISK);
        self.closed += 1;
    }

    fn control(&mut self, file: Descriptor, code: IoctlCode, argument: &mut [u8]) -> Result<u32, Errno> {
        assert_eq!((file, argument.len()), (DISK, code.argument_bytes()));
        self.asked.push((code, argument.to_vec()));
        let queue = self.answers.get_mut(&code.0).ok_or(Errno::ENOTTY)?;
        let answer = if queue.len() > 1 {
            queue.pop_front()
        } else {
            queue.front().cloned()
        };
        let bytes = answer.unwrap()?;
        if RANGES.contains(&code) {
            let mut request = RangeRequest::read_from_bytes(argument).unwrap();
            let short = if request.count < 131_072 { self.short_by } else { 0 };
            request.done = request.count - short;
            argument.copy_from_slice(request.as_bytes());
        } else {
            argument[..bytes.len()].copy_from_slice(&bytes);
        }
        if code == IoctlCode::BIOCTRACEGET {
            return Ok((bytes.len() / size_of::<TraceEntry>()) as u32);
        }
        Ok(0)
    }

    fn read(&mut self, file: Descriptor, bytes: &mut [u8]) -> Result<usize, Errno> {
        assert_eq!(file, Descriptor::STDIN);
        if self.unreadable {
            return Err(Errno::EIO);
        }
        let line = self.terminal.unwrap();
        bytes[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }

    fn write_all(&mut self, file: Descriptor, bytes: &[u8]) -> Result<(), Errno> {
        match file {
            Descriptor::STDERR if self.silent => return Err(Errno::EPIPE),
            Descriptor::STDERR => self.err.extend(bytes),
            _ if self.taken.is_some_and(|taken| self.writes >= taken) => {
                self.refused += 1;
                return Err(Errno::EPIPE);
            }
            _ => {
                self.writes += 1;
                self.out.extend(bytes);
            }
        }
        Ok(())
    }

    fn is_terminal(&mut self, file: Descriptor) -> bool {
        assert_eq!(file, Descriptor::STDIN);
        self.terminal.is_some()
    }

    fn sleep(&mut self, span: Duration) -> Result<(), Errno> {
        self.slept.push(span);
        if self.restless { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Compares with a file; with `VBLKCTL_BLESS` in the environment it writes that file.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("VBLKCTL_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "{name} has changed:\n{text}");
}

/// The objects of an output, one a line.
pub(crate) fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
