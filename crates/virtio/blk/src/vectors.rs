//! Which interrupt vector belongs to which queue.

use core::fmt;

use virtio_core::{InterruptVector, QueueIndex};

/// The interrupt vectors of a device, as its transport has set them up. Over MMIO there are none: one line serves all queues.
///
/// With the plan of `virtio-pci` it is `Vectors { config: plan.config(), queue: &|queue| plan.queue(queue) }`. Queues may share a
/// vector, with each other and with the configuration.
#[derive(Clone, Copy)]
pub struct Vectors<'v> {
    /// The vector that announces changes of the configuration and of the device status, if there is one.
    pub config: Option<InterruptVector>,
    /// The vector of each queue, if it has one. It is asked once for each queue that is started.
    pub queue: &'v dyn Fn(QueueIndex) -> Option<InterruptVector>,
}

impl Vectors<'_> {
    /// No vector at all: interrupts come over a line, or the driver polls.
    pub const NONE: Self = Self {
        config: None,
        queue: &|_| None,
    };
}

impl fmt::Debug for Vectors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
