//! Physical addresses.

use board_qemu_virt::println;
use heapless::Vec;
use minix_abi::grant::GrantFlags;
use minix_abi::kernel_call::{
    MAX_RANGES, MapAccess, MapElement, PhysRange, Segment, Umap, UmapReply, Vumap, VumapReply,
};
use minix_abi::{Endpoint, Errno, Message, PAGE_BYTES};
use testkernel::grants::Request;
use testkernel::vumap;
use zerocopy::IntoBytes;

use crate::kernel::grants::locate;
use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

pub(super) fn umap(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let call: Umap = message.payload();
    let found = find(kernel, caller, &call);
    match found {
        Ok(physical) => message.set_payload(&UmapReply { physical }),
        Err(errno) => println!("kernel: UMAP of {:#x}, {} bytes: {errno:?}", call.address, call.bytes),
    }
    found.map(drop)
}

/// The address of contiguous memory of the caller.
fn find(kernel: &Kernel, caller: Slot, call: &Umap) -> Result<u64, Errno> {
    if call.owner != Endpoint::SELF && call.owner != kernel.processes[caller].endpoint {
        return Err(Errno::EPERM);
    }
    if call.segment != Segment::VIRTUAL {
        return Err(Errno::EINVAL);
    }
    let bytes = u64::try_from(call.bytes).map_err(|_| Errno::EFAULT)?;
    let (space, address) = (&kernel.processes[caller].space, call.address);
    let first = space.translate(address).map_err(|_| Errno::EFAULT)?;
    let end = address.checked_add(bytes).ok_or(Errno::EFAULT)?;
    let mut page = address - address % PAGE_BYTES + PAGE_BYTES;
    while page < end {
        match space.translate(page) {
            Ok(physical) if physical == first + (page - address) => page += PAGE_BYTES,
            _ => return Err(Errno::EFAULT),
        }
    }
    Ok(first)
}

pub(super) fn vumap(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let call: Vumap = message.payload();
    let (count, max) = (vumap::count(call.input_count)?, vumap::count(call.output_max)?);
    let endpoint = kernel.processes[caller].endpoint;
    let is_own = call.owner == Endpoint::SELF;

    let mut elements: Vec<MapElement, MAX_RANGES> = Vec::new();
    elements.resize_default(count).map_err(|_| Errno::EINVAL)?;
    // The vector is not brought in. If its page is not there, it is EFAULT.
    let vector = &mut elements[..];
    kernel.processes[caller]
        .space
        .read(call.input, vector.as_mut_bytes())
        .map_err(|_| Errno::EFAULT)?;

    let mut access = GrantFlags::empty();
    access.set(GrantFlags::READ, call.access.contains(MapAccess::READ));
    access.set(GrantFlags::WRITE, call.access.contains(MapAccess::WRITE));
    // Both closures need the kernel; they take turns.
    let kernel_cell = core::cell::RefCell::new(&mut *kernel);
    let ranges = vumap::map(
        &elements,
        call.offset,
        call.access,
        max,
        |element, offset, bytes| {
            if is_own {
                return Ok((caller, element.address.wrapping_add(offset)));
            }
            let request = Request {
                granter: call.owner,
                grantee: endpoint,
                grant: element.grant(),
                offset,
                bytes,
                access,
            };
            locate(&kernel_cell.borrow(), &request)
        },
        |owner, address, may_allocate| {
            let mut kernel = kernel_cell.borrow_mut();
            if may_allocate {
                kernel.fault_in(owner, address, 1).ok()?;
            }
            kernel.processes[owner].space.translate(address).ok()
        },
    )?;
    let bytes = ranges.len() * size_of::<PhysRange>();
    kernel
        .write_user(caller, call.output, &ranges[..].as_bytes()[..bytes])
        .map_err(|_| Errno::EFAULT)?;
    message.set_payload(&VumapReply {
        filled: ranges.len() as i32,
    });
    Ok(())
}
