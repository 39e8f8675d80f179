//! Who runs: the process of the highest priority that has been ready for the longest time. If there is none, the hart
//! sleeps until something happens.

use riscv::register::{sie, sip};

use super::process::{Slot, State};
use super::{Kernel, hooks, trap};

/// Runs the machine until the upper half switches it off.
pub(super) fn run(kernel: &mut Kernel) -> ! {
    // SAFETY: interrupts only come through in user mode, where the vector of `trap` is installed, and are looked for in
    // the idle loop.
    unsafe {
        sie::set_stimer();
        sie::set_sext();
    }
    hooks::start(kernel);
    loop {
        hooks::step(kernel);
        match kernel.next() {
            Some(slot) => trap::enter(kernel, slot),
            None => kernel.idle(),
        }
    }
}

impl Kernel {
    /// Lets a held or waiting process run.
    pub(crate) fn wake(&mut self, slot: Slot) {
        let turn = self.turn();
        let process = &mut self.processes[slot];
        process.state = State::Ready;
        process.ready_since = turn;
    }

    /// Makes a process wait.
    pub(crate) fn block(&mut self, slot: Slot, state: State) {
        let turn = self.turn();
        let process = &mut self.processes[slot];
        process.state = state;
        process.ipc.waiting_since = turn;
    }

    /// Sends a process behind others of its priority, if it is still there: it has used up its tick.
    pub(super) fn preempt(&mut self, slot: Slot) {
        let turn = self.turn();
        if let Some(process) = self.processes.get_mut(slot) {
            process.user_ticks += 1;
            process.ready_since = turn;
        }
    }

    /// A number larger than all before.
    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn next(&self) -> Option<Slot> {
        let ready = self.processes.iter().filter(|&slot| self.processes[slot].is_ready());
        ready.min_by_key(|&slot| (self.processes[slot].priority, self.processes[slot].ready_since))
    }

    /// Sleeps until an interrupt is there, and serves it.
    ///
    /// Interrupts do not trap here: `wfi` goes on when one is pending even so, and none can get lost between a look at the
    /// processes and the sleep.
    fn idle(&mut self) {
        self.clock.arm();
        riscv::asm::wfi();
        let pending = sip::read();
        if pending.sext() {
            self.external_interrupt();
        }
        if pending.stimer() {
            self.timer_interrupt();
        }
    }
}
