//! Clock, console, and what the kernel keeps about a process.

use board_qemu_virt::console;
use guest_protocol::MARK_CODE;
use minix_abi::kernel_call::{
    DiagCode, DiagCtl, GetInfo, InfoRequest, NO_ALARM, PrivFlags, SetAlarm, StateCtl, StateRequest, Times, TimesReply,
    WhoAmI,
};
use minix_abi::rs::InitFlags;
use minix_abi::{Endpoint, Errno, Message};

use super::mark::mark;
use crate::kernel::ipc;
use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;

/// Most bytes of text the kernel takes at once.
const DIAG_LIMIT: usize = 2000;

pub(super) fn setalarm(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let mut call: SetAlarm = message.payload();
    let uptime = kernel.clock.uptime;
    let alarm = &mut kernel.processes[caller].alarm;
    call.time_left = alarm.map_or(NO_ALARM, |at| at.saturating_sub(uptime));
    call.uptime = uptime;
    *alarm = match (call.absolute != 0, call.expires) {
        (false, 0) => None,
        (false, ticks) => Some(uptime.saturating_add(ticks)),
        (true, at) => Some(at),
    };
    message.set_payload(&call);
    Ok(())
}

pub(super) fn times(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let uptime = kernel.clock.uptime;
    let slot = match message.payload::<Times>().process {
        Endpoint::SELF => Some(caller),
        other => kernel.processes.find(other),
    };
    message.set_payload(&TimesReply {
        real_ticks: uptime,
        boot_ticks: uptime,
        user: slot.map_or(0, |slot| kernel.processes[slot].user_ticks),
        ..TimesReply::default()
    });
    Ok(())
}

pub(super) fn getinfo(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<(), Errno> {
    let call: GetInfo = message.payload();
    match call.request {
        InfoRequest::WHOAMI => {
            let process = &kernel.processes[caller];
            let flags = PrivFlags::from_bits_retain(process.privileges.flags as u32);
            let name = process.name.as_bytes();
            message.set_payload(&WhoAmI::new(process.endpoint, flags, InitFlags::empty(), name));
            Ok(())
        }
        InfoRequest::HZ => {
            let hz = kernel.clock.hz().to_le_bytes();
            if call.bytes > 0 && (call.bytes as usize) < hz.len() {
                return Err(Errno::E2BIG);
            }
            kernel.write_user(caller, call.address, &hz).map_err(|_| Errno::EFAULT)
        }
        // Nothing of the rest is modelled.
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn diagctl(kernel: &mut Kernel, caller: Slot, call: &DiagCtl) -> Result<(), Errno> {
    match call.code {
        DiagCode::DIAG => {
            let bytes = usize::try_from(call.bytes)
                .ok()
                .filter(|bytes| (1..=DIAG_LIMIT).contains(bytes));
            let mut text = [0; DIAG_LIMIT];
            let text = &mut text[..bytes.ok_or(Errno::EINVAL)?];
            kernel
                .read_user(caller, call.address, text)
                .map_err(|_| Errno::EFAULT)?;
            if let [.., last] = text
                && call.bytes as usize == DIAG_LIMIT
            {
                *last = 0;
            }
            if text.first() == Some(&(guest_protocol::MARK as u8)) {
                console::start_of_line();
            }
            console::write_bytes(text);
            Ok(())
        }
        DiagCode(MARK_CODE) => mark(kernel, caller, call),
        DiagCode::STACKTRACE | DiagCode::REGISTER | DiagCode::UNREGISTER => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn statectl(kernel: &mut Kernel, caller: Slot, call: &StateCtl) -> Result<(), Errno> {
    match call.request {
        StateRequest::CLEAR_IPC_REFS => {
            let endpoint = kernel.processes[caller].endpoint;
            ipc::clear_references(kernel, endpoint);
            // Clients that waited have been told, so the driver owes them nothing.
            kernel.requests.forget(endpoint);
            Ok(())
        }
        // There is nothing to filter, and no state to transfer.
        StateRequest::SET_STATE_TABLE | StateRequest::CLEAR_IPC_FILTERS => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
