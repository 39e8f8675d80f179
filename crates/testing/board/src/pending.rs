//! Which interrupt sources have fired and not been looked at yet.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::plic::Source;

const WORDS: usize = Source::LIMIT / 64;

/// A set of sources that the trap handler adds to and the thread takes from.
#[derive(Debug)]
pub(crate) struct PendingSet {
    words: [AtomicU64; WORDS],
}

impl PendingSet {
    pub(crate) const fn new() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    fn place(&self, source: Source) -> (&AtomicU64, u64) {
        // A source number is below the limit, so the index is below the number of words.
        (&self.words[source.index() / 64], 1 << (source.index() % 64))
    }

    /// Adds a source.
    pub(crate) fn mark(&self, source: Source) {
        let (word, bit) = self.place(source);
        word.fetch_or(bit, Ordering::Release);
    }

    /// Removes a source and says whether it was there.
    pub(crate) fn take(&self, source: Source) -> bool {
        let (word, bit) = self.place(source);
        word.fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Whether a source is there.
    pub(crate) fn contains(&self, source: Source) -> bool {
        let (word, bit) = self.place(source);
        word.load(Ordering::Acquire) & bit != 0
    }

    /// Whether no source is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_kept_apart_and_taken_once() {
        let set = PendingSet::new();
        let sources = [1, 63, 64, 1023].map(|number| Source::new(number).unwrap());
        assert!(set.is_empty());
        for source in sources {
            set.mark(source);
            set.mark(source);
        }
        assert!(!set.take(Source::new(2).unwrap()));
        for source in sources {
            assert!(set.contains(source));
            assert!(set.take(source));
            assert!(!set.contains(source));
            assert!(!set.take(source));
        }
        assert!(set.is_empty());
    }
}
