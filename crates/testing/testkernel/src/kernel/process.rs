//! The table of processes: what each waits for and may do.

use core::ops::{Index, IndexMut};

use heapless::{String, Vec};
use minix_abi::kernel_call::MemRange;
use minix_abi::process::MAX_NAME_BYTES;
use minix_abi::signal::SigSet;
use minix_abi::{Endpoint, Errno};

use super::context::Context;
use super::space::AddressSpace;

/// Processes there can be at a time.
pub(crate) const MAX_PROCESSES: usize = 24;

/// Slots below belong to the processes of MINIX's boot image, which are parts of this kernel or do not exist.
pub(crate) const FIRST_SLOT: i32 = 12;

/// Where a process is in the table. Good for as long as the process lives; an [`Endpoint`] can be kept longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u8);

impl Slot {
    /// Position in tables with [`MAX_PROCESSES`] entries.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The bit of a kernel task, a server or a process in masks, by its slot. 0 for an endpoint that none of them can have.
pub(crate) fn bit(endpoint: Endpoint) -> u64 {
    let number = u32::try_from(endpoint.slot() + Endpoint::TASKS);
    number.ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0)
}

/// The bits of all kernel tasks and processes of the boot image.
pub(crate) const SYSTEM_BITS: u64 = (1 << (FIRST_SLOT + Endpoint::TASKS)) - 1;

/// A label or process name.
pub(crate) type Name = String<MAX_NAME_BYTES>;

/// Whether a process runs or waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Created, but not let go yet.
    Held,
    /// Wants the hart.
    Ready,
    /// Waits until `to` takes its message, which still lies at [`Process::message_at`]. With `and_receive` this is the
    /// first half of SENDREC.
    Sending { to: Endpoint, and_receive: bool },
    /// Waits for a message from `from`, which may be `ANY`. With `is_reply` this is the second half of SENDREC, which no
    /// notification ends.
    Receiving { from: Endpoint, is_reply: bool },
}

impl State {
    /// The second half of SENDREC.
    pub(crate) const fn awaits_reply(from: Endpoint) -> Self {
        Self::Receiving { from, is_reply: true }
    }
}

/// What a process may do beyond computing. Filled in from its configuration before it is let go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Privileges {
    /// Kernel calls it may make: bit n stands for number 0x600 + n.
    pub(crate) kernel_calls: u64,
    /// Calls to VM it may make: bit n stands for number 0xC00 + n.
    pub(crate) vm_calls: u64,
    /// Privilege flags as WHOAMI tells them.
    pub(crate) flags: i32,
    /// Receivers it may send to, by their [`bit`].
    pub(crate) send_to: u64,
    /// Interrupt lines it may hook, one bit each; `None`: any.
    pub(crate) irqs: Option<u128>,
    /// Physical ranges it may map.
    pub(crate) memory: Vec<MemRange, 20>,
}

impl Privileges {
    /// Whether one of the ranges holds all of this one.
    pub(crate) fn may_map(&self, physical: u64, bytes: u64) -> bool {
        self.memory.iter().any(|range| range.holds(physical, bytes))
    }
}

/// What message passing remembers about a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ipc {
    /// When it began to wait, as a running number: senders are served in this order.
    pub(crate) waiting_since: u64,
    /// Senders of notifications that wait, by their [`bit`].
    pub(crate) notified_by: u64,
    /// Interrupts that wait, one bit per notify id.
    pub(crate) interrupts: u64,
    /// Kernel signals that wait.
    pub(crate) signals: SigSet,
    /// The registered table for SENDA: address and number of entries.
    pub(crate) async_table: Option<(u64, usize)>,
    /// The grant table: address and number of entries.
    pub(crate) grants: Option<(u64, usize)>,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) endpoint: Endpoint,
    /// Under which it is known to DS and RS.
    pub(crate) label: Name,
    /// The program's name.
    pub(crate) name: Name,
    pub(crate) state: State,
    /// Lower runs first. Equal ones take turns.
    pub(crate) priority: u8,
    /// The service under test, whose replies are watched.
    pub(crate) is_driver: bool,
    /// A program of a user's, which is no service.
    pub(super) is_user: bool,
    /// When it last got a request to close its disk.
    pub(crate) closed_at: Option<u64>,
    /// Since when it has been ready, as a running number.
    pub(super) ready_since: u64,
    /// Address of the message of the call it is in.
    pub(crate) message_at: u64,
    pub(crate) context: Context,
    pub(crate) space: AddressSpace,
    pub(crate) privileges: Privileges,
    pub(crate) ipc: Ipc,
    /// The tick at which its alarm goes off.
    pub(crate) alarm: Option<u64>,
    /// Instructions it has executed in user mode, as `rdinstret` counts.
    pub(crate) user_instructions: u64,
    /// Clock ticks that found it running.
    pub(crate) user_ticks: u64,
}

