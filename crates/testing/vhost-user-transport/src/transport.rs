//! The transport: status, features, queues and configuration by messages to a back-end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vhost::VringConfigData;
use virtio_core::{
    DeviceGone, DeviceStatus, DeviceType, Features, Interface, InterruptCauses, InterruptSource, QueueIndex,
    QueueSetup, QueueSetupError, Transport, Wait,
};
use vmm_sys_util::errno;
use vmm_sys_util::poll::PollContext;

use crate::session::{Session, part_bytes};
use crate::wires::Wires;
use crate::{Kick, SessionError, SharedMemory};

/// The most descriptors a queue may have. vhost-user does not say what a back-end takes; this is QEMU's limit.
const MAX_QUEUE_SIZE: u32 = 1024;

/// How long a reset waits for the back-end to complete the requests that it has taken. A driver may ask for the status again after that.
const RESET_WAIT: Duration = Duration::from_secs(5);

/// A VirtIO device in another process, which serves it over a socket.
///
/// A reset ends the connection, and the next bring-up makes a new one. So a back-end that was killed and started again is
/// reached again by a reset, like a device that was replaced.
#[derive(Debug)]
pub struct VhostUser {
    path: PathBuf,
    device_type: DeviceType,
    memory: SharedMemory,
    link: Link,
    status: DeviceStatus,
    accepted: Features,
    queues: BTreeMap<u16, Queue>,
    error: Option<SessionError>,
}

/// How far the connection is.
#[derive(Debug)]
enum Link {
    /// There is none. The next step of a bring-up makes one.
    Down,
    Up(Session),
    /// A reset waits for its end.
    Ending(Session),
}

#[derive(Debug)]
struct Queue {
    wires: Wires,
    /// Whether the back-end knows the queue.
    is_set: bool,
}

impl VhostUser {
    /// Connects to the back-end at `path`, which serves a device of type `device_type`: vhost-user itself does not tell it. The
    /// device can use `memory` and no other.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if there is no back-end, or one that lacks what is needed.
    pub fn connect(path: &Path, device_type: DeviceType, memory: &SharedMemory) -> Result<Self, SessionError> {
        let session = Session::begin(path, memory)?;
        Ok(Self {
            path: path.to_owned(),
            device_type,
            memory: memory.clone(),
            link: Link::Up(session),
            status: DeviceStatus::RESET,
            accepted: Features::empty(),
            queues: BTreeMap::new(),
            error: None,
        })
    }

    /// What went wrong last in setting up the device. A bring-up only sees that the device does not do as it should.
    pub fn last_error(&self) -> Option<&SessionError> {
        self.error.as_ref()
    }

    /// Sleeps until the back-end has called for any queue, at most for `limit`. Returns whether it has. The call stays pending
    /// until [`interrupt_causes`](Transport::interrupt_causes) takes it.
    pub fn wait_for_interrupt(&self, limit: Duration) -> bool {
        self.wait(limit).unwrap_or(false)
    }

    fn wait(&self, limit: Duration) -> Result<bool, errno::Error> {
        let calls = PollContext::<u32>::new()?;
        for (&index, queue) in &self.queues {
            calls.add(&queue.wires.call, u32::from(index))?;
        }
        let called = calls.wait_timeout(limit)?.iter().next().is_some();
        Ok(called)
    }

    /// The connection, if the device is there.
    fn session(&self) -> Option<&Session> {
        match &self.link {
            Link::Up(session) => Some(session),
            Link::Down | Link::Ending(_) => None,
        }
    }

    /// Does a step and remembers what went wrong in it. `None` if it failed, or there is no device.
    fn step<T>(&mut self, step: impl FnOnce(&mut Session) -> Result<T, SessionError>) -> Option<T> {
        let Link::Up(session) = &mut self.link else {
            return None;
        };
        step(session).map_err(|error| self.error = Some(error)).ok()
    }

    /// The descriptors of a queue, made when they are first needed.
    fn queue(&mut self, queue: QueueIndex) -> Option<&mut Queue> {
        if !self.queues.contains_key(&queue.0) {
            let made = Wires::new().map_err(|error| self.error = Some(error.into()));
            let queue_of = |wires| Queue { wires, is_set: false };
            self.queues.insert(queue.0, queue_of(made.ok()?));
        }
        self.queues.get_mut(&queue.0)
    }

