//! The platform-level interrupt controller (PLIC) and its contexts.
//!
//! A PLIC delivers to *contexts*: pairs of a hart and a privilege mode, numbered by their place in the controller's
//! `interrupts-extended`.

use crate::NodeError;
use crate::interrupt::Controller;
use crate::nodes::{Described, Node};
use crate::property::number;
use crate::reg::{self, PhysRange};
use crate::wiring::Wiring;

/// Highest source number a PLIC or an APLIC can have.
pub(crate) const MAX_SOURCES: u32 = 1023;

/// A platform-level interrupt controller.
#[derive(Clone, Copy, Debug)]
pub struct Plic<'a> {
    /// Where the registers are.
    pub registers: PhysRange,
    /// Number of interrupt sources; they are numbered from 1 to this number.
    pub source_count: u32,
    /// The controller itself: compare with the parent of an interrupt.
    pub controller: Controller,
    wiring: Wiring<'a>,
}

impl<'a> Described<'a> for Plic<'a> {
    const COMPATIBLE: &'static [&'static str] = &["riscv,plic0", "sifive,plic-1.0.0"];

    fn read(Node { fdt, place }: Node<'_, 'a>) -> Result<Self, NodeError> {
        const SOURCES: &str = "riscv,ndev";
        let source_count = number(&place.node, SOURCES)?.ok_or(NodeError::MissingProperty(SOURCES))?;
        if !(1..=MAX_SOURCES).contains(&source_count) {
            return Err(NodeError::BadValue(SOURCES));
        }
        Ok(Self {
            registers: reg::first(place)?,
            source_count,
            controller: Controller::at(fdt, place),
            wiring: Wiring::read(fdt, place)?,
        })
    }
}

impl Plic<'_> {
    /// The context that delivers to a hart in S-mode, or `None` if there is no such hart or the PLIC does not reach
    /// its S-mode.
    ///
    /// # Errors
    ///
    /// The controller's `interrupts-extended` or the hart's node is broken.
    pub fn supervisor_context(&self, hart_id: u64) -> Result<Option<u32>, NodeError> {
        self.wiring.supervisor_place(hart_id)
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
