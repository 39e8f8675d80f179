//! Status and feature negotiation: the device's part, and an eye on the driver's.

use crate::config::AtDriverOk;
use crate::device::Device;
use crate::wire::feature;

pub(crate) const ACKNOWLEDGE: u8 = 1;
pub(crate) const DRIVER: u8 = 2;
pub(crate) const DRIVER_OK: u8 = 4;
pub(crate) const FEATURES_OK: u8 = 8;
pub(crate) const SUSPEND: u8 = 16;
pub(crate) const NEEDS_RESET: u8 = 64;
pub(crate) const FAILED: u8 = 128;

/// Modern bits without a meaning (`FEAT-D-04`).
const UNDEFINED: u128 = 0b1111 << 24 | 1 << 31 | 1 << 42;
/// Bits kept for later (`FEAT-D-05`).
const RESERVED: u128 = 1 << 30 | 0b11_1111 << 44;
/// Bits that MMIO does not carry (`FEAT-D-06`): SR_IOV, NOTIF_CONFIG_DATA, ADMIN_VQ.
const NOT_ON_MMIO: u128 = 1 << 37 | 1 << 39 | 1 << 41;
/// Bits without a meaning for a block device (`FEAT-D-07`).
const NOT_BLOCK: u128 = 1 << 0 | 1 << 3 | 1 << 7 | 1 << 8 | 0b11_1111 << 18 | (u128::MAX << 50);

impl Device {
    pub(crate) fn read_status(&mut self) -> u32 {
        if self.config.stuck_reset && self.was_reset && !self.reset_seen {
            return u32::from(DRIVER_OK);
        }
        if self.reset_reads > 0 {
            self.reset_reads -= 1;
            return u32::from(DRIVER_OK);
        }
        if self.reset_put_off {
            return u32::from(if self.status == 0 { DRIVER_OK } else { self.status });
        }
        if self.status == 0 {
            self.reset_seen = true;
        }
        if self.has(FEATURES_OK) {
            self.features_ok_seen = true;
        }
        u32::from(self.status)
    }

