//! The version of the structures, and the header of each report that tells it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version of the structures here.
pub const VERSION: u32 = 1;

/// The start of each report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReportHeader {
    /// [`VERSION`] of the service.
    pub version: u32,
    /// Bytes of the whole report.
    pub bytes: u32,
}

layout!(ReportHeader, 8 {
    version: u32 = 0,
    bytes: u32 = 4,
});

impl ReportHeader {
    /// The start of the report `T`.
    pub const fn of<T>() -> Self {
        Self {
            version: VERSION,
            bytes: size_of::<T>() as u32,
        }
    }

    /// Whether this starts a report `T` of this version.
    pub const fn is_of<T>(&self) -> bool {
        self.version == VERSION && self.bytes as usize == size_of::<T>()
    }
}
