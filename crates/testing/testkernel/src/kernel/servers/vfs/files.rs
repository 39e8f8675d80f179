//! What VFS keeps of programs: their open files, what is typed at their terminal, and how long they sleep.

use heapless::Vec;
use minix_abi::bdev::BdevAccess;
use minix_abi::minor::Minor;
use minix_abi::vfs::Descriptor;
use minix_abi::{Endpoint, Errno};

/// Programs at a time, and files that are open at a time.
const PROGRAMS: usize = 8;
const FILES: usize = 32;
/// The first descriptor that is not a standard one.
const FIRST: i32 = 3;

/// An open block special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) program: Endpoint,
    pub(super) descriptor: Descriptor,
    pub(super) major: u32,
    pub(super) minor: Minor,
    pub(super) access: BdevAccess,
}

/// A program that runs.
#[derive(Clone, Copy, Debug)]
struct User {
    endpoint: Endpoint,
    /// What is typed at its terminal and not read yet. `None`: it has no terminal, its standard input is empty.
    typed: Option<&'static [u8]>,
    is_terminal: bool,
    /// The tick at which it wakes.
    wakes_at: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    users: Vec<User, PROGRAMS>,
    files: Vec<File, FILES>,
}

impl Files {
    /// A program starts.
    pub(super) fn add(&mut self, endpoint: Endpoint, typed: Option<&'static str>) -> Result<(), &'static str> {
        let user = User {
            endpoint,
            typed: typed.map(str::as_bytes),
            is_terminal: typed.is_some(),
            wakes_at: None,
        };
        self.users.push(user).map_err(|_| "too many programs")
    }

    /// A program is gone. Its files stay open until the driver has answered their close.
    pub(super) fn forget(&mut self, endpoint: Endpoint) {
        self.users.retain(|user| user.endpoint != endpoint);
    }

    pub(super) fn is_program(&self, endpoint: Endpoint) -> bool {
        self.users.iter().any(|user| user.endpoint == endpoint)
    }

    pub(super) fn has_terminal(&self, endpoint: Endpoint) -> bool {
        self.users
            .iter()
            .any(|user| user.endpoint == endpoint && user.is_terminal)
    }

    /// The line that a program gets when it reads from its standard input, without the end of the line. `None` at the end.
    pub(super) fn line(&mut self, endpoint: Endpoint) -> Option<&'static [u8]> {
        let user = self.users.iter_mut().find(|user| user.endpoint == endpoint)?;
        user.typed.take()
    }

    /// The program sleeps until a tick.
    pub(super) fn sleep(&mut self, endpoint: Endpoint, until: u64) {
        if let Some(user) = self.users.iter_mut().find(|user| user.endpoint == endpoint) {
            user.wakes_at = Some(until);
        }
    }

    /// A program that has slept for long enough.
    pub(super) fn wakes(&mut self, uptime: u64) -> Option<Endpoint> {
        let is_due = |user: &&mut User| user.wakes_at.is_some_and(|at| at <= uptime);
        let user = self.users.iter_mut().find(is_due)?;
        user.wakes_at = None;
        Some(user.endpoint)
    }

    /// The lowest descriptor that a program does not use.
    ///
    /// # Errors
    ///
    /// `EMFILE` if no more files can be open.
    pub(super) fn free_descriptor(&self, program: Endpoint) -> Result<Descriptor, Errno> {
        if self.files.is_full() {
            return Err(Errno::EMFILE);
        }
        let mut free = FIRST;
        while self.find(program, Descriptor(free)).is_some() {
            free += 1;
        }
        Ok(Descriptor(free))
    }

    pub(super) fn open(&mut self, file: File) -> Result<(), Errno> {
        self.files.push(file).map_err(|_| Errno::EMFILE)
    }

    pub(super) fn find(&self, program: Endpoint, descriptor: Descriptor) -> Option<File> {
        let mut files = self.files.iter().copied();
        files.find(|file| (file.program, file.descriptor) == (program, descriptor))
    }

    pub(super) fn remove(&mut self, file: File) {
        if let Some(place) = self.files.iter().position(|open| *open == file) {
            self.files.remove(place);
        }
    }

    /// The file of a program with the lowest descriptor that is not below `from`.
    pub(super) fn next_of(&self, program: Endpoint, from: Descriptor) -> Option<File> {
        let files = self.files.iter().copied();
        files
            .filter(|file| file.program == program && file.descriptor.0 >= from.0)
            .min_by_key(|file| file.descriptor.0)
    }

    /// The files that are open on the devices of a major number.
    pub(super) fn of_major(&self, major: u32) -> impl Iterator<Item = File> {
        self.files.iter().copied().filter(move |file| file.major == major)
    }
}