    pub(crate) fn write_status(&mut self, value: u32) {
        let Ok(new) = u8::try_from(value) else {
            self.log
                .report("INIT-D-01", format!("status {value:#x} has more than eight bits"));
            return;
        };
        if new == 0 {
            if self.resets_held {
                self.put_reset_off();
            } else {
                self.reset();
            }
            return;
        }
        let (old, legacy) = (self.status, self.config.is_legacy());
        if !self.was_reset {
            self.log
                .report("INIT-D-07", format!("status {new:#x} written without a reset before"));
        }
        if old & FAILED != 0 && new != old {
            self.log.report(
                "INIT-D-03",
                format!("status {new:#x} written after FAILED, without a reset"),
            );
        }
        if old & !new != 0 {
            self.log
                .report("INIT-D-02", format!("status bits {:#x} taken back", old & !new));
        }
        let added = new & !old;
        self.check_milestones(old, added, legacy);
        // The device's own bit is not the driver's to change, and legacy devices know no FEATURES_OK.
        self.status = new & !NEEDS_RESET | old & NEEDS_RESET;
        if added & FEATURES_OK != 0 && !legacy {
            self.features_ok_seen = false;
            let agreed = self.features_settled();
            if !agreed || !self.keeps_features() {
                self.status &= !FEATURES_OK;
            }
        }
        if added & DRIVER_OK != 0 {
            if legacy {
                self.features_settled();
            }
            match self.went_live() {
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
        self.reset_put_off = false;
        self.reset_seen = false;
        self.reset_reads = self.config.reset_reads;
        self.clear();
    }

    /// Each milestone on its own, in order, after the one before (`INIT-D-06` to `INIT-D-14`).
    fn check_milestones(&mut self, old: u8, added: u8, legacy: bool) {
        let before_driver_ok = if legacy { DRIVER } else { FEATURES_OK };
        let steps = [
            ("INIT-D-09", DRIVER, ACKNOWLEDGE, "DRIVER"),
            ("INIT-D-11", FEATURES_OK, DRIVER, "FEATURES_OK"),
            ("INIT-D-14", DRIVER_OK, before_driver_ok, "DRIVER_OK"),
        ];
        for (id, bit, needed, name) in steps {
            if added & bit != 0 && old & needed == 0 {
                let what = format!("{name} added to status {old:#x}, before the step before it was done");
                self.log.report(id, what);
            }
        }
        if added & ACKNOWLEDGE != 0 && old & !(NEEDS_RESET | FAILED) != 0 {
            self.log
                .report("INIT-D-08", format!("ACKNOWLEDGE added late, to status {old:#x}"));
        }
        if added & FEATURES_OK != 0 && legacy {
            self.log.report("LEG-D-05", "FEATURES_OK on a legacy interface");
        }
        if added & DRIVER_OK != 0 && !legacy && old & FEATURES_OK != 0 && !self.features_ok_seen {
            self.log
                .report("INIT-D-12", "DRIVER_OK set without a look whether FEATURES_OK was kept");
        }
        if added & DRIVER_OK != 0 && old & NEEDS_RESET != 0 {
            self.log
                .report("INIT-D-19", "initialisation went on after the device asked for a reset");
        }
        if added & SUSPEND != 0 && !(self.accepts(feature::SUSPEND) && old & DRIVER_OK != 0) {
            self.log.report(
                "SUSP-D-01",
                "SUSPEND set on a device that is not live or does not know it",
            );
        }
        if added & NEEDS_RESET != 0 {
            self.log
                .report("INIT-D-01", "DEVICE_NEEDS_RESET is the device's to set");
        }
        if added & 0x20 != 0 {
            self.log.report("INIT-D-01", "status bit 0x20 has no meaning");
        }
    }

    pub(crate) fn read_offered(&mut self) -> u32 {
        if !self.has(DRIVER) {
            self.log.report("INIT-D-06", "features read before DRIVER was set");
        }
        let Some(word) = self.offered_word.take() else {
            self.log.report(
                "MMIO-D-14",
                "DeviceFeatures read without writing DeviceFeaturesSel before",
            );
            return 0xDEAD_BEEF;
        };
        if self.config.is_legacy() && word > 0 {
            self.log
                .report("LEG-N-04", format!("feature word {word} of a legacy device"));
            return 0;
        }
        if word > 1 && self.config.alias_feature_words {
            return self.config.offered.word(1);
        }
        self.config.offered.word(word)
    }

    pub(crate) fn write_accepted(&mut self, value: u32) {
        let Some(word) = self.accepted_word.take() else {
            self.log.report(
                "MMIO-D-15",
                "DriverFeatures written without writing DriverFeaturesSel before",
            );
            return;
        };
        if !self.has(DRIVER) {
            self.log.report("INIT-D-10", "features accepted before DRIVER was set");
        }
        let settled = if self.config.is_legacy() {
            DRIVER_OK
        } else {
            FEATURES_OK
        };
        if self.has(settled) {
            self.log.report(
                "INIT-D-17",
                format!("feature word {word} written after negotiation was over"),
            );
            return;
        }
        if self.config.is_legacy() && word > 0 {
            self.log
                .report("LEG-N-04", format!("feature word {word} of a legacy device"));
            return;
        }
        let unknown = value & !self.config.offered.word(word);
        if unknown != 0 {
            self.log.report(
                "FEAT-D-01",
                format!("accepted {unknown:#x} of word {word}, which was not offered"),
            );
        }
        if let Some(written) = self.words_written.get_mut(word as usize) {
            *written = true;
        }
        self.accepted = self.accepted.with_word(word, value);
    }

    /// Looks at the whole set the driver settled for; whether the device agrees (`FEAT-V-01`, `FEAT-V-04`).
    fn features_settled(&mut self) -> bool {
        let legacy = self.config.is_legacy();
        let words = if legacy { 1 } else { 2 };
        if !self.words_written[..words].iter().all(|&written| written) {
            self.log.report("INIT-D-10", "not all feature words were written");
        }
        let accepted = self.accepted.bits();
        let forbidden: &[(&'static str, u128)] = if legacy {
            &[
                ("LEG-D-12", 1 << 30),
                ("FEAT-D-04", 0b11 << 25 | 1 << 31),
                ("FEAT-D-07", 1 << 3 | 1 << 8 | 0b11_1111 << 18),
            ]
        } else {
            &[
                ("FEAT-D-04", UNDEFINED),
                ("FEAT-D-05", RESERVED),
                ("FEAT-D-06", NOT_ON_MMIO),
                ("FEAT-D-07", NOT_BLOCK),
            ]
        };
        for &(id, bits) in forbidden {
            if accepted & bits != 0 {
                self.log.report(
                    id,
                    format!("accepted bits {:#x}, which mean nothing here", accepted & bits),
                );
            }
        }
        if self.accepts(feature::CONFIG_WCE) && !self.accepts(feature::FLUSH) {
            self.log.report("FEAT-D-02", "CONFIG_WCE accepted without FLUSH");
        }
        let host_managed = self.config.offers(feature::ZONED) && self.config.zones.model == 1;
        if host_managed && self.accepts(feature::DISCARD) {
            self.log
                .report("BLK-D-06", "DISCARD accepted on a host-managed zoned device");
        }
        if legacy {
            if self.config.offers(feature::ANY_LAYOUT) && !self.accepts(feature::ANY_LAYOUT) {
                self.log.report("LEG-D-11", "ANY_LAYOUT offered but not accepted");
            }
            return true;
        }
        if self.config.offers(feature::VERSION_1) && !self.accepts(feature::VERSION_1) {
            self.log.report("FEAT-D-11", "VERSION_1 offered but not accepted");
        }
        let demanded = self.config.demanded.bits() & !accepted == 0;
        let possible = accepted & !self.config.offered.bits() == 0 && !self.accepts(feature::RING_PACKED);
        demanded && possible && self.accepts(feature::VERSION_1) && !self.config.refuse_features
    }
}
