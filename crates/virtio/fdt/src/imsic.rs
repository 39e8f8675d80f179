//! The incoming message-signalled interrupt controller (IMSIC) of the RISC-V Advanced Interrupt Architecture.
//!
//! Each hart has an *interrupt file*, a page into which devices write the number of an interrupt. The files of a group of
//! harts lie in a row, with room for the files of virtual machines behind each; each group has a region of its own.

use heapless::Vec;

use crate::NodeError;
use crate::interrupt::Controller;
use crate::nodes::{Described, Node};
use crate::property::number;
use crate::reg::{self, PhysRange};
use crate::walk::Place;
use crate::wiring::Wiring;

/// Most regions: one for each group of harts.
const MAX_GROUPS: usize = 8;

/// Bits of an address inside an interrupt file: a file is a page.
const FILE_SHIFT: u32 = 12;

/// An incoming message-signalled interrupt controller.
#[derive(Clone, Debug)]
pub struct Imsic<'a> {
    /// Highest number of an interrupt; they are numbered from 1 to this number in each file.
    pub id_count: u32,
    /// The controller itself: compare with the `msi_parent` of others.
    pub controller: Controller,
    regions: Vec<PhysRange, MAX_GROUPS>,
    layout: Layout,
    wiring: Wiring<'a>,
}

/// The interrupt file of a hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InterruptFile {
    /// Its page. A write of an interrupt's number to the first word raises the interrupt.
    pub registers: PhysRange,
    /// The hart index by which an APLIC names the file in its target registers, group included.
    pub hart_index: u32,
}

/// How the address of a file is made of its numbers.
#[derive(Clone, Copy, Debug)]
struct Layout {
    guest_index_bits: u32,
    hart_index_bits: u32,
    group_index_bits: u32,
    group_index_shift: u32,
}

impl Layout {
    /// Largest values after the device tree binding, `riscv,imsics`.
    fn read(place: &Place<'_>, wiring: &Wiring<'_>) -> Result<Self, NodeError> {
        let bits = |name, default: u32, most: u32| match number(&place.node, name)?.unwrap_or(default) {
            bits if bits <= most => Ok(bits),
            _ => Err(NodeError::BadValue(name)),
        };
        let files = wiring.count()?.max(1);
        Ok(Self {
            guest_index_bits: bits("riscv,guest-index-bits", 0, 7)?,
            hart_index_bits: bits("riscv,hart-index-bits", files.next_power_of_two().trailing_zeros(), 15)?,
            group_index_bits: bits("riscv,group-index-bits", 0, 7)?,
            group_index_shift: bits("riscv,group-index-shift", FILE_SHIFT * 2, 55)?,
        })
    }

    /// Bytes from one file to that of the next hart.
    const fn stride_bytes(self) -> u64 {
        1 << (FILE_SHIFT + self.guest_index_bits)
    }

    const fn hart_index(self, address: u64) -> u32 {
        let hart = address >> (FILE_SHIFT + self.guest_index_bits) & ((1 << self.hart_index_bits) - 1);
        let group = address >> self.group_index_shift & ((1 << self.group_index_bits) - 1);
        // At most 22 bits.
        (group << self.hart_index_bits | hart) as u32
    }
}

impl<'a> Described<'a> for Imsic<'a> {
    const COMPATIBLE: &'static [&'static str] = &["riscv,imsics"];

    fn read(Node { fdt, place }: Node<'_, 'a>) -> Result<Self, NodeError> {
        const IDS: &str = "riscv,num-ids";
        let id_count = number(&place.node, IDS)?.ok_or(NodeError::MissingProperty(IDS))?;
        // Advanced Interrupt Architecture, "Interrupt files and interrupt identities".
        if !(63..=2047).contains(&id_count) {
            return Err(NodeError::BadValue(IDS));
        }
        let wiring = Wiring::read(fdt, place)?;
        let mut regions = Vec::new();
        for region in reg::entries(place)? {
            regions.push(region?).map_err(|_| NodeError::TooMany)?;
        }
        Ok(Self {
            id_count,
            controller: Controller::at(fdt, place),
            regions,
            layout: Layout::read(place, &wiring)?,
            wiring,
        })
    }
}

impl Imsic<'_> {
    /// The file that interrupts a hart in S-mode, or `None` if there is no such hart or this IMSIC is not one of S-mode.
    ///
    /// # Errors
    ///
    /// The controller's `interrupts-extended` or the hart's node is broken, or `reg` has no room for the file.
    pub fn supervisor_file(&self, hart_id: u64) -> Result<Option<InterruptFile>, NodeError> {
        let Some(place) = self.wiring.supervisor_place(hart_id)? else {
            return Ok(None);
        };
        let stride = self.layout.stride_bytes();
        // The list has at most 15872 entries, and a stride at most 20 bits.
        let mut offset = u64::from(place) * stride;
        for region in &self.regions {
            if offset < region.size_bytes {
                let address = region.base_address.saturating_add(offset);
                let registers = PhysRange::new(address, 1 << FILE_SHIFT).ok_or(NodeError::AddressTooWide)?;
                if registers.end_address() > region.end_address() {
                    break;
                }
                let hart_index = self.layout.hart_index(address);
                return Ok(Some(InterruptFile { registers, hart_index }));
            }
            offset -= region.size_bytes.next_multiple_of(stride).min(offset);
        }
        Err(NodeError::BadLength("reg"))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Imsic<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Imsic {{ id_count: {=u32}, controller: {} }}",
            self.id_count,
            self.controller
        );
    }
}
