//! Keeps several requests in flight, sleeps meanwhile, and is woken by the interrupt of the disk.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::ptr::{self, NonNull};

use critical_section::Mutex;
use heapless::Vec;
use static_cell::ConstStaticCell;
use support::{Failure, Plic, println};
use virtio_blk::proto::Sector;
use virtio_blk::{Completion, DeviceFault, Disk, DiskOptions, Request};
use virtio_core::{DeviceType, Dma, DmaBuffer, InterruptSource, LinearMap, PollLimit, StaticDma, Transport};
use virtio_mmio::{MmioTransport, MmioWindow};

support::program!(run, on_interrupt);

/// Requests in flight. Each is for a block of its own, and its token is the number of the block.
const REQUESTS: usize = 8;
const BLOCK_BYTES: usize = 4096;
const SECTORS: u64 = BLOCK_BYTES as u64 / 512;

/// Memory for the device: rings and data.
static MEMORY: ConstStaticCell<[u8; 0x10000]> = ConstStaticCell::new([0; 0x10000]);

/// What program and interrupt handler share. It is taken out of its cell by one of them at a time, since interrupts are off meanwhile.
struct Shared {
    disk: Disk<MmioTransport<MmioWindow>, DmaBuffer, u64, 16>,
    plic: Plic,
    done: Vec<Completion<DmaBuffer, u64>, REQUESTS>,
    fault: Option<DeviceFault>,
    interrupts: u32,
}

static SHARED: Mutex<RefCell<Option<Shared>>> = Mutex::new(RefCell::new(None));

/// Does something with what is shared, with interrupts off.
fn with_shared<R>(act: impl FnOnce(&mut Shared) -> R) -> Result<R, Failure> {
    critical_section::with(|section| SHARED.borrow_ref_mut(section).as_mut().map(act))
        .ok_or(Failure::new("there is no disk"))
}

/// The handler: the controller says which line is up, the driver looks at its device and hands over what has come back.
fn on_interrupt() {
    let _ = with_shared(|shared| {
        while let Some(source) = shared.plic.claim() {
            shared.interrupts += 1;
            // There are never more completions than requests in flight, so there is room for each.
            let each = |done| drop(shared.done.push(done));
            if let Err(fault) = shared.disk.on_interrupt(InterruptSource::Line, each) {
                shared.fault = Some(fault);
            }
            shared.plic.complete(source);
        }
    });
}

fn run() -> Result<(), Failure> {
    let mut dma = start()?;
    for write in [true, false] {
        with_shared(|shared| -> Result<(), Failure> {
            for number in 0..REQUESTS as u64 {
                let mut buffer = DmaBuffer::allocate(&mut dma, BLOCK_BYTES, 512)?;
                let place = Sector(number * SECTORS);
                let request = if write {
                    buffer.fill(b'a' + number as u8);
                    Request::write(place, buffer, number)
                } else {
                    Request::read(place, buffer, number)
                };
                shared.disk.submit(request)?;
            }
            shared.disk.notify();
            println!("{} requests in flight", shared.disk.queue().in_flight());
            Ok(())
        })??;
        for done in wait()? {
            done.result?;
            let buffer = done.buffer.ok_or(Failure::new("a request has lost its buffer"))?;
            if buffer.iter().any(|&byte| byte != b'a' + done.token as u8) {
                return Err(Failure::new(format_args!("block {} differs", done.token)));
            }
            dma.release(buffer.into_region());
        }
    }
    let interrupts = with_shared(|shared| shared.interrupts)?;
    println!("{} completions by {interrupts} interrupts", 2 * REQUESTS);
    Ok(())
}

/// Sleeps until all requests have come back.
fn wait() -> Result<Vec<Completion<DmaBuffer, u64>, REQUESTS>, Failure> {
    loop {
        // Interrupts are off for the look and the sleep, so none is missed between them. One that comes ends the sleep all the same, and its
        // handler runs when they are on again.
        let done = riscv::interrupt::free(|| {
            let done = with_shared(|shared| match shared.fault {
                Some(fault) => Err(fault),
                None if shared.done.is_full() => Ok(Some(core::mem::take(&mut shared.done))),
                None => Ok(None),
            });
            if let Ok(Ok(None)) = done {
                riscv::asm::wfi();
            }
            done
        })??;
        if let Some(done) = done {
            return Ok(done);
        }
    }
}

/// Finds the first disk of the machine, starts it, and lets its interrupts through. Returns the memory that is left.
fn start() -> Result<StaticDma<16>, Failure> {
    // SAFETY: nothing is translated, so devices see memory where the program sees it.
    let map = unsafe { LinearMap::identity() };
    let mut dma = StaticDma::new(MEMORY.take(), map);
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
        let (options, mut limit) = (DiskOptions::default(), PollLimit::default());
        let mut disk = Disk::start(device, &mut dma, &options, &mut limit).map_err(|failed| failed.error)?;
        // From here on the device interrupts when a request comes back.
        disk.drain(drop)?;
        let source = window
            .interrupt
            .ok_or(Failure::new("the disk has no interrupt"))?
            .number();
        println!("a disk of {} sectors with interrupt {source}", disk.limits().capacity);
        critical_section::with(|section| {
            *SHARED.borrow_ref_mut(section) = Some(Shared {
                disk,
                plic,
                done: Vec::new(),
                fault: None,
                interrupts: 0,
            });
        });
        plic.enable(source);
        // SAFETY: the handler is there, and what it needs as well.
        unsafe {
            riscv::register::sie::set_sext();
            riscv::interrupt::enable();
        }
        return Ok(dma);
    }
    Err(Failure::new("there is no disk"))
}
