//! Registers of the device: `VBLKREGS`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ReportHeader, name_in};

/// Registers in a [`RegisterReport`] at most.
pub const REGISTERS: usize = 16;

/// A register and its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterValue {
    /// Its name in the VirtIO specification, with zeroes after it.
    pub name: [u8; 24],
    /// What was read.
    pub value: u64,
}

layout!(RegisterValue, 32 {
    name: [u8; 24] = 0,
    value: u64 = 24,
});

impl RegisterValue {
    /// A register; a longer name is cut.
    pub fn new(name: &str, value: u64) -> Self {
        let mut register = Self { name: [0; 24], value };
        for (place, byte) in register.name.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        register
    }

    /// The name, as far as it is text.
    pub fn name(&self) -> &str {
        name_in(&self.name)
    }
}

/// The argument of [`VBLKREGS`](crate::ioctl::IoctlCode::VBLKREGS): the registers that can be read without an effect on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterReport {
    /// The start of the report.
    pub header: ReportHeader,
    /// Physical address of the registers.
    pub address: u64,
    /// How many registers there are.
    pub count: u32,
    /// Nothing.
    pub reserved: u32,
    /// The registers; zeroes after them.
    pub registers: [RegisterValue; REGISTERS],
}

layout!(RegisterReport, 536 {
    header: ReportHeader = 0,
    address: u64 = 8,
    count: u32 = 16,
    reserved: u32 = 20,
    registers: [RegisterValue; REGISTERS] = 24,
});
