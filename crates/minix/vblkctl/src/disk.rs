//! A disk that is open, and the requests to its driver.

use core::ffi::CStr;

use minix_abi::Errno;
use minix_abi::disk_control::{
    DiskFlags, DiskReport, LogReport, QueueReport, RegisterReport, ReportHeader, StatReport, VERSION,
};
use minix_abi::ioctl::IoctlCode;
use minix_abi::vfs::{Descriptor, OpenMode};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::calls::Calls;
use crate::failure::Failure;

/// Bytes of a path with its NUL, as the system has it (`PATH_MAX`).
const PATH_BYTES: usize = 1024;

/// An open disk.
#[derive(Debug)]
pub(crate) struct Disk<'a, C: Calls> {
    pub(crate) calls: &'a mut C,
    file: Descriptor,
}

/// What the service writes whole, with a header in front.
pub(crate) trait Report: FromBytes + IntoBytes + KnownLayout + Immutable {
    const CODE: IoctlCode;

    fn header(&self) -> &ReportHeader;
}

macro_rules! reports {
    ($($name:ident = $code:ident, $($header:ident).+;)*) => { $(
        impl Report for $name {
            const CODE: IoctlCode = IoctlCode::$code;

            fn header(&self) -> &ReportHeader {
                &self.$($header).+
            }
        }
    )* };
}

reports! {
    DiskReport = VBLKINFO, disk.header;
    StatReport = VBLKSTAT, header;
    RegisterReport = VBLKREGS, header;
    QueueReport = VBLKQUEUE, header;
    LogReport = VBLKLOG, header;
}

impl<'a, C: Calls> Disk<'a, C> {
    /// Opens a disk to look at it, or to change how it works.
    pub(crate) fn open(calls: &'a mut C, name: &str) -> Result<Self, Failure> {
        let file = open(calls, name, OpenMode::O_RDONLY).map_err(|failure| match failure {
            Failure::Open(Errno::EACCES) => Failure::NotPermitted,
            other => other,
        })?;
        Ok(Self { calls, file })
    }

    /// Opens a disk to change what is on it.
    pub(crate) fn open_to_write(calls: &'a mut C, name: &str) -> Result<Self, Failure> {
        match open(calls, name, OpenMode::O_RDWR) {
            Ok(file) => Ok(Self { calls, file }),
            // Either the user or the disk has no right to write. Of a disk that can be read the service knows.
            Err(Failure::Open(Errno::EACCES)) => {
                let mut disk = Self::open(calls, name)?;
                let report: DiskReport = disk.report()?;
                if report.disk.flags.contains(DiskFlags::READ_ONLY) {
                    Err(Failure::ReadOnly { done: 0 })
                } else {
                    Err(Failure::NotPermitted)
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// What the driver writes for `code`.
    pub(crate) fn tell<T>(&mut self, code: IoctlCode) -> Result<T, Errno>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable,
    {
        let mut told = T::new_zeroed();
        self.exchange(code, &mut told)?;
        Ok(told)
    }

    /// A request whose argument the driver reads or writes, or both. Returns what it answers.
    pub(crate) fn exchange<T>(&mut self, code: IoctlCode, argument: &mut T) -> Result<u32, Errno>
    where
        T: FromBytes + IntoBytes + KnownLayout + Immutable + ?Sized,
    {
        self.calls.control(self.file, code, argument.as_mut_bytes())
    }

    /// A request without an argument.
    pub(crate) fn ask(&mut self, code: IoctlCode) -> Result<u32, Errno> {
        self.calls.control(self.file, code, &mut [])
    }

    /// A report of the service.
    pub(crate) fn report<T: Report>(&mut self) -> Result<T, Failure> {
        let what = "ask the service";
        let report: T = self.tell(T::CODE).map_err(|errno| self.unless_unknown(errno, what))?;
        let &ReportHeader { version, bytes } = report.header();
        if report.header().is_of::<T>() {
            Ok(report)
        } else {
            Err(Failure::BadReport { version, bytes })
        }
    }

    /// Refuses a service that speaks another version, and a driver that does not know such requests at all.
    pub(crate) fn check_version(&mut self) -> Result<(), Failure> {
        match self.tell(IoctlCode::VBLKVERSION) {
            Ok(VERSION) => Ok(()),
            Ok(service) => Err(Failure::OtherVersion { service }),
            Err(Errno::ENOTTY) => Err(Failure::UnknownRequest),
            Err(errno) => Err(Failure::Request {
                what: "ask the service for its version",
                errno,
            }),
        }
    }

    /// Why a request failed: for an unknown one the version tells more.
    pub(crate) fn unless_unknown(&mut self, errno: Errno, what: &'static str) -> Failure {
        match errno {
            Errno::ENOTTY => self.check_version().err().unwrap_or(Failure::UnknownRequest),
            errno => Failure::Request { what, errno },
        }
    }
}

impl<C: Calls> Drop for Disk<'_, C> {
    fn drop(&mut self) {
        self.calls.close(self.file);
    }
}

fn open<C: Calls>(calls: &mut C, name: &str, mode: OpenMode) -> Result<Descriptor, Failure> {
    let mut path = [0; PATH_BYTES];
    // A name as long as the whole, or longer, has no NUL after it.
    for (place, byte) in path.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Failure::LongName)?;
    calls.open(path, mode).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Failure::NoDevice,
        Errno::ENXIO | Errno::ENODEV => Failure::NoService,
        Errno::EPERM => Failure::NotPermitted,
        Errno::ENAMETOOLONG => Failure::LongName,
        errno => Failure::Open(errno),
    })
}
