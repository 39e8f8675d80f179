//! The numbers of interrupt files that devices send themselves.

use core::cell::RefCell;

use critical_section::Mutex;

use super::hart::MAX_HARTS;
use super::local_controller::MessageFile;
use crate::source::Source;

/// A bit for each number in use of each file.
type InUse = [u64; Source::LIMIT / 64];
static IN_USE: Mutex<RefCell<[InUse; MAX_HARTS]>> = Mutex::new(RefCell::new([[0; Source::LIMIT / 64]; MAX_HARTS]));

/// A message by which a device interrupts a hart: what an entry of its MSI-X table holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The source that the hart enables and waits for.
    pub source: Source,
    /// The id of the hart that is interrupted.
    pub hart_id: usize,
    /// Where the device writes.
    pub address: u64,
    /// The word that it writes.
    pub data: u32,
    slot: usize,
}

/// The lowest free number of the file of a hart.
pub(super) fn allocate(hart_id: usize, slot: usize, file: &MessageFile) -> Option<Message> {
    let source = critical_section::with(|section| {
        let in_use = &mut IN_USE.borrow(section).borrow_mut()[slot];
        let source = file
            .free_ids()
            .filter_map(Source::new)
            .find(|source| in_use[word(*source)] & bit(*source) == 0)?;
        in_use[word(source)] |= bit(source);
        Some(source)
    })?;
    Some(Message {
        source,
        hart_id,
        address: file.address,
        data: source.number(),
        slot,
    })
}

pub(super) fn free(message: Message) {
    critical_section::with(|section| {
        let source = message.source;
        IN_USE.borrow(section).borrow_mut()[message.slot][word(source)] &= !bit(source);
    });
}

const fn word(source: Source) -> usize {
    source.number() as usize / 64
}

const fn bit(source: Source) -> u64 {
    1 << (source.number() % 64)
}
