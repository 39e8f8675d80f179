//! Disks as a kernel has them: a registry of block devices, drivers behind locks, an interrupt handler, and callers on all harts.

#![no_std]
#![no_main]

mod block;
mod lock;
mod virtio_disk;

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use static_cell::{ConstStaticCell, StaticCell};
use support::harts::{self, HARTS};
use support::{Failure, Plic, println};
use virtio_core::{DeviceType, LinearMap, StaticDma, Transport};
use virtio_mmio::MmioWindow;

use lock::Lock;
use virtio_disk::VirtioDisk;

support::program!(run, on_interrupt);

/// Most disks.
const DISKS: usize = 2;

static MEMORY: ConstStaticCell<[u8; 0x40000]> = ConstStaticCell::new([0; 0x40000]);
static DRIVERS: [StaticCell<VirtioDisk>; DISKS] = [const { StaticCell::new() }; DISKS];
/// The controller of the hart that takes the interrupts.
static PLIC: Lock<Option<Plic>> = Lock::new(None);

/// Blocks that each hart writes to each disk, and their size. Those of the harts lie between each other.
const BLOCKS: usize = 32;
const BLOCK_BYTES: usize = 4096;

/// What the other harts have come to.
static ENDED: AtomicUsize = AtomicUsize::new(0);
static FAILED: Lock<Option<Failure>> = Lock::new(None);

fn on_interrupt() {
    let Some(plic) = PLIC.with(|plic| *plic) else { return };
    while let Some(line) = plic.claim() {
        block::devices().for_each(|device| device.on_interrupt(line));
        plic.complete(line);
    }
}

fn run() -> Result<(), Failure> {
    start_disks()?;
    let tree = support::device_tree()?;
    let boot_hart = harts::this_hart();
    let others = tree.harts().flatten().map(|hart| hart.id as usize);
    let others = others.filter(|&hart| hart != boot_hart && hart < HARTS);
    let mut started = 0;
    for hart in others {
        harts::start_hart(hart, call)?;
        started += 1;
    }
    call_all(boot_hart)?;
    while ENDED.load(Ordering::Acquire) < started {
        core::hint::spin_loop();
    }
    if let Some(failure) = FAILED.with(Option::take) {
        return Err(failure);
    }
    for device in block::devices() {
        device.flush()?;
    }
    println!(
        "{} harts have written and read {BLOCKS} blocks each on each of {} disks",
        started + 1,
        block::devices().count()
    );
    Ok(())
}

/// What another hart does.
fn call(hart: usize) {
    if let Err(failure) = call_all(hart) {
        FAILED.with(|failed| *failed = Some(failure));
    }
    ENDED.fetch_add(1, Ordering::Release);
}

/// Writes the blocks of this hart, and reads them again.
fn call_all(hart: usize) -> Result<(), Failure> {
    let content = |block: usize| [b'A' + (hart * 8 + block % 8) as u8; BLOCK_BYTES];
    let place = |block: usize| (block * HARTS + hart) as u64 * BLOCK_BYTES as u64 / 512;
    for block in 0..BLOCKS {
        for device in block::devices() {
            device.write(place(block), &content(block))?;
        }
    }
    let mut found = [0; BLOCK_BYTES];
    for block in 0..BLOCKS {
        for device in block::devices() {
            device.read(place(block), &mut found)?;
            if found != content(block) {
                return Err(Failure::new(format_args!("block {block} of hart {hart} differs")));
            }
        }
    }
    Ok(())
}

/// Starts the disks of the machine, and lets their interrupts through to this hart.
fn start_disks() -> Result<(), Failure> {
    // SAFETY: nothing is translated, so devices see memory where the program sees it.
    let map = unsafe { LinearMap::identity() };
    let mut dma = StaticDma::<32>::new(MEMORY.take(), map);
    let plic = Plic::of_hart(harts::this_hart())?;
    PLIC.with(|shared| *shared = Some(plic));
    let windows = support::device_tree()?.virtio_mmio_sorted::<8>()?;
    let mut drivers = DRIVERS.iter();
    for window in &windows.usable {
        let base = NonNull::new(ptr::with_exposed_provenance_mut(window.registers.base_address as usize));
        let base = base.ok_or(Failure::new("a window at address 0"))?;
        // SAFETY: by the tree a VirtIO window is there. Nothing is translated, and each window is made once.
        let registers = unsafe { MmioWindow::new(base, window.registers.size_bytes as usize) }?;
        let device = virtio_mmio::probe(registers).device();
        let Some(device) = device.filter(|device| device.device_type() == DeviceType::BLOCK) else {
            continue;
        };
        let Some(driver) = drivers.next() else { break };
        let line = window
            .interrupt
            .ok_or(Failure::new("a disk has no interrupt"))?
            .number();
        let disk = driver.init(VirtioDisk::start(device, line, &mut dma)?);
        println!("a disk of {} sectors on line {line}", block::BlockDevice::sectors(disk));
        block::register(disk);
        plic.enable(line);
    }
    // SAFETY: the handler is there, and what it needs as well.
    unsafe {
        riscv::register::sie::set_sext();
        riscv::interrupt::enable();
    }
    Ok(())
}
