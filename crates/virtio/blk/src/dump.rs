//! A picture of a device and its queue for people.

use core::fmt;

use virtio_core::Transport;
use virtqueue::QueueState;

use crate::DeviceControl;

/// Registers, features and queue state; printed with [`Display`](fmt::Display).
#[derive(Debug)]
pub struct Dump<'d, T> {
    control: &'d DeviceControl<T>,
    ring: QueueState,
    requests: u16,
    odd_lengths: u64,
}

impl<'d, T: Transport> Dump<'d, T> {
    pub(crate) fn new(control: &'d DeviceControl<T>, ring: QueueState, requests: u16, odd_lengths: u64) -> Self {
        Self {
            control,
            ring,
            requests,
            odd_lengths,
        }
    }
}

impl<T: Transport> fmt::Display for Dump<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outcome = Ok(());
        self.control.transport().visit_registers(&mut |name, value| {
            if outcome.is_ok() {
                outcome = writeln!(f, "{name:<20} {value:#x}");
            }
        });
        outcome?;
        writeln!(
            f,
            "{:<20} {:#x}",
            "features offered",
            self.control.offered_features().bits()
        )?;
        writeln!(
            f,
            "{:<20} {:#x}",
            "features accepted",
            self.control.accepted_features().bits()
        )?;
        let ring = &self.ring;
        writeln!(
            f,
            "queue of {}: {} free, {} chains with the device, {} not published, {} requests",
            ring.size, ring.free, ring.in_flight, ring.unpublished, self.requests
        )?;
        writeln!(
            f,
            "available index {}, used index {} (taken up to {}), used flags {:#x}",
            ring.available_index, ring.used_index, ring.used_seen, ring.used_flags
        )?;
        write!(
            f,
            "event index {}, avail_event {}, ",
            if ring.event_idx { "on" } else { "off" },
            ring.avail_event
        )?;
        match ring.indirect_entries {
            0 => write!(f, "direct chains")?,
            entries => write!(f, "indirect tables of {entries}")?,
        }
        write!(f, ", odd used lengths {}", self.odd_lengths)?;
        if let Some(fault) = ring.fault {
            write!(f, "\nstopped: {fault}")?;
        }
        Ok(())
    }
}
