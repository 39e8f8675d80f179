//! The traps into the kernel, as a trait: the runtime is written against it and so is tested with a script.

use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::{Endpoint, Errno, Message, MessageType};

/// Everything a process can ask of the kernel: seven ways to trap.
///
/// On the machine it is [`Minix`](crate#traps); a test brings its own.
///
/// Passing messages is safe. Some servers of the system act on addresses in a message, as the calls of the C library have them:
/// VM takes memory away, PM, VFS, MIB and RS read and write it. Requests of that kind go by
/// [`sendrec_memory`](Self::sendrec_memory), which is `unsafe`; the safe ways do not let them through. Other processes need a
/// grant, and [making one](crate::grant::Grants::direct) is `unsafe` as well.
///
/// # Safety
///
/// This crate and its users make pointers and slices of addresses in answers, and give such addresses to devices.
/// So an implementation guarantees:
///
/// * A request to VM that is answered without an error was carried out. `VM_MMAP` answers with the address of as many bytes as were
///   asked for, from a page on: cleared, readable and writable, and used by nothing else in the program until `VM_MUNMAP` takes
///   them away. Contiguous memory was asked for, if so, and is. `VM_MAP_PHYS` answers where those physical addresses are seen, and
///   they are seen there until `VM_UNMAP_PHYS`.
/// * `SYS_UMAP` answers with the address at which devices see that memory, all of it, in one piece. `SYS_VUMAP` answers with
///   ranges of memory that the granter has granted, and with nothing else, and counts the ranges in its answer.
/// * A call of VFS touches the memory that its message names: it reads the name of a file, the bytes to write and the span to wait, and
///   writes bytes that are read, each at most in the length that the message says. Of the argument of a control request it reads or
///   writes, or lets the driver do so, what the code says. When it has answered it is done with all of it.
/// * A kernel call touches the memory that its message names, in the way and length it says, and no other. When it has returned it
///   is done with it; [`senda`](Self::senda) is done with an entry of its table when it has marked it so, and looks into no
///   table but that of the last call.
/// * The safe methods touch no memory of this program but the message they are given, nor do they make a server touch it, except
///   where a grant allows that.
///
/// A trait that one can implement without promising that would let safe code write anywhere:
///
/// ```compile_fail,E0200
/// # use minix_abi::ipc::{AsyncMessage, IpcStatus};
/// # use minix_abi::vm::Mmap;
/// # use minix_abi::{Endpoint, Errno, Message, MessageType};
/// struct Liar;
///
/// impl minix_rt::Ipc for Liar {
///     fn sendrec(&mut self, _: Endpoint, message: &mut Message) -> Result<(), Errno> {
///         let answer = Mmap { mapped_at: 0x1_0000, ..message.payload() };
///         *message = Message::with_payload(MessageType(0), &answer);
///         Ok(())
///     }
///     # fn send(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> { Ok(()) }
///     # fn receive(&mut self, _: Endpoint, _: &mut Message) -> Result<IpcStatus, Errno> { Err(Errno::EINTR) }
///     # fn notify(&mut self, _: Endpoint) -> Result<(), Errno> { Ok(()) }
///     # fn sendnb(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> { Ok(()) }
///     # unsafe fn senda(&mut self, _: *mut AsyncMessage, _: usize) -> Result<(), Errno> { Ok(()) }
///     # unsafe fn kernel_call(&mut self, _: &mut Message) -> Result<u32, Errno> { Ok(0) }
/// }
/// ```
pub unsafe trait Ipc {
    /// Sends a message and waits until the receiver takes it.
    ///
    /// # Errors
    ///
    /// [`EDEADSRCDST`](Errno::EDEADSRCDST) if there is no such process or it dies meanwhile,
    /// [`ECALLDENIED`](Errno::ECALLDENIED) if this one may not be sent to, or not [in this way](Self::sendrec_memory),
    /// [`ETRAPDENIED`](Errno::ETRAPDENIED) for a kernel
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

    /// [`sendrec`](Self::sendrec) for requests that name memory of this process. [`memory`](crate::memory) is the safe way for
    /// most of those to VM, and [`program`](mod@crate::program) for those to VFS and PM.
    ///
    /// # Errors
    ///
    /// As [`sendrec`](Self::sendrec).
    ///
    /// # Safety
    ///
    /// Every address in the message is good for what the receiver does with it.
    unsafe fn sendrec_memory(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        self.sendrec(to, message)
    }

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

/// Whether no receiver acts on addresses in a message to `to`, so that safe code may send it.
///
/// This lets through what a service sends: replies of a driver to VFS, the answers that RS waits for, everything to those
/// that cannot act on addresses.
pub(crate) fn names_no_memory(to: Endpoint, kind: MessageType) -> bool {
    match to {
        Endpoint::VM | Endpoint::PM | Endpoint::MIB => false,
        Endpoint::VFS => !VFS_CALLS.contains(&kind.0),
        Endpoint::RS => matches!(kind, MessageType::RS_INIT | MessageType::RS_LU_PREPARE),
        _ => true,
    }
}

/// The message types of calls to VFS. Most of these messages hold addresses.
const VFS_CALLS: core::ops::Range<i32> = 0x100..0x200;

// SAFETY: it is the `T` that answers, which keeps the contract.
unsafe impl<T: Ipc + ?Sized> Ipc for &mut T {
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        (**self).send(to, message)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        (**self).receive(from, message)
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        (**self).sendrec(to, message)
    }

    unsafe fn sendrec_memory(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).sendrec_memory(to, message) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_name_memory_are_not_for_safe_code() {
        let calls_with_addresses = [
            (Endpoint::VM, MessageType::VM_MMAP),
            (Endpoint::VM, MessageType::VM_MUNMAP),
            (Endpoint::VM, MessageType::VM_MAP_PHYS),
            (Endpoint::PM, MessageType(3)),
            (Endpoint::MIB, MessageType(0xE00)),
            (Endpoint::VFS, MessageType(0x100)),
            (Endpoint::VFS, MessageType::VFS_MAPDRIVER),
            (Endpoint::RS, MessageType(0x700)),
        ];
        for (to, kind) in calls_with_addresses {
            assert!(!names_no_memory(to, kind), "{to} {kind:?}");
        }
        let harmless = [
            (Endpoint::VFS, MessageType::BDEV_REPLY),
            (Endpoint::VFS, MessageType::CDEV_REPLY),
            (Endpoint::RS, MessageType::RS_INIT),
            (Endpoint::RS, MessageType::RS_LU_PREPARE),
            (Endpoint::DS, MessageType::DS_PUBLISH),
            (Endpoint(0x8_0033), MessageType::BDEV_READ),
            // It is no request to a server that does not carry it out.
            (Endpoint(0x8_0033), MessageType::VM_MUNMAP),
        ];
        for (to, kind) in harmless {
            assert!(names_no_memory(to, kind), "{to} {kind:?}");
        }
    }
}
