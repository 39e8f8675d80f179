//! What a platform may choose when it starts a disk.

use virtio_blk_proto::BlkFeatures;
use virtio_core::{Features, PollLimit, QueueSize};
use virtqueue::Chains;

/// Every block feature the driver has code for (`FEAT-D-03`).
///
/// Not among them: the legacy SCSI. BARRIER is accepted on a legacy device only. MQ is among them with the feature `queues`, DISCARD, WRITE_ZEROES and SECURE_ERASE are among
/// them with the feature `ranges`, LIFETIME with `lifetime`, ZONED with `zoned`; this one is not in the default of
/// [`DiskOptions::features`]: the caller has to know about zones, too, and says so by [`DiskOptions::with_zones`].
pub const SUPPORTED_BLK: BlkFeatures = BlkFeatures::SIZE_MAX
    .union(BlkFeatures::BARRIER)
    .union(BlkFeatures::SEG_MAX)
    .union(BlkFeatures::GEOMETRY)
    .union(BlkFeatures::RO)
    .union(BlkFeatures::BLK_SIZE)
    .union(BlkFeatures::FLUSH)
    .union(BlkFeatures::TOPOLOGY)
    .union(BlkFeatures::CONFIG_WCE)
    .union(only_if(crate::QUEUES, BlkFeatures::MQ))
    .union(only_if(crate::RANGES, BlkFeatures::DISCARD))
    .union(only_if(crate::RANGES, BlkFeatures::WRITE_ZEROES))
    .union(only_if(crate::RANGES, BlkFeatures::SECURE_ERASE))
    .union(only_if(crate::LIFETIME, BlkFeatures::LIFETIME))
    .union(only_if(crate::ZONED, BlkFeatures::ZONED));

const fn only_if(built: bool, features: BlkFeatures) -> BlkFeatures {
    if built { features } else { BlkFeatures::empty() }
}

/// Every common feature the driver has code for. VERSION_1 is accepted in any case.
///
/// ACCESS_PLATFORM is among them because every address the driver gives out comes from the platform's
/// [`Dma`](virtio_core::Dma) or from the caller, who know about translation (`FEAT-D-14`). ORDER_PLATFORM and
/// RING_PACKED are not: the fences are those of an SMP machine, and the ring is the split one.
pub const SUPPORTED_COMMON: Features = Features::ANY_LAYOUT
    .union(Features::INDIRECT_DESC)
    .union(Features::EVENT_IDX)
    .union(Features::ACCESS_PLATFORM);

/// Choices at start. The default uses all features that need no care of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DiskOptions {
    /// Features to accept if offered, out of [`SUPPORTED_BLK`] and [`SUPPORTED_COMMON`]; others are never accepted. VERSION_1
    /// and ACCESS_PLATFORM are accepted in any case: without the latter a device takes the platform's addresses, which
    /// may be translated ones, for physical ones, and that is not for safe code to choose. A host-managed zoned disk comes up
    /// with ZONED only; a host-aware one is an ordinary disk without it.
    pub features: Features,
    /// The most descriptors to use. The queue's compile-time capacity and the device may allow fewer.
    pub max_queue_size: QueueSize,
    /// The most data segments in one device request, if the device takes that many; one without SEG_MAX takes one.
    ///
    /// This decides how much memory the queue takes. With indirect tables each descriptor has one with 16 bytes for each of these
    /// segments and two more, unless [`chains`](Self::chains) are direct. Besides, each descriptor takes 26 bytes in the ring
    /// and 48 for header, status and small answers. A queue of 256 for requests of one segment has 31 KiB in all.
    pub max_segments: u16,
    /// Where the chains of requests are written, if INDIRECT_DESC is among the features. By default that is decided for each.
    pub chains: Chains,
    /// Whether RING_RESET is accepted, so that one queue can be [reset](crate::DeviceControl::reset_queue) while the others go on. It
    /// takes a transport that has it; over MMIO it is never accepted (`VQR-N-03`).
    ///
    /// Off by default, because QEMU 10 does not keep what it promises. With requests in flight, it says at once that the queue is
    /// reset. Seconds later it writes the statuses of the old requests, and puts their ids into the ring of the new queue. That is
    /// memory which the driver has given back by then. Turn it on for devices that are known to be better, and shut the device
    /// down otherwise: the reset of the whole device waits for what is in flight.
    pub ring_reset: bool,
    /// How many registers to read until the configuration has stood still: in all of one interrupt, in one
    /// [`refresh_config`](crate::Disk::refresh_config), and at start. One look at an unchanging configuration takes up to 30,
    /// twice that on a legacy interface.
    pub config_limit: PollLimit,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            features: Features::from_low(SUPPORTED_BLK.difference(BlkFeatures::ZONED).bits()) | SUPPORTED_COMMON,
            max_queue_size: QueueSize::MAX,
            max_segments: 32,
            chains: Chains::PerRequest,
            ring_reset: false,
            config_limit: PollLimit(1000),
        }
    }
}

impl DiskOptions {
    /// The same, and ZONED is accepted: for callers that know about zones. It takes the feature `zoned` of this crate.
    #[must_use]
    pub fn with_zones(mut self) -> Self {
        self.features |= Features::from_low(BlkFeatures::ZONED.bits());
        self
    }

    /// The features to ask for: never more than the driver has code for, and always the one that addresses depend on.
    pub(crate) fn supported(&self) -> Features {
        let wanted = self.features | Features::ACCESS_PLATFORM;
        let supported = wanted & (Features::from_low(SUPPORTED_BLK.bits()) | SUPPORTED_COMMON);
        if self.ring_reset {
            supported | Features::RING_RESET
        } else {
            supported
        }
    }
}
