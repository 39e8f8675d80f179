//! A terminal of its own, to see what is left of its settings.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

/// Both ends of a pseudo-terminal, which is there as long as this value.
#[derive(Debug)]
pub(crate) struct Pty {
    _user: OwnedFd,
    programs: OwnedFd,
}

impl Pty {
    pub(crate) fn open() -> io::Result<Pty> {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&user)?;
        unlockpt(&user)?;
        let programs = ioctl_tiocgptpeer(&user, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        Ok(Pty { _user: user, programs })
    }

    /// The terminal as the standard input of a program.
    pub(crate) fn stdin(&self) -> io::Result<Stdio> {
        self.programs.try_clone().map(Stdio::from)
    }

    /// Whether it shows what is typed, and hands it over line by line, as a shell leaves it to programs.
    pub(crate) fn is_usual(&self) -> io::Result<bool> {
        let Termios { local_modes, .. } = tcgetattr(&self.programs)?;
        Ok(local_modes.contains(LocalModes::ECHO | LocalModes::ICANON))
    }
}
