//! The vectors of MSI-X.

use super::Access;

const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;

/// Where the pending bits are.
const PENDING: u32 = 0x800;

/// One entry of the table: address, data and control as the registers show them.
#[derive(Clone, Copy)]
struct Entry([u32; 4]);

impl Entry {
    fn is_masked(self) -> bool {
        self.0[3] & 1 != 0
    }
}

pub(crate) struct Vectors {
    table: Vec<Entry>,
    pending: Vec<bool>,
    control: u16,
    /// The vectors that events were mapped to.
    pub(crate) config: u16,
    pub(crate) queues: Vec<u16>,
    sent: Vec<(u64, u32)>,
}

impl Vectors {
    pub(crate) fn new(vectors: u16, queues: u16) -> Self {
        Self {
            // After power-on each vector is masked, and its message is undefined.
            table: vec![Entry([0xDEAD_0000, 7, 0xBAD, 1]); usize::from(vectors)],
            pending: vec![false; usize::from(vectors)],
            control: 0,
            config: 0xFFFF,
            queues: vec![0xFFFF; usize::from(queues)],
            sent: Vec::new(),
        }
    }

    /// A reset of the device unmaps everything (`PCI-V-03`).
    pub(crate) fn forget(&mut self) {
        self.config = 0xFFFF;
        self.queues.fill(0xFFFF);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.control & ENABLE != 0
    }

    /// The vector that is mapped when this one is asked for.
    pub(crate) fn mapped(&self, vector: u16, refused: &[u16]) -> u16 {
        let legal = usize::from(vector) < self.table.len() && !refused.contains(&vector);
        if legal { vector } else { 0xFFFF }
    }

    pub(crate) fn control(&mut self, control: u16) {
        self.control = control;
        self.deliver();
    }

    /// An event that was mapped to `vector`.
    pub(crate) fn fire(&mut self, vector: u16) {
        if let Some(pending) = self.pending.get_mut(usize::from(vector)) {
            *pending = true;
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        if !self.is_on() || self.control & FUNCTION_MASK != 0 {
            return;
        }
        for (entry, pending) in self.table.iter().zip(&mut self.pending) {
            if *pending && !entry.is_masked() {
                *pending = false;
                let [low, high, data, _] = entry.0;
                self.sent.push((u64::from(low) | u64::from(high) << 32, data));
            }
        }
    }

    pub(crate) fn take_messages(&mut self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.sent)
    }

    pub(crate) fn access(&mut self, access: Access) -> u32 {
        if access.width != 4 || !access.offset.is_multiple_of(4) {
            return u32::MAX;
        }
        if access.offset >= PENDING {
            let first = ((access.offset - PENDING) * 8) as usize;
            let bits = self.pending.iter().skip(first).take(32).enumerate();
            return bits.fold(0, |word, (i, &pending)| word | u32::from(pending) << i);
        }
        let (entry, word) = ((access.offset / 16) as usize, (access.offset / 4 % 4) as usize);
        let Some(entry) = self.table.get_mut(entry) else {
            return u32::MAX;
        };
        if let Some(value) = access.write {
            let in_use = self.control & ENABLE != 0 && !entry.is_masked();
            assert!(
                word == 3 || !in_use,
                "a message was changed while its vector is not masked"
            );
            entry.0[word] = value;
            self.deliver();
            return 0;
        }
        entry.0[word]
    }
}
