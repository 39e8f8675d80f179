//! The advanced platform-level interrupt controller (APLIC) of the RISC-V Advanced Interrupt Architecture.
//!
//! It delivers its sources in one of two ways: by a line to each hart (*direct*), as a PLIC does, or as messages to the
//! interrupt files of an IMSIC. A tree has one for M-mode and one for S-mode; firmware marks the former as disabled.

use crate::NodeError;
use crate::interrupt::{Controller, Phandle};
use crate::nodes::{Described, Node};
use crate::plic::MAX_SOURCES;
use crate::property::number;
use crate::reg::{self, PhysRange};
use crate::wiring::Wiring;

/// An advanced platform-level interrupt controller. The specifier of its interrupts has two cells: source and trigger.
#[derive(Clone, Copy, Debug)]
pub struct Aplic<'a> {
    /// Where the registers are.
    pub registers: PhysRange,
    /// Number of interrupt sources; they are numbered from 1 to this number.
    pub source_count: u32,
    /// The controller itself: compare with the parent of an interrupt.
    pub controller: Controller,
    /// The IMSIC to which it sends messages; `None` if it delivers directly.
    pub msi_parent: Option<Phandle>,
    wiring: Option<Wiring<'a>>,
}

impl<'a> Described<'a> for Aplic<'a> {
    const COMPATIBLE: &'static [&'static str] = &["riscv,aplic"];

    fn read(Node { fdt, place }: Node<'_, 'a>) -> Result<Self, NodeError> {
        const SOURCES: &str = "riscv,num-sources";
        let source_count = number(&place.node, SOURCES)?.ok_or(NodeError::MissingProperty(SOURCES))?;
        if !(1..=MAX_SOURCES).contains(&source_count) {
            return Err(NodeError::BadValue(SOURCES));
        }
        let msi_parent = number(&place.node, "msi-parent")?.map(Phandle);
        Ok(Self {
            registers: reg::first(place)?,
            source_count,
            controller: Controller::at(fdt, place),
            msi_parent,
            wiring: match msi_parent {
                Some(_) => None,
                None => Some(Wiring::read(fdt, place)?),
            },
        })
    }
}

impl Aplic<'_> {
    /// The interrupt delivery control (IDC) for a hart in S-mode. `None` if there is no such hart, if the APLIC does not
    /// reach its S-mode, or if it sends messages.
    ///
    /// # Errors
    ///
    /// The controller's `interrupts-extended` or the hart's node is broken.
    pub fn supervisor_delivery(&self, hart_id: u64) -> Result<Option<u32>, NodeError> {
        match &self.wiring {
            Some(wiring) => wiring.supervisor_place(hart_id),
            None => Ok(None),
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Aplic<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Aplic {{ registers: {}, source_count: {=u32}, controller: {}, msi_parent: {} }}",
            self.registers,
            self.source_count,
            self.controller,
            self.msi_parent
        );
    }
}
