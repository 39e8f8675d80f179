//! Traps into the kernel, the status word that comes with a message, and asynchronous sending.
//!
//! A process traps with the four-byte `ecall` instruction. Register `a7` chooses between [`TrapVector`]s:
//!
//! | | message passing | kernel call |
//! |---|---|---|
//! | in | `a2` = [`IpcCall`], `a0` = endpoint (for [`SENDA`](IpcCall::SENDA): number of entries), `a1` = address of the message (for `SENDA`: of the table; for [`NOTIFY`](IpcCall::NOTIFY): 0) | `a0` = address of the message, whose type is the call |
//! | out | `a0` = [`Status`]; `a1` = [`IpcStatus`] after [`RECEIVE`](IpcCall::RECEIVE), an address after [`KERNINFO`](IpcCall::KERNINFO), else undefined | the same message; its type is the [`Status`], and `a0` says nothing |
//!
//! All other registers are preserved. The thread pointer `tp` has to stay 0 for the life of the process.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Message, Pad, Status};

codes! {
    /// What kind of trap an `ecall` is: the value of `a7`. Any other gives
    /// [`EBADCALL`](crate::Errno::EBADCALL) in `a0`.
    pub struct TrapVector(u64) {
        /// Message passing.
        IPC = 8,
        /// A kernel call, see [`kernel_call`](crate::kernel_call).
        KERNEL_CALL = 9,
    }
}

codes! {
    /// A way to pass messages: the value of `a2`.
    pub struct IpcCall(u64) {
        /// Send, and wait until the receiver takes it. Not to kernel tasks.
        SEND = 1,
        /// Wait for a message from one source or from [`ANY`](Endpoint::ANY). Pending notifications come first, then
        /// asynchronous messages, then senders that wait, in their order.
        RECEIVE = 2,
        /// Send, then wait for the reply. A notification never counts as the reply.
        SENDREC = 3,
        /// Leave a notification, which is not queued twice.
        NOTIFY = 4,
        /// Send if the receiver is waiting for it right now, else fail with
        /// [`ENOTREADY`](crate::Errno::ENOTREADY). Not to kernel tasks.
        SENDNB = 5,
        /// Ask where [`KernInfo`](crate::kerninfo::KernInfo) is.
        KERNINFO = 6,
        /// Send what a table of [`AsyncMessage`]s holds, now or as soon as the receivers are ready.
        SENDA = 16,
    }
}

/// The status word that [`RECEIVE`](IpcCall::RECEIVE) leaves in `a1`: how the message was sent.
///
/// After [`SENDREC`](IpcCall::SENDREC) the register holds nothing of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IpcStatus(pub u64);

impl IpcStatus {
    const CALL_MASK: u64 = 0x3F;
    const FROM_KERNEL: u64 = 1 << 16;

    /// The word for a message sent by `call`, by the kernel on behalf of a process if `from_kernel`.
    pub const fn new(call: IpcCall, from_kernel: bool) -> Self {
        Self((call.0 & Self::CALL_MASK) | if from_kernel { Self::FROM_KERNEL } else { 0 })
    }

    /// How the message was sent.
    pub const fn call(self) -> IpcCall {
        IpcCall(self.0 & Self::CALL_MASK)
    }

    /// Whether the message is a notification. Only this tells: anybody can send an ordinary message with the type of
    /// a notification.
    pub const fn is_notification(self) -> bool {
        self.call().0 == IpcCall::NOTIFY.0
    }

    /// Whether the kernel sent it on behalf of a process.
    pub const fn is_from_kernel(self) -> bool {
        self.0 & Self::FROM_KERNEL != 0
    }

    /// Whether the sender waits in [`SENDREC`](IpcCall::SENDREC), so that [`SENDNB`](IpcCall::SENDNB) reaches it. A
    /// reply to anybody else has to go through [`SENDA`](IpcCall::SENDA) with [`NOREPLY`](AsyncFlags::NOREPLY).
    pub const fn sender_waits_for_reply(self) -> bool {
        self.call().0 == IpcCall::SENDREC.0
    }
}

flags! {
    /// State and options of an [`AsyncMessage`].
    pub struct AsyncFlags(u32) {
        /// The entry holds a message.
        VALID = 0x01,
        /// Set by the kernel: it is done with the entry, and the result is there.
        DONE = 0x02,
        /// Notify the sender, from [`ASYNCM`](Endpoint::ASYNCM), when the entry is done.
        NOTIFY = 0x04,
        /// The message does not count as the reply that a [`SENDREC`](IpcCall::SENDREC) waits for.
        NOREPLY = 0x08,
        /// Notify the sender, from [`ASYNCM`](Endpoint::ASYNCM), if the entry fails.
        NOTIFY_ERR = 0x10,
    }
}

impl AsyncFlags {
    /// The entry is free; the kernel skips it.
    pub const EMPTY: Self = Self::empty();
}

/// An entry of the table for [`SENDA`](IpcCall::SENDA).
///
/// Each call makes the kernel forget the table of the call before and look through the new one. It remembers the table
/// if something in it could not be delivered at once; until every entry is [`DONE`](AsyncFlags::DONE) the table has
/// to stay in place, readable and writable. An entry whose flags make no sense is skipped without a word to the caller. A dead
/// receiver gives [`EDEADSRCDST`](crate::Errno::EDEADSRCDST) in [`result`](Self::result), one that may not be sent to
/// [`ECALLDENIED`](crate::Errno::ECALLDENIED).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct AsyncMessage {
    /// State and options. To be written last when an entry is filled in.
    pub flags: AsyncFlags,
    /// The receiver.
    pub destination: Endpoint,
    /// How it went, once the entry is done.
    pub result: Status,
    /// Padding.
    pub pad: Pad<4>,
    /// The message.
    pub message: Message,
}

layout!(AsyncMessage, 120 {
    flags: AsyncFlags = 0,
    destination: Endpoint = 4,
    result: Status = 8,
    message: Message = 16,
});

impl AsyncMessage {
    /// Most entries a table may have; above, the kernel answers [`EDOM`](crate::Errno::EDOM).
    pub const MAX_ENTRIES: usize = 16 * (5 + 256);

    /// A filled-in entry.
    pub const fn new(destination: Endpoint, message: Message, options: AsyncFlags) -> Self {
        Self {
            flags: options.union(AsyncFlags::VALID),
            destination,
            result: Status::OK,
            pad: Pad::ZERO,
            message,
        }
    }

    /// Whether the entry holds a message that the kernel is not done with. Its memory must be left alone.
    pub fn is_pending(&self) -> bool {
        self.flags.contains(AsyncFlags::VALID) && !self.flags.contains(AsyncFlags::DONE)
    }
}
