//! Grants: the tables in the memory of processes, and copies by servers.

use board_qemu_virt::println;
use minix_abi::grant::{GrantEntry, GrantFlags};
use minix_abi::{Endpoint, Errno, GrantId};
use testkernel::grants::Request;
use zerocopy::{FromZeros, IntoBytes};

use super::ports::is_server;
use super::process::Slot;
use super::state::Kernel;

/// The owner and the address of the memory that a grant leads to. Failures go to the console, as on MINIX.
pub(super) fn locate(kernel: &Kernel, request: &Request) -> Result<(Slot, u64), Errno> {
    let found = entry_of(kernel, request).and_then(|entry| {
        let (owner, address) = request.check(&entry)?;
        Ok((kernel.processes.find(owner).ok_or(Errno::EPERM)?, address))
    });
    if let Err(errno) = found {
        println!(
            "kernel: grant {} of {} for {} refused: {errno:?}",
            request.grant.0, request.granter.0, request.grantee.0
        );
    }
    found
}

/// The entry that a grant names. Nothing is brought in for it.
fn entry_of(kernel: &Kernel, request: &Request) -> Result<GrantEntry, Errno> {
    let index = request.grant.index().ok_or(Errno::EINVAL)? as usize;
    if request.granter == Endpoint::VFS && index == 0 {
        return kernel.ports.vfs_grant.ok_or(Errno::EPERM);
    }
    if is_server(request.granter) {
        return Err(Errno::EPERM);
    }
    let process = &kernel.processes[kernel.processes.find(request.granter).ok_or(Errno::EINVAL)?];
    let table = process.ipc.grants.filter(|(_, entries)| index < *entries);
    let (table, _) = table.ok_or(Errno::EPERM)?;
    let at = table.wrapping_add((index * size_of::<GrantEntry>()) as u64);
    let mut entry = GrantEntry::new_zeroed();
    let read = process.space.read(at, entry.as_mut_bytes());
    read.map(|()| entry).map_err(|_| Errno::EPERM)
}

/// A server reads memory that it was granted.
pub(super) fn read(
    kernel: &mut Kernel,
    server: Endpoint,
    granter: Endpoint,
    grant: GrantId,
    into: &mut [u8],
) -> Result<(), Errno> {
    let request = by_server(server, granter, grant, into.len(), GrantFlags::READ);
    let (owner, address) = locate(kernel, &request)?;
    kernel.read_user(owner, address, into).map_err(|_| Errno::EFAULT)
}

/// A server writes to memory that it was granted.
pub(super) fn write(
    kernel: &mut Kernel,
    server: Endpoint,
    granter: Endpoint,
    grant: GrantId,
    from: &[u8],
) -> Result<(), Errno> {
    let request = by_server(server, granter, grant, from.len(), GrantFlags::WRITE);
    let (owner, address) = locate(kernel, &request)?;
    kernel.write_user(owner, address, from).map_err(|_| Errno::EFAULT)
}

fn by_server(grantee: Endpoint, granter: Endpoint, grant: GrantId, bytes: usize, access: GrantFlags) -> Request {
    Request {
        granter,
        grantee,
        grant,
        offset: 0,
        bytes: bytes as u64,
        access,
    }
}
