//! Which devices the tests use: those that are installed, or the one that `FOREIGN_DEVICE` in the environment names.
//!
//! Where a device is missing, its tests say that they are skipped. With `FOREIGN_DEVICES_REQUIRED` in the environment that is a failure.

use std::process::Command;

use virtio_qtest::QEMU;
use virtio_vhost_user::StorageDaemon;

/// Their names, as the program takes them.
pub(crate) const DAEMON: &str = "storage-daemon";
pub(crate) const MMIO: [&str; 2] = ["qemu-mmio", "qemu-mmio-legacy"];
pub(crate) const PCI: [&str; 2] = ["qemu-pci", "qemu-pci-legacy"];
pub(crate) const MODEL: &str = "model";

/// Whether a test of this device is to run.
pub(crate) fn is_wanted(name: &str) -> bool {
    let only = std::env::var("FOREIGN_DEVICE");
    if only.as_ref().is_ok_and(|only| only != name) {
        return false;
    }
    let (program, is_there) = match name {
        MODEL => return true,
        DAEMON => ("qemu-storage-daemon", StorageDaemon::is_installed()),
        _ => (QEMU, Command::new(QEMU).arg("--version").output().is_ok()),
    };
    let is_required = only.is_ok() || std::env::var_os("FOREIGN_DEVICES_REQUIRED").is_some();
    assert!(is_there || !is_required, "{program} is missing");
    if !is_there {
        eprintln!("skipped: {program} is missing");
    }
    is_there
}
