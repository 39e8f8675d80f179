//! Finding the disks: every VirtIO window of the device tree is looked into, and as many block devices are taken as an image wants.

use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use board_qemu_virt::{Board, Source, println};
use virtio_core::{DeviceType, Interface, Transport as _};
use virtio_fdt::MmioWindow as TreeWindow;
use virtio_mmio::{MmioTransport, MmioWindow, Probe, probe};

use crate::report::stop;

/// Windows looked at; QEMU has eight.
const MAX_WINDOWS: usize = 64;

/// How an image reaches a device.
pub type Transport = MmioTransport<MmioWindow>;

/// A device and where its interrupt arrives.
pub struct Found {
    pub transport: Transport,
    pub source: Option<Source>,
    /// The controller that the interrupt goes to, if that is not the one of this hart.
    pub foreign_controller: Option<&'static str>,
}

/// Looks into every window and reports it. Up to `wanted` block devices are returned, lowest address first.
///
/// The windows are looked into once in a run: nothing is found by a second call, since the registers have one owner.
pub fn find_disks(board: &Board, wanted: usize) -> Vec<Found> {
    static LOOKED: AtomicBool = AtomicBool::new(false);
    if LOOKED.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let windows = match board.tree.virtio_mmio_sorted::<MAX_WINDOWS>() {
        Ok(windows) => windows,
        Err(error) => stop("probe", "bad-tree", &error),
    };
    for window in &windows.unusable {
        println!("{window}");
    }
    let mut found = Vec::new();
    let mut end = 0;
    for window in &windows.usable {
        let interrupt = window.interrupt.as_ref();
        let number = interrupt.map_or(0, virtio_fdt::Interrupt::number);
        let address = window.registers.base_address;
        // In order of addresses, so a window that reaches into another one is found here.
        let apart = address >= end;
        end = end.max(address.saturating_add(window.registers.size_bytes));
        // SAFETY: this loop runs once, and the window does not share a register with one before.
        let probed = if apart { unsafe { map(window) }.map(probe) } else { None };
        match probed {
            Some(Probe::Device(transport)) => {
                let (version, device) = (version(transport.interface()), transport.device_type());
                let taken = found.len() < wanted && device == DeviceType::BLOCK;
                println!(
                    "window {address:#x}: irq {number}, version {version}, device type {device}{}",
                    if taken { ", taken" } else { "" }
                );
                if taken {
                    found.push(Found {
                        transport,
                        source: interrupt.and_then(|interrupt| board.source_of(interrupt)),
                        foreign_controller: interrupt.and_then(|interrupt| board.foreign_controller(interrupt)),
                    });
                }
            }
            Some(Probe::Empty(_)) => {}
            Some(Probe::UnknownVersion(version)) => println!("window {address:#x}: unknown version {version}"),
            Some(Probe::WrongMagic(magic)) => {
                println!("window {address:#x}: not a VirtIO window (magic {magic:#x})");
            }
            None => println!("window {address:#x}: unusable"),
        }
    }
    println!("{} VirtIO windows", windows.usable.len());
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
    // SAFETY: by the tree a VirtIO window is there. Nothing is translated, so it is mapped as the device memory it
    // is for as long as the machine runs, and an image has no other driver. The caller promises that there is no other window of
    // it.
    unsafe { MmioWindow::new(base, bytes) }.ok()
}

/// The number of a register layout.
pub fn version(interface: Interface) -> u32 {
    match interface {
        Interface::Legacy => 1,
        Interface::Modern => 2,
    }
}
