//! Bringing the service up: find the device, reset it, start it.

use core::mem::MaybeUninit;
use minix_blockdriver::log_line;

use minix_abi::kernel_call::{DEFAULT_HZ, IrqPolicy};
use minix_abi::{Errno, Instant};
use minix_blockdriver::{BlockDevice as _, BlockDriver, DriverOptions, SECTOR_BYTES, Service};
use minix_rt::Ipc;
use minix_rt::kernel::{self, IrqLine};
use minix_rt::logger::Logger;
use minix_rt::sef::{self, Startup};
use virtio_blk::InitError;
use virtio_core::{Interface, PollLimit, QueueSize, Transport as _};
use virtio_mmio::{MmioTransport, MmioWindow};

use crate::args::Arguments;
use crate::device_state::QUEUE;
use crate::disk::{DevicePlace, DiskMemory, ListTable, VirtioDisk};
use crate::dma::VmDma;
use crate::registration::Registration;
use crate::serve::{DiskService, JOBS};
use crate::system::{MinixSystem, ReplyTable};
use crate::windows::{self, Registers, Window};

/// Memory that the service keeps for good. What is large stays where it is: the stack of a service is made page by page,
/// by a server that may be short of memory.
pub struct Tables<I: Ipc + 'static, W: Window + 'static = MmioWindow> {
    /// Segments of requests.
    pub lists: ListTable,
    /// Replies that wait for their receivers.
    pub replies: ReplyTable,
    /// The driver of the device.
    pub disk: DiskMemory<MmioTransport<W>>,
    /// The service itself.
    pub service: MaybeUninit<MmioService<I, W>>,
}

impl<I: Ipc, W: Window> Tables<I, W> {
    /// All of it.
    pub const fn new() -> Self {
        Self {
            lists: ListTable::new(),
            replies: ReplyTable::new(),
            disk: DiskMemory::new(),
            service: MaybeUninit::uninit(),
        }
    }
}

impl<I: Ipc, W: Window> Default for Tables<I, W> {
    fn default() -> Self {
        Self::new()
    }
}

/// The bit that stands for the device in notifications of interrupts.
const NOTIFY_ID: u8 = 0;

/// The service on the machine.
pub type MmioService<I, W = MmioWindow> = DiskService<I, MmioTransport<W>, VmDma<I>>;

/// Waits for the start request of RS, and returns in an instance that starts from nothing. One that is to take
/// over from a dead instance [resets its device](reset_stale_device), frees the interrupt line, and then declines.
/// `arguments` are those of the service, if they make sense.
///
/// # Safety
///
/// As [`reset_stale_device`].
pub unsafe fn wait_for_rs<W: Window>(ipc: &mut impl Ipc, arguments: Option<&Arguments>) -> Startup {
    sef::start_with(ipc, |ipc| {
        if let Some(arguments) = arguments {
            // SAFETY: the caller's promise is the same.
            unsafe { reset_stale_device::<W>(ipc, arguments) };
        }
    })
}

