//! A device made of a script: what each register answers, and a record of every access.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use virtio_core::{DeviceAddr, QueueIndex, QueueSetup, QueueSetupError, QueueSize, Transport};
use virtio_mmio::{Doorbell, MmioTransport, RegisterAccess, probe};

pub(crate) const MAGIC: u32 = 0x7472_6976;

/// One access as the bus saw it: offset, then value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Read8(u32),
    Read16(u32),
    Read32(u32),
    Write8(u32, u8),
    Write32(u32, u32),
}

#[derive(Default)]
struct State {
    answers: HashMap<u32, VecDeque<u32>>,
    log: Vec<Seen>,
}

/// A handle to the scripted device; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Script(Rc<RefCell<State>>);

impl Script {
    /// A window that shows a block device of this version.
    pub(crate) fn block(version: u32) -> Self {
        Self::default()
            .answer(0x000, &[MAGIC])
            .answer(0x004, &[version])
            .answer(0x008, &[2])
    }

    /// Reads at `offset` give these values in turn, the last one for ever.
    pub(crate) fn answer(self, offset: u32, values: &[u32]) -> Self {
        self.0
            .borrow_mut()
            .answers
            .insert(offset, values.iter().copied().collect());
        self
    }

    /// Everything since the last call.
    pub(crate) fn log(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }

    /// The transport of the device, with the log of the probe thrown away.
    pub(crate) fn transport(&self) -> MmioTransport<Script> {
        let transport = probe(self.clone()).device().expect("a device");
        self.log();
        transport
    }

    /// Enables queue `queue` of the device. Returns the answer and the accesses.
    pub(crate) fn enable(&self, queue: u16, setup: &QueueSetup) -> (Result<(), QueueSetupError>, Vec<Seen>) {
        let mut transport = self.transport();
        // SAFETY: the device is a script and touches no memory.
        let enabled = unsafe { transport.enable_queue(QueueIndex(queue), setup) };
        (enabled, self.log())
    }

    fn read(&self, offset: u32, seen: Seen) -> u32 {
        let mut state = self.0.borrow_mut();
        state.log.push(seen);
        let Some(answers) = state.answers.get_mut(&offset) else {
            return 0;
        };
        match answers.len() {
            0 => 0,
            1 => answers[0],
            _ => answers.pop_front().unwrap(),
        }
    }
}

// SAFETY: no device is behind it, so nothing uses any memory.
unsafe impl RegisterAccess for Script {
    type Doorbell = Self;

    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset, Seen::Read8(offset)) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset, Seen::Read16(offset)) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset, Seen::Read32(offset))
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.0.borrow_mut().log.push(Seen::Write8(offset, value));
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.0.borrow_mut().log.push(Seen::Write32(offset, value));
    }

    unsafe fn doorbell(&self) -> Self {
        self.clone()
    }
}

impl Doorbell for Script {
    fn ring(&self, value: u32) {
        self.0.borrow_mut().log.push(Seen::Write32(0x050, value));
    }
}

/// A queue of eight at `base`, in the legacy layout with the device area on the next page.
pub(crate) fn queue_of_eight(base: u64) -> QueueSetup {
    QueueSetup {
        size: QueueSize::new(8).unwrap(),
        descriptor_table: DeviceAddr(base),
        driver_area: DeviceAddr(base + 128),
        device_area: DeviceAddr(base + 4096),
        legacy_align: 4096,
        cpu: None,
        vector: None,
    }
}
