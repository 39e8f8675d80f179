//! Finding the disk: every VirtIO window of the device tree is looked into, the first block device is taken.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use board_qemu_virt::{Board, Source, println};
use virtio_core::{DeviceType, Interface, Transport as _};
use virtio_fdt::MmioWindow as TreeWindow;
use virtio_mmio::{MmioWindow, Probe, probe};

use super::report::stop;
use super::session::Transport;

/// Windows looked at; QEMU has eight.
const MAX_WINDOWS: usize = 64;

/// A device and where its interrupt arrives.
pub(crate) struct Found {
    pub(crate) transport: Transport,
    pub(crate) source: Option<Source>,
    /// The controller that the interrupt goes to, if that is not the one of this hart.
    pub(crate) foreign_controller: Option<&'static str>,
}

/// Looks into every window and tells of it. The first block device is returned, lowest address first.
///
/// The windows are looked into once in a run: nothing is found by a second call, since the registers have one owner.
pub(crate) fn find_disk(board: &Board) -> Option<Found> {
    static LOOKED: AtomicBool = AtomicBool::new(false);
    if LOOKED.swap(true, Ordering::Relaxed) {
        return None;
    }
    let windows = match board.tree.virtio_mmio_sorted::<MAX_WINDOWS>() {
        Ok(windows) => windows,
        Err(error) => stop("probe", "bad-tree", &error),
    };
    for window in &windows.unusable {
        println!("{window}");
    }
    let windows = windows.usable;
    let mut found = None;
    let (mut empty, mut end) = (0, 0);
    for window in &windows {
        let interrupt = window.interrupt.as_ref().map_or(0, virtio_fdt::Interrupt::number);
        let address = window.registers.base_address;
        // In order of addresses, so a window that reaches into another one is found here.
        let apart = address >= end;
        end = end.max(address.saturating_add(window.registers.size_bytes));
        // SAFETY: this loop runs once, and the window does not share a register with one before.
        let probed = if apart { unsafe { map(window) }.map(probe) } else { None };
        let identity = match &probed {
            Some(Probe::Device(transport)) => Some((transport.interface(), transport.device_type())),
            Some(Probe::Empty(interface)) => Some((*interface, DeviceType::NONE)),
            Some(Probe::UnknownVersion(version)) => {
                println!("window {address:#x}: unknown version {version}");
                None
            }
            Some(Probe::WrongMagic(magic)) => {
                println!("window {address:#x}: not a VirtIO window (magic {magic:#x})");
                None
            }
            None => {
                println!("window {address:#x}: unusable");
                None
            }
        };
        let Some(Probe::Device(transport)) = probed else {
            empty += u32::from(identity.is_some());
            continue;
        };
        let taken = found.is_none() && transport.device_type() == DeviceType::BLOCK;
        println!(
            "window {address:#x}: irq {interrupt}, version {}, device type {}{}",
            version(transport.interface()),
            transport.device_type(),
            if taken { ", taken" } else { "" }
        );
        if taken {
            let source = window
                .interrupt
                .as_ref()
                .and_then(|interrupt| board.source_of(interrupt));
            let foreign_controller = window
                .interrupt
                .as_ref()
                .and_then(|interrupt| board.foreign_controller(interrupt));
            found = Some(Found {
                transport,
                source,
                foreign_controller,
            });
        }
    }
    println!("{} VirtIO windows, {empty} of them empty", windows.len());
    found
}

/// The registers of a window; `None` if the tree describes something no device can have.
///
/// # Safety
///
/// No window of these registers was made before.
unsafe fn map(window: &TreeWindow) -> Option<MmioWindow> {
    let base = usize::try_from(window.registers.base_address).ok()?;
    let bytes = usize::try_from(window.registers.size_bytes).ok()?;
    let base = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(base))?;
    // SAFETY: the tree says that a VirtIO window is there. Nothing is translated, so it is mapped as the device memory it
    // is for as long as the machine runs, and this image has no other driver. That there is no other window of it the caller
    // says.
    unsafe { MmioWindow::new(base, bytes) }.ok()
}

/// The number of a register layout.
pub(crate) fn version(interface: Interface) -> u32 {
    match interface {
        Interface::Legacy => 1,
        Interface::Modern => 2,
    }
}
