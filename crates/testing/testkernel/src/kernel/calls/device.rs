//! What a driver needs besides memory: windows and interrupt lines.

use minix_abi::kernel_call::{
    IrqCtl, IrqHook, IrqRequest, MAX_NOTIFY_ID, MemRange, PrivCtl, PrivFlags, PrivRequest, VECTORS,
};
use minix_abi::{Endpoint, Errno, Message};
use zerocopy::{FromZeros, IntoBytes};

use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

/// Adds a window to those that the caller may map. All else is for RS.
pub(super) fn privctl(kernel: &mut Kernel, caller: Slot, call: &PrivCtl) -> Result<(), Errno> {
    let is_own = call.process == Endpoint::SELF || call.process == kernel.processes[caller].endpoint;
    if !is_own || call.request != PrivRequest::ADD_MEM {
        return Err(Errno::EPERM);
    }
    let mut range = MemRange::new_zeroed();
    kernel
        .read_user(caller, call.argument, range.as_mut_bytes())
        .map_err(|_| Errno::EFAULT)?;
    let privileges = &mut kernel.processes[caller].privileges;
    privileges.memory.push(range).map_err(|_| Errno::ENOMEM)?;
    privileges.flags |= PrivFlags::CHECK_MEM.bits() as i32;
    Ok(())
}

pub(super) fn irqctl(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let call: IrqCtl = message.payload();
    let owner = kernel.processes[caller].endpoint;
    match call.request {
        IrqRequest::SETPOLICY => {
            if !(0..VECTORS).contains(&call.vector) || !(0..=MAX_NOTIFY_ID).contains(&call.hook_id) {
                return Err(Errno::EINVAL);
            }
            let lines = kernel.processes[caller].privileges.irqs;
            if lines.is_some_and(|lines| lines & (1 << call.vector) == 0) {
                return Err(Errno::EPERM);
            }
            let hook_id = kernel.irqs.set_policy(owner, call.vector, call.hook_id, call.policy)?;
            message.set_payload(&IrqHook { hook_id });
            Ok(())
        }
        IrqRequest::RMPOLICY => kernel.irqs.remove(owner, call.hook_id),
        IrqRequest::ENABLE => kernel.irqs.hold(owner, call.hook_id, false),
        IrqRequest::DISABLE => kernel.irqs.hold(owner, call.hook_id, true),
        _ => Err(Errno::EINVAL),
    }
}
