//! What happened, in numbers.

use std::collections::BTreeMap;

/// Counts since the model was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Doorbell writes.
    pub notifies: u64,
    /// Doorbell writes the device had not asked for (`RING-D-21`, `RING-D-25`). Allowed, but a waste.
    pub unneeded_notifies: u64,
    /// Notifications the device sent: used buffers and configuration changes.
    pub interrupts: u64,
    /// Completions for which the driver had asked for no interrupt.
    pub interrupts_suppressed: u64,
    /// How often the interrupt line went up.
    pub line_rises: u64,
    /// Writes to InterruptACK.
    pub acknowledges: u64,
    /// Resets by the driver.
    pub resets: u64,
    /// Requests by type number.
    pub requests: BTreeMap<u32, u64>,
    /// Requests answered with another status than OK.
    pub errors: u64,
    /// Chains popped.
    pub chains: u64,
    /// Chains that used an indirect table.
    pub indirect_chains: u64,
    /// Descriptors of the longest chain.
    pub longest_chain: usize,
    /// Data bytes given to the driver.
    pub bytes_read: u64,
    /// Data bytes taken from the driver.
    pub bytes_written: u64,
}

impl Counters {
    /// Requests of one type.
    pub fn requests_of(&self, kind: u32) -> u64 {
        self.requests.get(&kind).copied().unwrap_or(0)
    }
}
