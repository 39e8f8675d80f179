//! Interrupts: from the timer and the controller to notifications. They come in user mode or are looked for here.

use minix_abi::Endpoint;
use riscv::register::sip;

use super::deliver::notify;
use super::device;
use super::process::Slot;
use super::state::Kernel;

/// The timer has fired. Whether that was a tick: alarms go off in ticks only.
pub(super) fn timer(kernel: &mut Kernel) -> bool {
    if !kernel.clock.tick() {
        return false;
    }
    let now = kernel.clock.uptime;
    for slot in kernel.processes.iter() {
        if kernel.processes[slot].alarm.take_if(|alarm| *alarm <= now).is_some() {
            notify(kernel, Endpoint::CLOCK, slot);
        }
    }
    true
}

/// Serves every line that has fired.
pub(super) fn external(kernel: &mut Kernel) {
    while let Some((line, fired)) = kernel.irqs.claim() {
        for hook in fired {
            let owner = hook.owner;
            if let Some(slot) = kernel.processes.find(owner) {
                let due = (kernel.lateness.as_mut()).map(|lateness| kernel.clock.now_micros() + lateness.draw());
                if !due.is_some_and(|due| kernel.irqs.delay(due, owner, hook.notify_id)) {
                    tell(kernel, slot, hook.notify_id);
                }
            } else if hook.holds_line && owner != Endpoint::NONE {
                kernel.failures.violation(format_args!(
                    "line {line} stays masked: a hook of {}, which is dead, has fired",
                    owner.0
                ));
            }
        }
        kernel.irqs.complete(line);
    }
}

fn tell(kernel: &mut Kernel, slot: Slot, notify_id: i32) {
    kernel.processes[slot].ipc.interrupts |= 1 << notify_id;
    notify(kernel, Endpoint::HARDWARE, slot);
}

/// Tells of interrupts whose messages were late, and sets the clock for the next one.
pub(super) fn late(kernel: &mut Kernel) {
    while let Some((owner, notify_id)) = kernel.irqs.take_due(kernel.clock.now_micros()) {
        if let Some(slot) = kernel.processes.find(owner) {
            tell(kernel, slot, notify_id);
        }
    }
    let due = kernel.irqs.next_due();
    kernel.clock.interrupt_at(due);
}

/// Lets the device work if it was kept from that, or else sleeps until an interrupt is there; and serves the interrupts. While the host
/// may move the machine, it waits without sleeping: QEMU 10 leaves the timers of a hart behind, and one that sleeps would not wake.
///
/// Interrupts do not trap here: `wfi` goes on when one is pending even so, and none can get lost between a look at the
/// processes and the sleep.
pub(super) fn idle(kernel: &mut Kernel) {
    let device_worked = device::release(kernel);
    kernel.clock.arm();
    if !device_worked && kernel.may_move {
        while !sip::read().sext() && !kernel.clock.is_due() {
            core::hint::spin_loop();
        }
    } else if !device_worked {
        riscv::asm::wfi();
    }
    let pending = sip::read();
    if pending.sext() {
        external(kernel);
    }
    if pending.stimer() || kernel.clock.is_due() {
        timer(kernel);
    }
}
