//! The device on a vhost-user socket: its queue is in QEMU's memory, its registers are QEMU's.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::Error::{Disconnected, PartialMessage};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::Error::HandleRequest;
use vhost_user_backend::{VhostUserBackendMut, VhostUserDaemon, VringRwLock, VringT};
use virtio_bindings::virtio_config::VIRTIO_F_ANY_LAYOUT;
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

use crate::{Disk, Report};

/// The largest queue that QEMU may ask for.
const QUEUE_SIZE_MAX: usize = 1024;

/// Feature bits between QEMU and the back-end. QEMU offers ANY_LAYOUT to a legacy driver in any case, and passes the driver's
/// answer on.
const OF_VHOST_USER: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() | 1 << VIRTIO_F_ANY_LAYOUT;

/// The device with its one queue.
#[derive(Debug)]
pub struct Backend {
    disk: Disk,
    memory: Option<GuestMemoryAtomic<GuestMemoryMmap>>,
}

impl Backend {
    /// A device that nothing is connected to yet.
    pub fn new(disk: Disk) -> Backend {
        Backend { disk, memory: None }
    }

    /// Serves every chain in the queue. Returns when the driver must notify again before there is more.
    fn process(&mut self, vring: &VringRwLock) -> io::Result<()> {
        let Some(memory) = self.memory.clone() else {
            return Ok(());
        };
        // Locked for the whole time: stopping the queue waits for requests that were taken.
        let mut vring = vring.get_mut();
        // A notification may be late: the queue was stopped since.
        if !vring.get_queue().ready() {
            return Ok(());
        }
        let mut more = false;
        loop {
            vring.disable_notification().map_err(io::Error::other)?;
            let mut served = false;
            while let Some(chain) = vring.get_queue_mut().pop_descriptor_chain(memory.memory()) {
                served = true;
                let head = chain.head_index();
                let length = self.disk.serve(chain);
                vring.add_used(head, length).map_err(io::Error::other)?;
                if vring.needs_notification().map_err(io::Error::other)? {
                    vring.signal_used_queue()?;
                }
            }
            // By the index there are chains, but none can be taken.
            if more && !served {
                return Err(io::Error::other("the index of the available ring is out of range"));
            }
            more = vring.enable_notification().map_err(io::Error::other)?;
            if !more {
                return Ok(());
            }
        }
    }
}

impl VhostUserBackendMut for Backend {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        1
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE_MAX
    }

    fn features(&self) -> u64 {
        self.disk.behaviour().features() | OF_VHOST_USER
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::REPLY_ACK
    }

    // The queue knows already.
    fn set_event_idx(&mut self, _: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.disk.config().into_iter().skip(offset as usize).collect();
        // QEMU asks for as much as it knows of, fields of features that are not offered among them.
        bytes.resize(size as usize, 0);
        bytes
    }

    fn update_memory(&mut self, memory: GuestMemoryAtomic<GuestMemoryMmap>) -> io::Result<()> {
        self.memory = Some(memory);
        Ok(())
    }

    fn exit_event(&self, _: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC).ok()
    }

    fn handle_event(&mut self, queue: u16, _: EventSet, vrings: &[VringRwLock], _: usize) -> io::Result<()> {
        let vring = vrings.get(usize::from(queue)).ok_or(io::ErrorKind::InvalidInput)?;
        // An error would end the thread without a word, and the driver would wait for ever.
        if let Err(error) = self.process(vring) {
            self.disk.violation(format_args!("the queue cannot be served: {error}"));
        }
        Ok(())
    }
}

