//! Kernel calls. The result goes into the type of the caller's message and nowhere else; `a0` stays as it is.

mod copy;
mod device;
mod info;
mod map;
mod mark;

use guest_protocol::End;
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use testkernel::account::kind_of_call;
use testkernel::config::call_bit;
use zerocopy::{FromZeros, IntoBytes};

use super::process::Slot;
use super::state::Kernel;

/// A kernel call trap. The end of the caller, if it has come.
pub(super) fn trap(kernel: &mut Kernel, caller: Slot) -> Option<End> {
    let at = kernel.processes[caller].context.argument(0);
    let mut message = Message::new_zeroed();
    // Nothing is brought in for this copy: a message that is not there is the end of the caller.
    if kernel.processes[caller].space.read(at, message.as_mut_bytes()).is_err() {
        return Some(End::Segv);
    }
    let endpoint = kernel.processes[caller].endpoint;
    kernel.account.called(endpoint, kind_of_call(message.kind));
    let result = dispatch(kernel, caller, &mut message);
    if message.kind == MessageType::SYS_EXIT && result.is_ok() {
        // The signal manager sees this as SIGABRT.
        return Some(End::Exit);
    }
    message.kind = match result {
        Ok(value) => MessageType(value),
        Err(errno) => Status::from(errno).into(),
    };
    message.source = Endpoint::SYSTEM;
    let written = kernel.processes[caller].space.write(at, message.as_bytes());
    written.is_err().then_some(End::Segv)
}

/// What the call gives: a value, or a negative error. Results in the body are written to `message`.
fn dispatch(kernel: &mut Kernel, caller: Slot, message: &mut Message) -> Result<i32, Errno> {
    let call = message.kind;
    call.kernel_call_index().ok_or(Errno::EBADREQUEST)?;
    if kernel.processes[caller].privileges.kernel_calls & call_bit(call) == 0 {
        return Err(Errno::ECALLDENIED);
    }
    let done = match call {
        MessageType::SYS_SAFECOPYFROM => copy::safecopy(kernel, caller, &message.payload(), GrantFlags::READ),
        MessageType::SYS_SAFECOPYTO => copy::safecopy(kernel, caller, &message.payload(), GrantFlags::WRITE),
        MessageType::SYS_SETGRANT => copy::set_grants(kernel, caller, &message.payload()),
        MessageType::SYS_UMAP => map::umap(kernel, caller, message),
        MessageType::SYS_VUMAP => map::vumap(kernel, caller, message),
        MessageType::SYS_PRIVCTL => device::privctl(kernel, caller, &message.payload()),
        MessageType::SYS_IRQCTL => device::irqctl(kernel, caller, message),
        MessageType::SYS_SETALARM => info::setalarm(kernel, caller, message),
        MessageType::SYS_TIMES => info::times(kernel, caller, message),
        MessageType::SYS_GETINFO => info::getinfo(kernel, caller, message),
        MessageType::SYS_DIAGCTL => info::diagctl(kernel, caller, &message.payload()),
        MessageType::SYS_STATECTL => info::statectl(kernel, caller, &message.payload()),
        MessageType::SYS_EXIT => Ok(()),
        _ => Err(Errno::EBADREQUEST),
    };
    done.map(|()| Status::OK.0)
}
