//! What the tests share: a device, the driver on it, buffers, and bookkeeping that nothing gets lost.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::result_large_err, reason = "an error gives the transport back")]
#![allow(unused_imports, reason = "each test file uses its own part")]

mod buffers;
mod configs;
mod dma;
mod queues;
mod registers;
mod rig;
pub(crate) mod steps;
mod vectors;

pub(crate) use buffers::{Scatter, pattern};
pub(crate) use configs::{every_legacy, every_modern, every_ring, narrow};
pub(crate) use dma::Stingy;
pub(crate) use queues::{TestControl, TestQueue, shut_down, start_queue, start_queues};
pub(crate) use registers::{Access, Hooked, register};
pub(crate) use rig::{
    Rig, TestCompletion, TestDisk, TestPci, TestRequest, TestTransport, options, pci_transport, range,
};
pub(crate) use vectors::Capable;
