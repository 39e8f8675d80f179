//! Reading several configuration fields as one consistent snapshot.

use core::fmt;

use crate::{PollLimit, Transport};

/// The configuration kept changing while it was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigUnstable;

impl fmt::Display for ConfigUnstable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device configuration kept changing while it was read")
    }
}

impl core::error::Error for ConfigUnstable {}

/// Runs `read` until it has seen one unchanged configuration, at most `limit` times; without a generation counter that
/// takes two at least.
///
/// With a generation counter the reads are bracketed by it (`CFG-D-03`, `MMIO-N-14`); without one, as on legacy
/// interfaces, two successive snapshots must agree (`LEG-D-06`). Either way no torn value gets out (`CFG-D-01`,
/// `CFG-D-02`).
///
/// # Errors
///
/// [`ConfigUnstable`] if it never stood still.
pub fn read_consistent<T, S>(
    transport: &T,
    limit: PollLimit,
    mut read: impl FnMut(&T) -> S,
) -> Result<S, ConfigUnstable>
where
    T: Transport + ?Sized,
    S: PartialEq,
{
    let mut before = transport.config_generation();
    let mut last = None;
    for _ in 0..limit.0 {
        let snapshot = read(transport);
        let after = transport.config_generation();
        let unchanged = match (before, after) {
            (Some(before), Some(after)) => before == after,
            _ => last.as_ref() == Some(&snapshot),
        };
        if unchanged {
            return Ok(snapshot);
        }
        before = after;
        last = Some(snapshot);
    }
    Err(ConfigUnstable)
}
