//! What the driver did wrong, as far as a device can see it.

use std::fmt;

/// A duty that the driver did not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The requirement, such as `RING-D-02`.
    pub id: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)
    }
}

/// The violations so far.
#[derive(Default)]
pub(crate) struct Log {
    list: Vec<Violation>,
}

impl Log {
    /// More than anybody reads; a driver that goes wrong in a loop must not eat the machine.
    const LIMIT: usize = 1000;

    pub(crate) fn report(&mut self, id: &'static str, what: impl Into<String>) {
        if self.list.len() < Self::LIMIT {
            self.list.push(Violation { id, what: what.into() });
        }
    }

    pub(crate) fn list(&self) -> &[Violation] {
        &self.list
    }

    pub(crate) fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.list)
    }
}
