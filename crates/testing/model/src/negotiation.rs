//! Status and features: the device's part, and the driver's duties.

use crate::config::{AtDriverOk, RingReset};
use crate::device::Device;
use crate::faults::StartFault;
use crate::wire::feature;
use crate::wire::status::{ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED, FEATURES_OK, NEEDS_RESET, SUSPEND};

/// Feature bits that a driver must not accept on a modern interface, by requirement.
const FORBIDDEN: [(&str, u64); 4] = [
    // Bits without a meaning.
    ("FEAT-D-04", 0b1111 << 24 | 1 << 31 | 1 << 42),
    // Bits kept for later.
    ("FEAT-D-05", 1 << 30 | 0b11_1111 << 44),
    // Bits that MMIO does not carry: SR_IOV, NOTIF_CONFIG_DATA, ADMIN_VQ.
    ("FEAT-D-06", 1 << 37 | 1 << 39 | 1 << 41),
    // Bits without a meaning for a block device.
    (
        "FEAT-D-07",
        1 << 0 | 1 << 3 | 1 << 7 | 1 << 8 | 0b11_1111 << 18 | (u64::MAX << 50),
    ),
];

/// The same for a legacy interface.
const FORBIDDEN_LEGACY: [(&str, u64); 3] = [
    ("LEG-D-12", 1 << 30),
    ("FEAT-D-04", 0b11 << 25 | 1 << 31),
    ("FEAT-D-07", 1 << 3 | 1 << 8 | 0b11_1111 << 18),
];

impl Device {
    pub(crate) fn read_status(&mut self) -> u32 {
        if self.config.stuck_reset && self.was_reset && !self.reset_seen {
            return DRIVER_OK;
        }
        if self.reset_reads > 0 {
            self.reset_reads -= 1;
            return DRIVER_OK;
        }
        if self.reset_ignored {
            return if self.status == 0 { DRIVER_OK } else { self.status };
        }
        self.reset_seen |= self.status == 0;
        self.features_ok_seen |= self.has(FEATURES_OK);
        self.status
    }

    pub(crate) fn write_status(&mut self, new: u32) {
        if new == 0 {
            return self.reset();
        }
        let (old, legacy) = (self.status, self.config.is_legacy());
        if new > 0xFF {
            let what = format_args!("status {new:#x} has more than eight bits");
            return self.log.report("INIT-D-01", what);
        }
        self.check_status(old, new, legacy);
        // The device's own bit is not the driver's to change, and legacy devices know no FEATURES_OK.
        self.status = new & !NEEDS_RESET | old & NEEDS_RESET;
        let added = new & !old;
        if added & FEATURES_OK != 0 && !legacy {
            self.features_ok_seen = false;
            if !self.features_settled() || self.start_fails_by(StartFault::FeaturesRefused) {
                self.status &= !FEATURES_OK;
            }
        }
        if added & DRIVER_OK != 0 {
            if legacy {
                self.features_settled();
            }
            match self.at_driver_ok() {
                AtDriverOk::Live => {}
                AtDriverOk::NeedsReset => self.break_down(),
                AtDriverOk::Failed => self.status |= FAILED,
                AtDriverOk::Refused => self.status &= !DRIVER_OK,
            }
        }
    }

    fn reset(&mut self) {
        self.counters.resets += 1;
        self.was_reset = true;
        self.reset_ignored = self.resets_held;
        if !self.resets_held {
            self.reset_seen = false;
            self.reset_reads = self.config.reset_reads;
            self.clear();
        }
    }

    /// Whether the next start fault is `fault`; it is used up then.
    pub(crate) fn start_fails_by(&mut self, fault: StartFault) -> bool {
        self.start_faults.pop_front_if(|next| *next == fault).is_some()
    }

    fn at_driver_ok(&mut self) -> AtDriverOk {
        match self.start_faults.front() {
            Some(&StartFault::AtDriverOk(what)) => {
                self.start_faults.pop_front();
                what
            }
            Some(&StartFault::UsedIndex(by)) => {
                self.start_faults.pop_front();
                for ring in self.queues.iter_mut().filter_map(|queue| queue.ring.as_mut()) {
                    ring.move_used_index(by);
                }
                AtDriverOk::Live
            }
            _ => self.config.at_driver_ok,
        }
    }

