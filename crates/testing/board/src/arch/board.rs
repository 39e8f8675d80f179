//! Bring-up: from what the firmware left in two registers to the pieces a driver needs.

use core::ptr;

use virtio_fdt::{Controller, DeviceTree, PhysRange};

use super::interrupts::Interrupts;
use super::start::{Boot, image_bounds, stack_bounds};
use super::{console, counters, power};
use crate::memory::largest_gap;
use crate::error::BoardError;
use crate::plic::{Plic, Source};
use crate::time::Timebase;
use crate::uart::Uart;

/// Free memory starts and ends on a page.
const PAGE_BYTES: u64 = 4096;

/// The machine, taken apart.
#[derive(Debug)]
pub struct Board {
    /// The hart this runs on.
    pub hart_id: usize,
    /// The device tree: ask it for the VirtIO windows.
    pub tree: DeviceTree<'static>,
    /// The command line, empty if there is none.
    pub boot_args: &'static str,
    /// The frequency of the `time` counter.
    pub timebase: Timebase,
    /// External interrupts. They are on.
    pub interrupts: Interrupts,
    /// The controller behind [`interrupts`](Self::interrupts): what `interrupt.parent` of a device must be for its number to
    /// be a source there.
    pub interrupt_parent: Controller,
    /// The source of the console's receive interrupt, if the tree names one.
    pub console_source: Option<Source>,
    /// The largest free part of RAM after the image: nothing else uses it, and devices see it at the same addresses.
    pub free_memory: PhysRange,
}

impl Board {
    /// Brings the machine up: console, power-off, clock, interrupts and DMA memory, all as the device tree says.
    ///
    /// The console and power-off are set up first, so that an error can be reported on them.
    ///
    /// # Errors
    ///
    /// [`BoardError`]: what the tree lacks or has wrong.
    pub fn take(boot: Boot) -> Result<Self, BoardError> {
        let tree = read_tree(boot.tree_address())?;
        if let Some(port) = tree.console().map_err(BoardError::Console)? {
            // SAFETY: the tree describes this machine, and nothing is translated; the board is the only driver.
            let uart = unsafe { Uart::new(&port) }.ok_or(BoardError::UnusableConsole)?;
            console::install(uart);
        }
        if let Some(registers) = tree.finisher().map_err(BoardError::Finisher)? {
            // SAFETY: as above.
            if !unsafe { power::install(registers) } {
                return Err(BoardError::UnusableFinisher);
            }
        }
        let hz = tree.timebase_hz().map_err(BoardError::Timebase)?;
        let timebase = Timebase::new(hz).ok_or(BoardError::NoTimebase)?;
        counters::set_timebase(timebase);
        let free_memory = free_memory(&tree)?;
        let boot_args = tree.boot_args().map_err(BoardError::BootArgs)?.unwrap_or("");
        let (plic, interrupt_parent) = interrupt_controller(&tree, boot.hart_id())?;
        Ok(Self {
            hart_id: boot.hart_id(),
            tree,
            boot_args,
            timebase,
            interrupts: Interrupts::install(plic),
            interrupt_parent,
            console_source: console_source(&tree, interrupt_parent),
            free_memory,
        })
    }

    /// The name of the controller to which the interrupt of a device goes, if that is not the one behind
    /// [`interrupts`](Self::interrupts): its interrupts do not come to this hart.
    pub fn foreign_controller(&self, interrupt: &virtio_fdt::Interrupt) -> Option<&'static str> {
        if interrupt.parent == self.interrupt_parent {
            return None;
        }
        Some(self.tree.controller_name(interrupt.parent).unwrap_or("another"))
    }

    /// The source of a device's interrupt, or `None` if it goes to another controller or has an impossible number.
    pub fn source_of(&self, interrupt: &virtio_fdt::Interrupt) -> Option<Source> {
        source_at(interrupt, self.interrupt_parent)
    }
}

fn source_at(interrupt: &virtio_fdt::Interrupt, parent: Controller) -> Option<Source> {
    (interrupt.parent == parent).then(|| Source::new(interrupt.number()))?
}

fn console_source(tree: &DeviceTree<'_>, parent: Controller) -> Option<Source> {
    source_at(&tree.console().ok()??.interrupt?, parent)
}

fn read_tree(address: usize) -> Result<DeviceTree<'static>, BoardError> {
    let start = ptr::with_exposed_provenance::<u8>(address);
    if start.is_null() {
        return Err(BoardError::NoTree);
    }
    // SAFETY: the SBI boot protocol puts the address of a device tree into a1, and nothing writes to it: the board keeps
    // it out of the DMA pool.
    let header = unsafe { core::slice::from_raw_parts(start, DeviceTree::HEADER_BYTES) };
    let size_bytes = DeviceTree::total_size(header).map_err(BoardError::Tree)?;
    // SAFETY: as above; the magic number was there, so this many bytes belong to the tree.
    let blob = unsafe { core::slice::from_raw_parts(start, size_bytes) };
    DeviceTree::parse(blob).map_err(BoardError::Tree)
}

/// The PLIC that delivers to a hart, and how the tree names it. A machine with several has one for each group of harts.
fn interrupt_controller(tree: &DeviceTree<'static>, hart_id: usize) -> Result<(Plic, Controller), BoardError> {
    let mut reason = BoardError::NoInterruptController {
        instead: controller_of_windows(tree),
    };
    for found in tree.plics() {
        let found = found.map_err(BoardError::InterruptController)?;
        let context = found
            .supervisor_context(hart_id as u64)
            .map_err(BoardError::InterruptController)?;
        reason = BoardError::NoInterruptContext { hart_id };
        let Some(context) = context else { continue };
        // SAFETY: the tree describes this machine, nothing is translated, and the board is the only driver.
        let plic = unsafe { Plic::new(found.registers, context, found.source_count) };
        return Ok((plic.ok_or(reason)?, found.controller));
    }
    Err(reason)
}

/// The controller that the first VirtIO window with an interrupt has.
fn controller_of_windows(tree: &DeviceTree<'static>) -> Option<&'static str> {
    let interrupt = tree.virtio_mmio().flatten().find_map(|window| window.interrupt)?;
    tree.controller_name(interrupt.parent)
}

/// The largest free part of RAM between the end of the image and the end of the piece of RAM the image is in.
///
/// Looks after the stack as well, which nobody else can check: it lies below the image, outside of any section.
fn free_memory(tree: &DeviceTree<'_>) -> Result<PhysRange, BoardError> {
    let image_end = image_bounds().1 as u64;
    let (stack_bottom, stack_top) = stack_bounds();
    let ram = tree.memory::<8>().map_err(BoardError::Memory)?;
    let ram = ram
        .iter()
        .find(|ram| ram.base_address < image_end && image_end < ram.end_address())
        .ok_or(BoardError::NoMemory)?;
    let space = PhysRange::new(image_end, ram.end_address() - image_end).ok_or(BoardError::NoMemory)?;

    let mut taken = tree.reserved_memory::<32>().map_err(BoardError::Memory)?;
    let stack_is_taken = taken
        .iter()
        .any(|range| range.base_address < stack_top as u64 && range.end_address() > stack_bottom as u64);
    if stack_is_taken || ram.base_address > stack_bottom as u64 {
        return Err(BoardError::NoStack);
    }
    let blob = PhysRange::new(tree.address() as u64, tree.size_bytes() as u64).ok_or(BoardError::NoMemory)?;
    taken.push(blob).map_err(|_| BoardError::NoMemory)?;
    largest_gap(space, &taken, PAGE_BYTES).ok_or(BoardError::NoMemory)
}
