//! The thread's side of interrupts: enable a source, wait for it, take it, unmask it.
//!
//! When a source fires, the trap handler remembers it and masks its line; the driver looks at its device later, in thread context,
//! and unmasks the line. A microkernel with drivers in user space does the same, and a device that never lets go of its line costs
//! one interrupt instead of the machine.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use critical_section::Mutex;
use riscv::register::{sie, sip};

use super::counters;
use crate::plic::{Plic, Source};
use crate::time::Ticks;

static PLIC: Mutex<Cell<Option<Plic>>> = Mutex::new(Cell::new(None));

/// A bit for each source that has fired and was not taken yet.
static PENDING: [AtomicU64; Source::LIMIT / 64] = [const { AtomicU64::new(0) }; Source::LIMIT / 64];
static CLAIMED: AtomicU64 = AtomicU64::new(0);

/// Access to the external interrupts. Copies are handles to the same machinery.
///
/// The thread [takes](Self::take) a source that has fired, acknowledges the interrupt at the device, does the device's work, and
/// [unmasks](Self::unmask) the line, in this order.
///
/// An event after the acknowledgement fires again. An event before it may also fire once more, because
/// the controller remembers the line while it is masked. So a source that fires is only a hint to look. A
/// device that was *not* acknowledged fires again at once on real hardware, and not at all on QEMU, whose controller looks
/// for changes of the line.
#[derive(Clone, Copy, Debug)]
pub struct Interrupts(());

impl Interrupts {
    /// Installs the controller and lets external interrupts through. Called once, by `Board::take`.
    pub(super) fn install(plic: Plic) -> Self {
        plic.reset_context();
        critical_section::with(|section| PLIC.borrow(section).set(Some(plic)));
        // SAFETY: the vector is installed and its handler now knows the controller.
        unsafe {
            sie::set_sext();
            riscv::interrupt::enable();
        }
        Self(())
    }

    /// Does something with the controller, if it has the source. Returns whether it has.
    fn with_source(self, source: Source, act: impl FnOnce(Plic)) -> bool {
        critical_section::with(|section| {
            let plic = PLIC.borrow(section).get().filter(|plic| plic.has(source));
            plic.map(act).is_some()
        })
    }

    /// Lets a source interrupt. An interrupt that is pending from before is forgotten. Returns whether the controller has the source.
    pub fn enable(self, source: Source) -> bool {
        self.with_source(source, |plic| {
            self.take(source);
            plic.unmask(source);
            plic.enable(source);
        })
    }

    /// Stops a source from interrupting. A pending interrupt stays until taken.
    pub fn disable(self, source: Source) {
        self.with_source(source, |plic| plic.disable(source));
    }

    /// Whether the source has fired since it was last taken. It is masked then, until [`unmask`](Self::unmask).
    pub fn take(self, source: Source) -> bool {
        let (word, bit) = pending(source);
        word.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Lets a source interrupt again after it was taken and its device looked at.
    pub fn unmask(self, source: Source) {
        self.with_source(source, |plic| plic.unmask(source));
    }

    /// Sleeps until the source fires, and takes it; false if the deadline passes before.
    pub fn wait(self, source: Source, deadline: Ticks) -> bool {
        wait_until(deadline, || self.take(source))
    }

    /// Sleeps until the deadline, also if sources fire meanwhile.
    pub fn sleep_until(self, deadline: Ticks) {
        wait_until(deadline, || false);
    }

    /// How many sources were claimed from the controller so far.
    pub fn claimed(self) -> u64 {
        CLAIMED.load(Ordering::Relaxed)
    }
}

/// Where the bit of a source is.
fn pending(source: Source) -> (&'static AtomicU64, u64) {
    let number = source.number() as usize;
    (&PENDING[number / 64], 1 << (number % 64))
}

/// Sleeps until `ready` or the deadline; false for the deadline. `ready` is asked first, and again after every interrupt, with
/// interrupts disabled.
fn wait_until(deadline: Ticks, mut ready: impl FnMut() -> bool) -> bool {
    loop {
        // No wake-up is lost between the look and the sleep: interrupts are disabled for both, and `wfi` goes on
        // when one is pending even so.
        let ended = critical_section::with(|_| {
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

/// Makes sure the timer fires at `deadline` or earlier.
///
/// Setting the timer is a call into the firmware and costs more than a short wait. A driver that waits with a deadline
/// of seconds, over and over, pays it once in that time: an earlier deadline is left standing, and the wake-up it causes
/// only leads to another look.
fn arm_timer(now: Ticks, deadline: Ticks) {
    // As the counter will show it: the counter may step back, and with it what is armed.
    static ARMED: AtomicU64 = AtomicU64::new(0);
    let from_now = |counter: u64| counter.wrapping_sub(counters::counter_at(now)).cast_signed();
    let counter = counters::counter_at(deadline);
    let armed = from_now(ARMED.load(Ordering::Relaxed));
    if armed <= 0 || armed > from_now(counter) {
        ARMED.store(counter, Ordering::Relaxed);
        counters::set_timer(deadline);
    }
}

/// The timer interrupt: keeps the timer from interrupting until it is set again.
pub(super) fn on_timer() {
    // SAFETY: taking an interrupt away breaks no assumption of other code.
    unsafe { sie::clear_stimer() };
}

/// The external interrupt, from the trap handler or in its place: takes all pending sources from the controller, notes and masks
/// them.
pub(super) fn on_external() {
    critical_section::with(|section| {
        let Some(plic) = PLIC.borrow(section).get() else { return };
        // A masked source cannot come again, so a sane controller runs dry within this many steps.
        for _ in 0..plic.source_count() {
            let Some(source) = plic.claim() else { break };
            plic.mask(source);
            let (word, bit) = pending(source);
            word.fetch_or(bit, Ordering::Release);
            // Last: from here on the controller looks at the line again, and finds it masked.
            plic.complete(source);
            CLAIMED.fetch_add(1, Ordering::Relaxed);
        }
    });
}
