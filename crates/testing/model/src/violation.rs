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
pub(crate) struct Log(Vec<Violation>);

impl Log {
    /// More than a person reads. A driver that goes wrong in a loop must not use up the memory of the host.
    const LIMIT: usize = 1000;

    pub(crate) fn report(&mut self, id: &'static str, what: impl fmt::Display) {
        if self.0.len() < Self::LIMIT {
            let what = what.to_string();
            self.0.push(Violation { id, what });
        }
    }

    /// Reports a violation unless the rule was `kept`.
    pub(crate) fn require(&mut self, kept: bool, id: &'static str, what: impl fmt::Display) {
        if !kept {
            self.report(id, what);
        }
    }

    pub(crate) fn list(&self) -> &[Violation] {
        &self.0
    }

    pub(crate) fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.0)
    }
}
