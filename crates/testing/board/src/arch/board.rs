//! Bring-up: from the two registers of the firmware to the parts that a driver needs.

use core::ptr;

use heapless::Vec;
use virtio_fdt::{Controller, DeviceTree, PhysRange};

use super::hart::MAX_HARTS;
use super::harts::{HartInfo, Harts};
use super::interrupts::Interrupts;
use super::layout::{image_bounds, stack_bounds};
use super::local_controller::LocalController;
use super::pci::UnassignedPci;
use super::start::Boot;
use super::{console, controllers, counters, power};
use crate::error::{BoardError, node};
use crate::memory::largest_gap;
use crate::source::Source;
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
    /// The PCI bus, if there is one. Its functions have no addresses yet.
    pub pci: Option<UnassignedPci>,
    /// The other harts: they can be started.
    pub harts: Harts,
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
        let mut free_memory = free_memory(&tree)?;
        let boot_args = tree.boot_args().map_err(node("command line"))?.unwrap_or("");
        let (harts, controllers) = find_harts(&tree, boot.hart_id)?;
        let interrupt_parent = harts.first().and_then(|boot_hart| boot_hart.interrupt_parent);
        let interrupt_parent = interrupt_parent.ok_or_else(|| no_controller(&tree, boot.hart_id))?;
        let stacks = cut_stacks(&mut free_memory, harts.len());
        Ok(Self {
            hart_id: boot.hart_id,
            tree,
            boot_args,
            timebase,
            interrupts: Interrupts::install(controllers),
            interrupt_parent,
            // SAFETY: the tree describes this machine, nothing is translated, and there is one board.
            pci: unsafe { UnassignedPci::find(&tree) }?,
            // SAFETY: the memory was free, and is cut off from what is free now.
            harts: unsafe { Harts::install(harts, stacks) },
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

    /// The source of a device's interrupt, or `None` if it goes to another controller or has an impossible number or trigger.
    pub fn source_of(&self, interrupt: &virtio_fdt::Interrupt) -> Option<Source> {
        let ours = interrupt.parent == self.interrupt_parent;
        Source::of(interrupt).filter(|_| ours)
    }
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

/// The harts of the tree, this one first, with the controllers that deliver to them.
fn find_harts(
    tree: &DeviceTree<'static>,
    boot_hart: usize,
) -> Result<(Vec<HartInfo, MAX_HARTS>, [Option<LocalController>; MAX_HARTS]), BoardError> {
    let mut harts = Vec::new();
    let mut controllers = [None; MAX_HARTS];
    let of_devices = controllers::of_devices(tree);
    let ids = tree.harts().flatten().filter_map(|hart| usize::try_from(hart.id).ok());
    let ids = core::iter::once(boot_hart).chain(ids.filter(|&id| id != boot_hart));
    for (hart_id, local) in ids.zip(&mut controllers) {
        let found = controllers::find(tree, hart_id, of_devices)?;
        let interrupt_parent = found.map(|(_, parent)| parent);
        *local = found.map(|(controller, _)| controller);
        // There are as many places as controllers.
        let _ = harts.push(HartInfo {
            hart_id,
            interrupt_parent,
        });
    }
    Ok((harts, controllers))
}

/// Why no controller delivers to a hart.
fn no_controller(tree: &DeviceTree<'static>, hart_id: usize) -> BoardError {
    let is_there = tree.plics().next().is_some() || tree.aplics().next().is_some();
    let instead = controllers::of_devices(tree).and_then(|controller| tree.controller_name(controller));
    match (is_there, instead) {
        (true, _) => BoardError::NoInterruptContext { hart_id },
        (false, Some(instead)) => BoardError::NoInterruptController { instead },
        (false, None) => BoardError::Unusable("no PLIC and no APLIC"),
    }
}

/// Cuts the stacks of so many harts off the end of the free memory, unless they would take more than half of it.
fn cut_stacks(free_memory: &mut PhysRange, harts: usize) -> PhysRange {
    let wanted = Harts::stack_bytes(harts);
    let bytes = if wanted <= free_memory.size_bytes / 2 {
        wanted
    } else {
        0
    };
    free_memory.size_bytes -= bytes;
    PhysRange {
        base_address: free_memory.end_address(),
        size_bytes: bytes,
    }
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