/// Serves one connection to its end, and returns the report.
///
/// # Errors
///
/// The connection does not come about, or the other side breaks the vhost-user protocol.
pub fn serve(disk: Disk, mut listener: Listener) -> Result<Report, vhost_user_backend::Error> {
    let backend = Arc::new(Mutex::new(Backend::new(disk)));
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let mut daemon = VhostUserDaemon::new("vhost-user-disk".to_owned(), backend.clone(), memory)?;
    daemon.start(&mut listener)?;
    let ended = daemon.wait();
    // Waits for the thread that serves the queue.
    drop(daemon);
    match ended {
        // QEMU just leaves.
        Ok(()) | Err(HandleRequest(Disconnected | PartialMessage)) => Ok(locked(&backend).disk.report().clone()),
        Err(error) => Err(error),
    }
}

fn locked(backend: &Mutex<Backend>) -> MutexGuard<'_, Backend> {
    backend.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Behaviour, Image};
    use virtio_bindings::virtio_blk::VIRTIO_BLK_T_FLUSH;
    use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
    use virtio_queue::desc::RawDescriptor;
    use virtio_queue::desc::split::Descriptor;
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::{Bytes, GuestAddress};

    const HEADER: u64 = 0x1000;
    const STATUS: u64 = 0x1800;

    fn backend(memory: &GuestMemoryMmap) -> Backend {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 * crate::SECTOR_BYTES).unwrap();
        let image = Image::open(file.path(), false).unwrap();
        let mut backend = Backend::new(Disk::new(image, Behaviour::default()));
        backend.update_memory(GuestMemoryAtomic::new(memory.clone())).unwrap();
        backend
    }

    /// A queue with three flushes in it; all have the same header and status.
    fn three_flushes(memory: &GuestMemoryMmap) -> (MockSplitQueue<'_, GuestMemoryMmap>, VringRwLock) {
        memory.write_obj(VIRTIO_BLK_T_FLUSH, GuestAddress(HEADER)).unwrap();
        let queue = MockSplitQueue::new(memory, 16);
        for head in [0, 2, 4] {
            let chain = [
                Descriptor::new(HEADER, 16, VRING_DESC_F_NEXT as u16, head + 1),
                Descriptor::new(STATUS, 1, VRING_DESC_F_WRITE as u16, 0),
            ];
            queue.add_desc_chains(&chain.map(RawDescriptor::from), head).unwrap();
        }
        let vring = VringRwLock::new(GuestMemoryAtomic::new(memory.clone()), 16).unwrap();
        vring.set_queue_size(16);
        let [table, available, used] = [queue.desc_table_addr(), queue.avail_addr(), queue.used_addr()];
        vring.set_queue_info(table.0, available.0, used.0).unwrap();
        (queue, vring)
    }

    fn served(memory: &GuestMemoryMmap, vring: VringRwLock) -> Report {
        let mut backend = backend(memory);
        backend.handle_event(0, EventSet::IN, &[vring], 0).unwrap();
        backend.disk.report().clone()
    }

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)]).unwrap()
    }

    #[test]
    fn a_stopped_queue_is_not_served() {
        let memory = memory();
        let (queue, vring) = three_flushes(&memory);
        assert_eq!(served(&memory, vring).flushes, 0);
        assert_eq!(queue.used().idx().load(), 0);
        let (queue, vring) = three_flushes(&memory);
        vring.set_queue_ready(true);
        assert_eq!(served(&memory, vring).flushes, 3);
        assert_eq!(queue.used().idx().load(), 3);
    }

    #[test]
    fn a_queue_outside_memory_is_a_violation() {
        let memory = memory();
        let (queue, vring) = three_flushes(&memory);
        let [table, available] = [queue.desc_table_addr(), queue.avail_addr()];
        vring.set_queue_info(table.0, available.0, 0x10_0000).unwrap();
        vring.set_queue_ready(true);
        assert!(served(&memory, vring).described[0].starts_with("the queue cannot be served"));
    }

    #[test]
    fn an_available_index_out_of_range_is_a_violation() {
        let memory = memory();
        let (queue, vring) = three_flushes(&memory);
        queue.avail().idx().store(100);
        vring.set_queue_ready(true);
        assert_eq!(served(&memory, vring).violations, 1);
        assert_eq!(queue.used().idx().load(), 0);
    }
}
