//! What a program does that is no service: files and devices, a terminal, sleep, its end.
//!
//! A program is started by a shell and talks to VFS and PM. It has no kernel calls, no grants and no console, so of this crate it
//! uses its [arguments](crate::Args) and these functions.
//!
//! The functions are safe: a message names memory that the caller has lent for the length of the call, and VFS waits for the
//! driver before it answers. A driver gets at the argument of a control request alone.

use core::ffi::CStr;
use core::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::pm::Exit;
use minix_abi::terminal::Settings;
use minix_abi::vfs::{Close, Control, Descriptor, OpenMode, OpenPath, Select, TimeValue, Transfer};
use minix_abi::{Endpoint, Errno, Message, MessageType, Pad, Payload};

use crate::Ipc;

/// Opens a file that exists.
///
/// # Errors
///
/// Those of VFS, and those of the driver of a device: [`ENOENT`](Errno::ENOENT), [`EACCES`](Errno::EACCES) without the right to or
/// for a disk that cannot be written, [`ENXIO`](Errno::ENXIO) for a device without a driver.
pub fn open(ipc: &mut impl Ipc, name: &CStr, mode: OpenMode) -> Result<Descriptor, Errno> {
    let request = OpenPath::new(name, name.as_ptr().expose_provenance() as u64, mode);
    // SAFETY: VFS reads the name where it is, up to its end, and keeps no address.
    let descriptor = unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_OPEN, &request) }?;
    i32::try_from(descriptor).map(Descriptor).map_err(|_| Errno::EBADF)
}

/// Closes a descriptor.
///
/// # Errors
///
/// [`EBADF`](Errno::EBADF) for a descriptor that is not open.
pub fn close(ipc: &mut impl Ipc, descriptor: Descriptor) -> Result<(), Errno> {
    let request = Close { descriptor, no_wait: 0 };
    // SAFETY: there is no address in it.
    unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_CLOSE, &request) }.map(drop)
}

/// Reads into `bytes` as many as are there, and tells how many; zero is the end.
///
/// # Errors
///
/// Those of VFS; [`EINTR`](Errno::EINTR) if a signal came; [`EIO`](Errno::EIO) also if more are told than asked for.
pub fn read(ipc: &mut impl Ipc, descriptor: Descriptor, bytes: &mut [u8]) -> Result<usize, Errno> {
    let request = transfer(descriptor, bytes.as_mut_ptr().expose_provenance(), bytes.len());
    // SAFETY: VFS writes these bytes at most, which are borrowed until it has answered.
    let count = unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_READ, &request) }?;
    count_within(count, bytes.len())
}

/// Writes the front of `bytes`, and tells how many.
///
/// # Errors
///
/// As [`read`]; [`EPIPE`](Errno::EPIPE) if there is no reader any more.
pub fn write(ipc: &mut impl Ipc, descriptor: Descriptor, bytes: &[u8]) -> Result<usize, Errno> {
    let request = transfer(descriptor, bytes.as_ptr().expose_provenance(), bytes.len());
    // SAFETY: VFS only reads these bytes, which are borrowed until it has answered.
    let count = unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_WRITE, &request) }?;
    count_within(count, bytes.len())
}

/// Writes all of `bytes`. A call that a signal interrupts is made again.
///
/// # Errors
///
/// As [`write()`], without [`EINTR`](Errno::EINTR); [`EIO`](Errno::EIO) if nothing more is taken.
pub fn write_all(ipc: &mut impl Ipc, descriptor: Descriptor, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(ipc, descriptor, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A control request: the driver of the file reads or writes `argument`, as `code` tells. Returns what the driver answers.
///
/// # Errors
///
/// Those of the driver; [`ENOTTY`](Errno::ENOTTY) if it does not know the request; [`EINVAL`](Errno::EINVAL), and nothing is
/// sent, if `argument` has another length than the code tells.
pub fn control(ipc: &mut impl Ipc, descriptor: Descriptor, code: IoctlCode, argument: &mut [u8]) -> Result<u32, Errno> {
    if argument.len() != code.argument_bytes() {
        return Err(Errno::EINVAL);
    }
    let request = Control {
        descriptor,
        pad0: Pad::ZERO,
        code,
        argument: argument.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: VFS grants the driver as many bytes from there on as the code tells, and takes the grant back before it answers. They
    // are the whole argument, which is borrowed exclusively until then.
    unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_IOCTL, &request) }
}

/// Whether a descriptor is one of a terminal.
pub fn is_terminal(ipc: &mut impl Ipc, descriptor: Descriptor) -> bool {
    let mut settings = Settings([0; 44]);
    control(ipc, descriptor, IoctlCode::TIOCGETA, &mut settings.0).is_ok()
}

/// Sleeps, at least for so long unless a signal comes.
///
/// # Errors
///
/// [`EINTR`](Errno::EINTR) if a signal came; [`EINVAL`](Errno::EINVAL) for a span that the system cannot count.
pub fn sleep(ipc: &mut impl Ipc, span: Duration) -> Result<(), Errno> {
    let timeout = TimeValue::from(span);
    let request = Select {
        timeout: (&raw const timeout).expose_provenance() as u64,
        ..Select::default()
    };
    // SAFETY: VFS reads the span there, which stays as it is meanwhile, and looks at no sets.
    unsafe { call(ipc, Endpoint::VFS, MessageType::VFS_SELECT, &request) }.map(drop)
}

/// Ends the program. The parent gets the status.
pub fn exit(ipc: &mut impl Ipc, status: u8) -> ! {
    let request = Exit { status: status.into() };
    loop {
        // It does not return. If it did, there would be nothing to do but to ask again.
        // SAFETY: there is no address in it.
        let _ = unsafe { call(ipc, Endpoint::PM, MessageType::PM_EXIT, &request) };
    }
}

fn transfer(descriptor: Descriptor, address: usize, bytes: usize) -> Transfer {
    Transfer {
        descriptor,
        pad0: Pad::ZERO,
        buffer: address as u64,
        bytes: bytes as u64,
        done: 0,
    }
}

fn count_within(count: u32, bytes: usize) -> Result<usize, Errno> {
    let count = count as usize;
    if count <= bytes { Ok(count) } else { Err(Errno::EIO) }
}

/// Sends a request and takes the answer, which is in the message type.
///
/// # Safety
///
/// Every address in the request is good for what the server does with it.
unsafe fn call<T: Payload>(ipc: &mut impl Ipc, to: Endpoint, kind: MessageType, request: &T) -> Result<u32, Errno> {
    let mut message = Message::with_payload(kind, request);
    // SAFETY: the caller's promise.
    unsafe { ipc.sendrec_memory(to, &mut message) }?;
    message.status().result()
}
