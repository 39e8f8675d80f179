//! What happens on an external interrupt, apart from the machine it happens on.
//!
//! The trap handler knows no device. It notes which source fired, masks it, and is done; the driver looks at its device
//! later, in thread context, and unmasks the line. A microkernel with drivers in user space does the same, and a device
//! that never lets go of its line costs one interrupt instead of the machine.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::pending::PendingSet;
use crate::plic::Plic;

/// The fired sources and how often that happened.
#[derive(Debug)]
pub(crate) struct Latch {
    pub(crate) pending: PendingSet,
    claimed: AtomicU64,
    spurious: AtomicU64,
}

/// Running totals of external interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InterruptCounts {
    /// Sources claimed from the interrupt controller.
    pub claimed: u64,
    /// Times the hart was interrupted and the controller had no source for it.
    pub spurious: u64,
}

impl Latch {
    pub(crate) const fn new() -> Self {
        Self {
            pending: PendingSet::new(),
            claimed: AtomicU64::new(0),
            spurious: AtomicU64::new(0),
        }
    }

    /// Takes all pending sources from the controller, notes and masks them.
    ///
    /// Call with interrupts disabled.
    pub(crate) fn on_external(&self, plic: &Plic) {
        let mut claimed = 0;
        // A masked source cannot come again, so a sane controller runs dry within this many steps.
        while claimed < u64::from(plic.source_count()) {
            let Some(source) = plic.claim() else { break };
            plic.mask(source);
            self.pending.mark(source);
            // Last: from here on the controller looks at the line again, and finds it masked.
            plic.complete(source);
            claimed += 1;
        }
        // The handler is the only writer, so there is nothing to race with.
        self.claimed.fetch_add(claimed, Ordering::Relaxed);
        if claimed == 0 {
            self.spurious.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> InterruptCounts {
        InterruptCounts {
            claimed: self.claimed.load(Ordering::Relaxed),
            spurious: self.spurious.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use virtio_fdt::PhysRange;

    use super::*;
    use crate::plic::Source;

    #[test]
    fn a_fired_source_is_noted_masked_and_counted() {
        let mut memory = vec![0u32; 0x60_0000 / 4];
        memory[5] = 1;
        let registers = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x60_0000).unwrap();
        // SAFETY: the memory outlives the test and stands in for the registers. It has a single source, so that claims
        // from memory that never changes come to an end.
        let plic = unsafe { Plic::new(registers, 0, 1) }.unwrap();
        let latch = Latch::new();
        latch.on_external(&plic);
        assert_eq!(
            latch.counts(),
            InterruptCounts {
                claimed: 0,
                spurious: 1
            }
        );

        let source = Source::new(5).unwrap();
        plic.complete(source);
        latch.on_external(&plic);
        assert_eq!(
            latch.counts(),
            InterruptCounts {
                claimed: 1,
                spurious: 1
            }
        );
        assert!(latch.pending.take(source));
        // SAFETY: an element of the vector, written behind its back.
        assert_eq!(unsafe { core::ptr::from_ref(&memory[5]).read_volatile() }, 0, "masked");
    }
}