    /// Ends the connection, unless it is as new, and waits for that.
    fn start_reset(&mut self) {
        if let Link::Up(session) = &self.link {
            let untouched = self.status == DeviceStatus::RESET && self.queues.is_empty();
            if untouched && !session.is_over(Duration::ZERO) {
                return;
            }
            let set = self.queues.iter().filter(|(_, queue)| queue.is_set);
            session.hang_up(set.map(|(&index, queue)| (QueueIndex(index), &queue.wires)));
        }
        self.link = match std::mem::replace(&mut self.link, Link::Down) {
            Link::Up(session) | Link::Ending(session) if !session.is_over(RESET_WAIT) => Link::Ending(session),
            _ => Link::Down,
        };
        self.accepted = Features::empty();
        self.queues.clear();
        if let Link::Down = self.link {
            self.status = DeviceStatus::RESET;
        }
    }

    /// Connects again after a reset.
    fn connect_again(&mut self) {
        if let Link::Down = self.link {
            match Session::begin(&self.path, &self.memory) {
                Ok(session) => self.link = Link::Up(session),
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// Carries out what a new status bit asks for. Returns whether the device did it.
    fn enter(&mut self, added: DeviceStatus) -> bool {
        if added.contains(DeviceStatus::FEATURES_OK) {
            let accepted = self.accepted;
            return self.step(|session| session.accept(accepted)).is_some();
        }
        if added.contains(DeviceStatus::DRIVER_OK) {
            let queues = std::mem::take(&mut self.queues);
            let done = self.step(|session| {
                let mut set = queues.iter().filter(|(_, queue)| queue.is_set);
                set.try_for_each(|(&index, queue)| session.run_queue(QueueIndex(index), &queue.wires))
            });
            self.queues = queues;
            return done.is_some();
        }
        true
    }

    /// The fields of a queue as the back-end is told of them: in addresses of this process, which belong to the same bytes as those
    /// of the device.
    fn addresses(&self, setup: &QueueSetup) -> Option<VringConfigData> {
        let parts = [setup.descriptor_table, setup.driver_area, setup.device_area];
        let cpu = setup.cpu?;
        let told = [cpu.descriptor_table, cpu.driver_area, cpu.device_area];
        let aligned = parts.iter().zip([16, 2, 4]).all(|(part, to)| part.is_aligned_to(to));
        let mut places = parts
            .iter()
            .zip(part_bytes(setup))
            .zip(told)
            .map(|((&part, bytes), told)| {
                // Only memory that the back-end has, too.
                let place = self.memory.host_address(part, bytes)?.as_ptr().addr();
                (place == told).then_some(place as u64)
            });
        let mut next = || places.next().flatten();
        Some(VringConfigData {
            queue_max_size: MAX_QUEUE_SIZE as u16,
            queue_size: setup.size.get(),
            flags: 0,
            desc_table_addr: next()?,
            avail_ring_addr: next()?,
            used_ring_addr: next()?,
            log_addr: None,
        })
        .filter(|_| aligned)
    }

    /// Reads `N` bytes of configuration space at `offset`. All bits are set where there is nothing.
    fn config<const N: usize>(&self, offset: u16) -> Result<[u8; N], DeviceGone> {
        let start = usize::from(offset);
        let mut space = vec![0xFF; start + N];
        let session = self.session().ok_or(DeviceGone)?;
        let read = session.read_config(&mut space);
        if read.is_err() && session.is_over(Duration::ZERO) {
            return Err(DeviceGone);
        }
        Ok(match (read, space[start..].try_into()) {
            (Ok(()), Ok(bytes)) => bytes,
            _ => [0xFF; N],
        })
    }
}

// SAFETY: status 0 is reported when the connection was closed by the back-end, which does so after it has finished what it had
// begun and has unmapped the memory, or has ended; this transport trusts it in that as others trust a bus. Before, a back-end
// was told of no queue. The device is said to be gone in the same case, or when there is no connection. `disable_queue` never
// answers `Ok`. Queues are told by `enable_queue` alone, in addresses that belong to the same bytes. The socket, which takes one
// connection at a time, and the event descriptors are private to this value and its doorbells.
unsafe impl Transport for VhostUser {
    type Notifier = Kick;

    fn interface(&self) -> Interface {
        Interface::Modern
    }

    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn vendor(&self) -> u32 {
        0
    }

    fn supported_features(&self) -> Features {
        // An IOMMU, notification data and the reset of one queue take messages that are not sent here.
        Features::empty()
    }

    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        match &self.link {
            Link::Up(session) if self.status != DeviceStatus::RESET && session.is_over(Duration::ZERO) => {
                Err(DeviceGone)
            }
            Link::Ending(session) if session.is_over(Duration::ZERO) => Ok(DeviceStatus::RESET),
            _ => Ok(self.status),
        }
    }

    fn write_status(&mut self, status: DeviceStatus) {
        if status == DeviceStatus::RESET {
            self.start_reset();
            return;
        }
        if let Link::Ending(session) = &self.link
            && session.is_over(Duration::ZERO)
        {
            self.start_reset();
        }
        self.connect_again();
        if self.session().is_none() {
            return;
        }
        let mut status = status;
        for bit in [DeviceStatus::FEATURES_OK, DeviceStatus::DRIVER_OK] {
            let added = bit & status & !self.status;
            if !self.enter(added) {
                status -= bit;
            }
        }
        self.status = status;
    }

    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        self.session().map(Session::offered).ok_or(DeviceGone)
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        self.accepted = accepted;
    }

    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone> {
        let queues = self.session().map(Session::queues).ok_or(DeviceGone)?;
        Ok(if queue.0 < queues { MAX_QUEUE_SIZE } else { 0 })
    }

    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        let limit = self.max_queue_size(queue)?;
        if limit == 0 {
            return Err(QueueSetupError::NoSuchQueue);
        }
        if u32::from(setup.size.get()) > limit {
            return Err(QueueSetupError::TooLarge);
        }
        if setup.vector.is_some() {
            return Err(QueueSetupError::VectorRefused);
        }
        let addresses = self.addresses(setup).ok_or(QueueSetupError::BadAddress)?;
        let entry = self.queue(queue).ok_or(QueueSetupError::NotReady)?;
        if entry.is_set {
            return Err(QueueSetupError::InUse);
        }
        // From the first message on a reset has to stop it.
        entry.is_set = true;
        let queues = std::mem::take(&mut self.queues);
        let done = self.step(|session| session.set_queue(queue, &addresses, &queues[&queue.0].wires));
        self.queues = queues;
        match (done, self.status()) {
            (Some(()), _) => Ok(()),
            (None, Ok(_)) => Err(QueueSetupError::NotReady),
            (None, Err(DeviceGone)) => Err(QueueSetupError::Gone),
        }
    }

