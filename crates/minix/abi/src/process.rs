//! The form of a service's program, and its state at the start.
//!
//! | register at the first instruction | value |
//! |---|---|
//! | `pc` | the entry point |
//! | `sp` | a multiple of 16; `argc` is there |
//! | `a0`, `a1` | 0 |
//! | `a2` | address of [`PsStrings`] |
//! | all others | 0. `gp` is for the program to set; `tp` has to stay 0 for ever: no thread-local storage |
//!
//! On the stack, in 8 bytes each, follow `argc`, the pointers to the arguments, zero, the pointers to the environment, and zero.

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Pad;

/// Where arguments and environment are, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsStrings {
    /// Address of the pointers to the arguments.
    pub arguments: u64,
    /// Number of arguments.
    pub argument_count: i32,
    /// Padding.
    pub pad0: Pad<4>,
    /// Address of the pointers to the environment.
    pub environment: u64,
    /// Number of variables.
    pub environment_count: i32,
    /// Padding.
    pub pad1: Pad<4>,
}

layout!(PsStrings, 32 {
    arguments: u64 = 0,
    argument_count: i32 = 8,
    environment: u64 = 16,
    environment_count: i32 = 24,
});

/// Bytes of a label or a process name, NUL not counted.
pub const MAX_NAME_BYTES: usize = 15;
/// Words of a service's command line, its name included.
pub const MAX_ARGUMENTS: usize = 10;
/// Bytes of a service's command line.
pub const MAX_COMMAND_BYTES: usize = 511;

/// The stack: 4 MiB, populated on demand.
pub const STACK: Range<u64> = 0xEFC0_0000..0xF000_0000;
/// Bytes left free between the environment pointers and the strings: 20 auxiliary entries of 16 bytes, and 1024.
pub const AUXILIARY_GAP_BYTES: usize = 20 * 16 + 1024;

/// Program headers have to end within this many bytes of the file.
pub const ELF_HEADERS_LIMIT: u64 = 512;
/// Bytes that a program header has to have.
pub const ELF_PROGRAM_HEADER_BYTES: u16 = 56;
/// Image and stack have to be below this address: the kernel keeps 32 bits of the entry point and of the stack pointer.
pub const IMAGE_LIMIT: u64 = 1 << 32;

/// Address ranges that the kernel keeps for itself in every process. No segment can be there.
pub const RESERVED: [Range<u64>; 5] = [
    0x0200_0000..0x0201_0000,
    0x0C00_0000..0x1000_0000,
    0x1000_0000..0x1000_2000,
    0x8000_0000..0xC000_0000,
    // What the kernel shows to processes. Beyond the limit for images anyhow.
    0x1_0000_0000..0x1_0000_4000,
];

/// Where physical memory starts.
pub const RAM_START: u64 = 0x8000_0000;
