//! Bringing the service up: find the device, quieten it, start it, say that it is there.

use core::fmt::Write as _;
use core::ptr::NonNull;

use heapless::String;
use minix_abi::ds::{BLOCK_DRIVER_PREFIX, DRIVER_UP, MAX_KEY_BYTES};
use minix_abi::kernel_call::IrqPolicy;
use minix_abi::{Endpoint, Errno};
use minix_blockdriver::{BlockDevice as _, BlockDriver};
use minix_rt::grant::{self, Grants};
use minix_rt::kernel::{self, IrqLine};
use minix_rt::{Ipc, ds};
use virtio_blk::InitError;
use virtio_core::{Interface, PollLimit, Transport as _};
use virtio_mmio::{MmioTransport, MmioWindow};

use crate::args::Options;
use crate::disk::{ListTable, VirtioDisk};
use crate::dma::VmDma;
use crate::kernel::{MailTable, System};
use crate::log::Log;
use crate::poller::Poller;
use crate::serve::Service;
use crate::windows;

/// Memory for the grants of the service: one at a time, for a key.
pub type GrantTable = grant::Table<2>;

/// Memory that the parts of the service keep for good.
#[derive(Debug)]
pub struct Tables {
    /// Segments of requests.
    pub lists: ListTable,
    /// Replies under way.
    pub mail: MailTable,
}

impl Tables {
    /// All of it.
    pub const fn new() -> Self {
        Self {
            lists: ListTable::new(),
            mail: MailTable::new(),
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// The bit that stands for the device in notifications of interrupts.
const NOTIFY_ID: u8 = 0;

/// The service on the machine.
pub type MmioService<I> = Service<I, MmioTransport<MmioWindow>, VmDma<I>>;

/// Brings the service up, all but the announcement. `found` is told where the registers of the device are as soon as that
/// is known.
///
/// # Errors
///
/// What RS is to be told: [`ENODEV`](Errno::ENODEV) if there is no such device, [`EIO`](Errno::EIO) if it does not work,
/// [`ENOMEM`](Errno::ENOMEM), what the system refused. The log has a line about it.
pub fn bring_up<I: Ipc + Clone>(
    mut ipc: I,
    options: &Options,
    log: Log,
    tables: &'static mut Tables,
    found: impl FnOnce(NonNull<u8>),
) -> Result<MmioService<I>, Errno> {
    let device = windows::find(&mut ipc, options.instance).map_err(|error| {
        log.error(format_args!("{error}"));
        error.errno()
    })?;
    let mut transport = device.transport;
    // Before anything else: a device that worked for an instance which died may still write to memory, which by now is
    // somebody else's.
    transport.reset(PollLimit::default()).map_err(|error| {
        log.error(format_args!("{error}"));
        Errno::EIO
    })?;
    found(device.registers);
    let version = match transport.interface() {
        Interface::Legacy => 1,
        Interface::Modern => 2,
    };
    log.info(format_args!(
        "block device {} at {:#x}, irq {}, version {version}",
        options.instance, device.address, device.irq
    ));

    let hz = kernel::hz(&mut ipc).map_err(refused(log, "the clock"))?;
    let line = IrqLine::attach(&mut ipc, device.irq, NOTIFY_ID, IrqPolicy::empty())
        .map_err(refused(log, "the interrupt line"))?;
    let dma = VmDma::new(ipc.clone());
    let disk = VirtioDisk::start(transport, dma, options.queue, &mut tables.lists).map_err(|error| {
        log.error(format_args!("{error}"));
        match error {
            InitError::Dma(_) => Errno::ENOMEM,
            _ => Errno::EIO,
        }
    })?;
    line.enable(&mut ipc).map_err(refused(log, "the interrupt line"))?;

    let info = disk.info();
    log.info(format_args!(
        "capacity {} sectors ({} MiB), block {} bytes, {}, flush {}",
        info.sectors,
        info.sectors >> 11,
        info.block_bytes,
        if info.read_only { "read-only" } else { "read-write" },
        if info.can_flush { "yes" } else { "no" },
    ));
    let driver_options = minix_blockdriver::Options {
        hz,
        ..minix_blockdriver::Options::default()
    };
    let service = Service::new(
        System::new(ipc, &mut tables.mail, log),
        BlockDriver::new(disk, driver_options),
        line,
        Poller::new(options.poll_us),
        hz,
        log,
    );
    log.info(format_args!("initialized"));
    Ok(service)
}

fn refused(log: Log, what: &'static str) -> impl Fn(Errno) -> Errno {
    move |errno| {
        log.error(format_args!("no access to {what}: {errno}"));
        errno
    }
}

/// Tells the data store that the driver with this service's label is up. From then on requests can come.
///
/// # Errors
///
/// What the data store or the kernel refused.
pub fn announce(ipc: &mut impl Ipc, table: &'static mut GrantTable, endpoint: Endpoint) -> Result<(), Errno> {
    let mut grants = Grants::new(table);
    grants.register(ipc)?;
    let label = ds::own_label(ipc, &mut grants, endpoint)?;
    let mut key = String::<MAX_KEY_BYTES>::new();
    write!(key, "{BLOCK_DRIVER_PREFIX}{label}").map_err(|_| Errno::ENAMETOOLONG)?;
    ds::publish_u32(ipc, &mut grants, &key, DRIVER_UP)
}
