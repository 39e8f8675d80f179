//! The platform-level interrupt controller (PLIC).
//!
//! Register layout after the RISC-V PLIC specification, "Memory Map". Only what one context needs is here: a source has
//! a priority (zero means never), a context has an enable bit per source, a threshold, and the claim register.

use virtio_fdt::PhysRange;
use volatile::VolatilePtr;

use crate::mmio;
use crate::source::Source;

const ENABLE_BASE: usize = 0x2000;
const ENABLE_STRIDE: usize = 0x80;
const CONTEXT_BASE: usize = 0x20_0000;
const CONTEXT_STRIDE: usize = 0x1000;
/// Most contexts the layout has room for.
const MAX_CONTEXTS: usize = 15872;
const THRESHOLD: usize = 0;
const CLAIM: usize = 4;

/// The priority a source gets when it may interrupt; the threshold below it is zero.
const PRIORITY_ON: u32 = 1;
/// The priority at which a source never interrupts.
const PRIORITY_OFF: u32 = 0;

/// One context of a PLIC: the view that one hart has in one privilege mode.
#[derive(Clone, Copy, Debug)]
pub struct Plic {
    base: usize,
    context: usize,
    source_count: u32,
}

impl Plic {
    /// The context numbered `context` of the PLIC with these registers and this many sources.
    ///
    /// `None` if the registers of the context lie outside of the block.
    ///
    /// # Safety
    ///
    /// `registers` is the register block of a PLIC, mapped one to one, and no other code drives this context or the
    /// priorities of the sources used through it.
    pub unsafe fn new(registers: PhysRange, context: u32, source_count: u32) -> Option<Self> {
        let base = mmio::base_of(registers, 4)?;
        let context = usize::try_from(context)
            .ok()
            .filter(|&context| context < MAX_CONTEXTS)?;
        let end = context
            .checked_mul(CONTEXT_STRIDE)?
            .checked_add(CONTEXT_BASE + CONTEXT_STRIDE)?;
        (end as u64 <= registers.size_bytes).then_some(Self {
            base,
            context,
            source_count: source_count.min(Source::LIMIT as u32 - 1),
        })
    }

    fn register(&self, offset: usize) -> VolatilePtr<'static, u32> {
        // SAFETY: all offsets used here lie inside the block that `new` checked and its caller vouched for: priorities
        // and enables lie below the contexts, the enable words of context c below those of the last possible context.
        unsafe { mmio::register(self.base + offset) }
    }

    fn enable_word(&self, source: Source) -> VolatilePtr<'static, u32> {
        self.register(ENABLE_BASE + self.context * ENABLE_STRIDE + source.number() as usize / 32 * 4)
    }

    fn context_register(&self, offset: usize) -> VolatilePtr<'static, u32> {
        self.register(CONTEXT_BASE + self.context * CONTEXT_STRIDE + offset)
    }

    /// Whether the controller has this source.
    pub const fn has(&self, source: Source) -> bool {
        source.number() <= self.source_count
    }

    /// Number of sources.
    pub const fn source_count(&self) -> u32 {
        self.source_count
    }

    /// Brings the context into a known state: no source enabled, none held back by the threshold.
    pub fn reset_context(&self) {
        for first in (0..=self.source_count).step_by(32) {
            let word = first as usize / 32 * 4;
            self.register(ENABLE_BASE + self.context * ENABLE_STRIDE + word)
                .write(0);
        }
        self.context_register(THRESHOLD).write(0);
    }

    /// Lets the source interrupt this context; whether it does is up to [`mask`](Self::mask).
    pub fn enable(&self, source: Source) {
        self.enable_word(source)
            .update(|word| word | 1 << (source.number() % 32));
    }

    /// Cuts the source off from this context.
    pub fn disable(&self, source: Source) {
        self.enable_word(source)
            .update(|word| word & !(1 << (source.number() % 32)));
    }

    /// Keeps the source quiet. A line that is raised meanwhile interrupts once unmasked.
    pub fn mask(&self, source: Source) {
        self.register(source.number() as usize * 4).write(PRIORITY_OFF);
    }

    /// Ends [`mask`](Self::mask).
    pub fn unmask(&self, source: Source) {
        self.register(source.number() as usize * 4).write(PRIORITY_ON);
    }

    /// Takes the pending source of highest priority, or `None` if there is none.
    pub fn claim(&self) -> Option<Source> {
        Source::new(self.context_register(CLAIM).read())
    }

    /// Ends the handling of a claimed source.
    pub fn complete(&self, source: Source) {
        self.context_register(CLAIM).write(source.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_where_the_specification_says() {
        // Plain memory in place of the registers keeps each value.
        let mut memory = vec![0u32; 0x60_0000 / 4];
        let registers = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x60_0000).unwrap();
        // SAFETY: the memory outlives the test and is only looked at between the calls.
        let plic = unsafe { Plic::new(registers, 3, 95) }.unwrap();
        // SAFETY: an element of the vector. Volatile, because it was written through another pointer.
        let word = |offset: usize| unsafe { core::ptr::from_ref(&memory[offset / 4]).read_volatile() };
        let [first, last] = [33, 63].map(|number| Source::new(number).unwrap());
        plic.enable(first);
        plic.enable(last);
        assert_eq!(word(0x2000 + 3 * 0x80 + 4), 0x8000_0002);
        plic.disable(first);
        assert_eq!(word(0x2000 + 3 * 0x80 + 4), 0x8000_0000);
        plic.reset_context();
        assert_eq!(word(0x2000 + 3 * 0x80 + 4), 0);
        plic.unmask(first);
        assert_eq!(word(33 * 4), 1);
        plic.mask(first);
        assert_eq!(word(33 * 4), 0);
        assert_eq!(plic.claim(), None);
        plic.complete(last);
        assert_eq!((word(0x20_3004), plic.claim()), (63, Some(last)));
    }

    #[test]
    fn contexts_outside_of_the_block_are_refused() {
        for (size, context, fits) in [(0x60_0000, 0x3ff, true), (0x60_0000, 0x400, false), (0x1000, 0, false)] {
            let registers = PhysRange::new(0xc00_0000, size).unwrap();
            // SAFETY: no register is accessed.
            let plic = unsafe { Plic::new(registers, context, 95) };
            assert_eq!(plic.is_some(), fits, "{context:#x}");
        }
    }
}
