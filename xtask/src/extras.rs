//! The machine that a scenario needs, beyond what a person can ask for.

use std::path::PathBuf;

/// Properties of the machine for a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Requests that each disk does per second at most.
    pub(crate) iops: Option<u64>,
    /// One instruction takes one nanosecond of the guest's time.
    pub(crate) counts_instructions: bool,
    /// Where QEMU writes down each request of the block devices.
    pub(crate) trace: Option<PathBuf>,
}