impl Process {
    /// A program of a user's: it sends requests to PM, VFS and VM and waits for the answers, and makes no kernel calls.
    pub(crate) fn make_user(&mut self, vm_calls: u64) {
        self.is_user = true;
        self.privileges.vm_calls = vm_calls;
        self.privileges.send_to = bit(Endpoint::PM) | bit(Endpoint::VFS) | bit(Endpoint::VM);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }
}

/// All processes.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    slots: [Option<Process>; MAX_PROCESSES],
    generations: [u16; MAX_PROCESSES],
    /// Where to look for a free slot next: slots are not reused at once, as in MINIX.
    next: usize,
}

impl ProcessTable {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { None }; MAX_PROCESSES],
            generations: [0; MAX_PROCESSES],
            next: 0,
        }
    }

    /// The live process with exactly this endpoint. A former user of the slot is not found, and neither are the parts of
    /// the kernel.
    pub(crate) fn find(&self, endpoint: Endpoint) -> Option<Slot> {
        let slot = self.slot_at(endpoint)?;
        (self.get(slot)?.endpoint == endpoint).then_some(slot)
    }

    /// The slot that an endpoint names, also if another process uses it now.
    pub(crate) fn slot_at(&self, endpoint: Endpoint) -> Option<Slot> {
        let index = usize::try_from(endpoint.slot() - FIRST_SLOT).ok()?;
        (index < MAX_PROCESSES).then_some(Slot(index as u8))
    }

    /// The endpoint that the lowest of some bits stands for.
    pub(crate) fn lowest(&self, bits: u64) -> Option<Endpoint> {
        let lowest = (bits != 0).then(|| Endpoint(bits.trailing_zeros() as i32 - Endpoint::TASKS))?;
        if bits & SYSTEM_BITS != 0 {
            return Some(lowest);
        }
        Some(self.get(self.slot_at(lowest)?)?.endpoint)
    }

    /// All live processes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + use<> {
        let alive: [bool; MAX_PROCESSES] = core::array::from_fn(|index| self.slots[index].is_some());
        (0..MAX_PROCESSES)
            .filter(move |&index| alive[index])
            .map(|index| Slot(index as u8))
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Process> {
        self.slots.get(slot.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Process> {
        self.slots.get_mut(slot.index())?.as_mut()
    }

    /// Adds a process, [`Held`](State::Held), under a new endpoint.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the table is full.
    pub(super) fn add(
        &mut self,
        label: Name,
        name: Name,
        space: AddressSpace,
        context: Context,
    ) -> Result<Slot, Errno> {
        let index = (0..MAX_PROCESSES)
            .map(|step| (self.next + step) % MAX_PROCESSES)
            .find(|&index| self.slots[index].is_none())
            .ok_or(Errno::EAGAIN)?;
        self.next = (index + 1) % MAX_PROCESSES;
        self.generations[index] = self.generations[index].wrapping_add(1).max(1);
        let endpoint = Endpoint::new(self.generations[index], FIRST_SLOT + index as i32).ok_or(Errno::EAGAIN)?;
        self.slots[index] = Some(Process {
            endpoint,
            label,
            name,
            state: State::Held,
            priority: 0,
            is_driver: false,
            is_user: false,
            closed_at: None,
            ready_since: 0,
            message_at: 0,
            context,
            space,
            privileges: Privileges::default(),
            ipc: Ipc::default(),
            alarm: None,
            user_instructions: 0,
            user_ticks: 0,
        });
        Ok(Slot(index as u8))
    }

    /// Makes a process that was just added the successor of a dead one: it gets the slot and endpoint of that.
    ///
    /// The slot of the dead one has to be free, and the endpoint of the new one not known to any process yet.
    pub(crate) fn take_over(&mut self, new: Slot, endpoint: Endpoint) -> Slot {
        let slot = self.slot_at(endpoint).expect("processes have endpoints of the table");
        self.slots.swap(new.index(), slot.index());
        self[slot].endpoint = endpoint;
        slot
    }

    /// Takes a process out of the table.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Process> {
        self.slots.get_mut(slot.index())?.take()
    }
}

/// A slot stands for a live process; for a slot kept longer there is [`get`](ProcessTable::get).
impl Index<Slot> for ProcessTable {
    type Output = Process;

    #[track_caller]
    fn index(&self, slot: Slot) -> &Process {
        self.get(slot).expect("the process is gone")
    }
}

impl IndexMut<Slot> for ProcessTable {
    #[track_caller]
    fn index_mut(&mut self, slot: Slot) -> &mut Process {
        self.get_mut(slot).expect("the process is gone")
    }
}
