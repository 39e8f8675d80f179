//! The disks of both buses, for an image that drives a disk wherever it is.

use alloc::vec::Vec;

use board_qemu_virt::Ecam;
use board_qemu_virt::{Board, Pci, Source, println};
use guest_protocol::Bus;
use virtio_core::{DeviceType, EitherTransport};
use virtio_mmio::{MmioTransport, MmioWindow};
use virtio_pci::{
    BarRange, BarSpace, Finder, FoundFunction, Mapper, MsixError, MsixTable, PciFunction, PciTransport, Window, probe,
};

use crate::report::stop;
use crate::windows::{self, version};

/// How an image reaches a disk on either bus.
pub type Transport = EitherTransport<MmioTransport<MmioWindow>, PciTransport<Ecam, Window>>;

/// A disk, and how it interrupts.
pub struct Found {
    pub bus: Bus,
    /// None: it is in use, or gone.
    pub transport: Option<Transport>,
    /// Where its line arrives; `None` if that is no source of this hart.
    pub line: Option<Source>,
    /// The controller that the line goes to, if that is not the one of this hart.
    pub foreign_controller: Option<&'static str>,
    /// Its interrupt vectors, if the machine takes messages. Then the line is silent.
    pub table: Option<MsixTable<Window>>,
}

/// Finds all disks: those in windows first, lowest address first, then those on the PCI bus, in the order of the bus. The bus is
/// assigned before.
///
/// As [`windows::find_disks`] it finds nothing when it is called again.
pub fn find(board: &mut Board) -> (Vec<Found>, Option<Pci>) {
    let mut found: Vec<Found> = windows::find_disks(board, usize::MAX)
        .into_iter()
        .map(|window| Found {
            bus: Bus::Mmio,
            transport: Some(Transport::First(window.transport)),
            line: window.source,
            foreign_controller: window.foreign_controller,
            table: None,
        })
        .collect();
    let pci = board.pci.take().map(|pci| {
        let (pci, assigned) = pci.assign();
        println!("{} PCI functions", assigned.functions);
        found.extend(on_bus(board, &pci));
        pci
    });
    (found, pci)
}

/// The disks of the PCI bus that can be reached.
fn on_bus(board: &Board, pci: &Pci) -> Vec<Found> {
    let ecam = pci.ecam();
    // SAFETY: functions that do not exist read as all ones on this machine, and reading has no effect.
    let functions = unsafe { Finder::new(ecam, ecam.segment(), ecam.buses()) };
    functions
        .filter(is_disk)
        .filter_map(|found| {
            // SAFETY: this is called once for each function: at start, as only one call gets the bus, and for a slot that was empty.
            unsafe { at(board, pci, &found) }
        })
        .collect()
}

fn is_disk(found: &FoundFunction) -> bool {
    found.virtio.is_some_and(|id| id.device_type == DeviceType::BLOCK)
}

/// The disk that was plugged into a slot of this bus number and has addresses, if there is one.
///
/// # Safety
///
/// Nothing drives the functions of that bus.
pub unsafe fn plugged(board: &Board, pci: &Pci, bus: u8) -> Option<Found> {
    let ecam = pci.ecam();
    // SAFETY: as for all buses.
    let mut functions = unsafe { Finder::new(ecam, ecam.segment(), bus..=bus) };
    let found = functions.find(is_disk)?;
    // SAFETY: the caller says that nothing drives it.
    unsafe { at(board, pci, &found) }
}

/// The disk at an address.
///
/// # Safety
///
/// Nothing else drives the function.
unsafe fn at(board: &Board, pci: &Pci, found: &FoundFunction) -> Option<Found> {
    let address = found.address;
    // SAFETY: the configuration space is that of the machine, and the caller says that nothing else drives the function.
    let function = unsafe { PciFunction::new(pci.ecam(), address) };
    // SAFETY: the board has given the BARs their addresses, nothing is translated, and the window of each belongs to one function.
    let mut mapper = unsafe {
        Mapper::new(|range: &BarRange| {
            pci.pointer(range.space() == BarSpace::Ports, range.address(), range.bytes().into())
        })
    };
    let mut transport = match probe(function, &mut mapper) {
        Ok(transport) => transport,
        Err(error) => {
            println!("PCI function {address}: {error}");
            return None;
        }
    };
    let version = version(virtio_core::Transport::interface(&transport));
    let interrupt = match pci.interrupt(address) {
        Ok(interrupt) => interrupt,
        Err(error) => stop("probe", "bad-tree", &error),
    };
    let takes_messages = board
        .interrupts
        .allocate_message(board.hart_id)
        .map(|message| board.interrupts.free_message(message));
    let table = match takes_messages.map(|()| transport.open_msix(&mut mapper)) {
        Some(Ok(table)) => Some(table),
        None | Some(Err(MsixError::Missing)) => None,
        Some(Err(error)) => {
            println!("PCI function {address}: {error}");
            None
        }
    };
    let vectors = table.as_ref().map_or(0, MsixTable::vectors);
    println!("PCI function {address}: version {version}, {vectors} vectors, taken");
    Some(Found {
        bus: if found.virtio.is_some_and(|id| id.transitional) && version == 2 {
            Bus::PciTransitional
        } else {
            Bus::Pci
        },
        transport: Some(Transport::Second(transport)),
        line: interrupt.as_ref().and_then(|interrupt| board.source_of(interrupt)),
        foreign_controller: interrupt
            .as_ref()
            .and_then(|interrupt| board.foreign_controller(interrupt)),
        table,
    })
}
