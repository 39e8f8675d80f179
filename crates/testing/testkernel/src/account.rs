//! What a process takes, from call to call: its instructions in user mode, and how often it asks the kernel for what.
//!
//! The kernel counts the instructions between two traps. Traps that the process has not asked for, such as interrupts, do
//! not end a stage.

use guest_protocol::Call;
use heapless::Vec;
use minix_abi::ipc::IpcCall;
use minix_abi::{Endpoint, MessageType};

/// Pairs of calls.
const STAGES: usize = Call::ALL.len() * Call::ALL.len();

/// The kind of a message passing trap.
pub fn call_of_trap(call: IpcCall) -> Call {
    match call {
        IpcCall::RECEIVE => Call::Receive,
        IpcCall::SEND | IpcCall::SENDNB | IpcCall::SENDREC => Call::Send,
        IpcCall::SENDA => Call::SendTable,
        _ => Call::Other,
    }
}

/// The kind of a kernel call.
pub fn kind_of_call(call: MessageType) -> Call {
    match call {
        MessageType::SYS_VUMAP => Call::Map,
        MessageType::SYS_SAFECOPYFROM | MessageType::SYS_SAFECOPYTO => Call::Copy,
        MessageType::SYS_IRQCTL => Call::Interrupts,
        MessageType::SYS_SETALARM => Call::Alarm,
        _ => Call::Other,
    }
}

/// What was executed between two calls of certain kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The call that it followed.
    pub from: Call,
    /// The call that ended it.
    pub to: Call,
    /// How often.
    pub times: u64,
    /// Instructions in user mode, the call that ended it included.
    pub instructions: u64,
}

/// The account of one process since it was [opened](Self::open).
#[derive(Clone, Debug)]
pub struct Account {
    process: Endpoint,
    since_micros: u64,
    /// Since the last call.
    pending: u64,
    last: Call,
    instructions: u64,
    interrupts: u64,
    notifies: u64,
    stages: Vec<Stage, STAGES>,
}

impl Account {
    /// An account of nothing.
    pub const fn new() -> Self {
        Self {
            process: Endpoint::NONE,
            since_micros: 0,
            pending: 0,
            last: Call::Receive,
            instructions: 0,
            interrupts: 0,
            notifies: 0,
            stages: Vec::new(),
        }
    }

    /// Begins anew, with a process that waits for a message.
    pub fn open(&mut self, process: Endpoint, now_micros: u64) {
        *self = Self {
            process,
            since_micros: now_micros,
            ..Self::new()
        };
    }

    /// A process has executed so many instructions.
    pub fn ran(&mut self, process: Endpoint, instructions: u64) {
        if process == self.process {
            self.instructions += instructions;
            self.pending += instructions;
        }
    }

    /// A process makes a call, for which it has trapped just now.
    pub fn called(&mut self, process: Endpoint, call: Call) {
        if process != self.process {
            return;
        }
        let (from, instructions) = (
            core::mem::replace(&mut self.last, call),
            core::mem::take(&mut self.pending),
        );
        let known = self
            .stages
            .iter_mut()
            .find(|stage| (stage.from, stage.to) == (from, call));
        if let Some(stage) = known {
            stage.times += 1;
            stage.instructions += instructions;
            return;
        }
        // There is room for every pair.
        let _ = self.stages.push(Stage {
            from,
            to: call,
            times: 1,
            instructions,
        });
    }

    /// A process was told of an interrupt.
    pub fn interrupted(&mut self, process: Endpoint) {
        self.interrupts += u64::from(process == self.process);
    }

    /// A process has notified its device.
    pub fn notified(&mut self, process: Endpoint) {
        self.notifies += u64::from(process == self.process);
    }

    /// The process.
    pub const fn process(&self) -> Endpoint {
        self.process
    }

    /// Microseconds since it was opened.
    pub const fn micros(&self, now_micros: u64) -> u64 {
        now_micros.saturating_sub(self.since_micros)
    }

    /// Instructions of the process in user mode.
    pub const fn instructions(&self) -> u64 {
        self.instructions
    }

    /// Notifications of interrupts that the process has got.
    pub const fn interrupts(&self) -> u64 {
        self.interrupts
    }

    /// Notifications that the process has sent to its device, as far as the kernel sees them.
    pub const fn notifies(&self) -> u64 {
        self.notifies
    }

    /// The stages, in the order in which they first came.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Endpoint = Endpoint(100);
    const CLIENT: Endpoint = Endpoint(101);

    fn stage(from: Call, to: Call, times: u64, instructions: u64) -> Stage {
        Stage {
            from,
            to,
            times,
            instructions,
        }
    }

    #[test]
    fn instructions_go_to_the_stage_that_the_next_call_ends() {
        let mut account = Account::new();
        account.open(SERVICE, 10);
        for round in 0..2 {
            account.ran(SERVICE, 30);
            // An interrupt in between.
            account.ran(SERVICE, 12);
            account.called(SERVICE, Call::Map);
            account.ran(SERVICE, 100 + round);
            account.called(SERVICE, Call::Receive);
        }
        account.ran(SERVICE, 5);
        let (first, second) = (
            stage(Call::Receive, Call::Map, 2, 84),
            stage(Call::Map, Call::Receive, 2, 201),
        );
        assert_eq!(account.stages(), [first, second]);
        assert_eq!((account.instructions(), account.micros(15)), (290, 5));
    }

    #[test]
    fn other_processes_are_not_counted() {
        let mut account = Account::new();
        account.ran(SERVICE, 1);
        account.open(SERVICE, 0);
        account.ran(CLIENT, 7);
        account.called(CLIENT, Call::Send);
        account.interrupted(CLIENT);
        account.notified(CLIENT);
        assert_eq!((account.instructions(), account.stages()), (0, &[][..]));
        assert_eq!((account.interrupts(), account.notifies()), (0, 0));
        account.interrupted(SERVICE);
        account.notified(SERVICE);
        assert_eq!((account.interrupts(), account.notifies()), (1, 1));
    }

    #[test]
    fn opening_begins_anew() {
        let mut account = Account::new();
        account.open(SERVICE, 0);
        account.ran(SERVICE, 9);
        account.called(SERVICE, Call::Copy);
        account.open(SERVICE, 50);
        account.ran(SERVICE, 3);
        account.called(SERVICE, Call::Receive);
        assert_eq!(account.stages(), [stage(Call::Receive, Call::Receive, 1, 3)]);
        assert_eq!(account.micros(60), 10);
    }

    #[test]
    fn every_pair_of_calls_is_a_stage_of_its_own() {
        let mut account = Account::new();
        account.open(SERVICE, 0);
        for from in Call::ALL {
            for to in Call::ALL {
                account.called(SERVICE, from);
                account.ran(SERVICE, 1);
                account.called(SERVICE, to);
            }
        }
        assert_eq!(account.stages().len(), 64);
        assert!(account.stages().iter().map(|stage| stage.instructions).sum::<u64>() == account.instructions());
    }

    #[test]
    fn traps_and_kernel_calls_have_kinds() {
        assert_eq!(call_of_trap(IpcCall::SENDNB), Call::Send);
        assert_eq!(call_of_trap(IpcCall::SENDA), Call::SendTable);
        assert_eq!(call_of_trap(IpcCall::NOTIFY), Call::Other);
        assert_eq!(kind_of_call(MessageType::SYS_VUMAP), Call::Map);
        assert_eq!(kind_of_call(MessageType::SYS_UMAP), Call::Other);
    }
}
