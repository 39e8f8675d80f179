//! What the program asks of the system, as a trait: on the machine it is VFS, in a test a script.

use core::ffi::CStr;
use core::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::{Descriptor, OpenMode};
use minix_abi::{Errno, Instant};
use minix_rt::{Ipc, program};

/// Files, devices and sleep.
pub trait Calls {
    /// Opens a file that exists.
    ///
    /// # Errors
    ///
    /// Those of the system and of the driver.
    fn open(&mut self, name: &CStr, mode: OpenMode) -> Result<Descriptor, Errno>;

    /// Closes a file. The program ends soon, so nothing depends on the result.
    fn close(&mut self, file: Descriptor);

    /// A control request. `argument` is as long as the code tells. Returns what the driver answers.
    ///
    /// # Errors
    ///
    /// Those of the driver; [`ENOTTY`](Errno::ENOTTY) if it does not know the request.
    fn control(&mut self, file: Descriptor, code: IoctlCode, argument: &mut [u8]) -> Result<u32, Errno>;

    /// Reads, and tells how many bytes; zero is the end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn read(&mut self, file: Descriptor, bytes: &mut [u8]) -> Result<usize, Errno>;

    /// Writes all of the bytes.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn write_all(&mut self, file: Descriptor, bytes: &[u8]) -> Result<(), Errno>;

    /// Whether a file is a terminal.
    fn is_terminal(&mut self, file: Descriptor) -> bool;

    /// Sleeps, at least for so long.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn sleep(&mut self, span: Duration) -> Result<(), Errno>;
}

/// The calls by message to VFS. A call that a signal interrupts is made again.
#[derive(Debug)]
pub struct System<I> {
    ipc: I,
    now: fn() -> Instant,
}

impl<I: Ipc> System<I> {
    /// A system whose servers are reached by `ipc`, and its clock.
    pub const fn new(ipc: I, now: fn() -> Instant) -> Self {
        Self { ipc, now }
    }
}

impl<I: Ipc> Calls for System<I> {
    fn open(&mut self, name: &CStr, mode: OpenMode) -> Result<Descriptor, Errno> {
        program::open(&mut self.ipc, name, mode)
    }

    fn close(&mut self, file: Descriptor) {
        let _ = program::close(&mut self.ipc, file);
    }

    fn control(&mut self, file: Descriptor, code: IoctlCode, argument: &mut [u8]) -> Result<u32, Errno> {
        program::control(&mut self.ipc, file, code, argument)
    }

    fn read(&mut self, file: Descriptor, bytes: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match program::read(&mut self.ipc, file, bytes) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    fn write_all(&mut self, file: Descriptor, bytes: &[u8]) -> Result<(), Errno> {
        program::write_all(&mut self.ipc, file, bytes)
    }

    fn is_terminal(&mut self, file: Descriptor) -> bool {
        program::is_terminal(&mut self.ipc, file)
    }

    fn sleep(&mut self, span: Duration) -> Result<(), Errno> {
        let end = (self.now)().after(span);
        loop {
            let left = end.since((self.now)());
            match program::sleep(&mut self.ipc, left) {
                // A program that was stopped and goes on sleeps for the rest.
                Err(Errno::EINTR) if (self.now)() < end => {}
                Err(Errno::EINTR) => return Ok(()),
                result => return result,
            }
        }
    }
}
