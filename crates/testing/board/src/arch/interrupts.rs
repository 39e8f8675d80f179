//! The thread's side of interrupts: enable a source, wait for it, take it, unmask it.
//!
//! When a source fires, the trap handler remembers it and masks it; the driver looks at its device later, in thread context,
//! and unmasks it. A microkernel with drivers in user space does the same, and a device that never lets go of its line costs
//! one interrupt instead of the machine.
//!
//! Each hart has its own sources: those it has enabled. It alone waits for them and takes them.

use core::cell::{Cell, OnceCell, RefCell};
use core::sync::atomic::{AtomicU64, Ordering};

use critical_section::Mutex;
use riscv::register::{sie, sip};

use super::counters;
use super::hart::{HartLocal, MAX_HARTS, slot};
use super::local_controller::LocalController;
use super::messages::{self, Message};
use crate::source::Source;
use crate::time::Ticks;

/// The controllers by the slots of their harts, for the harts that are not started yet and for messages to others.
static CONTROLLERS: Mutex<RefCell<[Option<LocalController>; MAX_HARTS]>> = Mutex::new(RefCell::new([None; MAX_HARTS]));

/// The controller of the hart.
static CONTROLLER: HartLocal<OnceCell<LocalController>> = HartLocal::new([const { OnceCell::new() }; MAX_HARTS]);

/// A bit for each source that has fired and was not taken yet.
type Pending = [AtomicU64; Source::LIMIT / 64];
static PENDING: [Pending; MAX_HARTS] = [const { [const { AtomicU64::new(0) }; Source::LIMIT / 64] }; MAX_HARTS];
static CLAIMED: [AtomicU64; MAX_HARTS] = [const { AtomicU64::new(0) }; MAX_HARTS];

/// Access to the external interrupts of the hart that uses it. Copies are handles to the same machinery.
///
/// The thread [takes](Self::take) a source that has fired, acknowledges the interrupt at the device, does the device's work, and
/// [unmasks](Self::unmask) the source, in this order.
///
/// An event after the acknowledgement fires again. An event before it may also fire once more, because
/// the controller remembers the line while it is masked. So a source that fires is only a hint to look. A
/// device that was *not* acknowledged fires again at once on real hardware, and not at all on QEMU, whose PLIC looks
/// for changes of the line.
///
/// A source belongs to the hart that has enabled it: before another hart enables it, this one disables it.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts(());

impl Interrupts {
    /// Installs the controllers, that of slot N at place N, and lets external interrupts of this hart through. Called once, by
    /// `Board::take`.
    pub(super) fn install(controllers: [Option<LocalController>; MAX_HARTS]) -> Self {
        controllers.iter().flatten().for_each(LocalController::reset_shared);
        critical_section::with(|section| CONTROLLERS.borrow(section).replace(controllers));
        start_on_this_hart();
        Self(())
    }

    /// Does something with the controller, if it has the source. Returns whether it has.
    fn with_source(self, source: Source, act: impl FnOnce(&LocalController)) -> bool {
        let controller = CONTROLLER.get().filter(|controller| controller.has(source));
        controller.map(act).is_some()
    }

    /// Lets a source interrupt this hart. An interrupt that is pending from before is forgotten. Returns whether the controller has
    /// the source.
    pub fn enable(self, source: Source) -> bool {
        self.with_source(source, |controller| {
            self.take(source);
            controller.enable(source);
        })
    }

    /// Stops a source from interrupting. A pending interrupt stays until taken.
    pub fn disable(self, source: Source) {
        self.with_source(source, |controller| controller.disable(source));
    }

    /// Keeps an enabled source quiet until [`unmask`](Self::unmask), for a thread that polls its device. An interrupt that comes meanwhile
    /// is delivered then.
    pub fn mask(self, source: Source) {
        self.with_source(source, |controller| controller.mask(source));
    }

