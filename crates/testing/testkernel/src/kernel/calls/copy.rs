//! Copies with grants.

use minix_abi::grant::GrantFlags;
use minix_abi::kernel_call::{MAX_COPIES, SafeCopy, SetGrant, VectorCopy, VectorCopyElement};
use minix_abi::{Endpoint, Errno, Layout};
use testkernel::grants::Request;
use zerocopy::{FromZeros, IntoBytes};

use crate::kernel::grants::locate;
use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The caller gets what the grant holds.
    FromGrant,
    /// The grant gets what the caller holds.
    ToGrant,
}

pub(super) fn safecopy(kernel: &mut Kernel, caller: Slot, call: &SafeCopy, direction: Direction) -> Result<(), Errno> {
    let access = match direction {
        Direction::FromGrant => GrantFlags::READ,
        Direction::ToGrant => GrantFlags::WRITE,
    };
    let request = Request {
        granter: call.granter,
        grantee: kernel.processes[caller].endpoint,
        grant: call.grant,
        offset: call.offset,
        bytes: call.bytes,
        access,
    };
    let (owner, memory) = locate(kernel, &request)?;
    if call.bytes == 0 {
        return Err(Errno::EDOM);
    }
    if let Some(note_at) = memory.faulted_at {
        // Nothing is brought in, on either side.
        let space = |slot: Slot| &kernel.processes[slot].space;
        if space(owner).check(memory.address, call.bytes).is_err() {
            // The entry was read a moment ago, so it can be written.
            let _ = space(owner).write(note_at, call.grant.as_bytes());
            return Err(Errno::EFAULT);
        }
        space(caller)
            .check(call.address, call.bytes)
            .map_err(|_| Errno::EFAULT)?;
    }
    let (granted, own) = ((owner, memory.address), (caller, call.address));
    let (from, to) = if direction == Direction::FromGrant {
        (granted, own)
    } else {
        (own, granted)
    };
    kernel.copy_user(from, to, call.bytes).map_err(|_| Errno::EFAULT)
}

pub(super) fn vector(kernel: &mut Kernel, caller: Slot, call: &VectorCopy) -> Result<(), Errno> {
    let count = usize::try_from(call.elements)
        .ok()
        .filter(|&count| count != 0)
        .ok_or(Errno::EDOM)?;
    // The kernel of MINIX does not look, and overwrites what lies behind its table.
    assert!(
        count <= MAX_COPIES,
        "VSAFECOPY of {count} elements: MINIX would have damaged itself"
    );
    for index in 0..count as u64 {
        let mut element = VectorCopyElement::new_zeroed();
        let at = call.vector.wrapping_add(index * VectorCopyElement::BYTES as u64);
        kernel
            .read_user(caller, at, element.as_mut_bytes())
            .map_err(|_| Errno::EFAULT)?;
        let (direction, granter) = match (element.from, element.to) {
            (Endpoint::SELF, granter) => (Direction::ToGrant, granter),
            (granter, Endpoint::SELF) => (Direction::FromGrant, granter),
            _ => return Err(Errno::EINVAL),
        };
        let VectorCopyElement {
            grant,
            offset,
            address,
            bytes,
            ..
        } = element;
        safecopy(
            kernel,
            caller,
            &SafeCopy {
                granter,
                grant,
                offset,
                address,
                bytes,
            },
            direction,
        )?;
    }
    Ok(())
}

pub(super) fn set_grants(kernel: &mut Kernel, caller: Slot, call: &SetGrant) -> Result<(), Errno> {
    let entries = usize::try_from(call.entries).map_err(|_| Errno::EINVAL)?;
    kernel.processes[caller].ipc.grants = Some((call.table, entries));
    Ok(())
}
