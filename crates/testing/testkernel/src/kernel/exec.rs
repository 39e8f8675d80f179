//! From a file in the archive to a process at its first instruction.

use core::fmt;

use heapless::Vec;
use minix_abi::process::{AUXILIARY_GAP_BYTES, MAX_ARGUMENTS, MAX_COMMAND_BYTES, PsStrings, STACK};
use minix_abi::{Errno, Pad};
use testkernel::elf_image::{ElfError, Image};
use zerocopy::IntoBytes;

use super::frames::FrameAllocator;
use super::process::{Name, Slot};
use super::space::{Access, AddressSpace, Backing, Fault, MapError};
use super::trap::Context;
use super::{Kernel, Program};

/// Where services are kept: the first word of the command line is a path.
const DIRECTORY: &str = "/service/";
/// What a service finds in its environment.
const ENVIRONMENT: &str = "PATH=/service";

/// Why a process could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecError {
    /// The archive has no such file.
    NoSuchFile,
    /// It is not a program that can be loaded.
    Elf(ElfError),
    /// Label or program name has more than 15 characters.
    NameTooLong,
    /// More than 10 words or 511 characters.
    CommandLineTooLong,
    /// No memory, or where it should go is taken.
    Memory(MapError),
    /// The stack or a segment could not be written.
    Fault(Fault),
    /// No slot left.
    TableFull,
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchFile => f.write_str("not in the archive"),
            Self::Elf(error) => write!(f, "cannot be loaded: {error}"),
            Self::NameTooLong => f.write_str("name longer than 15 characters"),
            Self::CommandLineTooLong => f.write_str("more than 10 words or 511 characters"),
            Self::Memory(error) => write!(f, "memory: {error:?}"),
            Self::Fault(error) => write!(f, "memory: {error:?}"),
            Self::TableFull => f.write_str("too many processes"),
        }
    }
}

impl Kernel {
    /// Makes a process out of a program. It is held, with no privileges at all.
    pub(crate) fn create(&mut self, program: &Program<'_>) -> Result<Slot, ExecError> {
        let label = Name::try_from(program.label).map_err(|_| ExecError::NameTooLong)?;
        let name = Name::try_from(program.program).map_err(|_| ExecError::NameTooLong)?;
        let file = self.archive.file(program.program).ok_or(ExecError::NoSuchFile)?;
        let image = Image::parse(file).map_err(ExecError::Elf)?;
        let mut space = AddressSpace::new(&mut self.frames).map_err(ExecError::Memory)?;
        let built = load(&image, &mut space, &mut self.frames)
            .and_then(|()| Stack::build(&mut space, &mut self.frames, program));
        let added = built.and_then(|stack| {
            let context = Context::new(image.entry, stack.pointer, stack.ps_strings);
            if self.processes.is_full() {
                return Err(ExecError::TableFull);
            }
            Ok(context)
        });
        match added {
            Ok(context) => {
                let slot = self.processes.add(label, name, space, context);
                let slot = slot.map_err(|_: Errno| ExecError::TableFull)?;
                self.processes[slot].priority = program.priority;
                Ok(slot)
            }
            Err(error) => {
                let batch = self.frames.open_batch();
                space.destroy(&mut self.frames, batch);
                self.frames.release(batch);
                Err(error)
            }
        }
    }
}

fn load(image: &Image<'_>, space: &mut AddressSpace, frames: &mut FrameAllocator) -> Result<(), ExecError> {
    for segment in image.segments() {
        let pages = segment.pages();
        let access = Access {
            write: true,
            execute: segment.is_executable,
        };
        space
            .map_memory(
                frames,
                Some(pages.start),
                pages.end - pages.start,
                access,
                Backing::Allocated,
            )
            .map_err(ExecError::Memory)?;
        space.write(segment.address, segment.file).map_err(ExecError::Fault)?;
    }
    space
        .map_memory(
            frames,
            Some(STACK.start),
            STACK.end - STACK.start,
            Access::READ_WRITE,
            Backing::OnDemand,
        )
        .map_err(ExecError::Memory)?;
    Ok(())
}

/// The stack of a process about to start. From the top: [`PsStrings`], strings, a gap, the pointers, their number.
struct Stack {
    pointer: u64,
    ps_strings: u64,
}

impl Stack {
    fn build(space: &mut AddressSpace, frames: &mut FrameAllocator, program: &Program<'_>) -> Result<Self, ExecError> {
        let mut put = |at: u64, bytes: &[u8]| {
            space
                .fault_in(frames, at, bytes.len() as u64)
                .map_err(ExecError::Fault)?;
            space.write(at, bytes).map_err(ExecError::Fault)
        };
        let count = program.arguments.len() + 1;
        let words = || program.arguments.iter().copied();
        let command_bytes = DIRECTORY.len() + program.program.len() + words().map(|word| word.len() + 1).sum::<usize>();
        if count > MAX_ARGUMENTS || command_bytes > MAX_COMMAND_BYTES {
            return Err(ExecError::CommandLineTooLong);
        }

        let ps_strings = STACK.end - size_of::<PsStrings>() as u64;
        let strings = ps_strings - (command_bytes + ENVIRONMENT.len() + 2) as u64;
        // argc, argv, NULL, envp, NULL.
        let mut block: Vec<u64, { MAX_ARGUMENTS + 4 }> = Vec::new();
        let block_bytes = (count + 4) as u64 * 8;
        let pointer = (strings - AUXILIARY_GAP_BYTES as u64 - block_bytes) & !15;

        let mut at = strings;
        put(at, DIRECTORY.as_bytes())?;
        let mut next = DIRECTORY.len() as u64;
        let mut start = at;
        // The vector has room for just these.
        let _ = block.push(count as u64);
        for word in core::iter::once(program.program).chain(words()) {
            put(at + next, word.as_bytes())?;
            put(at + next + word.len() as u64, &[0])?;
            let _ = block.push(start);
            at += next + word.len() as u64 + 1;
            (next, start) = (0, at);
        }
        put(at, ENVIRONMENT.as_bytes())?;
        put(at + ENVIRONMENT.len() as u64, &[0])?;
        for word in [0, at, 0] {
            let _ = block.push(word);
        }
        put(pointer, block.as_bytes())?;
        let summary = PsStrings {
            arguments: pointer + 8,
            argument_count: count as i32,
            pad0: Pad::ZERO,
            environment: pointer + 8 * (count as u64 + 2),
            environment_count: 1,
            pad1: Pad::ZERO,
        };
        put(ps_strings, summary.as_bytes())?;
        Ok(Self { pointer, ps_strings })
    }
}
