//! Tasks of `embassy-executor` share a disk. The interrupt of the disk wakes those whose requests are done; the hart sleeps in between.

#![no_std]
#![no_main]

use core::cell::Cell;
use core::ptr::{self, NonNull};

use critical_section::Mutex;
use embassy_executor::{Executor, Spawner};
use embassy_futures::{select::select, yield_now};
use static_cell::{ConstStaticCell, StaticCell};
use support::{Failure, Plic, println};
use virtio_blk_async::mutex::raw_impls::cs::CriticalSectionRawMutex;
use virtio_blk_async::{AsyncBlockIo, AsyncDisk, BounceDisk, ByteRange, Sector};
use virtio_bounce::BouncePool;
use virtio_core::{DeviceType, InterruptSource, LinearMap, PollLimit, StaticDma, Transport};
use virtio_mmio::{MmioTransport, MmioWindow};

support::program!(run, on_interrupt);

/// A queue of 16, and four bounce buffers.
type Disk = AsyncDisk<CriticalSectionRawMutex, MmioTransport<MmioWindow>, 16, 4>;

/// How many tasks there are, and what each writes and reads: more than there are bounce buffers.
const TASKS: usize = 4;
const BYTES: usize = 32 << 10;
/// All tasks change bytes of this one.
const SHARED_SECTOR: u64 = 0;
/// The part of the first task, in sectors. The others follow.
const FIRST: u64 = 64;

/// Memory for the device: rings and bounce buffers.
static MEMORY: ConstStaticCell<[u8; 0x10000]> = ConstStaticCell::new([0; 0x10000]);
static DISK: StaticCell<Disk> = StaticCell::new();
static EXECUTOR: StaticCell<Executor> = StaticCell::new();
/// What the interrupt handler needs.
static HANDLER: Mutex<Cell<Option<(&Disk, Plic)>>> = Mutex::new(Cell::new(None));
/// Tasks that are not over.
static LEFT: Mutex<Cell<usize>> = Mutex::new(Cell::new(TASKS));

/// The handler: the controller says which line is up, and the disk wakes the tasks whose requests are done.
fn on_interrupt() {
    let Some((disk, plic)) = critical_section::with(|section| HANDLER.borrow(section).get()) else {
        return;
    };
    while let Some(source) = plic.claim() {
        // What is wrong with the device is the error of every operation.
        let _ = disk.on_interrupt(InterruptSource::Line);
        plic.complete(source);
    }
}

#[embassy_executor::task(pool_size = TASKS)]
async fn task(disk: &'static Disk, number: usize) {
    if let Err(failure) = work(disk, number).await {
        support::end(Err(failure));
    }
    println!("task {number} has ended");
    let left = critical_section::with(|section| {
        let left = LEFT.borrow(section);
        left.set(left.get() - 1);
        left.get()
    });
    if left == 0 {
        support::end(Ok(()));
    }
}

async fn work(disk: &Disk, number: usize) -> Result<(), Failure> {
    let mut memory = [b'a' + number as u8; BYTES];
    let first = Sector(FIRST + (number * BYTES / 512) as u64);
    disk.write(first, &memory).await?;

    // A read that is given up, as after a time-out, leaves its bounce buffers with the device until that is done.
    select(disk.read(first, &mut memory), yield_now()).await;
    memory.fill(0);
    disk.read(first, &mut memory).await?;
    if memory.iter().any(|&byte| byte != b'a' + number as u8) {
        return Err(Failure::new(format_args!("task {number} reads something else")));
    }

    // Sixteen bytes of a sector that others change as well.
    let bytes = ByteRange::whole(disk);
    let offset = SHARED_SECTOR * 512 + 100 + 16 * number as u64;
    bytes.write_at(offset, &[b'A' + number as u8; 16]).await?;
    disk.flush().await?;
    Ok(())
}

fn run() -> Result<(), Failure> {
    let disk = start()?;
    println!("{} tasks on a disk of {} sectors", TASKS, disk.limits().capacity);
    EXECUTOR.init(Executor::new()).run(|spawner| {
        if let Err(failure) = spawn(spawner, disk) {
            support::end(Err(failure));
        }
    })
}

fn spawn(spawner: Spawner, disk: &'static Disk) -> Result<(), Failure> {
    for number in 0..TASKS {
        let task = task(disk, number).map_err(|_| Failure::new("no room for a task"))?;
        spawner.spawn(task);
    }
    Ok(())
}

/// Finds the first disk of the machine, starts it, and lets its interrupts through.
fn start() -> Result<&'static Disk, Failure> {
    // SAFETY: nothing is translated, so devices see memory where the program sees it.
    let map = unsafe { LinearMap::identity() };
    let mut dma = StaticDma::<16>::new(MEMORY.take(), map);
    let plic = Plic::of_hart(support::boot_hart())?;
    for window in support::device_tree()?.virtio_mmio().flatten() {
        let base = NonNull::new(ptr::with_exposed_provenance_mut(window.registers.base_address as usize));
        let base = base.ok_or(Failure::new("a window at address 0"))?;
        // SAFETY: by the tree a VirtIO window is there. Nothing is translated, and each window is made once.
        let registers = unsafe { MmioWindow::new(base, window.registers.size_bytes as usize) }?;
        let device = virtio_mmio::probe(registers).device();
        let Some(device) = device.filter(|device| device.device_type() == DeviceType::BLOCK) else {
            continue;
        };
        let source = window
            .interrupt
            .ok_or(Failure::new("the disk has no interrupt"))?
            .number();
        let pool = BouncePool::allocate(&mut dma, 4096)?;
        let below = BounceDisk::start(device, &mut dma, &Default::default(), &mut PollLimit::default());
        let disk: &Disk = DISK.init(AsyncDisk::new(below.map_err(|failed| failed.error)?, pool));
        disk.listen()?;
        critical_section::with(|section| HANDLER.borrow(section).set(Some((disk, plic))));
        plic.enable(source);
        // SAFETY: the handler is there, and what it needs as well.
        unsafe {
            riscv::register::sie::set_sext();
            riscv::interrupt::enable();
        }
        return Ok(disk);
    }
    Err(Failure::new("there is no disk"))
}
