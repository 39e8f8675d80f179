//! Notifications: messages in which the sender puts no content, used for interrupts, alarms, signals and pings.
//!
//! The kernel keeps at most one notification per sender and receiver, and makes the message up at delivery.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::signal::SigSet;
use crate::{Endpoint, Message, MessageType, Payload};

codes! {
    impl MessageType as NOTIFICATIONS {
        /// The type of every notification.
        NOTIFY_MESSAGE = 0x1000,
    }
}

/// The body of a notification. Fields that a source does not fill in are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Notification {
    /// When it was delivered: ticks since the system started.
    pub timestamp: u64,
    /// From [`HARDWARE`](Endpoint::HARDWARE): a bit for each notify id whose interrupt line has fired since last time.
    pub interrupts: u64,
    /// From [`SYSTEM`](Endpoint::SYSTEM): signals of the kernel that wait.
    pub signals: SigSet,
}

layout!(Notification, 32 {
    timestamp: u64 = 0,
    interrupts: u64 = 8,
    signals: SigSet = 16,
});

impl Payload for Notification {}

/// The meaning of a notification, by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationKind {
    /// Interrupt lines have fired: a bit for each notify id. Each line stays masked until it is enabled again, unless
    /// its policy says otherwise.
    Interrupts(u64),
    /// The alarm of the process went off at this tick.
    Alarm(u64),
    /// The kernel has signals.
    Signals(SigSet),
    /// Some entries of the table of asynchronous messages are done.
    AsyncDone,
    /// RS checks that the service responds. The answer is a notification.
    Ping,
    /// A notification of another process.
    Other(Endpoint),
}

impl NotificationKind {
    /// The meaning of `message`, which is a notification by its [`IpcStatus`](crate::ipc::IpcStatus).
    pub fn of(message: &Message) -> Self {
        let body: Notification = message.payload();
        match message.source {
            Endpoint::HARDWARE => Self::Interrupts(body.interrupts),
            Endpoint::CLOCK => Self::Alarm(body.timestamp),
            Endpoint::SYSTEM => Self::Signals(body.signals),
            Endpoint::ASYNCM => Self::AsyncDone,
            Endpoint::RS => Self::Ping,
            other => Self::Other(other),
        }
    }
}
