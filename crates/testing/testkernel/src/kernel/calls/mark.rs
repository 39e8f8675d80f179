//! The marks by which a client has the kernel measure its driver.

use core::str;

use guest_protocol::Record;
use minix_abi::Errno;
use minix_abi::kernel_call::DiagCtl;

use crate::kernel::process::{Name, Slot};
use crate::kernel::report::emit;
use crate::kernel::state::Kernel;

/// Bytes of the longest name of a measurement.
const NAME_BYTES: usize = 40;

/// Without a text a measurement of a process begins. A text is the name of the one that ends.
///
/// # Errors
///
/// `EINVAL` for a name that is too long or no text, `ESRCH` if there is no such process, or if it was not measured.
pub(super) fn mark(kernel: &mut Kernel, caller: Slot, call: &DiagCtl) -> Result<(), Errno> {
    let now = kernel.clock.now_micros();
    let measured = kernel.processes.find(call.process).ok_or(Errno::ESRCH)?;
    if call.bytes == 0 {
        kernel.account.open(call.process, now);
        return Ok(());
    }
    if kernel.account.process() != call.process {
        return Err(Errno::ESRCH);
    }
    let mut name = [0; NAME_BYTES];
    let bytes = usize::try_from(call.bytes).ok().and_then(|bytes| name.get_mut(..bytes));
    let name = bytes.ok_or(Errno::EINVAL)?;
    kernel
        .read_user(caller, call.address, name)
        .map_err(|_| Errno::EFAULT)?;
    let name = str::from_utf8(name).map_err(|_| Errno::EINVAL)?;
    let label = kernel.processes[measured].label.clone();
    report(kernel, name, &label, now);
    Ok(())
}

fn report(kernel: &Kernel, name: &str, label: &Name, now: u64) {
    let account = &kernel.account;
    emit(&Record::Measure {
        name,
        label,
        instructions: account.instructions(),
        micros: account.micros(now),
    });
    emit(&Record::Signals {
        name,
        notifies: account.notifies(),
        interrupts: account.interrupts(),
    });
    for stage in account.stages() {
        emit(&Record::Stage {
            name,
            from: stage.from,
            to: stage.to,
            times: stage.times,
            instructions: stage.instructions,
        });
    }
}
