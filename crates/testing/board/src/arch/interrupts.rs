//! The thread's side of interrupts: enable a source, wait for it, take it, unmask it.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use critical_section::Mutex;
use riscv::register::{sie, sip};

use super::{counters, sbi, trap};
use crate::latch::{InterruptCounts, Latch};
use crate::plic::{Plic, Source};
use crate::time::Ticks;

static PLIC: Mutex<Cell<Option<Plic>>> = Mutex::new(Cell::new(None));
static LATCH: Latch = Latch::new();

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wake {
    /// What was waited for has happened.
    Interrupt,
    /// The deadline has passed.
    TimedOut,
}

/// A source the interrupt controller does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoSuchSource;

impl core::fmt::Display for NoSuchSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the interrupt controller has no such source")
    }
}

impl core::error::Error for NoSuchSource {}

/// Access to the external interrupts. Copies are handles to the same machinery.
///
/// The model is that of a microkernel. When a source fires, the trap handler remembers it and masks the line. The thread
/// [takes](Self::take) it, acknowledges the interrupt at the device, does the device's work, and
/// [unmasks](Self::unmask) the line, in this order.
///
/// What the device reports after the acknowledgement fires again. What it reported before may do so once more, because
/// the controller remembers what it saw while the line was masked; so a source that fires is a hint to look, no more. A
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

    fn with_plic<R>(self, act: impl FnOnce(&Plic) -> R) -> Option<R> {
        critical_section::with(|section| PLIC.borrow(section).get().as_ref().map(act))
    }

    /// Lets a source interrupt. What it had pending before is forgotten.
    ///
    /// # Errors
    ///
    /// [`NoSuchSource`].
    pub fn enable(self, source: Source) -> Result<(), NoSuchSource> {
        self.with_plic(|plic| {
            if !plic.has(source) {
                return Err(NoSuchSource);
            }
            LATCH.pending.take(source);
            plic.unmask(source);
            plic.enable(source);
            Ok(())
        })
        .unwrap_or(Err(NoSuchSource))
    }

    /// Stops a source from interrupting. What it has pending stays until taken.
    pub fn disable(self, source: Source) {
        self.with_plic(|plic| {
            if plic.has(source) {
                plic.disable(source);
            }
        });
    }

    /// Whether the source has fired since it was last taken. It is masked then, until [`unmask`](Self::unmask).
    pub fn take(self, source: Source) -> bool {
        LATCH.pending.take(source)
    }

    /// As [`take`](Self::take), without taking.
    pub fn is_pending(self, source: Source) -> bool {
        LATCH.pending.contains(source)
    }

    /// Lets a source interrupt again after it was taken and its device looked at.
    pub fn unmask(self, source: Source) {
        self.with_plic(|plic| {
            if plic.has(source) {
                plic.unmask(source);
            }
        });
    }

    /// Sleeps until the source fires, and takes it.
    ///
    /// Returns at once if it already has. Without a deadline the wait may be forever.
    pub fn wait(self, source: Source, deadline: Option<Ticks>) -> Wake {
        self.wait_until(deadline, || LATCH.pending.take(source))
    }

    /// Sleeps until any enabled source fires. Takes none: ask for each with [`take`](Self::take).
    pub fn wait_any(self, deadline: Option<Ticks>) -> Wake {
        self.wait_until(deadline, || !LATCH.pending.is_empty())
    }

    /// Sleeps until the deadline, whatever fires meanwhile.
    pub fn sleep_until(self, deadline: Ticks) {
        self.wait_until(Some(deadline), || false);
    }

    /// Sleeps until `ready` says so. It is asked first, and again after every interrupt, with interrupts disabled.
    pub fn wait_until(self, deadline: Option<Ticks>, mut ready: impl FnMut() -> bool) -> Wake {
        loop {
            // No wake-up is lost between the look and the sleep: interrupts are disabled for both, and `wfi` goes on
            // when one is pending even so.
            let wake = critical_section::with(|_| {
                if ready() {
                    return Some(Wake::Interrupt);
                }
                if let Some(deadline) = deadline {
                    let now = counters::now();
                    if now >= deadline {
                        return Some(Wake::TimedOut);
                    }
                    arm_timer(now, deadline);
                    // SAFETY: the handler of the timer is installed; it does nothing but take this away again.
                    unsafe { sie::set_stimer() };
                }
                riscv::asm::wfi();
                // Served here and not by a trap, which saves the detour and works in a caller's critical section too.
                serve_pending();
                None
            });
            if let Some(wake) = wake {
                trap::silence_timer();
                return wake;
            }
        }
    }

    /// How many external interrupts there were.
    pub fn counts(self) -> InterruptCounts {
        LATCH.counts()
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
        sbi::set_timer(counter);
    }
}

/// Does what the trap handler would do for each pending interrupt. Call with interrupts disabled.
fn serve_pending() {
    let pending = sip::read();
    if pending.sext() {
        on_external();
    }
    if pending.stimer() {
        trap::silence_timer();
    }
}

/// The external interrupt, from the trap handler or in its place.
pub(super) fn on_external() {
    critical_section::with(|section| {
        if let Some(plic) = PLIC.borrow(section).get() {
            LATCH.on_external(&plic);
        }
    });
}
