//! Why a command failed, in one line that says what to do.

use minix_abi::Errno;
use minix_abi::disk_control::VERSION;

use crate::units::sectors;

/// Why a command failed. The line that is printed starts with the name of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the name is longer than a path may be")]
    LongName,
    #[error("no such device: name the disk with -d, as in -d /dev/c0d0")]
    NoDevice,
    #[error("no service drives this device: start one with minix-service up")]
    NoService,
    #[error("no permission: the device is for root")]
    NotPermitted,
    #[error("cannot be opened: {0}")]
    Open(Errno),
    #[error("its driver does not know this request: it is another driver than that of this vblkctl, or an older one")]
    UnknownRequest,
    #[error(
        "the service speaks version {service} of these requests and this vblkctl version {VERSION}: use the vblkctl that was built with the service"
    )]
    OtherVersion { service: u32 },
    #[error(
        "the service answers with a report of version {version} and {bytes} bytes that is none: use the vblkctl that was built with it"
    )]
    BadReport { version: u32, bytes: u32 },
    #[error("the disk is read-only{}", After(*done))]
    ReadOnly { done: u64 },
    #[error("its device has no command to {what}{}", After(*done))]
    NotOffered { what: &'static str, done: u64 },
    #[error("{count} sectors from {first} on are not inside: it has {size} sectors ({})", sectors(*.size))]
    Outside { first: u64, count: u64, size: u64 },
    #[error("FIRST and COUNT have to be whole blocks: multiples of {block_sectors} sectors here")]
    NotWholeBlocks { block_sectors: u64 },
    #[error("it, a partition of it or the disk around it is open elsewhere, say mounted: unmount it, or use --force{}", After(*done))]
    Busy { done: u64 },
    #[error("cannot {what} sectors {first} to {last}: {errno}; see vblkctl log{}", After(*done))]
    Range {
        what: &'static str,
        first: u64,
        last: u64,
        done: u64,
        errno: Errno,
    },
    #[error("the service says that it worked on {told} sectors of {asked}: see vblkctl log{}", After(*done))]
    ShortRange { asked: u64, told: u64, done: u64 },
    #[error("--all gives up everything on it: without a terminal to ask on it needs --yes or --force")]
    NoTerminal,
    #[error("nothing was done")]
    Declined,
    #[error("a trace is there already: vblkctl trace --reset ends it")]
    TraceBusy,
    #[error("no memory for a trace of so many entries: use a smaller -n")]
    TraceMemory,
    #[error("the device has no write cache that can be switched")]
    NoCacheSwitch,
    #[error("the device has no volatile write cache to flush")]
    NoFlush,
    #[error("cannot {what}: {errno}")]
    Request { what: &'static str, errno: Errno },
    #[error("standard output: {0}")]
    Output(Errno),
    #[error("standard input: {0}")]
    Input(Errno),
}

/// What was done before a failure.
struct After(u64);

impl core::fmt::Display for After {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => Ok(()),
            done => write!(f, " ({done} sectors before that are done)"),
        }
    }
}
