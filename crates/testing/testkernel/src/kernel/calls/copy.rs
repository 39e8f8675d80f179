//! Copies with grants.

use minix_abi::Errno;
use minix_abi::grant::GrantFlags;
use minix_abi::kernel_call::{SafeCopy, SetGrant};
use testkernel::grants::Request;

use crate::kernel::grants::locate;
use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

/// Copies from a grant to the caller if `access` is to read, else from the caller to a grant.
pub(super) fn safecopy(kernel: &mut Kernel, caller: Slot, call: &SafeCopy, access: GrantFlags) -> Result<(), Errno> {
    let request = Request {
        granter: call.granter,
        grantee: kernel.processes[caller].endpoint,
        grant: call.grant,
        offset: call.offset,
        bytes: call.bytes,
        access,
    };
    let granted = locate(kernel, &request)?;
    if call.bytes == 0 {
        return Err(Errno::EDOM);
    }
    let own = (caller, call.address);
    let (from, to) = if access == GrantFlags::READ {
        (granted, own)
    } else {
        (own, granted)
    };
    kernel.copy_user(from, to, call.bytes).map_err(|_| Errno::EFAULT)
}

pub(super) fn set_grants(kernel: &mut Kernel, caller: Slot, call: &SetGrant) -> Result<(), Errno> {
    let entries = usize::try_from(call.entries).map_err(|_| Errno::EINVAL)?;
    kernel.processes[caller].ipc.grants = Some((call.table, entries));
    Ok(())
}
