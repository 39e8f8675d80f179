//! Brackets: how many instructions a piece of code takes.

use core::sync::atomic::{Ordering, compiler_fence};

use bare_image::report::{leave, record, stop};
use board_qemu_virt::{console, counters};
use guest_protocol::{Case, Record};
use image_bench::choice::Choice;

/// The most that a bracket may take itself. Without `-icount` the counter runs with a clock of the host, much faster.
const OWN_LIMIT: u64 = 16;

/// Counts instructions and leaves out its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bracket {
    own: u64,
    /// The case to count, if it is not every one.
    choice: Option<Choice<'static>>,
}

impl Bracket {
    /// Measures the bracket itself. Ends the run if the machine does not count instructions. With a choice only the first case
    /// that fits is counted.
    pub(crate) fn new(choice: Option<Choice<'static>>) -> Self {
        let bare = Self { own: 0, choice };
        let samples: [u64; 8] = core::array::from_fn(|_| bare.around_nothing());
        let same = samples.iter().all(|sample| *sample == samples[0]);
        if !same || !(1..=OWN_LIMIT).contains(&samples[0]) {
            stop(
                "boot",
                "not-counting",
                &"this machine does not count instructions, QEMU does with -icount",
            );
        }
        Self {
            own: samples[0],
            choice,
        }
    }

    /// Whether this case is to be counted.
    pub(crate) fn wants(&self, case: &Case<'_>) -> bool {
        self.choice.is_none_or(|choice| choice.fits(case))
    }

    /// Says that a case was counted and reported. Ends the run if it was the one that was chosen.
    pub(crate) fn reported(&self) {
        if self.choice.is_some() {
            record(Record::Done { passed: 1, failed: 0 });
            leave(0);
        }
    }

    /// The instructions that a bracket takes around nothing. A function of its own, so that each sample is the same code.
    #[inline(never)]
    fn around_nothing(&self) -> u64 {
        self.around(|| ())
    }

    /// The instructions that `work` takes, with interrupts disabled.
    #[inline(always)]
    pub(crate) fn around(&self, work: impl FnOnce()) -> u64 {
        critical_section::with(|_| {
            compiler_fence(Ordering::SeqCst);
            let start = counters::instructions_retired();
            compiler_fence(Ordering::SeqCst);
            work();
            compiler_fence(Ordering::SeqCst);
            let end = counters::instructions_retired();
            compiler_fence(Ordering::SeqCst);
            end - start - self.own
        })
    }
}

/// Waits until the device is idle. The device runs in another thread of QEMU and holds QEMU's lock while it works; reading a
/// register of the UART takes that lock.
pub(crate) fn settle() {
    let _ = console::read_byte();
}

/// Has to be called when a warm-up is over. A profile, which sees every instruction, finds the moment by the name of this function.
#[inline(never)]
pub(crate) fn counting_begins() {
    core::hint::black_box(());
}
