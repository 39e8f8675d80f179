//! The description of a device.

use virtio_core::{Features, Interface};

use crate::wire::feature;

/// When the device serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Only when the test says so, through [`Model::process`](crate::Model::process).
    Manual,
    /// Everything there is, inside the doorbell write itself.
    OnNotify,
}

/// In which order requests are carried out and returned (`RING-N-04`, `BLK-N-30`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionOrder {
    /// As they were made available.
    InOrder,
    /// Of those taken together, the last first.
    Reverse,
    /// Of those taken together, in an order that follows from the seed.
    Shuffled(u64),
}

/// When the device asks for notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notifications {
    /// While it is not serving requests.
    WhenIdle,
    /// Never: it looks at the ring on its own (`RING-N-06`).
    Never,
}

/// The length of a used chain that the device reports.
///
/// The specification wants the bytes that were written, the status among them (`RING-D-17`). Devices in use do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedLength {
    /// The bytes written: data and status.
    Exact,
    /// 0, as kvmtool and semu report for requests that write nothing but the status.
    None,
    /// 1, however many bytes were written.
    One,
    /// The data, without the status byte.
    DataOnly,
    /// More than the writable part has: the data bytes of the request in either direction, and 1024 more.
    TooMuch,
}

impl UsedLength {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Exact, Self::None, Self::One, Self::DataOnly, Self::TooMuch];
}

/// The answer of the device to DRIVER_OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtDriverOk {
    /// It goes live.
    Live,
    /// It sets DEVICE_NEEDS_RESET and announces a change.
    NeedsReset,
    /// It sets FAILED.
    Failed,
    /// It takes DRIVER_OK back.
    Refused,
}

/// The reset of one queue (`VQR-N-01`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingReset {
    /// RING_RESET may be offered, but there is no register for it, as in QEMU over MMIO (`VQR-N-03`).
    Absent,
    /// The register is there, and reads as 1 so many times before the reset is over.
    After(u32),
    /// The register is there, and the reset never ends.
    Stuck,
}

/// Limits of requests that carry ranges. A limit of 0 is no limit, as in devices that leave the field alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sectors in one range at most.
    pub max_sectors: u32,
    /// Ranges in one request at most.
    pub max_segments: u32,
    /// Where ranges are best split, in sectors.
    pub alignment: u32,
}

impl Limits {
    /// Sectors in one range at most.
    pub(crate) fn sectors(self) -> u32 {
        if self.max_sectors == 0 {
            u32::MAX
        } else {
            self.max_sectors
        }
    }

    /// Ranges in one request at most.
    pub(crate) fn segments(self) -> u32 {
        self.max_segments.max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sectors: 1 << 16,
            max_segments: 1,
            alignment: 1,
        }
    }
}

/// The zoned part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones {
    /// Sectors of one zone.
    pub zone_sectors: u32,
    /// Sectors of one zone that can be written, if fewer.
    pub zone_capacity: u32,
    /// How many zones from the start are conventional.
    pub conventional: u32,
    /// Zones open at the same time; 0: no limit.
    pub max_open: u32,
    /// Zones active at the same time; 0: no limit.
    pub max_active: u32,
    /// Sectors of one append; 0: no append.
    pub max_append_sectors: u32,
    /// The unit of sequential writes, in bytes.
    pub write_granularity: u32,
    /// 0: no zones, 1: host-managed, 2: host-aware.
    pub model: u8,
    /// Reads of sectors that were not written fail, instead of answering a pattern.
    pub unwritten_reads_fail: bool,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            zone_sectors: 64,
            zone_capacity: u32::MAX,
            conventional: 1,
            max_open: 2,
            max_active: 3,
            max_append_sectors: 16,
            write_granularity: 512,
            model: 1,
            unwritten_reads_fail: false,
        }
    }
}

