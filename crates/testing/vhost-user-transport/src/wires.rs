//! The two event descriptors of a queue.

use std::io;
use std::sync::Arc;

use virtio_core::{DeviceGone, QueueNotifier, fence};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// What a queue and its back-end wake each other by.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Written by the driver: the queue has new buffers.
    pub(crate) kick: Arc<EventFd>,
    /// Written by the back-end: it has used buffers.
    pub(crate) call: EventFd,
}

impl Wires {
    pub(crate) fn new() -> io::Result<Self> {
        // Back-ends make the descriptors they are passed non-blocking, and that holds for both sides.
        let event = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        Ok(Self {
            kick: Arc::new(event()?),
            call: event()?,
        })
    }

    /// Whether the back-end has called since this was last asked.
    pub(crate) fn take_call(&self) -> bool {
        self.call.read().is_ok()
    }
}

/// The doorbell of one queue: an event descriptor that the back-end waits for.
///
/// To ring it is one system call. It does not tell that the back-end has ended, as a store to a register of a device that is gone
/// does not: the status and the configuration tell. Only a queue that never got a descriptor has a doorbell that answers
/// [`DeviceGone`].
#[derive(Clone, Debug)]
pub struct Kick {
    event: Option<Arc<EventFd>>,
}

impl Kick {
    /// A doorbell that `event` stands for; `None` for a queue that has none, whose device counts as gone.
    pub(crate) fn new(event: Option<Arc<EventFd>>) -> Self {
        Self { event }
    }
}

impl QueueNotifier for Kick {
    fn notify(&self, _next_available: u16) -> Result<(), DeviceGone> {
        fence::before_doorbell();
        let event = self.event.as_ref().ok_or(DeviceGone)?;
        // It only fails if the counter is full, and then the back-end has been called.
        let _ = event.write(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_seen_once() {
        let wires = Wires::new().unwrap();
        assert!(!wires.take_call());
        wires.call.write(3).unwrap();
        assert!(wires.take_call());
        assert!(!wires.take_call());
    }

    #[test]
    fn a_kick_reaches_the_other_end() {
        let wires = Wires::new().unwrap();
        let kick = Kick::new(Some(Arc::clone(&wires.kick)));
        assert_eq!(kick.notify(1), Ok(()));
        assert_eq!(kick.notify(2), Ok(()));
        assert_eq!(wires.kick.read().unwrap(), 2);
    }

    #[test]
    fn a_kick_without_a_descriptor_finds_no_device() {
        assert_eq!(Kick::new(None).notify(1), Err(DeviceGone));
    }
}
