//! The private control requests by which a client asks for a report.

use minix_abi::ioctl::IoctlCode;

/// All of them. A client of any version may send the last one.
pub const REPORTS: [IoctlCode; 6] = [
    IoctlCode::VBLKINFO,
    IoctlCode::VBLKSTAT,
    IoctlCode::VBLKREGS,
    IoctlCode::VBLKQUEUE,
    IoctlCode::VBLKLOG,
    IoctlCode::VBLKVERSION,
];