/// A device, described. Every field may be changed before the model is made of it.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// MMIO version 1 (legacy) or 2 (modern).
    pub interface: Interface,
    /// The device id; 0: an empty slot.
    pub device_id: u32,
    /// The vendor id.
    pub vendor: u32,
    /// The feature bits offered, sense or nonsense.
    pub offered: Features,
    /// Bits without which the device refuses FEATURES_OK; VERSION_1 always is one (`FEAT-V-01`).
    pub demanded: Features,
    /// Refuse FEATURES_OK for any choice of features.
    pub refuse_features: bool,
    /// Answer feature selectors of 2 and more with word 1 again, as QEMU does.
    pub alias_feature_words: bool,
    /// The answer to DRIVER_OK.
    pub at_driver_ok: AtDriverOk,
    /// How many times the status still reads non-zero after a reset.
    pub reset_reads: u32,
    /// The reset never ends.
    pub stuck_reset: bool,
    /// Bits that InterruptStatus shows on top of the two defined ones.
    pub interrupt_noise: u32,
    /// Put misleading values where the driver must not look: `avail_event` without EVENT_IDX, the flags with it
    /// (`RING-D-20`, `RING-D-23`).
    pub misleading_fields: bool,

    /// What the register for the reset of one queue does.
    pub ring_reset: RingReset,
    /// The number of request queues.
    pub queues: u16,
    /// The value of QueueSizeMax.
    pub queue_size_max: u32,
    /// When the device asks for notifications.
    pub notifications: Notifications,
    /// When requests are served.
    pub service: Service,
    /// The order of completion.
    pub order: CompletionOrder,
    /// The length of a used chain that is reported.
    pub used_length: UsedLength,
    /// Decide about an interrupt once per [`process`](crate::Model::process), instead of after every completion.
    pub coalesce_interrupts: bool,

    /// The size of the disk in sectors of 512 bytes.
    pub capacity: u64,
    /// `size_max`, in bytes.
    pub size_max: u32,
    /// `seg_max`.
    pub seg_max: u32,
    /// Take exactly one data descriptor, as Firecracker does. The second descriptor is the data and the third the status; later
    /// ones are ignored. The second one of a flush is the status. A status descriptor that is not writable gets none.
    pub one_data_descriptor: bool,
    /// `geometry`: cylinders, heads, sectors.
    pub geometry: (u16, u8, u8),
    /// `blk_size`, in bytes. With BLK_SIZE offered, requests that are not aligned to it fail.
    pub block_size: u32,
    /// `topology`: physical block exponent, alignment offset, minimum and optimum I/O size.
    pub topology: (u8, u8, u16, u32),
    /// `writeback` after a reset, and whether the device has a volatile cache at all.
    pub write_cache: bool,
    /// A flush that fails marks the sectors it could not write as clean, as the page cache of a host does. They still
    /// read as written, and no later flush writes them.
    pub failed_flush_forgets: bool,
    /// Limits of discard.
    pub discard: Limits,
    /// Limits of write-zeroes.
    pub write_zeroes: Limits,
    /// `write_zeroes_may_unmap`.
    pub may_unmap: bool,
    /// Limits of secure erase.
    pub secure_erase: Limits,
    /// Zones, shown if ZONED is offered.
    pub zones: Zones,
    /// The identification string, padded with NUL.
    pub id: [u8; 20],
    /// The lifetime answer: pre_eol_info, type a, type b.
    pub lifetime: [u16; 3],

    /// Where the memory shared with the driver begins, as the device sees it.
    pub memory_base: u64,
    /// How much of it there is, in bytes.
    pub memory_bytes: usize,
}

impl ModelConfig {
    /// Above 4 GiB, so that high address words are not zero.
    pub const HIGH_MEMORY: u64 = 0x2_4000_0000;
    /// Where RISC-V machines have their memory.
    pub const LOW_MEMORY: u64 = 0x8000_0000;

    /// A modern device much like QEMU's: 8 MiB, a queue of 256, memory above 4 GiB.
    pub fn modern() -> Self {
        let features = feature::SEG_MAX
            | feature::GEOMETRY
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::TOPOLOGY
            | feature::CONFIG_WCE
            | feature::DISCARD
            | feature::WRITE_ZEROES
            | feature::INDIRECT_DESC
            | feature::EVENT_IDX
            | feature::VERSION_1
            | feature::RING_RESET;
        let mut id = [0; 20];
        id[..9].copy_from_slice(b"model-0.1");
        Self {
            interface: Interface::Modern,
            device_id: 2,
            vendor: 0x4C44_4F4D,
            offered: Features::from_low(features),
            demanded: Features::empty(),
            refuse_features: false,
            alias_feature_words: true,
            at_driver_ok: AtDriverOk::Live,
            reset_reads: 0,
            stuck_reset: false,
            interrupt_noise: 0,
            misleading_fields: true,
            ring_reset: RingReset::Absent,
            queues: 1,
            queue_size_max: 256,
            notifications: Notifications::WhenIdle,
            service: Service::Manual,
            order: CompletionOrder::InOrder,
            used_length: UsedLength::Exact,
            coalesce_interrupts: false,
            capacity: 16384,
            size_max: 1 << 20,
            seg_max: 254,
            one_data_descriptor: false,
            geometry: (16, 16, 63),
            block_size: 512,
            topology: (0, 0, 1, 1),
            write_cache: true,
            failed_flush_forgets: false,
            discard: Limits::default(),
            write_zeroes: Limits::default(),
            may_unmap: true,
            secure_erase: Limits::default(),
            zones: Zones::default(),
            id,
            lifetime: [1, 2, 3],
            memory_base: Self::HIGH_MEMORY,
            memory_bytes: 16 << 20,
        }
    }

    /// A legacy device much like QEMU's, with the same disk.
    pub fn legacy() -> Self {
        Self {
            interface: Interface::Legacy,
            offered: Features::from_low(0x3100_6ED4),
            ..Self::modern()
        }
    }

    /// A device that takes one data descriptor and, as Firecracker, does not say so: SEG_MAX is not offered.
    #[must_use]
    pub fn with_one_data_descriptor(self) -> Self {
        Self {
            one_data_descriptor: true,
            ..self.withdraw(feature::SEG_MAX)
        }
    }

    /// With these feature bits offered as well; see [`feature`](crate::feature).
    #[must_use]
    pub fn offer(mut self, bits: u64) -> Self {
        self.offered |= Features::from_low(bits);
        self
    }

    /// Without these feature bits.
    #[must_use]
    pub fn withdraw(mut self, bits: u64) -> Self {
        self.offered &= !Features::from_low(bits);
        self
    }

    /// Whether all of these bits are offered.
    pub(crate) fn offers(&self, bits: u64) -> bool {
        self.offered.low() & bits == bits
    }

    pub(crate) fn is_legacy(&self) -> bool {
        self.interface == Interface::Legacy
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::modern()
    }
}
