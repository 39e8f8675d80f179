//! The interrupt controller as one hart sees it, of whichever kind.

use super::imsic;
use crate::aplic::{Aplic, Delivery, Target};
use crate::plic::Plic;
use crate::source::Source;

/// What delivers external interrupts to a hart.
///
/// Every call is made by that hart.
#[derive(Clone, Copy, Debug)]
pub(super) enum LocalController {
    /// A context of a PLIC.
    Plic(Plic),
    /// A delivery control of an APLIC.
    Direct(Delivery),
    /// An interrupt file, to which an APLIC sends its sources.
    Messages(MessageFile),
}

/// An interrupt file and the APLIC that sends to it.
///
/// The lines of the APLIC become the messages of the same number. Devices that send messages themselves get numbers above.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageFile {
    pub(super) aplic: Aplic,
    pub(super) hart_index: u32,
    /// Where a device writes a number to interrupt the hart.
    pub(super) address: u64,
    pub(super) id_count: u32,
}

impl MessageFile {
    fn is_line(&self, source: Source) -> bool {
        self.aplic.has(source)
    }

    /// The numbers that no line has.
    pub(super) fn free_ids(&self) -> core::ops::RangeInclusive<u32> {
        self.aplic.source_count() + 1..=self.id_count.min(Source::LIMIT as u32 - 1)
    }
}

impl LocalController {
    /// Brings what all harts share into a known state. Before that no source is enabled.
    pub(super) fn reset_shared(&self) {
        match self {
            Self::Plic(_) => {}
            Self::Direct(delivery) => delivery.aplic().reset(false),
            Self::Messages(file) => file.aplic.reset(true),
        }
    }

    /// Brings what belongs to this hart into a known state: no source enabled, delivery on.
    pub(super) fn reset_local(&self) {
        match self {
            Self::Plic(plic) => plic.reset_context(),
            Self::Direct(delivery) => delivery.reset(),
            Self::Messages(file) => imsic::reset(file.id_count),
        }
    }

    pub(super) fn has(&self, source: Source) -> bool {
        match self {
            Self::Plic(plic) => plic.has(source),
            Self::Direct(delivery) => delivery.aplic().has(source),
            Self::Messages(file) => source.number() <= file.id_count,
        }
    }

    /// The most sources that can be pending at once.
    pub(super) fn source_count(&self) -> u32 {
        match self {
            Self::Plic(plic) => plic.source_count(),
            Self::Direct(delivery) => delivery.aplic().source_count(),
            Self::Messages(file) => file.id_count,
        }
    }

    /// Lets the source interrupt this hart, unmasked.
    pub(super) fn enable(&self, source: Source) {
        match self {
            Self::Plic(plic) => {
                // In this order: QEMU's PLIC looks at a source that is pending already when the priority is written, and not when
                // the source is enabled.
                plic.enable(source);
                plic.unmask(source);
            }
            Self::Direct(delivery) => delivery.aplic().enable(source, delivery.target()),
            Self::Messages(file) => {
                imsic::set_enabled(source, true);
                if file.is_line(source) {
                    let target = Target::message(file.hart_index, source.number());
                    file.aplic.enable(source, target);
                    // It may have been raised before.
                    file.aplic.look_again(source);
                }
            }
        }
    }

    pub(super) fn disable(&self, source: Source) {
        match self {
            Self::Plic(plic) => plic.disable(source),
            Self::Direct(delivery) => delivery.aplic().disable(source),
            Self::Messages(file) => {
                if file.is_line(source) {
                    file.aplic.disable(source);
                }
                imsic::set_enabled(source, false);
            }
        }
    }

    /// Keeps a source quiet. An interrupt that comes meanwhile is delivered after `unmask`.
    pub(super) fn mask(&self, source: Source) {
        match self {
            Self::Plic(plic) => plic.mask(source),
            Self::Direct(delivery) => delivery.aplic().mask(source),
            Self::Messages(file) if file.is_line(source) => file.aplic.mask(source),
            Self::Messages(_) => imsic::set_enabled(source, false),
        }
    }

    pub(super) fn unmask(&self, source: Source) {
        match self {
            Self::Plic(plic) => plic.unmask(source),
            Self::Direct(delivery) => delivery.aplic().unmask(source),
            Self::Messages(file) if file.is_line(source) => {
                file.aplic.unmask(source);
                file.aplic.look_again(source);
            }
            Self::Messages(_) => imsic::set_enabled(source, true),
        }
    }

    /// Takes the pending source of highest priority.
    pub(super) fn claim(&self) -> Option<Source> {
        match self {
            Self::Plic(plic) => plic.claim(),
            Self::Direct(delivery) => delivery.claim(),
            Self::Messages(_) => imsic::claim(),
        }
    }

    /// Ends the handling of a claimed source.
    pub(super) fn complete(&self, source: Source) {
        match self {
            Self::Plic(plic) => plic.complete(source),
            Self::Direct(_) | Self::Messages(_) => {}
        }
    }
}
