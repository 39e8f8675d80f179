//! Any requests, the rules by which a driver has to refuse some of them, and what the others make of a disk.
//!
//! Nothing here knows the device, so that tests on other devices than the model use the same.

use proptest::prelude::*;
use virtio_blk::SubmitError;
use virtio_blk::proto::Sector;

/// What the disk should hold; `None` where nothing is known.
pub(crate) struct Reference {
    sectors: Vec<Option<Vec<u8>>>,
}

impl Reference {
    /// A disk of so many zeroes.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            sectors: vec![Some(vec![0; 512]); capacity as usize],
        }
    }

    /// Nothing is known of the disk any more.
    pub(crate) fn forget(&mut self) {
        self.sectors.fill(None);
    }

    pub(crate) fn write(&mut self, first: u64, content: &[u8]) {
        for (n, sector) in content.chunks(512).enumerate() {
            self.sectors[first as usize + n] = Some(sector.to_vec());
        }
    }

    pub(crate) fn fill(&mut self, first: u64, sectors: u64, content: Option<Vec<u8>>) {
        self.sectors[first as usize..][..sectors as usize].fill(content);
    }

    /// Whether `content` is what should be at `first`.
    pub(crate) fn agrees(&self, first: u64, content: &[u8]) -> bool {
        let known = &self.sectors[first as usize..];
        let mut pairs = known.iter().zip(content.chunks(512));
        pairs.all(|(known, found)| known.as_ref().is_none_or(|known| known == found))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    Discard,
    Zeroes { may_unmap: bool },
    Erase,
    Flush,
    Identify,
    Lifetime,
}

#[derive(Clone, Debug)]
pub(crate) struct TestOperation {
    pub(crate) kind: Kind,
    pub(crate) first: u64,
    /// Of transfers, the pieces; of ranges, their sum is the number of sectors.
    pub(crate) lengths: Vec<usize>,
    /// Whether to notify and to poll after this step.
    pub(crate) notify: bool,
    pub(crate) poll: bool,
}

impl TestOperation {
    pub(crate) fn bytes(&self) -> u64 {
        self.lengths.iter().map(|&len| len as u64).sum()
    }

    /// The sectors of a legal step.
    pub(crate) fn sectors(&self) -> u64 {
        match self.kind {
            Kind::Read | Kind::Write => self.bytes() / 512,
            Kind::Discard | Kind::Zeroes { .. } | Kind::Erase => self.lengths.len() as u64,
            Kind::Flush | Kind::Identify | Kind::Lifetime => 0,
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first < other.first.saturating_add(other.sectors())
            && other.first < self.first.saturating_add(self.sectors())
    }
}

/// What a device takes.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) capacity: u64,
    /// Bytes of a block.
    pub(crate) block: u64,
    pub(crate) read_only: bool,
    /// Data segments of a request, and bytes of each.
    pub(crate) max_segments: u64,
    pub(crate) size_max: u64,
    /// Kinds of requests that not every device has.
    pub(crate) flush: bool,
    pub(crate) lifetime: bool,
    pub(crate) discard: bool,
    pub(crate) zeroes: bool,
    pub(crate) erase: bool,
}

impl Rules {
    /// What the driver has to say to a step, apart from a full queue. The rules once more, in other words.
    pub(crate) fn verdict(&self, step: &TestOperation) -> Result<(), SubmitError> {
        let block = self.block;
        let writes = !matches!(step.kind, Kind::Read | Kind::Flush | Kind::Identify | Kind::Lifetime);
        if writes && self.read_only {
            return Err(SubmitError::ReadOnly);
        }
        let (is_there, is_range) = match step.kind {
            Kind::Discard => (self.discard, true),
            Kind::Zeroes { .. } => (self.zeroes, true),
            Kind::Erase => (self.erase, true),
            Kind::Flush => (self.flush, false),
            Kind::Lifetime => (self.lifetime, false),
            Kind::Read | Kind::Write | Kind::Identify => (true, false),
        };
        if !is_there {
            return Err(SubmitError::Unsupported);
        }
        if matches!(step.kind, Kind::Flush | Kind::Identify | Kind::Lifetime) {
            return Ok(());
        }
        let bytes = if is_range { step.sectors() * 512 } else { step.bytes() };
        if bytes == 0 {
            return Err(SubmitError::Empty);
        }
        let start = u128::from(step.first) * 512;
        if bytes % block != 0 || start % u128::from(block) != 0 {
            return Err(SubmitError::Misaligned {
                block_bytes: block as u32,
            });
        }
        if start + u128::from(bytes) > u128::from(self.capacity) * 512 {
            return Err(SubmitError::OutOfRange {
                capacity: Sector(self.capacity),
            });
        }
        if !is_range && self.worst_block(step) > self.max_segments {
            return Err(SubmitError::TooScattered);
        }
        Ok(())
    }

    /// The most pieces of at most `size_max` bytes that any one block lies in.
    fn worst_block(&self, step: &TestOperation) -> u64 {
        let block = self.block;
        let blocks = (0..step.bytes() / block).map(|n| {
            let (begin, end) = (n * block, (n + 1) * block);
            let mut position = 0;
            let mut pieces = 0;
            for &len in &step.lengths {
                let (from, to) = (position.max(begin), (position + len as u64).min(end));
                if from < to {
                    pieces += (to - from).div_ceil(self.size_max);
                }
                position += len as u64;
            }
            pieces
        });
        blocks.max().unwrap_or(0)
    }
}

/// Pieces that add up to whole sectors most of the time.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let piece = prop_oneof![
        4 => (1usize..9).prop_map(|n| n * 512),
        2 => 1usize..1500,
        1 => Just(0),
    ];
    (
        prop::collection::vec(piece, 0..8),
        prop::sample::select(vec![512usize, 4096, 4096, 1]),
    )
        .prop_map(|(mut lengths, unit)| {
            let total: usize = lengths.iter().sum();
            lengths.push(total.next_multiple_of(unit) - total);
            lengths
        })
}

/// Any step on a disk of so many sectors.
pub(crate) fn step(capacity: u64) -> impl Strategy<Value = TestOperation> {
    let kind = prop_oneof![
        6 => Just(Kind::Read),
        6 => Just(Kind::Write),
        1 => Just(Kind::Discard),
        2 => any::<bool>().prop_map(|may_unmap| Kind::Zeroes { may_unmap }),
        1 => Just(Kind::Erase),
        1 => Just(Kind::Flush),
        1 => Just(Kind::Identify),
        1 => Just(Kind::Lifetime),
    ];
    let first = prop_oneof![
        8 => (0u64..12).prop_map(|n| n * 8),
        6 => 0u64..capacity,
        1 => capacity - 4..capacity + 4,
        1 => any::<u64>(),
        1 => u64::MAX - 3..=u64::MAX,
    ];
    let range_length = prop_oneof![3 => (0usize..4).prop_map(|n| n * 8), 1 => 0usize..30];
    (kind, first, lengths(), range_length, any::<bool>(), any::<bool>()).prop_map(
        |(kind, first, lengths, sectors, notify, poll)| TestOperation {
            lengths: if matches!(kind, Kind::Discard | Kind::Zeroes { .. } | Kind::Erase) {
                vec![512; sectors]
            } else {
                lengths
            },
            kind,
            first,
            notify,
            poll,
        },
    )
}
