//! One connection to a back-end, from its handshake to its end.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_core::{Features, QueueIndex, QueueSetup};
use vm_memory::GuestMemoryBackend;

use crate::SharedMemory;
use crate::wires::Wires;

/// Feature bits that vhost-user has for itself. A driver does not see them.
const OWN_FEATURES: VhostUserVirtioFeatures = VhostUserVirtioFeatures::all();

/// Why a back-end could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Nothing accepts connections at that path.
    #[error("cannot connect to the back-end: {0}")]
    Connect(#[from] io::Error),
    /// The conversation failed: the back-end refused something or has ended.
    #[error("the back-end refused, or has ended: {0}")]
    Conversation(#[from] vhost::Error),
    /// The back-end lacks a part of vhost-user that this transport needs.
    #[error("the back-end has no {0}")]
    Missing(&'static str),
}

/// A connection to a back-end that knows the memory and waits for features and queues.
pub(crate) struct Session {
    /// The same socket as the front-end has, to see and to make its end.
    stream: UnixStream,
    frontend: Frontend,
    offered: Features,
    queues: u16,
}

impl Session {
    /// Connects and agrees on the protocol. The device behind it is as after a reset.
    pub(crate) fn begin(path: &Path, memory: &SharedMemory) -> Result<Self, SessionError> {
        let stream = UnixStream::connect(path)?;
        // Corrected below, as soon as the back-end has said it.
        let mut frontend = Frontend::from_stream(stream.try_clone()?, 1);
        frontend.set_owner()?;
        let features = frontend.get_features()?;
        if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
            return Err(SessionError::Missing("protocol features"));
        }
        let wanted =
            VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
        let agreed = frontend.get_protocol_features()? & wanted;
        if !agreed.contains(VhostUserProtocolFeatures::CONFIG) {
            return Err(SessionError::Missing("configuration space"));
        }
        frontend.set_protocol_features(agreed)?;
        if agreed.contains(VhostUserProtocolFeatures::REPLY_ACK) {
            // From here on the back-end says for each message whether it has done it.
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        let queues = if agreed.contains(VhostUserProtocolFeatures::MQ) {
            frontend.get_queue_num()?
        } else {
            1
        };
        let regions: Result<Vec<_>, _> = memory
            .mapping()
            .iter()
            .map(VhostUserMemoryRegionInfo::from_guest_region)
            .collect();
        frontend.set_mem_table(&regions?)?;
        Ok(Self {
            stream,
            frontend,
            offered: Features::from_low(features & !OWN_FEATURES.bits()),
            queues: u16::try_from(queues).unwrap_or(u16::MAX),
        })
    }

    /// What the device offers.
    pub(crate) fn offered(&self) -> Features {
        self.offered
    }

    /// How many queues the device has.
    pub(crate) fn queues(&self) -> u16 {
        self.queues
    }

    /// Tells the back-end which features are in force.
    pub(crate) fn accept(&self, features: Features) -> Result<(), SessionError> {
        let own = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        Ok(self.frontend.set_features(features.low() | own)?)
    }

    /// Tells the back-end where a queue lies, in addresses of this process, and by which descriptors to wake each other. The
    /// queue does not run before [`run_queue`](Self::run_queue).
    pub(crate) fn set_queue(
        &self,
        queue: QueueIndex,
        addresses: &VringConfigData,
        wires: &Wires,
    ) -> Result<(), SessionError> {
        let (index, frontend) = (usize::from(queue.0), &self.frontend);
        frontend.set_vring_num(index, addresses.queue_size)?;
        frontend.set_vring_base(index, 0)?;
        frontend.set_vring_addr(index, addresses)?;
        frontend.set_vring_call(index, &wires.call)?;
        Ok(())
    }

    /// Lets the back-end work on a queue.
    pub(crate) fn run_queue(&mut self, queue: QueueIndex, wires: &Wires) -> Result<(), SessionError> {
        let index = usize::from(queue.0);
        self.frontend.set_vring_kick(index, &wires.kick)?;
        self.frontend.set_vring_enable(index, true)?;
        Ok(())
    }

    /// Reads configuration space from its start to the end of `buffer`. There is no way to begin elsewhere, because QEMU ignores
    /// the offset of the message.
    pub(crate) fn read_config(&self, buffer: &mut [u8]) -> Result<(), SessionError> {
        let flags = VhostUserConfigFlags::empty();
        let (_, bytes) = self
            .frontend
            .clone()
            .get_config(0, buffer.len() as u32, flags, buffer)?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Writes one byte of configuration space.
    pub(crate) fn write_config(&mut self, offset: u16, value: u8) -> Result<(), SessionError> {
        // No flag is a write by the driver. The others are for migration, as QEMU reads them.
        let flags = VhostUserConfigFlags::empty();
        Ok(self.frontend.set_config(u32::from(offset), flags, &[value])?)
    }

    /// Asks the back-end to stop `queues` and to end the connection. The back-end first completes the requests that it has taken from them.
    pub(crate) fn hang_up<'q>(&self, queues: impl IntoIterator<Item = (QueueIndex, &'q Wires)>) {
        for (queue, wires) in queues {
            let index = usize::from(queue.0);
            // A back-end that has ended has stopped its queues.
            let _ = self.frontend.get_vring_base(index);
            // Stopping took the descriptor away, too. QEMU takes a device that cannot call for broken, and would not report
            // what completes from here on.
            let _ = self.frontend.set_vring_call(index, &wires.call);
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Whether the back-end has closed its end, after a wait of at most `limit`. Then it uses the memory no more.
    pub(crate) fn is_over(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        // Closing is reported without being asked for.
        let mut sockets = [PollFd::new(&self.stream, PollFlags::empty())];
        poll(&mut sockets, limit.as_ref()).is_ok() && sockets[0].revents().contains(PollFlags::HUP)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("offered", &self.offered)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// The number of bytes of the three parts of a queue, in the order descriptor table, driver area, device area.
pub(crate) fn part_bytes(setup: &QueueSetup) -> [u64; 3] {
    let size = u64::from(setup.size.get());
    [16 * size, 6 + 2 * size, 6 + 8 * size]
}