    /// Whether the source has fired since it was last taken. It is masked then, until [`unmask`](Self::unmask).
    pub fn take(self, source: Source) -> bool {
        let (word, bit) = pending(source);
        word.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Lets an enabled source interrupt again after it was taken and its device looked at.
    pub fn unmask(self, source: Source) {
        self.with_source(source, |controller| controller.unmask(source));
    }

    /// Sleeps until the source fires, and takes it; false if the deadline passes before.
    ///
    /// Not to be called in a critical section: the other harts would wait for it.
    pub fn wait(self, source: Source, deadline: Ticks) -> bool {
        wait_until(deadline, || self.take(source))
    }

    /// Sleeps until the deadline, also if sources fire meanwhile.
    pub fn sleep_until(self, deadline: Ticks) {
        sleep_until(deadline);
    }

    /// A message by which a device can interrupt a hart, for its MSI-X table. `None` if the machine has no IMSIC, if there is no such
    /// hart, or if all numbers of its interrupt file are in use.
    ///
    /// The hart [enables](Self::enable) the source of the message itself. A message that was sent before is not lost.
    pub fn allocate_message(self, hart_id: usize) -> Option<Message> {
        let slot = super::harts::slot_of(hart_id)?;
        let controller = critical_section::with(|section| CONTROLLERS.borrow(section).borrow()[slot]);
        match controller? {
            LocalController::Messages(file) => messages::allocate(hart_id, slot, &file),
            LocalController::Plic(_) | LocalController::Direct(_) => None,
        }
    }

    /// Gives a message back. No device sends it any more, and its hart has disabled its source.
    pub fn free_message(self, message: Message) {
        messages::free(message);
    }

    /// How many interrupts all harts have claimed so far. One that comes again before it is taken counts once.
    pub fn claimed(self) -> u64 {
        CLAIMED.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Brings the controller of this hart into a known state and lets external interrupts through, if there is one.
pub(super) fn start_on_this_hart() {
    let controller = critical_section::with(|section| CONTROLLERS.borrow(section).borrow()[slot()]);
    if let Some(controller) = controller {
        // A hart that is started again has the same one as before.
        CONTROLLER.with(|local| local.get_or_init(|| controller).reset_local());
        // SAFETY: the vector is installed and its handler now knows the controller.
        unsafe { sie::set_sext() };
    }
    // SAFETY: as above.
    unsafe { riscv::interrupt::enable() };
}

/// Where the bit of a source of this hart is.
fn pending(source: Source) -> (&'static AtomicU64, u64) {
    let number = source.number() as usize;
    (&PENDING[slot()][number / 64], 1 << (number % 64))
}

/// Sleeps until `ready` or the deadline; false for the deadline. `ready` is asked first, and again after every interrupt, with
/// interrupts disabled.
fn wait_until(deadline: Ticks, mut ready: impl FnMut() -> bool) -> bool {
    loop {
        // No wake-up is lost between the look and the sleep: interrupts are disabled for both, and `wfi` goes on
        // when one is pending even so.
        let ended = riscv::interrupt::free(|| {
            if ready() {
                return Some(true);
            }
            let now = counters::now();
            if now >= deadline {
                return Some(false);
            }
            arm_timer(now, deadline);
            // SAFETY: the handler of the timer is installed; it does nothing but take this away again.
            unsafe { sie::set_stimer() };
            riscv::asm::wfi();
            // Served here and not by a trap, which saves the detour and works in a caller's critical section too.
            let pending = sip::read();
            if pending.sext() {
                on_external();
            }
            if pending.stimer() {
                on_timer();
            }
            None
        });
        if let Some(is_ready) = ended {
            on_timer();
            return is_ready;
        }
    }
}

/// Sleeps until the deadline.
pub(super) fn sleep_until(deadline: Ticks) {
    wait_until(deadline, || false);
}

/// Makes sure the timer fires at `deadline` or earlier.
///
/// Setting the timer is a call into the firmware and costs more than a short wait. A driver that waits with a deadline
/// of seconds, over and over, pays it once in that time: an earlier deadline is left standing, and the wake-up it causes
/// only leads to another look.
fn arm_timer(now: Ticks, deadline: Ticks) {
    // As the counter will show it: the counter may step back, and with it what is armed.
    static ARMED: HartLocal<Cell<u64>> = HartLocal::new([const { Cell::new(0) }; MAX_HARTS]);
    let from_now = |counter: u64| counter.wrapping_sub(counters::counter_at(now)).cast_signed();
    let counter = counters::counter_at(deadline);
    ARMED.with(|armed| {
        let before = from_now(armed.get());
        if before <= 0 || before > from_now(counter) {
            armed.set(counter);
            counters::set_timer(deadline);
        }
    });
}

/// The timer interrupt: keeps the timer from interrupting until it is set again.
pub(super) fn on_timer() {
    // SAFETY: taking an interrupt away breaks no assumption of other code.
    unsafe { sie::clear_stimer() };
}

/// The external interrupt, from the trap handler or in its place, with interrupts disabled: takes all pending sources from the
/// controller, notes and masks them.
pub(super) fn on_external() {
    let Some(controller) = CONTROLLER.get() else { return };
    // A masked source cannot come again, so a sane controller runs dry within this many steps.
    for _ in 0..controller.source_count() {
        let Some(source) = controller.claim() else { break };
        controller.mask(source);
        let (word, bit) = pending(source);
        let before = word.fetch_or(bit, Ordering::Release);
        // Last: from here on the controller looks at the line again, and finds it masked.
        controller.complete(source);
        // A line of an APLIC that sends messages can have sent a second one before it was masked: one interrupt all the same.
        if before & bit == 0 {
            CLAIMED[slot()].fetch_add(1, Ordering::Relaxed);
        }
    }
}
