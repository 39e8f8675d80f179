//! The doorbell of a queue.

use virtio_core::{DeviceGone, QueueNotifier, fence};

use crate::Doorbell;

/// Rings the doorbell of one queue (`PCI-D-36` to `PCI-D-41`).
///
/// It holds a handle that rings and can do nothing else, so another hart can own it together with the queue.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PciNotifier<D> {
    doorbell: D,
    /// The value that names the queue.
    queue: u16,
    /// The available index goes along (NOTIFICATION_DATA).
    with_index: bool,
}

impl<D> PciNotifier<D> {
    pub(crate) const fn new(doorbell: D, queue: u16, with_index: bool) -> Self {
        Self {
            doorbell,
            queue,
            with_index,
        }
    }
}

impl<D: Doorbell> QueueNotifier for PciNotifier<D> {
    /// Always `Ok`: a store to a register has no answer.
    #[inline]
    fn notify(&self, next_available: u16) -> Result<(), DeviceGone> {
        fence::before_doorbell();
        if self.with_index {
            // Offset and wrap bit of a split ring together are simply the 16-bit index (`NOTF-N-02`).
            self.doorbell
                .ring_u32(u32::from(self.queue) | u32::from(next_available) << 16);
        } else {
            self.doorbell.ring_u16(self.queue);
        }
        Ok(())
    }
}
