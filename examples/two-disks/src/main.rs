//! Copies the first disk of the machine to the second, with reads of the one and writes of the other in flight together.

#![no_std]
#![no_main]

use core::ptr::{self, NonNull};

use heapless::Vec;
use static_cell::ConstStaticCell;
use support::{Failure, println};
use virtio_blk::proto::Sector;
use virtio_blk::{Completion, Disk, DiskOptions, Request};
use virtio_core::{DeviceType, DmaBuffer, DmaSlice, LinearMap, PollLimit, StaticDma, Transport};
use virtio_mmio::{MmioTransport, MmioWindow};

support::program!(run);

/// Half of the buffers are for reads, so that those of the next part are in flight while this part is written.
const BUFFERS: usize = 8;
const READS: u16 = 4;
const BUFFER_BYTES: usize = 16384;
const SECTORS: u64 = BUFFER_BYTES as u64 / 512;

/// The token of a request is its first sector.
type MyDisk = Disk<MmioTransport<MmioWindow>, DmaSlice, Sector, 16>;
type Done = Completion<DmaSlice, Sector>;
type Buffers = Vec<DmaSlice, BUFFERS>;

/// Memory for the devices: rings and data.
static MEMORY: ConstStaticCell<[u8; 0x40000]> = ConstStaticCell::new([0; 0x40000]);

fn run() -> Result<(), Failure> {
    // SAFETY: nothing is translated, so devices see memory where the program sees it.
    let map = unsafe { LinearMap::identity() };
    let mut dma = StaticDma::<32>::new(MEMORY.take(), map);
    let [mut from, mut to] = find_disks(&mut dma)?;
    let sectors = from.limits().capacity.get();
    println!("disks of {sectors} and {} sectors", to.limits().capacity);
    if to.limits().capacity.get() < sectors {
        return Err(Failure::new("the second disk is smaller"));
    }

    let mut buffers = Buffers::new();
    while !buffers.is_full() {
        let buffer = DmaBuffer::allocate(&mut dma, BUFFER_BYTES, 4096)?;
        let slice = buffer
            .slice(0, BUFFER_BYTES)
            .map_err(|_| Failure::new("an empty buffer"))?;
        drop(buffers.push(slice));
    }
    let together = copy(&mut from, &mut to, sectors, &mut buffers)?;
    println!("copied, with up to {together} requests in flight on both disks together");
    compare(&mut from, &mut to, sectors, &mut buffers)?;
    println!("the disks are equal");
    Ok(())
}

/// Copies, and returns the most requests that both disks had in flight together.
fn copy(from: &mut MyDisk, to: &mut MyDisk, sectors: u64, free: &mut Buffers) -> Result<u16, Failure> {
    let (mut next, mut together) = (0, 0);
    while next < sectors || free.len() < BUFFERS {
        for done in completions(from)? {
            let first = done.token;
            to.submit(Request::write(first, buffer_of(done)?, first))?;
        }
        while next < sectors
            && from.queue().in_flight() < READS
            && let Some(buffer) = free.pop()
        {
            next = read(from, next, sectors, buffer)?;
        }
        from.notify();
        to.notify();
        let (reads, writes) = (from.queue().in_flight(), to.queue().in_flight());
        if reads > 0 && writes > 0 {
            together = together.max(reads + writes);
        }
        for done in completions(to)? {
            // There is room for all buffers.
            drop(free.push(buffer_of(done)?));
        }
    }
    to.submit(Request::flush(Sector(0)))?;
    to.notify();
    while to.queue().in_flight() > 0 {
        for done in completions(to)? {
            done.result?;
        }
    }
    Ok(together)
}

/// Reads both disks, a part of both at a time, and compares the parts.
fn compare(from: &mut MyDisk, to: &mut MyDisk, sectors: u64, free: &mut Buffers) -> Result<(), Failure> {
    let mut next = 0;
    while next < sectors {
        let part = Sector(next);
        let mut parts = Buffers::new();
        for disk in [&mut *from, &mut *to] {
            let buffer = free.pop().ok_or(Failure::new("a buffer is missing"))?;
            next = read(disk, part.get(), sectors, buffer)?;
            disk.notify();
        }
        for disk in [&mut *from, &mut *to] {
            while disk.queue().in_flight() > 0 {
                for done in completions(disk)? {
                    drop(parts.push(buffer_of(done)?));
                }
            }
        }
        if parts[0][..] != parts[1][..] {
            return Err(Failure::new(format_args!("the disks differ after sector {part}")));
        }
        free.extend(parts);
    }
    Ok(())
}

/// Submits a read from sector `first` on, as much as the buffer takes, and returns the sector after it.
fn read(disk: &mut MyDisk, first: u64, end: u64, mut buffer: DmaSlice) -> Result<u64, Failure> {
    let sectors = SECTORS.min(end - first);
    buffer.reslice(0, sectors as usize * 512);
    disk.submit(Request::read(Sector(first), buffer, Sector(first)))?;
    Ok(first + sectors)
}

/// What has come back from a disk.
fn completions(disk: &mut MyDisk) -> Result<Vec<Done, BUFFERS>, Failure> {
    let mut found = Vec::new();
    // No disk has more requests than there are buffers, so there is room for each.
    disk.poll(|done| drop(found.push(done)))?;
    Ok(found)
}

/// The buffer of a request that the device has carried out.
fn buffer_of(done: Done) -> Result<DmaSlice, Failure> {
    done.result?;
    done.buffer.ok_or(Failure::new("a request has lost its buffer"))
}

/// Starts the first two disks of the machine, lowest address first.
fn find_disks(dma: &mut StaticDma<32>) -> Result<[MyDisk; 2], Failure> {
    let windows = support::device_tree()?.virtio_mmio_sorted::<8>()?;
    let mut disks = Vec::<_, 2>::new();
    for window in &windows.usable {
        let base = NonNull::new(ptr::with_exposed_provenance_mut(window.registers.base_address as usize));
        let base = base.ok_or(Failure::new("a window at address 0"))?;
        // SAFETY: by the tree a VirtIO window is there. Nothing is translated, and each window is made once.
        let registers = unsafe { MmioWindow::new(base, window.registers.size_bytes as usize) }?;
        let device = virtio_mmio::probe(registers).device();
        let Some(device) = device.filter(|device| device.device_type() == DeviceType::BLOCK) else {
            continue;
        };
        if disks.is_full() {
            break;
        }
        let (options, mut limit) = (DiskOptions::default(), PollLimit::default());
        let disk = MyDisk::start(device, dma, &options, &mut limit).map_err(|failed| failed.error)?;
        drop(disks.push(disk));
    }
    disks.into_array().map_err(|_| Failure::new("there are no two disks"))
}
