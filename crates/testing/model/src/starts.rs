//! Bring-up that goes wrong, once or a few times.

use std::sync::Arc;

use crate::config::AtDriverOk;
use crate::device::Device;

/// What goes wrong in one start of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// QueueSizeMax reads 0 when it is looked at.
    NoQueue,
    /// The device does not keep FEATURES_OK, whatever was accepted. A legacy device has no such bit: for it this waits.
    FeaturesRefused,
    /// What the device does at DRIVER_OK.
    AtDriverOk(AtDriverOk),
    /// The used index moves by this much as soon as the device is live, and nothing was used.
    UsedIndex(u16),
}

impl Device {
    /// Whether the next thing that goes wrong is `fault`; it is used up then.
    pub(crate) fn start_fails_by(&mut self, fault: StartFault) -> bool {
        let hit = self.start_faults.front() == Some(&fault);
        if hit {
            self.start_faults.pop_front();
        }
        hit
    }

    /// DRIVER_OK was set: what the device does.
    pub(crate) fn went_live(&mut self) -> AtDriverOk {
        let what = match self.start_faults.front() {
            Some(&StartFault::AtDriverOk(what)) => what,
            Some(&StartFault::UsedIndex(by)) => {
                let memory = Arc::clone(&self.memory);
                for ring in self.queues.iter_mut().filter_map(|queue| queue.ring.as_mut()) {
                    ring.move_used_index(&memory, by);
                }
                AtDriverOk::Live
            }
            _ => return self.config.at_driver_ok,
        };
        self.start_faults.pop_front();
        what
    }

    /// The driver asks for a reset while the device does not do any. It goes on as before, memory included, and its status
    /// never reads 0.
    pub(crate) fn put_reset_off(&mut self) {
        self.counters.resets += 1;
        self.was_reset = true;
        self.reset_put_off = true;
    }

    /// Whether FEATURES_OK is kept, as far as the test is concerned.
    pub(crate) fn keeps_features(&mut self) -> bool {
        !self.start_fails_by(StartFault::FeaturesRefused)
    }
}
