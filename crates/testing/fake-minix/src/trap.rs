//! One `Ipc` for all fakes: each trap is a value, and a fake matches on the traps it knows.

use std::ops::{Deref, DerefMut};

use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::{Endpoint, Errno, Message};
use minix_rt::Ipc;

/// A trap of a process.
#[derive(Debug)]
pub enum Trap<'a> {
    Send(Endpoint, &'a Message),
    /// Answered with the bits of an [`IpcStatus`].
    Receive(Endpoint, &'a mut Message),
    SendRec(Endpoint, &'a mut Message),
    Notify(Endpoint),
    SendNb(Endpoint, &'a Message),
    /// The table stays with the kernel after the trap.
    SendA(*mut AsyncMessage, usize),
    Call(&'a mut Message),
}

/// A kernel as one process sees it.
///
/// # Safety
///
/// As [`Ipc`]: answers name memory that is there, and nothing but the memory that a trap names is touched.
pub unsafe trait Traps {
    /// Answers a trap.
    fn trap(&mut self, trap: Trap<'_>) -> Result<u64, Errno>;
}

/// A process whose traps are answered by `T`.
#[derive(Clone, Debug, Default)]
pub struct Fake<T>(pub T);

impl<T> Deref for Fake<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fake<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

// SAFETY: `T` keeps the same contract.
unsafe impl<T: Traps> Ipc for Fake<T> {
    fn send(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        self.trap(Trap::Send(to, message)).map(drop)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        self.trap(Trap::Receive(from, message)).map(IpcStatus)
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        self.trap(Trap::SendRec(to, message)).map(drop)
    }

    fn notify(&mut self, to: Endpoint) -> Result<(), Errno> {
        self.trap(Trap::Notify(to)).map(drop)
    }

    fn sendnb(&mut self, to: Endpoint, message: &Message) -> Result<(), Errno> {
        self.trap(Trap::SendNb(to, message)).map(drop)
    }

    unsafe fn senda(&mut self, table: *mut AsyncMessage, entries: usize) -> Result<(), Errno> {
        self.trap(Trap::SendA(table, entries)).map(drop)
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        self.trap(Trap::Call(message)).map(|value| value as u32)
    }
}

/// A kernel that refuses every trap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusing;

// SAFETY: it touches nothing.
unsafe impl Traps for Refusing {
    fn trap(&mut self, _: Trap<'_>) -> Result<u64, Errno> {
        Err(Errno::ECALLDENIED)
    }
}
