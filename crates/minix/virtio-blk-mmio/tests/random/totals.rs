//! What happened in all runs together: whether they reach what they are about.

use minix_blockdriver::DriverCounters;
use virtio_blk_model::DeviceCounters;

/// Sums over runs, each with its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals(Vec<(&'static str, u64)>);

impl Totals {
    /// Those of one run.
    pub(crate) fn of(counters: &DriverCounters, device: &DeviceCounters, given_up: bool) -> Self {
        Self(vec![
            ("answered", counters.replies),
            ("with an error", counters.errors),
            ("merged", counters.merged),
            ("in several parts", counters.chunks),
            ("through bounce buffers", counters.bounced),
            ("refused for lack of room", counters.device_full),
            ("timed out", counters.timeouts),
            ("resets", counters.resets),
            ("failed resets", counters.failed_resets),
            ("replayed", counters.replayed),
            ("background flushes", counters.background_flushes),
            ("failed flushes", counters.failed_flushes),
            ("discards", device.requests_of(11)),
            ("zeroed ranges", device.requests_of(13)),
            ("erased ranges", device.requests_of(14)),
            ("questions for the id", device.requests_of(8)),
            ("questions for the lifetime", device.requests_of(10)),
            ("devices given up", u64::from(given_up)),
        ])
    }

    pub(crate) fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.1 += theirs.1;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let missing = self.0.iter().filter(|(_, count)| *count == 0);
        missing.map(|(name, _)| *name).collect()
    }

    pub(crate) fn line(&self) -> String {
        let each: Vec<String> = self.0.iter().map(|(name, count)| format!("{count} {name}")).collect();
        each.join(", ")
    }
}
