//! Page tables of Sv39 (RISC-V privileged specification, "Sv39: Page-Based 39-bit Virtual-Memory System").
//!
//! Every table maps, for the kernel alone and one to one, RAM and the registers the kernel needs. Where MINIX riscv64
//! has them, nothing of a process can be; the register that switches the machine off is an addition.

use core::ops::Range;

use minix_abi::PAGE_BYTES;

use super::frames::{FrameAllocator, MemoryError};
use super::physical;

const VALID: u64 = 1 << 0;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const GLOBAL: u64 = 1 << 5;
const ACCESSED: u64 = 1 << 6;
const DIRTY: u64 = 1 << 7;
const KERNEL: u64 = VALID | READ | WRITE | GLOBAL | ACCESSED | DIRTY;

const ENTRIES: u64 = 512;
const ENTRY_BYTES: u64 = 8;
/// `satp`: Sv39.
const MODE: u64 = 8 << 60;

/// The size of a page of each level.
const fn level_bytes(level: u32) -> u64 {
    PAGE_BYTES << (9 * level)
}

/// The interrupt controller, in pages of level 1.
const CONTROLLER: Range<u64> = 0x0C00_0000..0x1000_0000;
/// Serial port, and what MINIX has beside it.
const PORT: Range<u64> = 0x1000_0000..0x1000_2000;
/// The register that ends the run. Not there on MINIX.
pub(super) const FINISHER: Range<u64> = 0x0010_0000..0x0010_1000;
/// RAM, as one page of level 2.
pub(super) const RAM: Range<u64> = 0x8000_0000..0xC000_0000;

/// What a page may be used for besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

impl Access {
    pub(crate) const READ_WRITE: Self = Self {
        write: true,
        execute: false,
    };
}

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) physical: u64,
    /// Whether the process may reach it, as opposed to the kernel.
    pub(super) is_user: bool,
    pub(super) access: Access,
}

/// A page table and the tables below it.
#[derive(Debug)]
pub(super) struct PageTable {
    root: u64,
}

impl PageTable {
    /// A table with nothing but the kernel in it.
    pub(super) fn new(frames: &mut FrameAllocator) -> Result<Self, MemoryError> {
        let root = frames.take()?;
        let table = Self { root };
        let windows = [
            (RAM, 2, KERNEL | EXECUTE),
            (CONTROLLER, 1, KERNEL),
            (PORT, 0, KERNEL),
            (FINISHER, 0, KERNEL),
        ];
        for (window, level, flags) in windows {
            for address in window.step_by(level_bytes(level) as usize) {
                if let Err(error) = table.set(frames, address, level, leaf(address, flags)) {
                    table.free(frames);
                    return Err(error);
                }
            }
        }
        Ok(table)
    }

    /// The number for `satp`.
    pub(super) const fn satp(&self) -> u64 {
        MODE | (self.root / PAGE_BYTES)
    }

    /// Maps a page for the process.
    pub(super) fn map(
        &self,
        frames: &mut FrameAllocator,
        address: u64,
        physical: u64,
        access: Access,
    ) -> Result<(), MemoryError> {
        let write = if access.write { WRITE } else { 0 };
        let execute = if access.execute { EXECUTE } else { 0 };
        let flags = VALID | READ | write | execute | USER | ACCESSED | DIRTY;
        self.set(frames, address, 0, leaf(physical, flags))
    }

    /// Takes a page of the process out; `None` if there was none.
    pub(super) fn unmap(&self, address: u64) -> Option<Page> {
        let page = self.page(address).filter(|page| page.is_user)?;
        physical::store(self.entry(address)?.0, 0);
        Some(page)
    }

    /// The mapping of an address.
    pub(super) fn page(&self, address: u64) -> Option<Page> {
        let (at, level) = self.entry(address)?;
        let entry = physical::load(at);
        Some(Page {
            physical: target(entry) | (address & (level_bytes(level) - 1) & !(PAGE_BYTES - 1)),
            is_user: entry & USER != 0,
            access: Access {
                write: entry & WRITE != 0,
                execute: entry & EXECUTE != 0,
            },
        })
    }

    /// Where the valid leaf for an address is, and its level.
    fn entry(&self, address: u64) -> Option<(u64, u32)> {
        let mut table = self.root;
        for level in (0..3).rev() {
            let at = place(table, address, level);
            let entry = physical::load(at);
            if entry & VALID == 0 {
                return None;
            }
            if is_leaf(entry) {
                return Some((at, level));
            }
            table = target(entry);
        }
        None
    }