    fn disable_queue(&mut self, _queue: QueueIndex, _wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        // A back-end can stop a queue and still work on requests of it.
        Err(QueueSetupError::NotReady)
    }

    fn notifier(&mut self, queue: QueueIndex, _accepted: Features) -> Kick {
        Kick::new(self.queue(queue).map(|queue| Arc::clone(&queue.wires.kick)))
    }

    fn interrupt_causes(&mut self, _source: InterruptSource) -> InterruptCauses {
        let mut causes = InterruptCauses::empty();
        for queue in self.queues.values() {
            if queue.wires.take_call() {
                causes |= InterruptCauses::USED_BUFFER;
            }
        }
        // What a call announces was written before it: reading the descriptor is a system call that orders both.
        virtio_core::fence::after_interrupt_status();
        causes
    }

    fn acknowledge_interrupt(&mut self, _source: InterruptSource, _causes: InterruptCauses) -> bool {
        // Taking the call was it, and the used ring is looked at after that.
        false
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        Ok(None)
    }

    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone> {
        self.config(offset).map(u8::from_le_bytes)
    }

    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone> {
        self.config(offset).map(u16::from_le_bytes)
    }

    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone> {
        self.config(offset).map(u32::from_le_bytes)
    }

    fn write_config_u8(&mut self, offset: u16, value: u8) {
        // A field that cannot be written keeps its value, which the driver can read.
        let _ = self.step(|session| session.write_config(offset, value));
    }

    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("Status", u64::from(self.status.bits()));
        visit("Queues", u64::from(self.session().map_or(0, Session::queues)));
        visit(
            "Offered",
            self.session().map_or(Features::empty(), Session::offered).low(),
        );
        visit("Accepted", self.accepted.low());
    }
}