    /// Each step of initialisation is done on its own, in order, after the one before (`INIT-D-06` to `INIT-D-14`).
    fn check_status(&mut self, old: u32, new: u32, legacy: bool) {
        let added = new & !old;
        let adds = |bit| added & bit != 0;
        let what = format_args!("status {new:#x} written over {old:#x}");
        let live = self.accepts(feature::SUSPEND) && old & DRIVER_OK != 0;
        let looked = legacy || old & FEATURES_OK == 0 || self.features_ok_seen;
        let before_driver_ok = if legacy { DRIVER } else { FEATURES_OK };
        let log = &mut self.log;
        log.require(self.was_reset, "INIT-D-07", what);
        log.require(old & FAILED == 0 || new == old, "INIT-D-03", what);
        log.require(old & !new == 0, "INIT-D-02", what);
        log.require(!adds(DRIVER) || old & ACKNOWLEDGE != 0, "INIT-D-09", what);
        log.require(!adds(FEATURES_OK) || old & DRIVER != 0, "INIT-D-11", what);
        log.require(!adds(DRIVER_OK) || old & before_driver_ok != 0, "INIT-D-14", what);
        log.require(
            !adds(ACKNOWLEDGE) || old & !(NEEDS_RESET | FAILED) == 0,
            "INIT-D-08",
            what,
        );
        log.require(!adds(FEATURES_OK) || !legacy, "LEG-D-05", what);
        log.require(!adds(DRIVER_OK) || looked, "INIT-D-12", what);
        log.require(!adds(DRIVER_OK) || old & NEEDS_RESET == 0, "INIT-D-19", what);
        log.require(!adds(SUSPEND) || live, "SUSP-D-01", what);
        // DEVICE_NEEDS_RESET is the device's bit, and 0x20 has no meaning.
        log.require(!adds(NEEDS_RESET | 0x20), "INIT-D-01", what);
    }

    pub(crate) fn read_offered(&mut self) -> u32 {
        self.log
            .require(self.has(DRIVER), "INIT-D-06", "features read before DRIVER was set");
        let Some(word) = self.offered_word.take() else {
            let what = "DeviceFeatures read without writing DeviceFeaturesSel before";
            self.log.report("MMIO-D-14", what);
            return 0xDEAD_BEEF;
        };
        if self.config.is_legacy() && word > 0 {
            let what = format_args!("feature word {word} of a legacy device");
            self.log.report("LEG-N-04", what);
            return 0;
        }
        let alias = word > 1 && self.config.alias_feature_words;
        self.config.offered.word(if alias { 1 } else { word })
    }

    pub(crate) fn write_accepted(&mut self, value: u32) {
        let Some(word) = self.accepted_word.take() else {
            let what = "DriverFeatures written without writing DriverFeaturesSel before";
            return self.log.report("MMIO-D-15", what);
        };
        self.log
            .require(self.has(DRIVER), "INIT-D-10", "features accepted before DRIVER was set");
        let legacy = self.config.is_legacy();
        let what = format_args!("feature word {word} written as {value:#x}");
        if self.has(if legacy { DRIVER_OK } else { FEATURES_OK }) {
            return self.log.report("INIT-D-17", what);
        }
        if legacy && word > 0 {
            return self.log.report("LEG-N-04", what);
        }
        let unknown = value & !self.config.offered.word(word);
        self.log.require(unknown == 0, "FEAT-D-01", what);
        if let Some(written) = self.words_written.get_mut(word as usize) {
            *written = true;
        }
        self.accepted = self.accepted.with_word(word, value);
    }

    /// Looks at the whole choice of the driver; whether the device agrees (`FEAT-V-01`, `FEAT-V-04`).
    fn features_settled(&mut self) -> bool {
        let legacy = self.config.is_legacy();
        let words = if legacy { 1 } else { 2 };
        let complete = self.words_written[..words].iter().all(|&written| written);
        let accepted = self.accepted.bits();
        for &(id, bits) in if legacy { &FORBIDDEN_LEGACY[..] } else { &FORBIDDEN } {
            let what = format_args!("accepted bits {:#x}, which have no meaning", accepted & bits);
            self.log.require(accepted & bits == 0, id, what);
        }
        let accepts = |bits| self.accepts(bits);
        let not_declined = |bits| !self.config.offers(bits) || accepts(bits);
        let host_managed = self.config.offers(feature::ZONED) && self.config.zones.model == 1;
        let cache_switch = !accepts(feature::CONFIG_WCE) || accepts(feature::FLUSH);
        let discard = !host_managed || !accepts(feature::DISCARD);
        let layout = !legacy || not_declined(feature::ANY_LAYOUT);
        let version = legacy || not_declined(feature::VERSION_1);
        for (kept, id, what) in [
            (complete, "INIT-D-10", "not all feature words were written"),
            (cache_switch, "FEAT-D-02", "CONFIG_WCE accepted without FLUSH"),
            (discard, "BLK-D-06", "DISCARD accepted on a host-managed zoned device"),
            (layout, "LEG-D-11", "ANY_LAYOUT offered but not accepted"),
            (version, "FEAT-D-11", "VERSION_1 offered but not accepted"),
        ] {
            self.log.require(kept, id, what);
        }
        if legacy {
            return true;
        }
        let demanded = self.config.demanded.bits() & !accepted == 0 && self.accepts(feature::VERSION_1);
        let unknown = accepted & !self.config.offered.bits() != 0;
        let ring_reset = self.config.ring_reset != RingReset::Absent || !self.accepts(feature::RING_RESET);
        let possible = !unknown && !self.accepts(feature::RING_PACKED) && ring_reset;
        // `BLK-N-33`
        let zoned = !host_managed || self.accepts(feature::ZONED);
        demanded && possible && zoned && !self.config.refuse_features
    }
}
