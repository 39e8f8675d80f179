//! The bytes that a disk may hold after a power cut, made from the log.

use std::collections::BTreeMap;

use fastrand::Rng;
use guest_protocol::SECTOR_BYTES;

use crate::log::Entry;

type Bytes = [u8; SECTOR_BYTES];

/// The sectors of a disk that the log ever changes. None: it holds what it held at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub sectors: BTreeMap<u64, Option<Bytes>>,
}

/// Which of the writes that are not flushed have reached the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    None,
    All,
    /// All but the one of this number, counted from the oldest.
    Without(usize),
    /// Each one, or not, at random.
    Some(u64),
    /// Each sector of each one, or not, at random.
    Torn(u64),
}

/// One write that is not flushed.
#[derive(Clone, Debug)]
struct Cached {
    first: u64,
    /// None: a later write to this sector is on the medium.
    sectors: Vec<Option<Bytes>>,
}

/// Goes through a log, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    medium: BTreeMap<u64, Option<Bytes>>,
    cached: Vec<Cached>,
}

impl Replay {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many writes are not flushed.
    pub fn cached(&self) -> usize {
        self.cached.len()
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Write { first, data, durable } => {
                let (sectors, _) = data.as_chunks::<SECTOR_BYTES>();
                if durable {
                    self.put(first, sectors);
                } else {
                    self.cache(first, sectors.to_vec());
                }
            }
            Entry::Discard { first, count } => self.cache(first, vec![[0; SECTOR_BYTES]; count as usize]),
            Entry::Flush => {
                let image = self.image(Pick::All);
                self.medium = image.sectors;
                self.cached.clear();
            }
            Entry::Mark => {}
        }
    }

    fn put(&mut self, first: u64, sectors: &[Bytes]) {
        for (sector, bytes) in (first..).zip(sectors) {
            self.medium.insert(sector, Some(*bytes));
            for cached in &mut self.cached {
                let place = sector.checked_sub(cached.first).map(|place| place as usize);
                if let Some(old) = place.and_then(|place| cached.sectors.get_mut(place)) {
                    *old = None;
                }
            }
        }
    }

    fn cache(&mut self, first: u64, sectors: Vec<Bytes>) {
        for (sector, _) in (first..).zip(&sectors) {
            self.medium.entry(sector).or_insert(None);
        }
        let sectors = sectors.into_iter().map(Some).collect();
        self.cached.push(Cached { first, sectors });
    }

    /// One of the disks that a power cut may leave now.
    pub fn image(&self, pick: Pick) -> Image {
        let mut sectors = self.medium.clone();
        let mut random = match pick {
            Pick::Some(seed) | Pick::Torn(seed) => Rng::with_seed(seed),
            _ => Rng::with_seed(0),
        };
        for (number, cached) in self.cached.iter().enumerate() {
            let is_whole = match pick {
                Pick::None => false,
                Pick::All => true,
                Pick::Without(missing) => number != missing,
                Pick::Some(_) => random.bool(),
                // Decided for each sector.
                Pick::Torn(_) => true,
            };
            for (sector, bytes) in (cached.first..).zip(&cached.sectors) {
                let is_there = match pick {
                    Pick::Torn(_) => random.bool(),
                    _ => is_whole,
                };
                if is_there && bytes.is_some() {
                    sectors.insert(sector, *bytes);
                }
            }
        }
        Image { sectors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(fills: &[u8]) -> Vec<u8> {
        fills.iter().flat_map(|&fill| [fill; SECTOR_BYTES]).collect()
    }

    fn fills(replay: &Replay, pick: Pick) -> Vec<Option<u8>> {
        let image = replay.image(pick);
        image
            .sectors
            .values()
            .map(|bytes| bytes.map(|bytes| bytes[0]))
            .collect()
    }

    fn write(first: u64, data: &[u8]) -> Entry<'_> {
        Entry::Write {
            first,
            data,
            durable: false,
        }
    }

    #[test]
    fn unflushed_writes_are_there_as_picked() {
        let (one, two, three) = (data(&[1, 1]), data(&[2, 2, 2]), data(&[3]));
        let mut replay = Replay::new();
        replay.take(&write(10, &one));
        assert_eq!(fills(&replay, Pick::None), [None, None]);
        replay.take(&Entry::Flush);
        replay.take(&write(11, &two));
        replay.take(&write(12, &three));
        replay.take(&Entry::Discard { first: 10, count: 1 });
        assert_eq!(replay.cached(), 3);
        let (one, two, three, zero) = (Some(1), Some(2), Some(3), Some(0));
        assert_eq!(fills(&replay, Pick::None), [one, one, None, None]);
        assert_eq!(fills(&replay, Pick::All), [zero, two, three, two]);
        assert_eq!(fills(&replay, Pick::Without(0)), [zero, one, three, None]);
        assert_eq!(fills(&replay, Pick::Without(2)), [one, two, three, two]);
        replay.take(&Entry::Flush);
        assert_eq!(fills(&replay, Pick::None), [zero, two, three, two]);
    }

    #[test]
    fn a_durable_write_is_there_and_what_it_replaces_is_not() {
        let (old, new) = (data(&[1, 1]), data(&[2]));
        let mut replay = Replay::new();
        replay.take(&write(10, &old));
        replay.take(&Entry::Write {
            first: 11,
            data: &new,
            durable: true,
        });
        assert_eq!(fills(&replay, Pick::None), [None, Some(2)]);
        assert_eq!(fills(&replay, Pick::All), [Some(1), Some(2)]);
    }

    #[test]
    fn random_picks_come_to_every_image() {
        let (old, new) = (data(&[1, 1]), data(&[2, 2]));
        let mut replay = Replay::new();
        replay.take(&write(10, &old));
        replay.take(&Entry::Flush);
        replay.take(&write(10, &new));
        let seen = |pick: fn(u64) -> Pick| {
            let images = (0..64).map(|seed| fills(&replay, pick(seed)));
            images.collect::<std::collections::BTreeSet<_>>()
        };
        let (one, two) = (Some(1), Some(2));
        assert_eq!(seen(Pick::Some), [vec![one, one], vec![two, two]].into());
        let torn = [vec![one, one], vec![one, two], vec![two, one], vec![two, two]];
        assert_eq!(seen(Pick::Torn), torn.into());
    }
}
