//! Bring-up: from the two registers of the firmware to the parts that a driver needs.

use core::ptr;

use virtio_fdt::{Controller, DeviceTree, NodeError, PhysRange};

use super::interrupts::Interrupts;
use super::layout::{image_bounds, stack_bounds};
use super::start::Boot;
use super::{console, counters, power};
use crate::error::BoardError;
use crate::memory::largest_gap;
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
    /// The controller of [`interrupts`](Self::interrupts): what `interrupt.parent` of a device must be for its number to
    /// be a source there.
    pub interrupt_parent: Controller,
    /// The largest free part of RAM after the image: nothing else uses it, and devices see it at the same addresses.
    pub free_memory: PhysRange,
}

impl Board {
    /// Brings the machine up: console, power-off, clock, interrupts and free memory, all from the device tree.
    ///
    /// The console and power-off are set up first, so that an error can be reported on them.
    ///
    /// # Errors
    ///
    /// [`BoardError`]: a defect of the tree.
    pub fn take(boot: Boot) -> Result<Self, BoardError> {
        let tree = read_tree(boot.tree_address)?;
        if let Some(port) = tree.console().map_err(node("console"))? {
            // SAFETY: the tree describes this machine, and nothing is translated; the board is the only driver.
            let uart = unsafe { Uart::new(&port) };
            console::install(uart.ok_or(BoardError::Unusable("console: not with registers of a byte each"))?);
        }
        if let Some(registers) = tree.finisher().map_err(node("power-off"))? {
            // SAFETY: as above.
            if !unsafe { power::install(registers) } {
                return Err(BoardError::Unusable("power-off: register outside of its block"));
            }
        }
        let hz = tree.timebase_hz().map_err(node("clock"))?;
        let timebase = Timebase::new(hz).ok_or(BoardError::Unusable("clock: no frequency"))?;
        counters::set_timebase(timebase);
        let free_memory = free_memory(&tree)?;
        let boot_args = tree.boot_args().map_err(node("command line"))?.unwrap_or("");
        let (plic, interrupt_parent) = interrupt_controller(&tree, boot.hart_id)?;
        Ok(Self {
            hart_id: boot.hart_id,
            tree,
            boot_args,
            timebase,
            interrupts: Interrupts::install(plic),
            interrupt_parent,
            free_memory,
        })
    }

    /// The name of the controller to which the interrupt of a device goes, if that is not the one of
    /// [`interrupts`](Self::interrupts): its interrupts do not come to this hart.
    pub fn foreign_controller(&self, interrupt: &virtio_fdt::Interrupt) -> Option<&'static str> {
        if interrupt.parent == self.interrupt_parent {
            return None;
        }
        Some(self.tree.controller_name(interrupt.parent).unwrap_or("another"))
    }

    /// The source of a device's interrupt, or `None` if it goes to another controller or has an impossible number.
    pub fn source_of(&self, interrupt: &virtio_fdt::Interrupt) -> Option<Source> {
        let ours = interrupt.parent == self.interrupt_parent;
        Source::new(interrupt.number()).filter(|_| ours)
    }
}

/// Names the part of the machine that a broken node describes.
fn node(part: &'static str) -> impl Fn(NodeError) -> BoardError {
    move |error| BoardError::Node { part, error }
}

fn read_tree(address: usize) -> Result<DeviceTree<'static>, BoardError> {
    let start = ptr::with_exposed_provenance::<u8>(address);
    if start.is_null() {
        return Err(BoardError::NoTree);
    }
    // SAFETY: the SBI boot protocol puts the address of a device tree into a1, and nothing writes to it: the board keeps
    // it out of the free memory.
    let header = unsafe { core::slice::from_raw_parts(start, DeviceTree::HEADER_BYTES) };
    let size_bytes = DeviceTree::total_size(header).map_err(BoardError::Tree)?;
    // SAFETY: as above; the magic number was there, so this many bytes belong to the tree.
    let blob = unsafe { core::slice::from_raw_parts(start, size_bytes) };
    DeviceTree::parse(blob).map_err(BoardError::Tree)
}

/// The PLIC that delivers to a hart, and how the tree names it. A machine with several has one for each group of harts.
fn interrupt_controller(tree: &DeviceTree<'static>, hart_id: usize) -> Result<(Plic, Controller), BoardError> {
    let mut reason = match controller_of_windows(tree) {
        Some(instead) => BoardError::NoInterruptController { instead },
        None => BoardError::Unusable("no PLIC"),
    };
    for found in tree.plics() {
        let found = found.map_err(node("PLIC"))?;
        let context = found.supervisor_context(hart_id as u64).map_err(node("PLIC"))?;
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
/// Checks the stack as well, since no other code can: it lies below the image, outside of any section.
fn free_memory(tree: &DeviceTree<'_>) -> Result<PhysRange, BoardError> {
    let none = BoardError::Unusable("memory: nothing is left after the image");
    let image_end = image_bounds().1 as u64;
    let (stack_bottom, stack_top) = stack_bounds();
    let ram = tree.memory::<8>().map_err(node("memory"))?;
    let ram = ram
        .iter()
        .find(|ram| ram.base_address < image_end && image_end < ram.end_address())
        .ok_or(none)?;
    let space = PhysRange::new(image_end, ram.end_address() - image_end).ok_or(none)?;

    let mut taken = tree.reserved_memory::<32>().map_err(node("memory"))?;
    let stack_is_taken = taken
        .iter()
        .any(|range| range.base_address < stack_top as u64 && range.end_address() > stack_bottom as u64);
    if stack_is_taken || ram.base_address > stack_bottom as u64 {
        return Err(BoardError::Unusable("memory: the place of the stack is taken"));
    }
    let blob = PhysRange::new(tree.address() as u64, tree.size_bytes() as u64).ok_or(none)?;
    taken.push(blob).map_err(|_| none)?;
    largest_gap(space, &taken, PAGE_BYTES).ok_or(none)
}
