//! VM: memory for processes. The result of a request is the type of the reply.

use minix_abi::kernel_call::PrivFlags;
use minix_abi::vm::{MapFlags, MapPhys, Mmap, Protection, UnmapPhys};
use minix_abi::{Endpoint, Errno, Message, MessageType, PAGE_BYTES, Status};
use testkernel::config::call_bit;

use crate::kernel::frames::MemoryError;
use crate::kernel::paging::Access;
use crate::kernel::process::Slot;
use crate::kernel::space::Backing;
use crate::kernel::state::Kernel;

pub(super) fn serve(kernel: &mut Kernel, caller: Slot, message: &Message) -> Message {
    let mut answer = *message;
    let privileges = &kernel.processes[caller].privileges;
    let is_allowed = privileges.vm_calls & call_bit(message.kind) != 0;
    let result = match message.kind {
        _ if !is_allowed => Err(Errno::ENOSYS),
        MessageType::VM_MMAP => {
            let mut call: Mmap = message.payload();
            map(kernel, caller, &call).map(|address| {
                call.mapped_at = address;
                answer.set_payload(&call);
            })
        }
        MessageType::VM_MUNMAP => unmap(kernel, caller, &message.payload()),
        MessageType::VM_MAP_PHYS => {
            let mut call: MapPhys = message.payload();
            map_physical(kernel, caller, &call).map(|address| {
                call.mapped_at = address;
                answer.set_payload(&call);
            })
        }
        MessageType::VM_UNMAP_PHYS => unmap_physical(kernel, caller, &message.payload()),
        // There is no heap to grow.
        MessageType::VM_BRK => Err(Errno::ENOMEM),
        _ => Err(Errno::ENOSYS),
    };
    answer.kind = Status::from(result).into();
    answer
}

fn map(kernel: &mut Kernel, caller: Slot, call: &Mmap) -> Result<u64, Errno> {
    let is_anonymous = call.flags.contains(MapFlags::ANON);
    // Files are not modelled.
    if call.bytes == 0 || !is_anonymous || call.file != -1 {
        return Err(Errno::EINVAL);
    }
    if call.flags.contains(MapFlags::THIRDPARTY) {
        return Err(Errno::EPERM);
    }
    let is_allocated = call.flags.contains(MapFlags::PREALLOC);
    let backing = match (call.flags.contains(MapFlags::CONTIG), is_allocated) {
        (true, false) => return Err(Errno::EINVAL),
        (true, true) => {
            assert!(
                call.bytes <= Mmap::MAX_CONTIGUOUS_BYTES,
                "{} asks for {} contiguous bytes: more than 1 MiB at once can bring MINIX riscv64 down",
                kernel.processes[caller].label,
                call.bytes,
            );
            Backing::Contiguous
        }
        (false, true) => Backing::Allocated,
        (false, false) => Backing::OnDemand,
    };
    let access = Access {
        write: call.protection.contains(Protection::WRITE),
        execute: call.protection.contains(Protection::EXEC),
    };
    let wanted = (call.address != 0).then_some(call.address);
    let (space, frames) = (&mut kernel.processes[caller].space, &mut kernel.frames);
    let mut result = space.map_memory(frames, wanted, call.bytes, access, backing);
    if result.is_err() && wanted.is_some() && !call.flags.contains(MapFlags::FIXED) {
        result = space.map_memory(frames, None, call.bytes, access, backing);
    }
    result.map_err(|error| match error {
        MemoryError::OutOfMemory => Errno::ENOMEM,
        _ => Errno::EINVAL,
    })
}

fn unmap(kernel: &mut Kernel, caller: Slot, call: &Mmap) -> Result<(), Errno> {
    if !call.address.is_multiple_of(PAGE_BYTES) {
        return Err(Errno::EFAULT);
    }
    let space = &mut kernel.processes[caller].space;
    space
        .unmap(&mut kernel.frames, call.address, call.bytes)
        .map_err(|_| Errno::EINVAL)
}

fn is_own(kernel: &Kernel, caller: Slot, named: Endpoint) -> bool {
    named == Endpoint::SELF || named == kernel.processes[caller].endpoint
}

fn map_physical(kernel: &mut Kernel, caller: Slot, call: &MapPhys) -> Result<u64, Errno> {
    if call.bytes == 0 || !is_own(kernel, caller, call.process) {
        return Err(Errno::EINVAL);
    }
    let process = &mut kernel.processes[caller];
    let is_service = process.privileges.flags & PrivFlags::SYS_PROC.bits() as i32 != 0;
    if !is_service || !process.privileges.may_map(call.physical, call.bytes) {
        return Err(Errno::EPERM);
    }
    let is_mediated = kernel.pacing.is_mediated();
    let mapped = process
        .space
        .map_device(&mut kernel.frames, call.physical, call.bytes, is_mediated);
    mapped.map_err(|_| Errno::ENOMEM)
}

fn unmap_physical(kernel: &mut Kernel, caller: Slot, call: &UnmapPhys) -> Result<(), Errno> {
    if !is_own(kernel, caller, call.process) {
        return Err(Errno::EINVAL);
    }
    if !call.address.is_multiple_of(PAGE_BYTES) {
        return Err(Errno::EFAULT);
    }
    kernel.processes[caller]
        .space
        .unmap_device(call.address)
        .map_err(|_| Errno::EFAULT)
}
