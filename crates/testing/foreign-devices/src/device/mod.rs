//! The devices that a run can be told to use.

mod daemon;
mod model;
mod qemu;

use anyhow::Result;
use virtio_core::{Dma, Transport};

pub use daemon::Daemon;
pub use model::Software;
pub use qemu::{QemuMmio, QemuPci};

/// Sectors of the disk of each device.
pub const SECTORS: usize = 8192;

/// A block device whose disk begins with zeroes, and keeps its content when the device is killed and started again.
pub trait Device {
    /// The transport.
    type Transport: Transport;
    /// The memory that the device reaches.
    type Memory: Dma;

    /// The memory, for the time up to the next start.
    fn memory(&self) -> Self::Memory;

    /// The transport, once after each start.
    fn connect(&mut self) -> Result<Self::Transport>;

    /// Ends the device without a warning, whatever it is doing.
    fn kill(&mut self);

    /// Starts another in the place of the one that was killed.
    fn start_again(&mut self) -> Result<()>;

    /// Lets the device work: waits for an interrupt, or for a moment.
    fn wait(&self, transport: &Self::Transport);
}
