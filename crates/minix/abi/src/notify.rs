//! Notifications: messages without content of the sender's, used for interrupts, alarms, signals and pings.
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

/// The body of a notification. What a source does not fill in is zero.
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

/// What a notification is about, by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Interrupt lines have fired: a bit for each notify id. Each line stays masked until it is enabled again, unless
    /// its policy says otherwise.
    Interrupts(u64),
    /// The alarm of the process went off at this tick.
    Alarm(u64),
    /// The kernel has signals.
    Signals(SigSet),
    /// Some entries of the table of asynchronous messages are done.
    AsyncDone,
    /// RS wants to know whether the service lives. The answer is a notification.
    Ping,
    /// Somebody else.
    Other(Endpoint),
}

impl Notice {
    /// What `message` is about, which [`IpcStatus`](crate::ipc::IpcStatus) has shown to be a notification.
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
