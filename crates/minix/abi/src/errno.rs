//! Error numbers.

use core::fmt;

/// Why a call or request failed.
///
/// User programs see positive numbers; in messages, and as results of traps, they are negative. This type holds any
/// number there can be, named or not, and keeps the sign out of the way: [`number`](Self::number) is positive,
/// [`to_wire`](Self::to_wire) negative.
///
/// Only the numbers from 200 on are MINIX's own. There is none for an unknown ioctl but [`ENOTTY`](Self::ENOTTY), and
/// [`ERESTART`](Self::ERESTART) is 200, not the -3 of NetBSD's kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// As on the wire, hence never zero or above.
pub struct Errno(i32);

impl Errno {
    /// The error in a number off the wire; `None` if it is zero or above, which is success.
    pub const fn from_wire(value: i32) -> Option<Self> {
        if value < 0 { Some(Self(value)) } else { None }
    }

    /// The negative number that goes into a message.
    pub const fn to_wire(self) -> i32 {
        self.0
    }

    /// The positive number that user programs see.
    pub const fn number(self) -> u32 {
        self.0.unsigned_abs()
    }

    /// The name, if the number has one.
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|(name, _)| name)
    }

    /// The meaning in a few words, if the number has a name.
    pub fn meaning(self) -> Option<&'static str> {
        self.known().map(|(_, meaning)| meaning)
    }

    /// Name and meaning.
    fn known(self) -> Option<(&'static str, &'static str)> {
        let (_, text) = TEXTS.iter().find(|(errno, _)| *errno == self)?;
        let space = text.bytes().position(|byte| byte == b' ')?;
        let (name, rest) = text.split_at_checked(space)?;
        Some((name, rest.get(1..)?))
    }
}

