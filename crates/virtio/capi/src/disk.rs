//! The functions.

use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;

use virtio_blk::proto::Sector;
use virtio_blk::{Completion, Disk, DiskOptions, Request};
use virtio_core::{DeviceAddr, InterruptSource, PollLimit, RawSegments, ResetError, Segment};
use virtio_mmio::MmioTransport;

use crate::platform::{Allocator, Window};
use crate::{Memory, Outcome, Registers};

/// Most requests in flight.
const QUEUE: usize = 64;

/// A pointer of the caller, which comes back as it is.
#[derive(Debug)]
struct Token(*mut c_void);

type Buffer = RawSegments<[Segment; 1]>;
type Inner = Disk<MmioTransport<Window>, Buffer, Token, QUEUE>;

/// A started disk, in the storage of the caller.
#[derive(Debug)]
pub struct VirtioBlkDisk {
    disk: Inner,
    memory: Allocator,
}

/// Called once for each request that is over: with the context of the call, the token of the request, how it ended, and how many bytes
/// were transferred. It must not call the driver.
pub type Completed =
    Option<unsafe extern "C" fn(context: *mut c_void, token: *mut c_void, outcome: Outcome, bytes: u64)>;

/// How many bytes of storage a disk takes, aligned to 64 bytes.
#[unsafe(no_mangle)]
pub extern "C" fn virtio_blk_disk_bytes() -> usize {
    const { assert!(align_of::<VirtioBlkDisk>() <= ALIGNMENT) };
    size_of::<VirtioBlkDisk>()
}

/// What storage is aligned to: a cache line of most machines.
const ALIGNMENT: usize = 64;

/// Brings the device at the registers up. The disk lies in the storage, which stays where it is until the disk is shut down.
///
/// # Safety
///
/// * `disk`, `registers` and `memory` are null or point to values of their types; `storage` is null or points to `bytes` bytes that
///   nothing else uses until the disk is shut down.
/// * The callbacks do as their descriptions say. They access the registers of one device, which nothing else writes until the disk is shut
///   down, and which is cut off from memory once its registers read as all ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_start(
    disk: *mut *mut VirtioBlkDisk,
    storage: *mut c_void,
    bytes: usize,
    registers: *const Registers,
    memory: *const Memory,
) -> Outcome {
    let place = storage.cast::<VirtioBlkDisk>();
    let fits = !place.is_null() && place.addr().is_multiple_of(ALIGNMENT) && bytes >= size_of::<VirtioBlkDisk>();
    // SAFETY: the caller promises that they are null or valid, and what the callbacks do.
    let parts = unsafe {
        let window = registers.as_ref().and_then(|registers| Window::new(registers));
        window.zip(memory.as_ref().and_then(|memory| Allocator::new(memory)))
    };
    let (Some((window, mut memory)), Some(answer), true) = (parts, NonNull::new(disk), fits) else {
        return Outcome::Argument;
    };
    let Some(transport) = virtio_mmio::probe(window).device() else {
        return Outcome::NoDevice;
    };
    let options = DiskOptions {
        max_segments: 1,
        ..DiskOptions::default()
    };
    match Inner::start(transport, &mut memory, &options, &mut PollLimit::default()) {
        Ok(disk) => {
            // SAFETY: the storage is large enough and aligned, and so is the place for the answer; the caller promises that both can be
            // written.
            unsafe {
                place.write(VirtioBlkDisk { disk, memory });
                answer.write(place);
            }
            Outcome::Ok
        }
        Err(failed) => failed.error.into(),
    }
}

/// The size of the disk in sectors of 512 bytes.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_capacity(disk: *const VirtioBlkDisk) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { (*disk).disk.config() }.capacity.0
}

/// The size of a block in bytes. Positions and lengths are multiples of it.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_block_bytes(disk: *const VirtioBlkDisk) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { (*disk).disk.config() }.block_bytes()
}

/// Takes a read into a buffer. If the answer is not `Ok`, the request was not taken, and there will be no completion.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way. The device sees `bytes` bytes of memory at `address`, which no other code
/// uses until the request is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_read(
    disk: *mut VirtioBlkDisk,
    sector: u64,
    address: u64,
    bytes: u32,
    token: *mut c_void,
) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        submit(
            disk,
            Request::read(Sector(sector), buffer(address, bytes), Token(token)),
        )
    }
}

