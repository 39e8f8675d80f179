//! The counts of the device, for tests to compare with those of a driver.

use serde::{Deserialize, Serialize};

/// Violations that are described in words.
const DESCRIBED: usize = 8;

/// The counts of the device. The program writes it as JSON when the connection ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Reads that succeeded.
    pub reads: u64,
    /// Writes that succeeded.
    pub writes: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Requests that were answered with an error status.
    pub failed: u64,
    /// Writes since the last flush.
    pub writes_not_flushed: u64,
    /// Flushes since the last write.
    pub flushes_after_writes: u64,
    /// The most data descriptors that one chain had.
    pub most_data_descriptors: u64,
    /// Requests for which the used ring has another length than the bytes written.
    pub odd_lengths: u64,
    /// Chains that broke a rule.
    pub violations: u64,
    /// The first of them, in words.
    pub described: Vec<String>,
}

impl Report {
    /// Counts a chain that breaks a rule. The first few are described on standard error, too.
    pub(crate) fn violation(&mut self, text: impl std::fmt::Display) {
        self.violations += 1;
        if self.described.len() < DESCRIBED {
            eprintln!("violation: {text}");
            self.described.push(text.to_string());
        }
    }

    /// Whether the driver kept to the rules.
    pub fn is_clean(&self) -> bool {
        self.violations == 0
    }
}
