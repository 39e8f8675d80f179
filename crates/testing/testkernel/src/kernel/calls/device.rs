//! What a driver needs besides memory: windows and interrupt lines.

use minix_abi::kernel_call::{
    IrqCtl, IrqHook, IrqRequest, MAX_NOTIFY_ID, MAX_SERVICE_IRQS, MemRange, PrivCtl, PrivFlags, PrivRequest, VECTORS,
};
use minix_abi::{Endpoint, Errno, Message};
use zerocopy::{FromZeros, IntoBytes};

use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

pub(super) fn privctl(kernel: &mut Kernel, caller: Slot, call: &PrivCtl) -> Result<(), Errno> {
    let target = match call.process {
        Endpoint::SELF => caller,
        other => kernel.processes.find(other).ok_or(Errno::EINVAL)?,
    };
    // Giving to others is for RS.
    let is_own = target == caller;
    match call.request {
        PrivRequest::ADD_MEM if is_own => {
            let mut range = MemRange::new_zeroed();
            kernel
                .read_user(caller, call.argument, range.as_mut_bytes())
                .map_err(|_| Errno::EFAULT)?;
            let privileges = &mut kernel.processes[caller].privileges;
            privileges.memory.push(range).map_err(|_| Errno::ENOMEM)?;
            privileges.flags |= PrivFlags::CHECK_MEM.bits() as i32;
            Ok(())
        }
        PrivRequest::ADD_IRQ if is_own => {
            let mut line = 0_i32;
            kernel
                .read_user(caller, call.argument, line.as_mut_bytes())
                .map_err(|_| Errno::EFAULT)?;
            let privileges = &mut kernel.processes[caller].privileges;
            let lines = privileges.irqs.get_or_insert(0);
            let bit = u32::try_from(line)
                .ok()
                .and_then(|line| 1_u128.checked_shl(line))
                .ok_or(Errno::EINVAL)?;
            if lines.count_ones() as usize >= MAX_SERVICE_IRQS && *lines & bit == 0 {
                return Err(Errno::ENOMEM);
            }
            *lines |= bit;
            privileges.flags |= PrivFlags::CHECK_IRQ.bits() as i32;
            Ok(())
        }
        PrivRequest::QUERY_MEM if kernel.processes[target].privileges.may_map(call.physical, call.bytes) => Ok(()),
        PrivRequest(number) if (PrivRequest::ALLOW.0..=PrivRequest::CLEAR_IPC_REFS.0).contains(&number) => {
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
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
