//! The doorbell.

use virtio_core::{DeviceGone, Features, Interface, QueueIndex, QueueNotifier, fence};

use crate::Doorbell;

/// Rings the doorbell of one queue (`MMIO-N-08`, `MMIO-N-09`).
///
/// It holds a handle that rings and can do nothing else, so another hart can own it together with the queue. What is written
/// is worked out beforehand as far as possible. A store tells nothing, so the answer is always `Ok`.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MmioNotifier<D> {
    doorbell: D,
    queue: u32,
    /// Which bits of the shifted available index go along: all or none.
    data: u32,
}

impl<D> MmioNotifier<D> {
    pub(crate) fn new(doorbell: D, interface: Interface, queue: QueueIndex, accepted: Features) -> Self {
        let with_data = interface == Interface::Modern && accepted.contains(Features::NOTIFICATION_DATA);
        Self {
            doorbell,
            queue: u32::from(queue.0),
            data: if with_data { 0xFFFF_0000 } else { 0 },
        }
    }
}

impl<D: Doorbell> QueueNotifier for MmioNotifier<D> {
    #[inline]
    fn notify(&self, next_available: u16) -> Result<(), DeviceGone> {
        // Offset and wrap bit of a split ring together are simply the 16-bit index (`NOTF-N-02`).
        let value = self.queue | ((u32::from(next_available) << 16) & self.data);
        fence::before_doorbell();
        self.doorbell.ring(value);
        Ok(())
    }
}
