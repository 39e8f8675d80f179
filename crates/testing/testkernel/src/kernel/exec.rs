//! From a file in the archive to a process at its first instruction.

use core::fmt;
use core::ops::Range;

use heapless::Vec;
use minix_abi::Pad;
use minix_abi::process::{AUXILIARY_GAP_BYTES, MAX_ARGUMENTS, MAX_COMMAND_BYTES, PsStrings, STACK};
use testkernel::elf_image::{ElfError, Image};
use testkernel::scenario::Program;
use zerocopy::IntoBytes;

use super::context::Context;
use super::frames::{FrameAllocator, MemoryError};
use super::paging::Access;
use super::process::{Name, Slot};
use super::space::{AddressSpace, Backing};
use super::state::Kernel;

/// Where services are kept: the first word of their command line is a path. A shell hands on the name that was typed.
const DIRECTORY: &str = "/service/";
/// The environment of a service.
const ENVIRONMENT: &str = "PATH=/service";

/// Why a process could not be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExecError {
    Limit(&'static str),
    Elf(ElfError),
    /// No memory for a segment or the stack, or its place is taken.
    Memory(MemoryError),
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => f.write_str(limit),
            Self::Elf(error) => write!(f, "cannot be loaded: {error}"),
            Self::Memory(error) => write!(f, "memory: {error:?}"),
        }
    }
}

impl Kernel {
    /// Makes a process out of a program. It is held, with no privileges at all.
    pub(crate) fn create(&mut self, program: &Program<&str>, priority: u8, is_user: bool) -> Result<Slot, ExecError> {
        let name = |text| Name::try_from(text).map_err(|_| ExecError::Limit("a name of more than 15 bytes"));
        let (label, name) = (name(program.label)?, name(program.program)?);
        let file = self.archive.file(program.program);
        let image = Image::parse(file.ok_or(ExecError::Limit("not in the archive"))?).map_err(ExecError::Elf)?;
        let mut space = AddressSpace::new(&mut self.frames).map_err(ExecError::Memory)?;
        let loaded = load(&image, &mut space, &mut self.frames).map_err(ExecError::Memory);
        let built = loaded.and_then(|()| build_stack(&mut space, &mut self.frames, program, is_user));
        match built {
            Ok((pointer, ps_strings)) => {
                let context = Context::new(image.entry, pointer, ps_strings);
                let slot = self.processes.add(label, name, space, context);
                let slot = slot.map_err(|_| ExecError::Limit("too many processes"))?;
                self.processes[slot].priority = priority;
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

fn load(image: &Image<'_>, space: &mut AddressSpace, frames: &mut FrameAllocator) -> Result<(), MemoryError> {
    let bytes = |range: &Range<u64>| range.end - range.start;
    for segment in &image.segments {
        let (at, execute) = (segment.pages(), segment.is_executable);
        let access = Access { write: true, execute };
        space.map_memory(frames, Some(at.start), bytes(&at), access, Backing::Allocated)?;
        space.write(segment.address, segment.file)?;
    }
    let (at, access) = (Some(STACK.start), Access::READ_WRITE);
    space
        .map_memory(frames, at, bytes(&STACK), access, Backing::OnDemand)
        .map(drop)
}

/// Builds the stack of a process about to start. From the top: [`PsStrings`], strings, a gap, the pointers, their number. The
/// answer has the addresses of the last and of the first.
fn build_stack(
    space: &mut AddressSpace,
    frames: &mut FrameAllocator,
    program: &Program<&str>,
    is_user: bool,
) -> Result<(u64, u64), ExecError> {
    let too_long = ExecError::Limit("the command line is too long");
    let mut strings: Vec<u8, { MAX_COMMAND_BYTES + ENVIRONMENT.len() + 2 }> = Vec::new();
    let mut starts: Vec<usize, MAX_ARGUMENTS> = Vec::new();
    let mut words = program.arguments.split_ascii_whitespace();
    let (mut start, mut word) = (0, Some(program.program));
    let directory = if is_user { "" } else { DIRECTORY };
    strings.extend_from_slice(directory.as_bytes()).map_err(|_| too_long)?;
    while let Some(text) = word {
        starts.push(start).map_err(|_| too_long)?;
        for bytes in [text.as_bytes(), &[0]] {
            strings.extend_from_slice(bytes).map_err(|_| too_long)?;
        }
        (start, word) = (strings.len(), words.next());
    }
    for bytes in [ENVIRONMENT.as_bytes(), &[0]] {
        strings.extend_from_slice(bytes).map_err(|_| too_long)?;
    }
    let ps_strings = STACK.end - size_of::<PsStrings>() as u64;
    let strings_at = ps_strings - strings.len() as u64;
    // argc, argv, NULL, envp, NULL. There is room for just these.
    let mut block: Vec<u64, { MAX_ARGUMENTS + 4 }> = Vec::new();
    let count = starts.len() as u64;
    let pointers = starts.iter().map(|&start| strings_at + start as u64);
    block.extend(
        core::iter::once(count)
            .chain(pointers)
            .chain([0, strings_at + start as u64, 0]),
    );
    let pointer = (strings_at - AUXILIARY_GAP_BYTES as u64 - size_of_val(&block[..]) as u64) & !15;
    let summary = PsStrings {
        arguments: pointer + 8,
        argument_count: count as i32,
        pad0: Pad::ZERO,
        environment: pointer + 8 * (count + 2),
        environment_count: 1,
        pad1: Pad::ZERO,
    };
    let parts: [(u64, &[u8]); 3] = [
        (strings_at, &strings),
        (pointer, block.as_bytes()),
        (ps_strings, summary.as_bytes()),
    ];
    for (at, bytes) in parts {
        let there = space.fault_in(frames, at, bytes.len() as u64);
        there.and_then(|()| space.write(at, bytes)).map_err(ExecError::Memory)?;
    }
    Ok((pointer, ps_strings))
}
