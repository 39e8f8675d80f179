//! Removal: a device that is taken off the bus while its driver uses it.

use crate::device::Device;

/// Whether there is still a device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Presence {
    /// Register accesses until it goes away, if it does.
    left: Option<u64>,
    gone: bool,
    /// Register accesses since it went away.
    unanswered: u64,
}

impl Presence {
    pub(crate) fn is_gone(self) -> bool {
        self.gone
    }

    pub(crate) fn unanswered(self) -> u64 {
        self.unanswered
    }
}

impl Device {
    /// The device answers so many register accesses more.
    pub(crate) fn go_away_after(&mut self, accesses: u64) {
        self.presence.left = Some(accesses);
    }

    /// Counts a register access, and says whether the device is there to answer it.
    pub(crate) fn answers(&mut self) -> bool {
        if !self.presence.gone {
            match &mut self.presence.left {
                None => return true,
                Some(0) => self.go_away(),
                Some(left) => {
                    *left -= 1;
                    return true;
                }
            }
        }
        self.presence.unanswered += 1;
        false
    }

    /// It uses no memory from now on, raises no interrupt, and has no state left.
    fn go_away(&mut self) {
        self.presence.gone = true;
        self.clear();
        self.queues.clear();
        self.reset_reads = 0;
        self.reset_seen = true;
        self.reset_ignored = false;
    }
}
