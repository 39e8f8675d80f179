//! What only the bare image says of a disk: that it saw the device the host set up.

use super::Case;
use crate::machine::serial;

impl Case<'_> {
    /// Whether what the guest found is what the host set up.
    pub(super) fn agreement(&self, reasons: &mut Vec<String>) {
        let Some(device) = &self.guest.device else {
            reasons.push("the guest reported no device".to_owned());
            return;
        };
        let Some(disk) = self.disks.first() else { return };
        let version = if self.args.legacy { 1 } else { 2 };
        let facts = [
            ("register layout", u64::from(device.version), version),
            ("capacity in sectors", device.capacity_sectors, disk.sectors),
            (
                "block size",
                u64::from(device.block_bytes),
                u64::from(self.args.block_size),
            ),
            (
                "read-only flag",
                u64::from(device.read_only),
                u64::from(disk.attachment.read_only),
            ),
        ];
        for (what, found, made) in facts {
            if found != made {
                reasons.push(format!("the guest found {what} {found}, the host set up {made}"));
            }
        }
        if device.id != serial(0) {
            reasons.push(format!(
                "the guest read the id `{}`, the host set `{}`",
                device.id,
                serial(0)
            ));
        }
    }
}
