//! How urgent a request is, and the field for that in the header of a legacy device.

use virtio_blk_proto::RequestType;
use virtqueue::RingLayout;

/// How urgent a request is.
///
/// A legacy device learns of it from the priority in the header of a request (`BLK-N-07`), if it looks there; a modern device has no
/// such field. [`ScheduledQueue`](crate::ScheduledQueue) decides by it which request the device gets next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Class {
    /// A client waits for it.
    #[default]
    Foreground,
    /// It is done when there is room: read ahead, scrubbing, copies.
    Background,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 2] = [Self::Foreground, Self::Background];
}

/// Bits that a queue adds to the headers of its requests: to the type in the low half, to the priority in the high one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderMarks(pub(crate) u64);

impl HeaderMarks {
    /// The marks of a request of `class` on a queue with that layout. A higher priority is more urgent. Without the feature
    /// `queues` all requests are of priority 0.
    pub(crate) const fn of(class: Class, layout: RingLayout) -> Self {
        match (layout, class) {
            (RingLayout::Legacy, Class::Foreground) if crate::QUEUES => Self(1 << 32),
            (RingLayout::Legacy | RingLayout::Modern, _) => Self(0),
        }
    }

    /// The same, and the request is a barrier.
    pub(crate) const fn barrier(self) -> Self {
        Self(self.0 | RequestType::BARRIER_BIT as u64)
    }
}
