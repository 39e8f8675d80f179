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
    if request.granter == Endpoint::VFS && request.grant.is_valid() {
        return kernel.ports.vfs_grants.entry(request.grant).ok_or(Errno::EPERM);
    }
    let slot = kernel.processes.find(request.granter);
    let process = slot.map(|slot| &kernel.processes[slot]);
    let table = process.map(|process| process.ipc.grants);
    // The servers are alive, and have no table.
    let table = table.or(is_server(request.granter).then_some(None));
    let at = request.entry_at(table)?;
    let process = process.ok_or(Errno::EPERM)?;
    let mut entry = GrantEntry::new_zeroed();
    let read = process.space.read(at, entry.as_mut_bytes());
    read.map(|()| entry).map_err(|_| Errno::EPERM)
}

/// The owner and the address of memory that a process has granted to a server.
pub(super) fn of_server(
    kernel: &Kernel,
    grantee: Endpoint,
    (granter, grant): (Endpoint, GrantId),
    bytes: usize,
    access: GrantFlags,
) -> Result<(Slot, u64), Errno> {
    let request = Request {
        granter,
        grantee,
        grant,
        offset: 0,
        bytes: bytes as u64,
        access,
    };
    locate(kernel, &request)
}
