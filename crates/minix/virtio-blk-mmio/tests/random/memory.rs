//! Memory of clients, in pages that the device of the model can reach. A page that is taken back is spoilt by the model, and an
//! access of the device to it is a violation.

use std::alloc::Layout as Pages;
use std::sync::Arc;

use minix_abi::Errno;
use virtio_blk_model::{Memory, ModelDma};
use virtio_core::{Dma as _, DmaRegion};
use vm_memory::{Bytes as _, GuestAddress};

use crate::plan::Layout;

pub(crate) const PAGE: u64 = 4096;
/// What fresh memory holds.
const FILLER: u8 = 0xA5;

/// Where the pages come from.
#[derive(Clone)]
pub(crate) struct Machine {
    memory: Arc<Memory>,
    dma: ModelDma,
}

impl Machine {
    pub(crate) fn new(memory: Arc<Memory>, dma: ModelDma) -> Self {
        Self { memory, dma }
    }

    pub(crate) fn read(&self, address: u64, into: &mut [u8]) {
        self.memory
            .read_slice(into, GuestAddress(address))
            .expect("memory of a client");
    }

    pub(crate) fn write(&self, address: u64, from: &[u8]) {
        self.memory
            .write_slice(from, GuestAddress(address))
            .expect("memory of a client");
    }

    fn allocate(&mut self, pages: usize) -> DmaRegion {
        let layout = Pages::from_size_align(pages * PAGE as usize, PAGE as usize).expect("whole pages");
        self.dma
            .allocate(layout)
            .expect("the model has memory enough for the clients")
    }
}

/// A buffer in the address space of a client.
pub(crate) struct Buffer {
    pub(crate) bytes: u64,
    /// Where in its first page it starts.
    skew: u64,
    /// The address of each page; `None` until it is touched.
    pages: Vec<Option<u64>>,
    regions: Vec<DmaRegion>,
    /// All pages were there from the start, and hold filler around the buffer.
    filled: bool,
}

impl Buffer {
    pub(crate) fn new(machine: &mut Machine, bytes: u64, skew: u64, layout: Layout) -> Self {
        let count = (skew + bytes).div_ceil(PAGE) as usize;
        let mut buffer = Self {
            bytes,
            skew,
            pages: vec![None; count],
            regions: Vec::new(),
            filled: layout != Layout::Untouched,
        };
        match layout {
            Layout::Untouched => {}
            Layout::Scattered => {
                for page in 0..count {
                    buffer.bring_in(machine, page);
                }
            }
            Layout::Contiguous => {
                let region = machine.allocate(count);
                for (nth, page) in (0..).zip(&mut buffer.pages) {
                    *page = Some(region.device_addr().get() + nth * PAGE);
                }
                buffer.regions.push(region);
            }
        }
        if buffer.filled {
            for page in &buffer.pages {
                machine.write(page.expect("it is there"), &[FILLER; PAGE as usize]);
            }
        }
        buffer
    }

    fn bring_in(&mut self, machine: &mut Machine, page: usize) -> u64 {
        let region = machine.allocate(1);
        let address = region.device_addr().get();
        self.pages[page] = Some(address);
        self.regions.push(region);
        address
    }

    /// Addresses and lengths of the pages' parts that make up `bytes` bytes from `offset` on. Pages that are not there are
    /// brought in if `touch`.
    pub(crate) fn pieces(
        &mut self,
        machine: &mut Machine,
        offset: u64,
        bytes: u64,
        touch: bool,
    ) -> Result<Vec<(u64, u64)>, Errno> {
        let mut at = self.skew + offset;
        let end = at + bytes;
        let mut pieces = Vec::new();
        while at < end {
            let page = (at / PAGE) as usize;
            let address = match self.pages[page] {
                Some(address) => address,
                None if touch => self.bring_in(machine, page),
                None => return Err(Errno::EFAULT),
            };
            let length = (PAGE - at % PAGE).min(end - at);
            pieces.push((address + at % PAGE, length));
            at += length;
        }
        Ok(pieces)
    }

    pub(crate) fn fill(&mut self, machine: &mut Machine, content: &[u8]) {
        let pieces = self.pieces(machine, 0, self.bytes, true).expect("all is there");
        let mut rest = content;
        for (address, bytes) in pieces {
            let (part, after) = rest.split_at(bytes as usize);
            machine.write(address, part);
            rest = after;
        }
    }

    /// What the client sees in it.
    pub(crate) fn content(&self, machine: &Machine) -> Vec<u8> {
        let mut all = self.whole_pages(machine);
        all.truncate((self.skew + self.bytes) as usize);
        all.split_off(self.skew as usize)
    }

    fn whole_pages(&self, machine: &Machine) -> Vec<u8> {
        let mut all = vec![0; self.pages.len() * PAGE as usize];
        for (page, bytes) in self.pages.iter().zip(all.chunks_mut(PAGE as usize)) {
            if let Some(address) = page {
                machine.read(*address, bytes);
            }
        }
        all
    }

    /// Whether the bytes around it are as they were.
    pub(crate) fn is_alone(&self, machine: &Machine) -> bool {
        let all = self.whole_pages(machine);
        let (before, rest) = all.split_at(self.skew as usize);
        let after = &rest[self.bytes as usize..];
        let filler = [FILLER; PAGE as usize];
        !self.filled || before == &filler[..before.len()] && after == &filler[..after.len()]
    }

    /// Whether a byte is one of a buffer that nothing was put into.
    pub(crate) const fn is_fresh(byte: u8) -> bool {
        byte == FILLER || byte == 0
    }

    /// Whether the device may still use any of its memory, by what `exposes` says.
    pub(crate) fn is_exposed(&self, exposes: impl Fn(u64, u64) -> bool) -> bool {
        let mut regions = self.regions.iter();
        regions.any(|region| exposes(region.device_addr().get(), region.len() as u64))
    }

    /// Takes the memory back and spoils it.
    pub(crate) fn release(self, machine: &mut Machine) {
        for region in self.regions {
            machine.dma.release(region);
        }
    }
}
