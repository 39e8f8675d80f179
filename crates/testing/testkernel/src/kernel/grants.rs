//! Grants of processes: the judgement of the library, on the memory of this machine.

use board_qemu_virt::println;
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, GrantId};
use testkernel::grants::{Granters, Memory, Request, verify};
use zerocopy::IntoBytes;

use super::ports::is_server;
use super::process::Slot;
use super::state::Kernel;

impl Granters for Kernel {
    fn table(&self, granter: Endpoint) -> Option<Option<(u64, usize)>> {
        match self.processes.find(granter) {
            Some(slot) => Some(self.processes[slot].ipc.grants),
            None if granter == Endpoint::VFS => Some(self.ports.vfs_grant.map(|_| (0, 1))),
            // The other servers are alive and grant nothing here.
            None => is_server(granter).then_some(None),
        }
    }

    fn read(&self, process: Endpoint, address: u64, into: &mut [u8]) -> bool {
        if let (Endpoint::VFS, Some(entry)) = (process, &self.ports.vfs_grant) {
            into.copy_from_slice(entry.as_bytes());
            return true;
        }
        let slot = self.processes.find(process);
        slot.is_some_and(|slot| self.processes[slot].space.read(address, into).is_ok())
    }
}

/// Whose memory a grant leads to, and where. Failures are told on the console, as on MINIX.
pub(super) fn locate(kernel: &Kernel, request: &Request) -> Result<(Slot, Memory), Errno> {
    let found = verify(kernel, request).and_then(|memory| {
        let owner = kernel.processes.find(memory.owner).ok_or(Errno::EPERM)?;
        Ok((owner, memory))
    });
    if let Err(errno) = found {
        let Request {
            granter,
            grantee,
            grant,
            ..
        } = *request;
        println!(
            "kernel: grant {} of {} for {} refused: {errno:?}",
            grant.0, granter.0, grantee.0
        );
    }
    found
}

/// A server reads what it was granted.
pub(super) fn read(
    kernel: &mut Kernel,
    server: Endpoint,
    granter: Endpoint,
    grant: GrantId,
    into: &mut [u8],
) -> Result<(), Errno> {
    let request = by_server(server, granter, grant, into.len(), GrantFlags::READ);
    let (owner, memory) = locate(kernel, &request)?;
    kernel.read_user(owner, memory.address, into).map_err(|_| Errno::EFAULT)
}

/// A server writes to what it was granted.
pub(super) fn write(
    kernel: &mut Kernel,
    server: Endpoint,
    granter: Endpoint,
    grant: GrantId,
    from: &[u8],
) -> Result<(), Errno> {
    let request = by_server(server, granter, grant, from.len(), GrantFlags::WRITE);
    let (owner, memory) = locate(kernel, &request)?;
    kernel
        .write_user(owner, memory.address, from)
        .map_err(|_| Errno::EFAULT)
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