/// Brings the service up, all but the announcement. `found` is told where the registers of the device are as soon as the
/// device is this service's.
///
/// # Errors
///
/// What RS is to be told: [`ENODEV`](Errno::ENODEV) if there is no such device, [`EBUSY`](Errno::EBUSY) if another service has
/// it, [`EIO`](Errno::EIO) if it does not work, [`ENOMEM`](Errno::ENOMEM), what the system refused. The log has a line about it.
///
/// # Safety
///
/// As [`windows::find`]: the device becomes this service's.
pub unsafe fn bring_up<I: Ipc + Clone, W: Window>(
    mut ipc: I,
    arguments: &Arguments,
    registration: &mut Registration,
    clock: fn() -> Instant,
    logger: &'static Logger,
    tables: &'static mut Tables<I, W>,
    found: impl FnOnce(Registers),
) -> Result<&'static mut MmioService<I, W>, Errno> {
    let instance = arguments.instance;
    // SAFETY: the caller's promise is the same.
    let device = unsafe { windows::find::<W>(&mut ipc, instance) }.map_err(|error| {
        log_line!(Error, "{error}");
        error.errno()
    })?;
    let (address, irq) = (device.address, device.irq);
    // So far the device was only looked at. If it is another service's, that is all that happens to it.
    registration.claim(&mut ipc, address).map_err(|error| {
        log_line!(Error, "no access to block device {instance} at {address:#x}: {error}");
        error.errno()
    })?;
    let mut transport = device.transport;
    // Before anything else: a device that worked for an instance which died may still write to memory, which by now is
    // that of other code.
    transport.reset(&mut PollLimit::default()).map_err(|error| {
        log_line!(Error, "{error}");
        Errno::EIO
    })?;
    found(device.registers);
    let version = match transport.interface() {
        Interface::Legacy => 1,
        Interface::Modern => 2,
    };
    log_line!(
        Info,
        "block device {instance} at {address:#x}, irq {irq}, version {version}"
    );
    let queue = queue_size(arguments.queue);

    let hz = ticks_per_second(&mut ipc);
    let line = IrqLine::attach(&mut ipc, irq, NOTIFY_ID, IrqPolicy::empty()).map_err(refused("the interrupt line"))?;
    let dma = VmDma::new(ipc.clone());
    let mut disk = VirtioDisk::start(transport, dma, queue, &mut tables.lists, &mut tables.disk).map_err(|error| {
        log_line!(Error, "{error}");
        // It would stay longer than the process.
        let _ = line.remove(&mut ipc);
        match error {
            InitError::Dma(_) => Errno::ENOMEM,
            _ => Errno::EIO,
        }
    })?;
    disk.set_place(DevicePlace {
        address,
        irq: irq.cast_signed(),
    });
    let enabled = line.enable(&mut ipc).map_err(refused("the interrupt line"));
    // A device that has just started is live, and has both.
    let facts = enabled.and_then(|()| disk.info().copied().zip(disk.queue()).ok_or(Errno::EIO));
    let (info, (most, indirect)) = facts.inspect_err(|_| {
        // The device has memory of this process, which is to end.
        disk.stop();
        let _ = line.remove(&mut ipc);
    })?;
    log_line!(
        Info,
        "capacity {} sectors ({} MiB), block {} bytes, {}, flush {}",
        info.sectors,
        info.sectors >> 11,
        info.block_bytes,
        if info.read_only { "read-only" } else { "read-write" },
        if info.can_flush { "yes" } else { "no" },
    );
    if info.sectors < u64::from(info.block_bytes) / SECTOR_BYTES {
        log_line!(Info, "the disk has no whole block: clients find it empty");
    }
    if most < queue {
        log_line!(
            Warn,
            "memory is short: a queue of {} descriptors at most, not {}",
            most.get(),
            queue.get()
        );
    }
    log_line!(
        Debug,
        "queue of {} descriptors at most, indirect {}, {} bounce buffers",
        most.get(),
        if indirect { "yes" } else { "no" },
        disk.bounce_buffers(),
    );
    let driver_options = DriverOptions {
        hz,
        started: clock(),
        ..DriverOptions::default()
    };
    let system = MinixSystem::new(ipc, &mut tables.replies, clock, line, hz, logger);
    let service = place(&mut tables.service, || {
        Service::new(
            system,
            BlockDriver::<_, _, JOBS>::new(disk, driver_options),
            arguments.watch,
        )
    });
    log_line!(Info, "initialized");
    Ok(service)
}

/// The size of the queue that is asked for, as far as there is room.
fn queue_size(wanted: QueueSize) -> QueueSize {
    let size = QueueSize::at_most(QUEUE as u32).map_or(wanted, |most| most.min(wanted));
    if size < wanted {
        log_line!(
            Warn,
            "queue={}: there is room for {}, which it is",
            wanted.get(),
            size.get()
        );
    }
    size
}

/// Puts a value where it stays. Making one may take its size on the stack, and this keeps that apart from all other frames.
#[inline(never)]
fn place<T>(place: &mut MaybeUninit<T>, make: impl FnOnce() -> T) -> &mut T {
    place.write(make())
}

fn refused(what: &'static str) -> impl Fn(Errno) -> Errno {
    move |errno| {
        log_line!(Error, "no access to {what}: {errno}");
        errno
    }
}

/// Ticks per second. Should the kernel not tell, the usual number does: no data depends on it.
fn ticks_per_second(ipc: &mut impl Ipc) -> u32 {
    kernel::hz(ipc).unwrap_or_else(|errno| {
        log_line!(
            Warn,
            "the kernel does not tell its clock rate ({errno}), {DEFAULT_HZ} Hz it is"
        );
        DEFAULT_HZ
    })
}

/// Stops the device that a dead instance with these arguments has left, and frees its interrupt line, as far as that can be
/// done. The outcome makes no difference to the caller.
///
/// The instance that RS starts to take over from a dead one does this before it declines: the memory that the device may
/// still be writing to is given to others after that. The hook of the dead instance belongs to its endpoint, which this
/// instance has now. Left alone it stays until RS cleans up, which other services that are just starting can delay, and keeps
/// the line masked once an interrupt has come. To take the line under the same notify id replaces that hook, and then it can be
/// removed.
///
/// # Safety
///
/// As [`windows::find`], while this runs.
pub unsafe fn reset_stale_device<W: Window>(ipc: &mut impl Ipc, arguments: &Arguments) {
    // SAFETY: the caller's promise is the same; what is found is gone at the end.
    if let Ok(mut device) = unsafe { windows::find::<W>(ipc, arguments.instance) } {
        let _ = device.transport.reset(&mut PollLimit::default());
        if let Ok(line) = IrqLine::attach(ipc, device.irq, NOTIFY_ID, IrqPolicy::empty()) {
            let _ = line.remove(ipc);
        }
    }
}

#[cfg(test)]
mod tests {
    use fake_minix::{Fake, Refusing};

    use super::*;

    #[test]
    fn a_clock_of_unknown_rate_has_the_usual_one() {
        assert_eq!(ticks_per_second(&mut Fake(Refusing)), 1000);
    }
}
