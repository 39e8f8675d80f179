//! A device whose notifications are the kernel's, so that what a driver does for a request does not depend on when the device
//! answers.
//!
//! A host serves the device while the guest runs, and one run is never like another. If a client counts instructions,
//! the kernel therefore accesses the registers in the place of the driver: the page is not mapped, each access faults, and
//! the kernel does what the instruction says. It has a notification wait until its time has come, and goes on when the
//! device has completed all that is available.

use testkernel::pacing::{Notification, Write};
use testkernel::register_access::RegisterAccess;

use super::paging::DeviceRegister;
use super::physical;
use super::process::Slot;
use super::space::AddressSpace;
use super::state::Kernel;

/// The time that the device may take for all that is available, in microseconds.
const LIMIT_MICROS: u64 = 10_000_000;

/// Does an access to a register in the place of a process that has faulted on it. False if it was none.
pub(super) fn access(kernel: &mut Kernel, slot: Slot, address: u64) -> bool {
    let process = &mut kernel.processes[slot];
    let Some(register) = process.space.mediated(address) else {
        return false;
    };
    let access = instruction_at(&process.space, process.context.pc()).and_then(RegisterAccess::decode);
    let Some(access) = access.filter(|access| register.is_multiple_of(access.bytes as u64)) else {
        return false;
    };
    process.context.skip(access.length);
    // It has trapped, so the hart has not counted it.
    process.user_instructions += 1;
    let endpoint = process.endpoint;
    kernel.account.ran(endpoint, 1);
    let place = DeviceRegister::new(register, access.bytes);
    if !access.is_store {
        let loaded = access.extended(place.read());
        process.context.set_register(access.register, loaded);
        return true;
    }
    let value = process.context.register(access.register) as u32;
    match kernel.pacing.write(register, value) {
        Write::Pass => place.write(value),
        Write::Hold => kernel.account.notified(endpoint),
        Write::Notify(notification) => {
            kernel.account.notified(endpoint);
            notify(kernel, notification);
        }
    }
    true
}

/// Every process waits: lets the device have a notification that has waited for this. Whether there was one.
pub(super) fn release(kernel: &mut Kernel) -> bool {
    let held = kernel.pacing.release();
    held.inspect(|notification| notify(kernel, *notification)).is_some()
}

/// Notifies the device, and waits until it has nothing left to do.
fn notify(kernel: &mut Kernel, notification: Notification) {
    DeviceRegister::new(notification.register, 4).write(notification.value);
    let end = kernel.clock.now_micros().saturating_add(LIMIT_MICROS);
    while !is_done(kernel) {
        if kernel.clock.now_micros() > end {
            let text = format_args!("the device has not completed all requests after {LIMIT_MICROS} us");
            kernel.failures.violation(text);
            break;
        }
        core::hint::spin_loop();
    }
    // The device may have written its index and not yet interrupted. It answers when it has.
    DeviceRegister::new(notification.interrupt_status(), 4).read();
}

/// Whether the device has completed all that is available to it. Never, if the kernel was not told where: the legacy layout
/// has other registers.
fn is_done(kernel: &Kernel) -> bool {
    let indices = kernel.pacing.indices().map(|indices| indices.map(index));
    indices.is_some_and(|[driver, device]| driver == device)
}

/// The running index at an address.
fn index(at: u64) -> u16 {
    (physical::load(at & !7) >> (8 * (at & 7))) as u16
}

/// The instruction at an address, which the process has just tried to execute.
fn instruction_at(space: &AddressSpace, pc: u64) -> Option<u32> {
    let half = |at| {
        let mut bytes = [0; 2];
        space.read(at, &mut bytes).ok()?;
        Some(u16::from_le_bytes(bytes))
    };
    let low = half(pc)?;
    let high = if RegisterAccess::is_long(low) { half(pc + 2)? } else { 0 };
    Some(u32::from(high) << 16 | u32::from(low))
}