/// Takes a write of a buffer. If the answer is not `Ok`, the request was not taken, and there will be no completion.
///
/// # Safety
///
/// As for [`virtio_blk_read`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_write(
    disk: *mut VirtioBlkDisk,
    sector: u64,
    address: u64,
    bytes: u32,
    token: *mut c_void,
) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        submit(
            disk,
            Request::write(Sector(sector), buffer(address, bytes), Token(token)),
        )
    }
}

/// Takes a flush, which makes completed writes durable.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_flush(disk: *mut VirtioBlkDisk, token: *mut c_void) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe { submit(disk, Request::flush(Token(token))) }
}

/// # Safety
///
/// The memory is the device's until the request is over.
unsafe fn buffer(address: u64, bytes: u32) -> Buffer {
    // SAFETY: the caller's promise. A buffer that comes back is dropped.
    unsafe { RawSegments::new([Segment::new(DeviceAddr(address), bytes)]) }
}

/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way.
unsafe fn submit(disk: *mut VirtioBlkDisk, request: Request<Buffer, Token>) -> Outcome {
    // SAFETY: the caller's promise.
    match unsafe { (*disk).disk.submit(request) } {
        Ok(()) => Outcome::Ok,
        Err(rejected) => rejected.error.into(),
    }
}

/// Tells the device of the requests that were taken. One call is enough for any number of them.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_notify(disk: *mut VirtioBlkDisk) {
    // SAFETY: the caller's promise.
    unsafe { (*disk).disk.notify() };
}

/// Calls `completed` for each request that is over, and answers how it is with the device.
///
/// # Safety
///
/// `disk` is a started disk, and no other call with it is under way. `completed` can be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_poll(
    disk: *mut VirtioBlkDisk,
    completed: Completed,
    context: *mut c_void,
) -> Outcome {
    // SAFETY: the caller's promise.
    match unsafe { (*disk).disk.poll(|over| tell(over, completed, context)) } {
        Ok(_) => Outcome::Ok,
        Err(_) => Outcome::Broken,
    }
}

/// The same in the handler of an interrupt of the device, which is acknowledged.
///
/// # Safety
///
/// As for [`virtio_blk_poll`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_interrupt(
    disk: *mut VirtioBlkDisk,
    completed: Completed,
    context: *mut c_void,
) -> Outcome {
    let source = InterruptSource::Line;
    // SAFETY: the caller's promise.
    match unsafe { (*disk).disk.on_interrupt(source, |over| tell(over, completed, context)) } {
        Ok(_) => Outcome::Ok,
        Err(_) => Outcome::Broken,
    }
}

/// Resets the device, calls `completed` for each request that was in flight, and releases all memory. After `TimedOut` the disk is as
/// it was, and can be shut down later; after `Ok` it is no disk any more, and the storage is free.
///
/// # Safety
///
/// As for [`virtio_blk_poll`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_blk_shut_down(
    disk: *mut VirtioBlkDisk,
    completed: Completed,
    context: *mut c_void,
) -> Outcome {
    // SAFETY: the caller's promise. The value is put back if it is still a disk.
    let VirtioBlkDisk {
        disk: inner,
        mut memory,
    } = unsafe { disk.read() };
    let each = |over| {
        // SAFETY: the caller's promise.
        unsafe { tell(over, completed, context) };
    };
    match inner.shut_down(&mut memory, &mut PollLimit::default(), each) {
        Ok(_) => Outcome::Ok,
        Err((ResetError::TimedOut | ResetError::Gone, inner)) => {
            // SAFETY: the value was there before.
            unsafe { disk.write(VirtioBlkDisk { disk: inner, memory }) };
            Outcome::TimedOut
        }
    }
}

/// # Safety
///
/// `completed` can be called with `context`.
unsafe fn tell(over: Completion<Buffer, Token>, completed: Completed, context: *mut c_void) {
    let outcome = match over.result {
        Ok(_) => Outcome::Ok,
        Err(error) => error.into(),
    };
    if let Some(completed) = completed {
        // SAFETY: the caller's promise.
        unsafe { completed(context, over.token.0, outcome, over.bytes) };
    }
}
