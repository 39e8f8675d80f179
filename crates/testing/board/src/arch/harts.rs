//! The other harts: started one by one, each with a stack and an interrupt controller of its own.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use critical_section::Mutex;
use heapless::Vec;
use thiserror::Error;
use virtio_fdt::{Controller, PhysRange};

use super::hart::{MAX_HARTS, slot};
use super::{console, counters, interrupts, layout, power, start};
use crate::time::Ticks;

/// The stack of a hart other than the boot hart, in bytes.
const STACK_BYTES: u64 = 256 << 10;
/// The part of it on which traps run.
const TRAP_STACK_BYTES: usize = 16 << 10;

/// Stands at the lower end of a stack. If it is overwritten, the stack was too small.
const CANARY: [u64; 4] = [0x5a17_c0de_5a17_c0de; 4];

/// How long the firmware may take to stop a hart.
const STOP_MICROS: u64 = 1_000_000;

/// The HSM state of a hart that can be started (RISC-V SBI, "Hart State Management Extension").
const STOPPED: usize = 1;

/// What a hart needs to run Rust code. Start code reads it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct StartBlock {
    stack_top: AtomicUsize,
    trap_stack_top: AtomicUsize,
    slot: AtomicUsize,
    stack_bottom: AtomicUsize,
    /// From the call of `start` until the hart has left its entry function.
    is_running: AtomicBool,
}

static BLOCKS: [StartBlock; MAX_HARTS] = [const {
    StartBlock {
        stack_top: AtomicUsize::new(0),
        trap_stack_top: AtomicUsize::new(0),
        slot: AtomicUsize::new(0),
        stack_bottom: AtomicUsize::new(0),
        is_running: AtomicBool::new(false),
    }
}; MAX_HARTS];

/// What a hart does when it comes up.
type Task = (fn(usize), usize);
static TASKS: Mutex<RefCell<[Option<Task>; MAX_HARTS]>> = Mutex::new(RefCell::new([None; MAX_HARTS]));

/// The harts by their slots.
static IDS: Mutex<RefCell<Vec<HartInfo, MAX_HARTS>>> = Mutex::new(RefCell::new(Vec::new()));

/// A hart of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HartInfo {
    /// Its id, as in the device tree.
    pub hart_id: usize,
    /// The controller that delivers to it; `None` if no external interrupt comes to it.
    pub interrupt_parent: Option<Controller>,
}

/// Why a hart was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The device tree has no such hart, or it is beyond the 16 that the board takes.
    #[error("there is no such hart")]
    NoSuchHart,
    /// It runs already. The hart that asks does, too.
    #[error("the hart runs already")]
    Running,
    /// There was no memory for its stack.
    #[error("there is no memory for the stack of the hart")]
    NoStack,
    /// The firmware does not start it.
    #[error("the firmware does not start the hart (SBI error {0})")]
    Refused(isize),
}

/// The harts of the machine, the boot hart first. Copies are handles to the same harts.
#[derive(Clone, Copy)]
pub struct Harts(());

impl Harts {
    /// Notes the harts, the boot hart first, and their stacks in `memory`. Called once, by `Board::take`.
    ///
    /// # Safety
    ///
    /// `memory` is unused RAM, or empty.
    pub(super) unsafe fn install(harts: Vec<HartInfo, MAX_HARTS>, memory: PhysRange) -> Self {
        let stacks = (memory.base_address..memory.end_address()).step_by(STACK_BYTES as usize);
        for ((slot, block), bottom) in BLOCKS.iter().enumerate().skip(1).zip(stacks) {
            let (bottom, top) = (bottom as usize, (bottom + STACK_BYTES) as usize);
            block.stack_bottom.store(bottom, Ordering::Relaxed);
            block.stack_top.store(top - TRAP_STACK_BYTES, Ordering::Relaxed);
            block.trap_stack_top.store(top, Ordering::Relaxed);
            block.slot.store(slot, Ordering::Relaxed);
        }
        critical_section::with(|section| IDS.borrow(section).replace(harts));
        Self(())
    }

    /// The bytes of memory that the stacks of so many harts take.
    pub(super) const fn stack_bytes(harts: usize) -> u64 {
        STACK_BYTES * harts.saturating_sub(1) as u64
    }

    /// How many there are.
    pub fn count(self) -> usize {
        critical_section::with(|section| IDS.borrow(section).borrow().len())
    }

    /// Each of them, the boot hart first.
    pub fn iter(self) -> impl Iterator<Item = HartInfo> {
        (0..).map_while(|slot| critical_section::with(|section| IDS.borrow(section).borrow().get(slot).copied()))
    }

    /// The id of the hart that asks.
    pub fn this(self) -> usize {
        let slot = slot();
        critical_section::with(|section| IDS.borrow(section).borrow().get(slot).map_or(0, |hart| hart.hart_id))
    }

