//! What is measured.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{Other, Ours};

/// A driver, and the chains it puts requests into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// This driver as it is by default.
    Ours,
    /// This driver without indirect tables.
    OursDirect,
    /// This driver with an indirect table for each request.
    OursIndirect,
    /// The crate `virtio-driver`, which knows direct chains only.
    VirtioDriver,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ours, Self::OursDirect, Self::OursIndirect, Self::VirtioDriver];

    /// The driver's name in a row of the benchmark.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Ours | Self::OursDirect | Self::OursIndirect => "ours-native",
            Self::VirtioDriver => "virtio-driver",
        }
    }

    /// The chains, in the words of a row.
    pub fn chains(self) -> &'static str {
        match self {
            Self::Ours => "either",
            Self::OursDirect | Self::VirtioDriver => "direct",
            Self::OursIndirect => "indirect",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::OursDirect => "ours-direct",
            Self::OursIndirect => "ours-indirect",
            Self::VirtioDriver => "virtio-driver",
        })
    }
}

/// A driver with buffers for [`MAX_DEPTH`](crate::MAX_DEPTH) reads of [`REQUEST_BYTES`](crate::REQUEST_BYTES) each.
///
/// A request that fails ends the program: nothing that was measured with it would be worth anything.
pub trait Contender {
    /// Puts `count` reads into the queue. The caller keeps count of what is in flight.
    fn submit(&mut self, count: usize);

    /// Shows them to the device, and rings its doorbell if it asks for that.
    fn publish(&mut self);

    /// Both at once, in the way that the driver has for batches: the device may start before the last read is there.
    fn start(&mut self, count: usize) {
        self.submit(count);
        self.publish();
    }

    /// How often the doorbell was rung so far.
    fn notifies(&self) -> u64;

    /// Takes the completions that are there, and returns how many.
    fn complete(&mut self) -> usize;

    /// How many completions are there.
    fn completed(&mut self) -> usize;
}

/// Starts a driver on the back-end at `socket`.
///
/// # Errors
///
/// There is no back-end, or its device does not come up.
pub fn start(choice: Choice, socket: &Path) -> Result<Box<dyn Contender>> {
    Ok(match choice {
        Choice::Ours | Choice::OursDirect | Choice::OursIndirect => Box::new(Ours::start(choice, socket)?),
        Choice::VirtioDriver => Box::new(Other::start(socket)?),
    })
}
