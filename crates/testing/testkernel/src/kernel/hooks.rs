//! Where the two halves of the kernel meet: what the machinery calls in message passing, servers and scenario.

use guest_protocol::End;
use minix_abi::Endpoint;
use testkernel::replies::Requests;

use super::process::Slot;
use super::scenario_run::Run;
use super::servers::{Outbox, ds::Ds, rs::Rs, vfs::Vfs};
use super::{Kernel, calls, ipc, scenario_run, servers};

/// State of the upper half.
#[derive(Debug, Default)]
pub(crate) struct High {
    /// Messages of the servers that nobody has taken yet.
    pub(crate) outbox: Outbox,
    /// What drivers were asked.
    pub(crate) requests: Requests,
    pub(crate) rs: Rs,
    pub(crate) ds: Ds,
    pub(crate) vfs: Vfs,
    pub(crate) run: Run,
}

/// A fault that the process cannot survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FatalFault {
    /// `scause`.
    pub(crate) cause: u64,
    pub(crate) pc: u64,
    /// `stval`: the address for page faults.
    pub(crate) value: u64,
}

impl FatalFault {
    /// How that end is called: page and access faults are about memory, the rest about instructions.
    const fn end(&self) -> End {
        match self.cause {
            1 | 4..=7 | 12 | 13 | 15 => End::Segv,
            _ => End::Panic,
        }
    }
}

/// Once, before anything else.
pub(super) fn start(kernel: &mut Kernel) {
    scenario_run::start(kernel);
}

/// `ecall` with a7 = 8. The pc is already behind it.
pub(super) fn ipc_trap(kernel: &mut Kernel, caller: Slot) {
    ipc::trap(kernel, caller);
}

/// `ecall` with a7 = 9.
pub(super) fn kernel_call(kernel: &mut Kernel, caller: Slot) {
    calls::trap(kernel, caller);
}

/// The kernel's own notifications: `from` is CLOCK (an alarm) or HARDWARE (the bit is in `ipc.interrupts` already).
pub(super) fn notify(kernel: &mut Kernel, from: Endpoint, to: Slot) {
    ipc::notify(kernel, from, to);
}

/// A process did something fatal; the reason was printed. It is gone, or not ready, on return.
pub(super) fn fatal_fault(kernel: &mut Kernel, slot: Slot, fault: FatalFault) {
    servers::rs::died(kernel, slot, fault.end());
}

/// After each clock tick. Ticks are rare under load: see the module `clock`.
pub(super) fn tick(_kernel: &mut Kernel) {}

/// Before every return to user mode, and on every turn of the idle loop: the scenario makes a step if it can. The idle
/// loop turns at least once a tick.
pub(super) fn step(kernel: &mut Kernel) {
    scenario_run::step(kernel);
}
