//! The advanced platform-level interrupt controller (APLIC).
//!
//! Register layout after the RISC-V Advanced Interrupt Architecture, "Advanced Platform-Level Interrupt Controller". A source has a
//! trigger, an enable bit and a target: the delivery control of a hart, or an interrupt file and a number in it. An enable bit is set
//! and cleared by a write of its number, so harts need no lock between them.

use virtio_fdt::PhysRange;
use volatile::VolatilePtr;

use crate::mmio;
use crate::source::{Source, Trigger};

const DOMAIN_CONFIG: usize = 0;
/// Reads as the lines, raised or not.
const INPUTS: usize = 0x1D00;
const CLEAR_ENABLES: usize = 0x1F00;
const SET_PENDING_NUMBER: usize = 0x1CDC;
const SET_ENABLE_NUMBER: usize = 0x1EDC;
const CLEAR_ENABLE_NUMBER: usize = 0x1FDC;
/// Of source 0, which does not exist.
const TARGETS: usize = 0x3000;
const DELIVERY_BASE: usize = 0x4000;
const DELIVERY_STRIDE: usize = 32;
const DELIVERY_ENABLE: usize = 0;
const FORCE: usize = 4;
const THRESHOLD: usize = 8;
const CLAIM: usize = 0x1C;

const INTERRUPTS_ON: u32 = 1 << 8;
const DELIVER_MESSAGES: u32 = 1 << 2;

/// Source modes.
const INACTIVE: u32 = 0;
const RISING_EDGE: u32 = 4;
const FALLING_EDGE: u32 = 5;
const LEVEL_HIGH: u32 = 6;
const LEVEL_LOW: u32 = 7;

/// The priority of all sources; the threshold is off.
const PRIORITY: u32 = 1;

/// Where the hart index is in a target register.
const HART_INDEX_SHIFT: u32 = 18;
/// Where the number of the source is in a claim register.
const CLAIMED_SHIFT: u32 = 16;

/// Where interrupts of a source go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target(u32);

impl Target {
    /// The interrupt of this number in the interrupt file with this hart index.
    pub(crate) const fn message(hart_index: u32, id: u32) -> Self {
        Self(hart_index << HART_INDEX_SHIFT | id)
    }
}

/// An APLIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aplic {
    base: usize,
    size_bytes: usize,
    source_count: u32,
}

impl Aplic {
    /// The APLIC with these registers and this many sources; `None` if the registers of its sources lie outside of the block.
    ///
    /// # Safety
    ///
    /// `registers` is the register block of an APLIC of S-mode, mapped one to one, and no other code drives it.
    pub(crate) unsafe fn new(registers: PhysRange, source_count: u32) -> Option<Self> {
        let base = mmio::base_of(registers, 4)?;
        let size_bytes = usize::try_from(registers.size_bytes).ok()?;
        (size_bytes >= DELIVERY_BASE).then_some(Self {
            base,
            size_bytes,
            source_count: source_count.min(Source::LIMIT as u32 - 1),
        })
    }

    fn register(&self, offset: usize) -> VolatilePtr<'static, u32> {
        // SAFETY: all offsets used here lie inside the block that `new` and `Delivery::new` checked and the caller of `new` vouched
        // for. The registers of a source are written by the hart that enabled it, and the rest before there is a second hart.
        unsafe { mmio::register(self.base + offset) }
    }

    fn of_source(&self, first: usize, source: Source) -> VolatilePtr<'static, u32> {
        self.register(first + source.number() as usize * 4)
    }

    /// Brings the controller into a known state, with no source active. It sends messages, or else delivers directly.
    pub(crate) fn reset(&self, sends_messages: bool) {
        self.register(DOMAIN_CONFIG).write(0);
        for number in 0..=self.source_count {
            if number.is_multiple_of(32) {
                self.register(CLEAR_ENABLES + number as usize / 8).write(u32::MAX);
            }
            if let Some(source) = Source::new(number) {
                self.of_source(DOMAIN_CONFIG, source).write(INACTIVE);
            }
        }
        let mode = if sends_messages { DELIVER_MESSAGES } else { 0 };
        self.register(DOMAIN_CONFIG).write(INTERRUPTS_ON | mode);
    }

    /// Whether the controller has this source.
    pub(crate) const fn has(&self, source: Source) -> bool {
        source.number() <= self.source_count
    }

    /// Number of sources.
    pub(crate) const fn source_count(&self) -> u32 {
        self.source_count
    }

    /// Lets the source interrupt its target.
    pub(crate) fn enable(&self, source: Source, target: Target) {
        let mode = match source.trigger() {
            Trigger::RisingEdge => RISING_EDGE,
            Trigger::FallingEdge => FALLING_EDGE,
            Trigger::LevelHigh => LEVEL_HIGH,
            Trigger::LevelLow => LEVEL_LOW,
        };
        self.of_source(DOMAIN_CONFIG, source).write(mode);
        self.of_source(TARGETS, source).write(target.0);
        self.unmask(source);
    }

    /// Cuts the source off. Its enable bit has no effect then.
    pub(crate) fn disable(&self, source: Source) {
        self.of_source(DOMAIN_CONFIG, source).write(INACTIVE);
    }

    /// Keeps the source quiet. A line that is raised meanwhile interrupts once unmasked.
    pub(crate) fn mask(&self, source: Source) {
        self.register(CLEAR_ENABLE_NUMBER).write(source.number());
    }

    /// Ends [`mask`](Self::mask).
    pub(crate) fn unmask(&self, source: Source) {
        self.register(SET_ENABLE_NUMBER).write(source.number());
    }

    /// Whether a source is pending although its line is not raised any more. By the specification such a source is not pending; QEMU
    /// forgets to look, so each interrupt would come twice.
    fn is_stale(&self, source: Source) -> bool {
        let is_level = matches!(self.of_source(DOMAIN_CONFIG, source).read(), LEVEL_HIGH | LEVEL_LOW);
        let word = || self.register(INPUTS + source.number() as usize / 32 * 4).read();
        is_level && word() >> (source.number() % 32) & 1 == 0
    }

    /// Has a line that is still raised send its message again. A message was sent when the line was raised, and no other would
    /// follow. Does nothing to a line that is not raised ("Interrupt delivery by MSI", level-sensitive sources).
    pub(crate) fn look_again(&self, source: Source) {
        if source.trigger().is_level() {
            self.register(SET_PENDING_NUMBER).write(source.number());
        }
    }
}

