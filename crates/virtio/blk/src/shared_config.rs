//! The configuration as the control half last read it, for the queues, which may be on other harts.
//!
//! It lies in memory of its own, which nothing writes but a change of the configuration. A queue looks at it only where it is in
//! no hurry: when it refuses a request, when a request fails, when a poll finds nothing, and when it asks for an interrupt. So it
//! costs nothing to submit.

use core::alloc::Layout;
use core::mem::size_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};

use virtio_blk_proto::{BlkConfig, BlkFeatures, ConfigSnapshot};
use virtio_core::{Dma, DmaError, DmaRegion};

use crate::Limits;

/// A sequence lock. A reader that meets the writer reads words that mean nothing, which the sequence number shows. The words are
/// atomic, so that this is no data race.
#[repr(C, align(64))]
struct Block {
    /// Even while the words stand still; another number after each change.
    sequence: AtomicU32,
    words: [AtomicU32; ConfigSnapshot::WORDS],
    /// Not 0 once there is no device any more.
    gone: AtomicU32,
}

/// What a queue finds.
#[derive(Debug)]
pub(crate) enum News {
    /// A configuration that was not taken yet.
    Config(ConfigSnapshot),
    /// There is no device any more.
    Gone,
}

/// The only writer, and the owner of the memory.
#[derive(Debug)]
pub(crate) struct SharedConfig(DmaRegion);

