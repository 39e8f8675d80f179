//! The traps into the kernel, as a trait: the runtime is written against it and so is tested with a script.

use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::{Endpoint, Errno, Message};

/// Everything a process can ask of the kernel: seven ways to trap.
///
/// On the machine it is [`Minix`](crate#traps); a test brings its own.
///
/// Passing messages is safe as far as the memory of the caller goes. What the receiver makes of a message is another
/// matter: VM can be asked to take memory away, and a grant can be handed to somebody who writes to it. The functions of
/// this crate that lead there are `unsafe`; a hand-made message of that kind is as much out of Rust's sight as a write to
/// `/proc/self/mem` is on other systems.
pub trait Ipc {
    /// Sends a message and waits until the receiver takes it.
    ///
    /// # Errors
    ///
    /// [`EDEADSRCDST`](Errno::EDEADSRCDST) if there is no such process or it dies meanwhile,
    /// [`ECALLDENIED`](Errno::ECALLDENIED) if this one may not be sent to, [`ETRAPDENIED`](Errno::ETRAPDENIED) for a kernel
    /// task, [`ELOCKED`](Errno::ELOCKED) if it waits for the caller.
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno>;

    /// Waits for a message from one source, or from [`ANY`](Endpoint::ANY). Tells how it was sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`EINTR`](Errno::EINTR).
    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno>;

    /// Sends a message and waits for the reply, which takes its place.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). What the reply says is in the message.
    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno>;

    /// Leaves a notification.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    fn notify(&mut self, to: Endpoint) -> Result<(), Errno>;

    /// Sends a message if the receiver waits for it right now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`ENOTREADY`](Errno::ENOTREADY) if it does not.
    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno>;

    /// Sends what a table holds, now or as soon as the receivers are ready, in place of the table of the call before.
    /// No entries cancel it. [`Outbox`](crate::asynsend::Outbox) is the safe way.
    ///
    /// # Errors
    ///
    /// [`EPERM`](Errno::EPERM) if the caller is no service, [`EDOM`](Errno::EDOM) for more than
    /// [`MAX_ENTRIES`](AsyncMessage::MAX_ENTRIES). How an entry fared is in the entry.
    ///
    /// # Safety
    ///
    /// `table` is the address of that many entries, which the kernel may read and write until it has marked every one of
    /// them done, or until the next call of this.
    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno>;

    /// Has the kernel carry out a kernel call, whose number is the message's type. Results are in the message, and the
    /// status, if it is no error, is returned. A call that the kernel is not ready for is repeated for a while. The
    /// [typed calls](crate::kernel) are the safe way.
    ///
    /// # Errors
    ///
    /// Those of the call.
    ///
    /// # Safety
    ///
    /// Every address in the message is good for what the call does with it.
    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno>;
}

impl<T: Ipc + ?Sized> Ipc for &mut T {
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        (**self).send(to, message)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        (**self).receive(from, message)
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        (**self).sendrec(to, message)
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        (**self).notify(to)
    }

    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        (**self).sendnb(to, message)
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).senda(table, entries) }
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).kernel_call(message) }
    }
}
