//! Results as they travel: one number for success and failure.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Errno;

/// The outcome of a request as it stands in a message: zero or more is success, and possibly a count; below zero is the
/// negative of an [`Errno`].
///
/// Replies to kernel calls, VM, RS and DS have it in place of the message type, and often nowhere else; block replies
/// have it as first field of the payload.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Status(pub i32);

impl Status {
    /// Success.
    pub const OK: Self = Self(0);
    /// Inside servers: no answer now, one follows. No driver sees it in a message.
    pub const SUSPEND: Self = Self(-998);
    /// In trace entries: the request has not finished.
    pub const IN_PROGRESS: Self = Self(-997);
    /// Inside the kernel: waits for VM.
    pub const VM_SUSPEND: Self = Self(-996);
    /// Inside the kernel: a copy stopped at its source.
    pub const COPY_SOURCE_FAULT: Self = Self(-995);
    /// Inside the kernel: a copy stopped at its destination.
    pub const COPY_DESTINATION_FAULT: Self = Self(-994);

    /// The private codes above with their names. They are no error numbers and should not reach a driver.
    pub const PRIVATE: &'static [(&'static str, Self)] = &[
        ("SUSPEND", Self::SUSPEND),
        ("IN_PROGRESS", Self::IN_PROGRESS),
        ("VM_SUSPEND", Self::VM_SUSPEND),
        ("COPY_SOURCE_FAULT", Self::COPY_SOURCE_FAULT),
        ("COPY_DESTINATION_FAULT", Self::COPY_DESTINATION_FAULT),
    ];

    /// Success with a count, say of bytes; `None` if it is above 2^31 - 1, which a status cannot carry.
    pub const fn count(count: u64) -> Option<Self> {
        if count <= i32::MAX as u64 {
            Some(Self(count as i32))
        } else {
            None
        }
    }

    /// The result of the request.
    ///
    /// # Errors
    ///
    /// The [`Errno`] that the status carries, whether it has a name or not.
    pub const fn result(self) -> Result<u32, Errno> {
        match Errno::from_wire(self.0) {
            Some(errno) => Err(errno),
            None => Ok(self.0.unsigned_abs()),
        }
    }
}

impl From<Errno> for Status {
    fn from(errno: Errno) -> Self {
        Self(errno.to_wire())
    }
}

/// `Ok(())` is [`Status::OK`].
impl From<Result<(), Errno>> for Status {
    fn from(result: Result<(), Errno>) -> Self {
        match result {
            Ok(()) => Self::OK,
            Err(errno) => errno.into(),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result() {
            Ok(count) => write!(f, "Ok({count})"),
            Err(errno) => write!(f, "Err({errno:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_count_or_an_error() {
        assert_eq!(Status(4096).result(), Ok(4096));
        assert_eq!(Status(-5).result(), Err(Errno::EIO));
        assert_eq!(Status(i32::MAX).result(), Ok(0x7FFF_FFFF));
        assert_eq!(Status(i32::MIN).result().map_err(Errno::number), Err(0x8000_0000));
        assert_eq!(Status::from(Errno::ERESTART), Status(-200));
        assert_eq!(Status::from(Ok(())), Status::OK);
        assert_eq!(Status::from(Err(Errno::ENOTTY)), Status(-25));
    }

    #[test]
    fn a_count_has_to_fit() {
        assert_eq!(Status::count(0x7FFF_FFFF), Some(Status(i32::MAX)));
        assert_eq!(Status::count(0x8000_0000), None);
        assert_eq!(Status::count(u64::MAX), None);
    }
}
