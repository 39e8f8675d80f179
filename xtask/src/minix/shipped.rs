//! The programs that go into MINIX, and the size that each may have.

use std::ffi::OsStr;

/// The service: the program's name, and the label RS gives it.
pub(crate) const SERVICE: &str = "virtio_blk_mmio";

/// The crate of the service, which has its `system.conf` too.
pub(super) const SERVICE_PACKAGE: &str = "minix-virtio-blk";

/// A program that goes into MINIX.
#[derive(Debug)]
pub(crate) struct Shipped {
    /// Name of the program, which is the name of its file.
    pub(crate) name: &'static str,
    /// The crate that it comes from.
    pub(crate) package: &'static str,
    /// Most bytes of its file. It is on MINIX's ramdisk, which is a part of the boot image and stays in memory; of the service, RS
    /// keeps a copy besides.
    pub(crate) limit: usize,
}

/// All of them, the service first.
pub(crate) const SHIPPED: &[Shipped] = &[
    Shipped {
        name: SERVICE,
        package: SERVICE_PACKAGE,
        limit: 160 << 10,
    },
    Shipped {
        name: "vblkctl",
        package: "vblkctl",
        limit: 72 << 10,
    },
];

impl Shipped {
    /// The program of this name.
    pub(super) fn named(name: &OsStr) -> Option<&'static Shipped> {
        SHIPPED.iter().find(|program| name == program.name)
    }

    /// The crates that they come from.
    pub(super) fn packages() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|program| program.package)
    }
}