    fn set(&self, frames: &mut FrameAllocator, address: u64, level: u32, leaf: u64) -> Result<(), MemoryError> {
        let mut table = self.root;
        for above in (level + 1..3).rev() {
            let at = place(table, address, above);
            let entry = physical::load(at);
            if entry & VALID == 0 {
                table = frames.take()?;
                physical::store(at, ((table / PAGE_BYTES) << 10) | VALID);
            } else {
                assert!(!is_leaf(entry), "{address:#x} is the kernel's");
                table = target(entry);
            }
        }
        physical::store(place(table, address, level), leaf);
        Ok(())
    }

    /// Frees the tables, but not the pages that they map.
    pub(super) fn free(&self, frames: &mut FrameAllocator) {
        free_below(frames, self.root, 2);
    }
}

fn free_below(frames: &mut FrameAllocator, table: u64, level: u32) {
    for index in 0..ENTRIES {
        let entry = physical::load(table + index * ENTRY_BYTES);
        if level > 0 && entry & VALID != 0 && !is_leaf(entry) {
            free_below(frames, target(entry), level - 1);
        }
    }
    frames.free(table);
}

const fn leaf(physical: u64, flags: u64) -> u64 {
    ((physical / PAGE_BYTES) << 10) | flags
}

const fn is_leaf(entry: u64) -> bool {
    entry & (READ | WRITE | EXECUTE) != 0
}

const fn target(entry: u64) -> u64 {
    ((entry >> 10) & ((1 << 44) - 1)) * PAGE_BYTES
}

const fn place(table: u64, address: u64, level: u32) -> u64 {
    table + address / level_bytes(level) % ENTRIES * ENTRY_BYTES
}

/// Makes the hart translate by a table, and forget all cached entries.
pub(super) fn activate(satp: u64) {
    // SAFETY: every table maps the kernel where it is, so the next instruction is found; it was made by `PageTable::new`.
    unsafe {
        riscv::register::satp::write(riscv::register::satp::Satp::from_bits(satp as usize));
    }
    riscv::asm::sfence_vma_all();
    // Programs come into memory as data.
    riscv::asm::fence_i();
}

/// A register of a device that no page table maps for the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceRegister {
    address: usize,
    bytes: usize,
}

impl DeviceRegister {
    /// The register of 1, 2 or 4 bytes at a physical address outside of RAM, where no Rust object is.
    #[track_caller]
    pub(super) fn new(physical: u64, bytes: usize) -> Self {
        assert!(!RAM.contains(&physical) && matches!(bytes, 1 | 2 | 4));
        assert!(physical.is_multiple_of(bytes as u64));
        Self {
            address: physical as usize,
            bytes,
        }
    }

    pub(super) fn read(self) -> u32 {
        self.access(None)
    }

    /// Writes the lowest bits of a value.
    pub(super) fn write(self, value: u32) {
        self.access(Some(value));
    }

    /// Stores a value, or else loads one.
    fn access(self, store: Option<u32>) -> u32 {
        let table = riscv::register::satp::read();
        let at = core::ptr::with_exposed_provenance_mut::<u8>(self.address);
        let (at_2, at_4) = (at.cast::<u16>(), at.cast::<u32>());
        // SAFETY: without translation all of the kernel is where it was, since it is mapped one to one. The register is aligned
        // and no Rust object. What is stored comes from the process whose register it is, and which could store it itself if
        // the kernel had mapped the page.
        unsafe {
            riscv::register::satp::write(riscv::register::satp::Satp::from_bits(0));
            riscv::asm::sfence_vma_all();
            let mut loaded = 0;
            match (self.bytes, store) {
                (1, Some(value)) => at.write_volatile(value as u8),
                (2, Some(value)) => at_2.write_volatile(value as u16),
                (_, Some(value)) => at_4.write_volatile(value),
                (1, None) => loaded = at.read_volatile().into(),
                (2, None) => loaded = at_2.read_volatile().into(),
                (_, None) => loaded = at_4.read_volatile(),
            }
            riscv::register::satp::write(table);
            riscv::asm::sfence_vma_all();
            loaded
        }
    }
}