macro_rules! errnos {
    ($( $(#[$meta:meta])* $name:ident = $number:literal, $meaning:literal; )*) => {
        impl Errno {
            $( $(#[$meta])* pub const $name: Self = Self(-$number); )*

            /// Every error that has a name: name, error, meaning. Programs that print errors have a smaller table.
            pub const KNOWN: &'static [(&'static str, Self, &'static str)] = &[
                $( (stringify!($name), Self::$name, $meaning), )*
            ];
        }

        /// Every error with its name, a space, and its meaning: one text takes less than two.
        static TEXTS: &[(Errno, &str)] = &[
            $( (Errno::$name, concat!(stringify!($name), " ", $meaning)), )*
        ];
    };
}

errnos! {
    /// Not permitted.
    EPERM = 1, "not permitted";
    /// No such file or directory.
    ENOENT = 2, "no such file or directory";
    /// No such process.
    ESRCH = 3, "no such process";
    /// Interrupted.
    EINTR = 4, "interrupted";
    /// Input/output error.
    EIO = 5, "input/output error";
    /// No such device or address.
    ENXIO = 6, "no such device or address";
    /// Too big.
    E2BIG = 7, "too big";
    /// Not an executable.
    ENOEXEC = 8, "not an executable";
    /// Bad file descriptor.
    EBADF = 9, "bad file descriptor";
    /// No child processes.
    ECHILD = 10, "no child processes";
    /// Would deadlock.
    EDEADLK = 11, "would deadlock";
    /// Out of memory.
    ENOMEM = 12, "out of memory";
    /// Access denied.
    EACCES = 13, "access denied";
    /// Bad address.
    EFAULT = 14, "bad address";
    /// Not a block device.
    ENOTBLK = 15, "not a block device";
    /// Busy.
    EBUSY = 16, "busy";
    /// Exists already.
    EEXIST = 17, "exists already";
    /// Link across devices.
    EXDEV = 18, "link across devices";
    /// Device does not exist or cannot do this.
    ENODEV = 19, "device does not exist or cannot do this";
    /// Not a directory.
    ENOTDIR = 20, "not a directory";
    /// Is a directory.
    EISDIR = 21, "is a directory";
    /// Invalid argument.
    EINVAL = 22, "invalid argument";
    /// Too many open files in the system.
    ENFILE = 23, "too many open files in the system";
    /// Too many open files.
    EMFILE = 24, "too many open files";
    /// Unknown ioctl for this device.
    ENOTTY = 25, "unknown ioctl for this device";
    /// Program is running.
    ETXTBSY = 26, "program is running";
    /// File too large.
    EFBIG = 27, "file too large";
    /// No space left.
    ENOSPC = 28, "no space left";
    /// Cannot seek.
    ESPIPE = 29, "cannot seek";
    /// Read-only file system.
    EROFS = 30, "read-only file system";
    /// Too many links.
    EMLINK = 31, "too many links";
    /// The pipe has no reader.
    EPIPE = 32, "the pipe has no reader";
    /// Argument out of domain.
    EDOM = 33, "argument out of domain";
    /// Result out of range.
    ERANGE = 34, "result out of range";
    /// Try again; also called `EWOULDBLOCK`.
    EAGAIN = 35, "try again";
    /// In progress.
    EINPROGRESS = 36, "in progress";
    /// In progress already.
    EALREADY = 37, "in progress already";
    /// Message too long.
    EMSGSIZE = 40, "message too long";
    /// Operation not supported.
    EOPNOTSUPP = 45, "operation not supported";
    /// Address in use.
    EADDRINUSE = 48, "address in use";
    /// Network is down.
    ENETDOWN = 50, "network is down";
    /// Connection aborted.
    ECONNABORTED = 53, "connection aborted";
    /// Connection reset.
    ECONNRESET = 54, "connection reset";
    /// No buffer space.
    ENOBUFS = 55, "no buffer space";
    /// Connected already.
    EISCONN = 56, "connected already";
    /// Not connected.
    ENOTCONN = 57, "not connected";
    /// Timed out.
    ETIMEDOUT = 60, "timed out";
    /// Connection refused.
    ECONNREFUSED = 61, "connection refused";
    /// Too many levels.
    ELOOP = 62, "too many levels";
    /// Name too long.
    ENAMETOOLONG = 63, "name too long";
    /// Call not implemented.
    ENOSYS = 78, "call not implemented";
    /// Value too large.
    EOVERFLOW = 84, "value too large";
    /// Not supported.
    ENOTSUP = 86, "not supported";
    /// Cancelled.
    ECANCELED = 87, "cancelled";
    /// Bad message.
    EBADMSG = 88, "bad message";
    /// No data.
    ENODATA = 89, "no data";
    /// Timer expired.
    ETIME = 92, "timer expired";
    /// Protocol error.
    EPROTO = 96, "protocol error";
    /// The service has restarted. Known to MINIX only.
    ERESTART = 200, "the service has restarted";
    /// Not ready for this now. Known to MINIX only.
    ENOTREADY = 201, "not ready for this now";
    /// Source or destination is not alive. Known to MINIX only.
    EDEADSRCDST = 202, "source or destination is not alive";
    /// No reply is to be sent. Known to MINIX only.
    EDONTREPLY = 203, "no reply is to be sent";
    /// Some error. Known to MINIX only.
    EGENERIC = 204, "some error";
    /// Bad packet size. Known to MINIX only.
    EPACKSIZE = 205, "bad packet size";
    /// Urgent data waits. Known to MINIX only.
    EURG = 206, "urgent data waits";
    /// No urgent data. Known to MINIX only.
    ENOURG = 207, "no urgent data";
    /// Sending would close a cycle of waiters. Known to MINIX only.
    ELOCKED = 208, "sending would close a cycle of waiters";
    /// No such call. Known to MINIX only.
    EBADCALL = 209, "no such call";
    /// No permission for the call. Known to MINIX only.
    ECALLDENIED = 210, "no permission for the call";
    /// No permission for the trap. Known to MINIX only.
    ETRAPDENIED = 211, "no permission for the trap";
    /// No such request at its destination. Known to MINIX only.
    EBADREQUEST = 212, "no such request at its destination";
    /// Bad mode. Known to MINIX only.
    EBADMODE = 213, "bad mode";
    /// No such connection. Known to MINIX only.
    ENOCONN = 214, "no such connection";
    /// The endpoint is not alive. Known to MINIX only.
    EDEADEPT = 215, "the endpoint is not alive";
    /// Not an endpoint. Known to MINIX only.
    EBADEPT = 216, "not an endpoint";
    /// No such processor. Known to MINIX only.
    EBADCPU = 217, "no such processor";
}

impl Errno {
    /// Another name of [`EAGAIN`](Self::EAGAIN).
    pub const EWOULDBLOCK: Self = Self::EAGAIN;
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.number()),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((name, meaning)) => write!(f, "{meaning} ({name})"),
            None => write!(f, "error {}", self.number()),
        }
    }
}

impl core::error::Error for Errno {}
