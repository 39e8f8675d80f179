//! `qemu-storage-daemon`, over vhost-user.

use std::time::Duration;

use anyhow::{Context, Result};
use virtio_core::DeviceType;
use virtio_vhost_user::{SharedMemory, StorageDaemon, VhostUser};

use super::{Device, SECTORS};

const MEMORY_BYTES: usize = 32 << 20;

/// How long to sleep without an interrupt. If one was suppressed by mistake, requests are found all the same, but late.
const WAIT: Duration = Duration::from_secs(20);

/// A daemon that serves an image in a file.
pub struct Daemon {
    daemon: StorageDaemon,
    memory: SharedMemory,
}

impl Daemon {
    /// Starts a daemon.
    pub fn start() -> Result<Self> {
        let blockdev = "driver=file,discard=unmap,filename=IMAGE";
        let daemon =
            StorageDaemon::start(blockdev, SECTORS as u64 * 512).context("cannot start qemu-storage-daemon")?;
        Ok(Self {
            daemon,
            memory: SharedMemory::new(MEMORY_BYTES)?,
        })
    }
}

impl Device for Daemon {
    type Transport = VhostUser;
    type Memory = SharedMemory;

    fn memory(&self) -> SharedMemory {
        self.memory.clone()
    }

    fn connect(&mut self) -> Result<VhostUser> {
        Ok(VhostUser::connect(
            &self.daemon.socket(),
            DeviceType::BLOCK,
            &self.memory,
        )?)
    }

    fn kill(&mut self) {
        self.daemon.kill();
    }

    fn start_again(&mut self) -> Result<()> {
        self.daemon
            .start_again()
            .context("cannot start qemu-storage-daemon again")
    }

    fn wait(&self, transport: &VhostUser) {
        transport.wait_for_interrupt(WAIT);
    }
}
