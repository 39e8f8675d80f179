//! Base address registers: where the structures of a device lie.

use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};

use crate::{PciFunction, Structure};

/// How many BARs an endpoint has.
pub const BARS: u8 = 6;

/// The first BAR in configuration space, in bytes.
const BASE: u8 = 0x10;

/// The kind of address that a BAR takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BarSpace {
    /// Memory.
    Memory,
    /// Ports: x86 reaches them by instructions of their own, other machines by a window in memory.
    Ports,
}

/// A base address register: the addresses at which a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bar {
    /// The kind of its address.
    pub space: BarSpace,
    /// Where it starts: a bus address or the number of a port. 0: the machine has not assigned it.
    pub address: u64,
    /// How long it is, in bytes: a power of two.
    pub bytes: u64,
    /// The address has 64 bits, and takes this BAR and the next one.
    pub wide: bool,
    /// Reads have no effect, so the memory may be read ahead.
    pub prefetchable: bool,
}

/// A piece of a BAR that has to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BarRange {
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub(crate) function: PciAddress,
    pub(crate) structure: Structure,
    pub(crate) bar: u8,
    pub(crate) space: BarSpace,
    pub(crate) start: u64,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

impl BarRange {
    /// The function whose BAR it is.
    pub const fn function(&self) -> PciAddress {
        self.function
    }

    /// What lies there.
    pub const fn structure(&self) -> Structure {
        self.structure
    }

    /// The number of the BAR, from 0 to 5.
    pub const fn bar(&self) -> u8 {
        self.bar
    }

    /// The kind of its address.
    pub const fn space(&self) -> BarSpace {
        self.space
    }

    /// Where the piece starts: a bus address or the number of a port. If a host bridge translates addresses, the kernel
    /// translates this one before it maps it.
    pub const fn address(&self) -> u64 {
        self.start
    }

    /// Where it starts, in bytes from the start of the BAR.
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// How long it is, in bytes.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// Why a piece of a BAR cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BarError {
    /// The function has no such BAR, or it is the upper half of another one, or of a reserved type.
    #[error("the function has no such base address register")]
    NoSuchBar,
    /// The machine has not assigned an address to it.
    #[error("the base address register is not assigned")]
    Unassigned,
    /// The piece ends after the BAR does.
    #[error("the structure goes past the end of its base address register")]
    PastTheEnd,
}

/// The BARs of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bars {
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    function: PciAddress,
    bars: [Option<Bar>; BARS as usize],
}

impl Bars {
    /// Reads the BARs of a function and their sizes.
    ///
    /// The size of a BAR shows in the bits that it keeps when all ones are written to it. Decoding is off meanwhile, and the BARs
    /// and the command register are as before afterwards. No answer of the function is an error: a BAR of a reserved type is left
    /// out.
    pub fn read<C: ConfigRegionAccess>(function: &mut PciFunction<C>) -> Self {
        let decoding = CommandRegister::IO_ENABLE | CommandRegister::MEMORY_ENABLE;
        let before = function.command() & decoding;
        // SAFETY: this takes addresses away from the device.
        unsafe { function.change_command(CommandRegister::empty(), decoding) };
        let mut bars = [None; BARS as usize];
        let mut index = 0;
        while index < BARS {
            // SAFETY: the addresses are put back before decoding is switched on.
            let (bar, slots) = unsafe { read_one(function, index) };
            bars[usize::from(index)] = bar;
            index += slots;
        }
        // SAFETY: the BARs hold what they held when these bits were on.
        unsafe { function.change_command(before, CommandRegister::empty()) };
        Self {
            function: function.address(),
            bars,
        }
    }

    /// The BAR with this number; `None` if the function does not have it.
    pub fn get(&self, index: u8) -> Option<&Bar> {
        self.bars.get(usize::from(index))?.as_ref()
    }

    /// All BARs with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Bar)> {
        (0..BARS)
            .zip(&self.bars)
            .filter_map(|(index, bar)| Some((index, bar.as_ref()?)))
    }

    /// The piece of BAR `bar` from byte `offset` on: `least` bytes at least, and `most` as far as the BAR goes.
    pub(crate) fn range(
        &self,
        structure: Structure,
        (bar, offset): (u8, u32),
        least: u32,
        most: u32,
    ) -> Result<BarRange, BarError> {
        let found = self.get(bar).ok_or(BarError::NoSuchBar)?;
        if found.address == 0 {
            return Err(BarError::Unassigned);
        }
        let room = found
            .bytes
            .checked_sub(u64::from(offset))
            .filter(|&room| room >= u64::from(least))
            .ok_or(BarError::PastTheEnd)?;
        let bytes = u64::from(most).min(room);
        let start = found
            .address
            .checked_add(u64::from(offset))
            .ok_or(BarError::PastTheEnd)?;
        // The last byte has an address, too.
        start.checked_add(bytes.saturating_sub(1)).ok_or(BarError::PastTheEnd)?;
        Ok(BarRange {
            function: self.function,
            structure,
            bar,
            space: found.space,
            start,
            offset,
            bytes: bytes as u32,
        })
    }
}

/// The BAR at `index`, and how many of the six registers it takes.
///
/// # Safety
///
/// The function decodes neither memory nor ports.
unsafe fn read_one<C: ConfigRegionAccess>(function: &mut PciFunction<C>, index: u8) -> (Option<Bar>, u8) {
    // SAFETY: the caller has switched decoding off.
    let (low, low_mask) = unsafe { measure(function, index) };
    if low_mask == 0 {
        return (None, 1);
    }
    if low & 1 != 0 {
        let bar = Bar {
            space: BarSpace::Ports,
            address: u64::from(low & !3),
            bytes: lowest_bit(u64::from(low_mask & !3)),
            wide: false,
            prefetchable: false,
        };
        return ((bar.bytes != 0).then_some(bar), 1);
    }
    let (mut address, mut mask) = (u64::from(low & !15), u64::from(low_mask & !15));
    let wide = match low >> 1 & 3 {
        0 => false,
        2 if index + 1 < BARS => true,
        _ => {
            warn!("base address register {} has a reserved type", index);
            return (None, 1);
        }
    };
    if wide {
        // SAFETY: as above.
        let (high, high_mask) = unsafe { measure(function, index + 1) };
        address |= u64::from(high) << 32;
        mask |= u64::from(high_mask) << 32;
    }
    let bar = Bar {
        space: BarSpace::Memory,
        address,
        bytes: lowest_bit(mask),
        wide,
        prefetchable: low & 8 != 0,
    };
    ((bar.bytes != 0).then_some(bar), 1 + u8::from(wide))
}

/// The value of the register, and a mask of the bits that can be set.
///
/// # Safety
///
/// The function decodes neither memory nor ports.
unsafe fn measure<C: ConfigRegionAccess>(function: &mut PciFunction<C>, index: u8) -> (u32, u32) {
    let offset = BASE + 4 * index;
    let held = function.read(offset);
    // SAFETY: with decoding off an address has no effect; the one from before is put back.
    unsafe {
        function.write(offset, u32::MAX);
        let mask = function.read(offset);
        function.write(offset, held);
        (held, mask)
    }
}

/// The size of what has this mask: the lowest bit that can be set.
const fn lowest_bit(mask: u64) -> u64 {
    mask & mask.wrapping_neg()
}
