//! Memory that comes back: the device must be done with it.

use crate::device::Device;

impl Device {
    /// Takes memory back, unless it is still exposed to the device (`INIT-D-22`).
    pub(crate) fn release(&mut self, start: u64, len: u64) {
        if self.exposes(start, len) {
            let what = format!("{len} bytes at {start:#x} were given back while the device may use them");
            self.log.report("INIT-D-22", what);
        }
        if !self.arena.release(start) {
            self.log.report(
                "INIT-D-22",
                format!("memory at {start:#x} was given back that was not handed out"),
            );
        }
    }

    pub(crate) fn exposes(&self, start: u64, len: u64) -> bool {
        let overlaps = |addr: u64, bytes: u64| addr < start + len && start < addr.saturating_add(bytes);
        if self.was_reset && !self.reset_seen {
            // The reset is not over as far as the driver knows.
            return true;
        }
        let rules = self.chain_rules();
        self.queues.iter().filter_map(|queue| queue.ring.as_ref()).any(|ring| {
            ring.parts().iter().any(|&(addr, bytes)| overlaps(addr, bytes))
                || ring
                    .exposed(&self.arena, rules)
                    .iter()
                    .any(|e| overlaps(e.addr, u64::from(e.len)))
        })
    }
}