    /// Has a hart call `entry` with `argument`, with interrupts on. When that returns, the hart stops and can be started again.
    ///
    /// It has a stack of 240 KiB. What the two harts share is shared as between threads. Sources that the hart has enabled stay
    /// enabled after its end unless it disables them.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was started.
    pub fn start(self, hart_id: usize, entry: fn(usize), argument: usize) -> Result<RunningHart, StartError> {
        let slot = slot_of(hart_id).ok_or(StartError::NoSuchHart)?;
        // The boot hart has no block: it runs.
        if slot == 0 {
            return Err(StartError::Running);
        }
        let block = &BLOCKS[slot];
        let bottom = block.stack_bottom.load(Ordering::Relaxed);
        if bottom == 0 {
            return Err(StartError::NoStack);
        }
        if block.is_running.swap(true, Ordering::Acquire) {
            return Err(StartError::Running);
        }
        let started = has_stopped(hart_id).and_then(|()| {
            // SAFETY: the lower end of a stack that no hart uses.
            unsafe { core::ptr::with_exposed_provenance_mut::<[u64; 4]>(bottom).write(CANARY) };
            critical_section::with(|section| TASKS.borrow(section).borrow_mut()[slot] = Some((entry, argument)));
            let entry = start::start_hart as *const () as usize;
            let answer = sbi_rt::hart_start(hart_id, entry, core::ptr::from_ref(block).expose_provenance());
            match answer.error {
                0 => Ok(()),
                error => Err(StartError::Refused(error.cast_signed())),
            }
        });
        match started {
            Ok(()) => Ok(RunningHart { slot, hart_id }),
            Err(error) => {
                block.is_running.store(false, Ordering::Release);
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Harts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|hart| hart.hart_id)).finish()
    }
}

/// Waits until the firmware has stopped a hart that has left its entry function.
fn has_stopped(hart_id: usize) -> Result<(), StartError> {
    let begin = counters::now();
    loop {
        let answer = sbi_rt::hart_get_status(hart_id);
        match answer.error {
            0 if answer.value == STOPPED => return Ok(()),
            0 => {}
            error => return Err(StartError::Refused(error.cast_signed())),
        }
        let waited = counters::timebase().map_or(u64::MAX, |timebase| timebase.micros(counters::now().since(begin)));
        if waited > STOP_MICROS {
            return Err(StartError::Running);
        }
    }
}

/// A hart that was started.
#[derive(Debug, PartialEq, Eq)]
pub struct RunningHart {
    slot: usize,
    hart_id: usize,
}

impl RunningHart {
    /// Its id.
    pub const fn hart_id(&self) -> usize {
        self.hart_id
    }

    /// Whether its entry function has returned. Everything it did before is visible then.
    pub fn has_ended(&self) -> bool {
        !BLOCKS[self.slot].is_running.load(Ordering::Acquire)
    }

    /// Sleeps until its entry function has returned; false if the deadline passes before.
    pub fn wait(&self, deadline: Ticks) -> bool {
        /// How often it is looked at.
        const LOOK_MICROS: u64 = 100;
        while !self.has_ended() {
            let now = counters::now();
            if now >= deadline {
                return false;
            }
            let look = counters::timebase().map_or(deadline, |timebase| {
                now.after(timebase.ticks_from_micros(LOOK_MICROS)).min(deadline)
            });
            interrupts::sleep_until(look);
        }
        true
    }
}

/// The slot of a hart.
pub(super) fn slot_of(hart_id: usize) -> Option<usize> {
    critical_section::with(|section| {
        IDS.borrow(section)
            .borrow()
            .iter()
            .position(|hart| hart.hart_id == hart_id)
    })
}

/// The lowest address of the stack of this hart.
pub(super) fn stack_bottom() -> usize {
    match slot() {
        0 => layout::stack_bounds().0,
        slot => BLOCKS[slot].stack_bottom.load(Ordering::Relaxed),
    }
}

/// Where assembly ends on a hart that was started.
pub(super) extern "C" fn started(_hart_id: usize, block: &'static StartBlock) -> ! {
    let slot = slot();
    interrupts::start_on_this_hart();
    let task = critical_section::with(|section| TASKS.borrow(section).borrow_mut()[slot].take());
    if let Some((entry, argument)) = task {
        entry(argument);
    }
    riscv::interrupt::disable();
    let bottom = core::ptr::with_exposed_provenance::<[u64; 4]>(stack_bottom());
    // SAFETY: the lower end of the stack of this hart, which `start` has written.
    if unsafe { bottom.read_volatile() } != CANARY {
        console::start_of_line();
        crate::println!("the stack of a hart has overflowed");
        power::off(power::STACK_OVERFLOW);
    }
    block.is_running.store(false, Ordering::Release);
    // Only a defect of the firmware makes it return.
    sbi_rt::hart_stop();
    loop {
        riscv::asm::wfi();
    }
}
