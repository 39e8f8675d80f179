//! The two event descriptors of a queue.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::time::Duration;

use virtio_core::{DeviceGone, QueueNotifier, fence};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::session::has_hung_up;

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
/// Nothing reads that of a back-end that has ended, so the doorbell looks at the socket, too.
#[derive(Clone, Debug)]
pub struct Kick {
    event: Option<Arc<EventFd>>,
    socket: Weak<UnixStream>,
}

impl Kick {
    /// A doorbell that `event` stands for, to a back-end at the other end of `socket`; `None` for a queue that has none, whose
    /// device counts as gone.
    pub(crate) fn new(event: Option<Arc<EventFd>>, socket: Weak<UnixStream>) -> Self {
        Self { event, socket }
    }
}

impl QueueNotifier for Kick {
    fn notify(&self, _next_available: u16) -> Result<(), DeviceGone> {
        fence::before_doorbell();
        let (Some(event), Some(socket)) = (&self.event, self.socket.upgrade()) else {
            return Err(DeviceGone);
        };
        // It only fails if the counter is full, and then the back-end has been called.
        let _ = event.write(1);
        if has_hung_up(&socket, Duration::ZERO) {
            return Err(DeviceGone);
        }
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
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (wires, ours) = (Wires::new().unwrap(), Arc::new(ours));
        let kick = Kick::new(Some(Arc::clone(&wires.kick)), Arc::downgrade(&ours));
        assert_eq!(kick.notify(1), Ok(()));
        assert_eq!(kick.notify(2), Ok(()));
        assert_eq!(wires.kick.read().unwrap(), 2);
        drop(theirs);
        assert_eq!(kick.notify(3), Err(DeviceGone));
    }

    #[test]
    fn a_kick_without_a_connection_finds_no_device() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (wires, ours) = (Wires::new().unwrap(), Arc::new(ours));
        assert_eq!(Kick::new(None, Arc::downgrade(&ours)).notify(1), Err(DeviceGone));
        let kick = Kick::new(Some(Arc::clone(&wires.kick)), Arc::downgrade(&ours));
        drop(ours);
        assert_eq!(kick.notify(1), Err(DeviceGone));
    }
}
