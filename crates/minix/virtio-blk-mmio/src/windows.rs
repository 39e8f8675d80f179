//! Finding the disk: eight places where a VirtIO device can be.

use core::fmt;
use core::ptr::NonNull;

use minix_abi::{Errno, PAGE_BYTES};
use minix_rt::{Ipc, kernel, memory};
use virtio_core::{DeviceType, Transport as _};
use virtio_mmio::{MmioTransport, MmioWindow, Probe, RegisterAccess, probe};

/// Windows of QEMU's `virt` machine.
pub const WINDOWS: u32 = 8;
/// Physical address of the first one. Each is on a page of its own.
pub const FIRST_WINDOW: u64 = 0x1000_1000;
/// Interrupt line of the first one.
pub const FIRST_IRQ: u32 = 1;

/// Bytes of a window that a device answers in; the rest of the page is not used.
const WINDOW_BYTES: usize = 0x200;

/// Registers in a page that VM has mapped. On the machine that is [`MmioWindow`]; a test puts a device in software there.
///
/// This is safe to implement: what an implementation can get hold of is a [`RegisterAccess`], which is not.
pub trait Window: RegisterAccess + Sized {
    /// The registers at `start`; `None` if no device can be there.
    ///
    /// # Safety
    ///
    /// The page at `start` is that of a device window or of an empty slot, mapped for as long as the result or a doorbell of it
    /// is used, no other driver uses the device, and nothing else in this program has its registers.
    unsafe fn at(start: NonNull<u8>) -> Option<Self>;
}

impl Window for MmioWindow {
    unsafe fn at(start: NonNull<u8>) -> Option<Self> {
        // SAFETY: the caller's promise, and that of `find`: the handle goes no further than to a transport.
        unsafe { Self::new(start, WINDOW_BYTES) }.ok()
    }
}

/// Where the registers of a device are mapped, for good.
#[derive(Debug)]
pub struct Registers(NonNull<u8>);

impl Registers {
    /// The first byte.
    pub const fn as_ptr(&self) -> NonNull<u8> {
        self.0
    }
}

/// The device that was asked for.
#[derive(Debug)]
pub struct Found<W> {
    /// Its registers.
    pub transport: MmioTransport<W>,
    /// Where they are mapped.
    pub registers: Registers,
    /// Their physical address.
    pub address: u64,
    /// Its interrupt line.
    pub irq: u32,
}

/// Why there is no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindError {
    /// There are not so many block devices.
    NoSuchInstance {
        /// Which one was asked for.
        instance: u32,
        /// How many there are.
        disks: u32,
    },
    /// The kernel or VM does not let the service at the windows.
    Refused(Errno),
}

impl FindError {
    /// The error that RS is told.
    pub const fn errno(self) -> Errno {
        match self {
            Self::NoSuchInstance { .. } => Errno::ENODEV,
            Self::Refused(errno) => errno,
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchInstance { disks: 0, .. } => f.write_str("no block device"),
            Self::NoSuchInstance { instance, disks } => {
                write!(f, "no block device number {instance}, counted from 0: {disks} found")
            }
            Self::Refused(errno) => write!(f, "no access to the device windows: {errno}"),
        }
    }
}

impl core::error::Error for FindError {}

/// Looks for block device number `instance`, in the order of addresses. Only that one stays mapped; of the others three
/// registers were read.
///
/// # Errors
///
/// [`FindError`].
///
/// # Safety
///
/// The machine has the windows: a device answers in each, or an empty slot does. No other driver uses the device that is found:
/// no other process has one, and what an earlier call has found is not used any more. Safe code could find a device twice
/// otherwise, and have one driver tell it of memory while another one starts or stops it:
///
/// ```compile_fail,E0133
/// use minix_virtio_blk::windows::{self, Found};
/// use virtio_mmio::MmioWindow;
///
/// fn two_drivers(ipc: &mut impl minix_rt::Ipc) -> [Found<MmioWindow>; 2] {
///     [windows::find(ipc, 0).unwrap(), windows::find(ipc, 0).unwrap()]
/// }
/// ```
pub unsafe fn find<W: Window>(ipc: &mut impl Ipc, instance: u32) -> Result<Found<W>, FindError> {
    kernel::add_mem(ipc, FIRST_WINDOW, u64::from(WINDOWS) * PAGE_BYTES).map_err(FindError::Refused)?;
    let mut disks = 0;
    for number in 0..WINDOWS {
        let address = FIRST_WINDOW + u64::from(number) * PAGE_BYTES;
        let registers = memory::map_device(ipc, address, PAGE_BYTES).map_err(FindError::Refused)?;
        // SAFETY: VM has just mapped the page of a window, for which the implementer of `Ipc` answers. What is there, and that
        // no other driver drives it, is the caller's promise. The handle goes no further than to the
        // transport, of which there is one at a time.
        let window = unsafe { W::at(registers) };
        if let Some(Probe::Device(transport)) = window.map(probe)
            && transport.device_type() == DeviceType::BLOCK
        {
            if disks == instance {
                return Ok(Found {
                    transport,
                    registers: Registers(registers),
                    address,
                    irq: FIRST_IRQ + number,
                });
            }
            disks += 1;
        }
        // SAFETY: it was mapped above, and the handle is gone. If VM keeps it, nothing is lost but addresses.
        let _ = unsafe { memory::unmap_device(ipc, registers) };
    }
    Err(FindError::NoSuchInstance { instance, disks })
}