impl SharedConfig {
    /// Takes memory. Nothing has been published in it.
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`].
    pub(crate) fn allocate(dma: &mut (impl Dma + ?Sized)) -> Result<Self, DmaError> {
        let mut region = dma.allocate(Layout::new::<Block>())?;
        let aligned = region.as_ptr().cast::<Block>().is_aligned();
        if region.len() < size_of::<Block>() || !aligned {
            dma.release(region);
            return Err(DmaError::UnsupportedLayout);
        }
        region.zero();
        Ok(Self(region))
    }

    /// Lets the queues know of a configuration.
    pub(crate) fn publish(&mut self, config: &ConfigSnapshot) {
        let block = self.block();
        let before = block.sequence.load(Ordering::Relaxed);
        block.sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        // The odd number comes first: a reader that finds a new word finds it, too.
        fence(Ordering::Release);
        for (word, value) in block.words.iter().zip(config.into_words()) {
            word.store(value, Ordering::Relaxed);
        }
        block.sequence.store(before.wrapping_add(2), Ordering::Release);
    }

    /// Lets the queues know that there is no device any more.
    pub(crate) fn device_gone(&self) {
        self.block().gone.store(1, Ordering::Release);
    }

    /// A view of it for a queue of a device that offered and was asked for these features, with room for `max_segments` data
    /// segments of a request.
    ///
    /// # Safety
    ///
    /// The view is dropped before the memory is [released](Self::release).
    pub(crate) unsafe fn view(&self, offered: BlkFeatures, accepted: BlkFeatures, max_segments: u16) -> ConfigView {
        ConfigView {
            block: self.0.as_ptr().cast(),
            seen: 0,
            offered,
            accepted,
            max_segments,
        }
    }

    /// Whether `view` was made of this memory. No two blocks that exist at the same time have the same address.
    pub(crate) fn is_seen_by(&self, view: &ConfigView) -> bool {
        view.block == self.0.as_ptr().cast()
    }

    /// Gives the memory back. By the contract of [`view`](Self::view) no view is left.
    pub(crate) fn release(self, dma: &mut (impl Dma + ?Sized)) {
        dma.release(self.0);
    }

    fn block(&self) -> &Block {
        // SAFETY: the region is aligned and long enough, was zeroed, which is a value of every field, and is used as this only.
        unsafe { self.0.as_ptr().cast().as_ref() }
    }
}

/// How a queue sees the configuration.
#[derive(Debug)]
pub(crate) struct ConfigView {
    block: NonNull<Block>,
    /// The sequence number of the configuration that was taken last.
    seen: u32,
    offered: BlkFeatures,
    accepted: BlkFeatures,
    max_segments: u16,
}

// SAFETY: the block is read by atomic loads only, and lives longer than the view.
unsafe impl Send for ConfigView {}
// SAFETY: as above; a shared reference shows nothing of the block.
unsafe impl Sync for ConfigView {}

impl ConfigView {
    /// Where the memory is that it looks at. Views of the same memory, and no others, have the same.
    pub(crate) fn address(&self) -> usize {
        self.block.addr().get()
    }

    /// A configuration that was not taken yet, or the end of the device. `None` also while a configuration is being written: the
    /// next look finds it.
    pub(crate) fn take_news(&mut self) -> Option<News> {
        // SAFETY: the memory is released when no view is left.
        let block = unsafe { self.block.as_ref() };
        if block.gone.load(Ordering::Acquire) != 0 {
            return Some(News::Gone);
        }
        let sequence = block.sequence.load(Ordering::Acquire);
        if sequence == self.seen || !sequence.is_multiple_of(2) {
            return None;
        }
        let words = block.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        // The words come before the second look.
        fence(Ordering::Acquire);
        if block.sequence.load(Ordering::Relaxed) != sequence {
            return None;
        }
        self.seen = sequence;
        Some(News::Config(ConfigSnapshot::from_words(words)))
    }

    /// The limits of a device with that configuration, of a disk that had the limits `before`.
    pub(crate) fn limits(&self, config: &ConfigSnapshot, before: &Limits) -> Limits {
        let config = BlkConfig::read(config, self.offered);
        Limits::new(&config, self.offered, self.accepted, self.max_segments).on_live_queue(before)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use virtio_core::DeviceAddr;

    use super::*;

    /// Memory of the heap, leaked.
    struct Heap;

    impl Dma for Heap {
        fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
            assert_eq!((layout.size(), layout.align()), (128, 64));
            let memory = NonNull::from(Box::leak(Box::new(Block {
                sequence: AtomicU32::new(7),
                words: [const { AtomicU32::new(7) }; ConfigSnapshot::WORDS],
                gone: AtomicU32::new(7),
            })));
            // SAFETY: it is never freed, and nothing else knows it.
            Ok(unsafe { DmaRegion::from_raw_parts(memory.cast(), layout.size(), DeviceAddr(0x1000)) })
        }

        fn release(&mut self, region: DmaRegion) {
            // SAFETY: from `allocate`, where it was leaked.
            drop(unsafe { Box::from_raw(region.as_ptr().cast::<Block>().as_ptr()) });
        }
    }

    /// # Safety
    ///
    /// That of [`SharedConfig::view`].
    unsafe fn two_views(shared: &SharedConfig) -> [ConfigView; 2] {
        // SAFETY: the caller keeps the same contract.
        [(); 2].map(|()| unsafe { shared.view(BlkFeatures::empty(), BlkFeatures::empty(), 1) })
    }

    fn config(view: &mut ConfigView) -> Option<[u32; ConfigSnapshot::WORDS]> {
        match view.take_news()? {
            News::Config(config) => Some(config.into_words()),
            News::Gone => panic!("the device is there"),
        }
    }

    #[test]
    fn each_view_takes_a_configuration_once() {
        let mut shared = SharedConfig::allocate(&mut Heap).unwrap();
        // SAFETY: they are not used after the release.
        let mut views = unsafe { two_views(&shared) };
        assert_eq!(config(&mut views[0]), None);
        shared.publish(&ConfigSnapshot::from_words([1; _]));
        shared.publish(&ConfigSnapshot::from_words([2; _]));
        for view in &mut views {
            assert!(shared.is_seen_by(view));
            assert_eq!(config(view), Some([2; _]));
            assert_eq!(config(view), None);
        }
        shared.device_gone();
        for view in &mut views {
            assert!(matches!(view.take_news(), Some(News::Gone)));
        }
        shared.release(&mut Heap);
    }

    #[test]
    fn a_reader_never_takes_half_of_a_configuration() {
        let rounds = if cfg!(miri) { 30 } else { 3000 };
        let mut shared = SharedConfig::allocate(&mut Heap).unwrap();
        // SAFETY: the threads are over before the release.
        let views = unsafe { two_views(&shared) };
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for mut view in views {
                let over = &over;
                scope.spawn(move || {
                    let mut last = 0;
                    while last < rounds {
                        // In this order: the last configuration is there when it is over.
                        let is_over = over.load(Ordering::Acquire);
                        if let Some(words) = config(&mut view) {
                            assert_eq!(words, [words[0]; _]);
                            assert!(words[0] > last, "none is older than the one before");
                            last = words[0];
                        } else {
                            assert!(!is_over || last == rounds);
                            thread::yield_now();
                        }
                    }
                });
            }
            for round in 1..=rounds {
                shared.publish(&ConfigSnapshot::from_words([round; _]));
                thread::yield_now();
            }
            over.store(true, Ordering::Release);
        });
        shared.release(&mut Heap);
    }
}
