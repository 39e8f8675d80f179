//! The interrupt controller of QEMU's `virt` machine, a PLIC, as one hart sees it in S-mode.

use core::ptr;

use crate::{Failure, device_tree};

/// Where the registers are, after the PLIC specification, "Memory Map".
const PRIORITIES: usize = 0;
const ENABLES: usize = 0x2000;
const ENABLES_OF_CONTEXT: usize = 0x80;
const CONTEXTS: usize = 0x20_0000;
const BYTES_OF_CONTEXT: usize = 0x1000;
const THRESHOLD: usize = 0;
const CLAIM: usize = 4;

/// What a hart needs of the controller. Copies are the same.
#[derive(Clone, Copy, Debug)]
pub struct Plic {
    base: usize,
    context: usize,
    sources: u32,
}

impl Plic {
    /// That of a hart, as the device tree says, with all its sources off.
    ///
    /// # Errors
    ///
    /// The tree has no PLIC that interrupts this hart in S-mode.
    pub fn of_hart(hart: usize) -> Result<Self, Failure> {
        let none = || Failure::new("no PLIC interrupts this hart");
        let found = device_tree()?.plic()?.ok_or_else(none)?;
        let context = found.supervisor_context(hart as u64)?.ok_or_else(none)? as usize;
        let registers = found.registers;
        let end = CONTEXTS + (context + 1) * BYTES_OF_CONTEXT;
        if registers.size_bytes < end as u64 {
            return Err(none());
        }
        let plic = Self {
            base: registers.base_address as usize,
            context,
            sources: found.source_count,
        };
        for word in 0..=plic.sources / 32 {
            plic.write(plic.enables(word * 32), 0);
        }
        plic.write(plic.context(THRESHOLD), 0);
        Ok(plic)
    }

    /// Lets a source interrupt the hart.
    pub fn enable(&self, source: u32) {
        if source <= self.sources {
            self.write(PRIORITIES + source as usize * 4, 1);
            let enables = self.enables(source);
            self.write(enables, self.read(enables) | 1 << (source % 32));
        }
    }

    /// Takes a source that wants to interrupt, if there is one.
    pub fn claim(&self) -> Option<u32> {
        match self.read(self.context(CLAIM)) {
            0 => None,
            source => Some(source),
        }
    }

    /// Lets a source that was taken interrupt again.
    pub fn complete(&self, source: u32) {
        self.write(self.context(CLAIM), source);
    }

    fn enables(&self, source: u32) -> usize {
        ENABLES + self.context * ENABLES_OF_CONTEXT + source as usize / 32 * 4
    }

    fn context(&self, register: usize) -> usize {
        CONTEXTS + self.context * BYTES_OF_CONTEXT + register
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: a register of the PLIC that the firmware's tree describes, as `of_hart` has checked; nothing is translated.
        unsafe { ptr::with_exposed_provenance::<u32>(self.base + register).read_volatile() }
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: as in `read`. The registers decide which interrupts come, and touch no memory.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(self.base + register).write_volatile(value) };
    }
}
