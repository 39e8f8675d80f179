//! The platform-level interrupt controller (PLIC) and its contexts.
//!
//! A PLIC delivers to *contexts*: pairs of a hart and a privilege mode, numbered by their place in the controller's
//! `interrupts-extended`. There is no formula from hart to context; the list has to be read. Firmware overwrites the
//! entries it keeps to itself with all ones, but the places stay.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::cpu::Harts;
use crate::interrupt::{Controller, Controllers, Phandle, next_extended};
use crate::property::{bytes, is_compatible, join, number};
use crate::reg::{self, PhysRange};
use crate::walk::{Place, Walk};

/// Cause number of the supervisor external interrupt (RISC-V privileged specification, `scause`).
const SUPERVISOR_EXTERNAL: u64 = 9;

/// Most contexts a PLIC can have (RISC-V PLIC specification, memory map).
const MAX_CONTEXTS: u32 = 15872;

/// Highest source number a PLIC can have.
const MAX_SOURCES: u32 = 1023;

/// A platform-level interrupt controller.
#[derive(Clone, Copy, Debug)]
pub struct Plic<'a> {
    /// Where the registers are.
    pub registers: PhysRange,
    /// Number of interrupt sources; they are numbered from 1 to this number.
    pub source_count: u32,
    /// The controller itself: compare with the parent of an interrupt.
    pub controller: Controller,
    fdt: Fdt<'a>,
    wiring: &'a [u8],
}

impl<'a> Plic<'a> {
    fn read(fdt: Fdt<'a>, place: &Place<'a>) -> Result<Self, NodeError> {
        const SOURCES: &str = "riscv,ndev";
        const WIRING: &str = "interrupts-extended";
        let source_count = number(&place.node, SOURCES)?.ok_or(NodeError::MissingProperty(SOURCES))?;
        if !(1..=MAX_SOURCES).contains(&source_count) {
            return Err(NodeError::BadValue(SOURCES));
        }
        Ok(Self {
            registers: reg::first(place)?,
            source_count,
            controller: Controller::at(fdt, place),
            fdt,
            wiring: bytes(&place.node, WIRING).ok_or(NodeError::MissingProperty(WIRING))?,
        })
    }

    /// The context that delivers to a hart in S-mode, or `None` if there is no such hart or the PLIC does not reach
    /// its S-mode.
    ///
    /// # Errors
    ///
    /// The controller's `interrupts-extended` or the hart's node is broken.
    pub fn supervisor_context(&self, hart_id: u64) -> Result<Option<u32>, NodeError> {
        for hart in Harts::new(self.fdt) {
            let Ok(hart) = hart else { continue };
            if hart.id == hart_id {
                return match hart.interrupt_controller {
                    Some(controller) => self.context_of(controller),
                    None => Ok(None),
                };
            }
        }
        Ok(None)
    }

    fn context_of(&self, controller: Phandle) -> Result<Option<u32>, NodeError> {
        let mut rest = self.wiring;
        let mut controllers = Controllers::new(self.fdt);
        for context in 0..MAX_CONTEXTS {
            let Some((parent, specifier)) = next_extended(&mut controllers, &mut rest)? else {
                return Ok(None);
            };
            if parent == controller && join(specifier) == Some(SUPERVISOR_EXTERNAL) {
                return Ok(Some(context));
            }
        }
        Err(NodeError::TooMany)
    }
}

/// Iterator over the enabled PLICs of a tree in the order of the blob.
///
/// A controller whose node is broken comes as an error, and the iteration goes on.
#[derive(Debug)]
pub struct Plics<'a> {
    fdt: Fdt<'a>,
    walk: Walk<'a>,
}

impl<'a> Plics<'a> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self {
            fdt,
            walk: Walk::new(fdt),
        }
    }
}

impl<'a> Iterator for Plics<'a> {
    type Item = Result<Plic<'a>, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self
            .walk
            .find(|place| is_compatible(&place.node, &["riscv,plic0", "sifive,plic-1.0.0"]) && place.is_enabled())?;
        Some(Plic::read(self.fdt, &place))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Plic<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Plic {{ registers: {}, source_count: {=u32}, controller: {} }}",
            self.registers,
            self.source_count,
            self.controller
        );
    }
}