/// The control of direct delivery to one hart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    aplic: Aplic,
    index: u32,
}

impl Delivery {
    /// The delivery control of that index; `None` if its registers lie outside of the block.
    pub(crate) fn new(aplic: Aplic, index: u32) -> Option<Self> {
        let end = (index as usize + 1)
            .checked_mul(DELIVERY_STRIDE)?
            .checked_add(DELIVERY_BASE)?;
        // The field of the target register has 14 bits.
        (end <= aplic.size_bytes && index < 1 << 14).then_some(Self { aplic, index })
    }

    fn register(&self, offset: usize) -> VolatilePtr<'static, u32> {
        self.aplic
            .register(DELIVERY_BASE + self.index as usize * DELIVERY_STRIDE + offset)
    }

    /// Lets interrupts through to the hart.
    pub(crate) fn reset(&self) {
        self.register(FORCE).write(0);
        self.register(THRESHOLD).write(0);
        self.register(DELIVERY_ENABLE).write(1);
    }

    /// Where sources have to go to come out here.
    pub(crate) const fn target(&self) -> Target {
        Target(self.index << HART_INDEX_SHIFT | PRIORITY)
    }

    /// The controller.
    pub(crate) const fn aplic(&self) -> &Aplic {
        &self.aplic
    }

    /// Takes the pending source of highest priority, or `None` if there is none.
    pub(crate) fn claim(&self) -> Option<Source> {
        // A stale source is not pending any more once it is claimed.
        for _ in 0..self.aplic.source_count {
            let source = Source::new(self.register(CLAIM).read() >> CLAIMED_SHIFT)?;
            if !self.aplic.is_stale(source) {
                return Some(source);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_where_the_specification_says() {
        // Plain memory in place of the registers keeps each value.
        let mut memory = vec![0u32; 0x8000 / 4];
        let registers = PhysRange::new(memory.as_mut_ptr().expose_provenance() as u64, 0x8000).unwrap();
        // SAFETY: the memory outlives the test and is only looked at between the calls.
        let aplic = unsafe { Aplic::new(registers, 96) }.unwrap();
        // SAFETY: an element of the vector. Volatile, because it was written through another pointer.
        let word = |offset: usize| unsafe { core::ptr::from_ref(&memory[offset / 4]).read_volatile() };
        let source = Source::new(33).unwrap();
        assert!(aplic.has(Source::new(96).unwrap()) && !aplic.has(Source::new(97).unwrap()));

        let delivery = Delivery::new(aplic, 2).unwrap();
        aplic.enable(source, delivery.target());
        // `sourcecfg[33]`, `target[33]` and `setienum`.
        assert_eq!(
            (word(33 * 4), word(0x3000 + 33 * 4), word(0x1EDC)),
            (6, 2 << 18 | 1, 33)
        );
        aplic.enable(source, Target::message(3, 33));
        assert_eq!(word(0x3000 + 33 * 4), 3 << 18 | 33);
        aplic.mask(source);
        aplic.look_again(source);
        // `clrienum` and `setipnum`.
        assert_eq!((word(0x1FDC), word(0x1CDC)), (33, 33));
        aplic.disable(source);
        assert_eq!(word(33 * 4), 0);

        delivery.reset();
        assert_eq!(word(0x4040), 1);
        assert_eq!(delivery.claim(), None);
        let set = |offset: usize, value: u32| {
            // SAFETY: an element of the vector, at an address that was exposed.
            unsafe { core::ptr::with_exposed_provenance_mut::<u32>(aplic.base + offset).write_volatile(value) };
        };
        // Claimed without end, as no hardware does: with its line raised, without, and as an edge.
        set(0x405C, 33 << 16 | 1);
        aplic.enable(source, delivery.target());
        set(0x1D04, 2);
        assert_eq!(delivery.claim(), Some(source));
        set(0x1D04, !2);
        assert_eq!(delivery.claim(), None, "stale");
        set(33 * 4, RISING_EDGE);
        assert_eq!(delivery.claim(), Some(source));
        for (sends_messages, config) in [(false, 0x100), (true, 0x104)] {
            aplic.enable(source, delivery.target());
            aplic.reset(sends_messages);
            assert_eq!((word(0), word(33 * 4), word(0x1F0C)), (config, 0, u32::MAX));
        }
    }

    #[test]
    fn delivery_outside_of_the_block_is_refused() {
        let registers = |size| PhysRange::new(0xd00_0000, size).unwrap();
        // SAFETY: no register is accessed.
        let [small, usual] = [0x3000, 0x8000].map(|size| unsafe { Aplic::new(registers(size), 96) });
        assert!(small.is_none());
        let has = |index| Delivery::new(usual.unwrap(), index).is_some();
        assert!(has(511) && !has(512) && !has(u32::MAX));
    }
}
