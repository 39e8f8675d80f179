//! What the kernel takes for a block device, and all that it has.

use heapless::Vec;
use virtio_blk::{DeviceFault, IoError, SubmitError};

use crate::lock::Lock;

/// Most block devices.
const DEVICES: usize = 4;

static REGISTRY: Lock<Vec<&'static dyn BlockDevice, DEVICES>> = Lock::new(Vec::new());

/// A block device that any hart uses at any time. A call returns when it is done.
pub(crate) trait BlockDevice: Sync {
    fn sectors(&self) -> u64;

    /// Reads from a sector on; whole blocks.
    fn read(&self, sector: u64, memory: &mut [u8]) -> Result<(), Error>;

    /// Writes from a sector on; whole blocks.
    fn write(&self, sector: u64, memory: &[u8]) -> Result<(), Error>;

    /// Makes what was written durable.
    fn flush(&self) -> Result<(), Error>;

    /// The line of this number is up: serves the device if it is its line.
    fn on_interrupt(&self, line: u32);
}

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Refused(#[from] SubmitError),
    #[error(transparent)]
    Failed(#[from] IoError),
    #[error("the device needs a reset: {0}")]
    Broken(#[from] DeviceFault),
    #[error("the device has kept the buffer of this hart")]
    NoBuffer,
}

/// Makes a device known. False if there are too many.
pub(crate) fn register(device: &'static dyn BlockDevice) -> bool {
    REGISTRY.with(|devices| devices.push(device).is_ok())
}

/// The device of that number.
pub(crate) fn device(number: usize) -> Option<&'static dyn BlockDevice> {
    REGISTRY.with(|devices| devices.get(number).copied())
}

/// All devices, in the order in which they were registered.
pub(crate) fn devices() -> impl Iterator<Item = &'static dyn BlockDevice> {
    (0..DEVICES).map_while(device)
}
