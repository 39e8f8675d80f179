//! Which place of a controller's list belongs to which hart.
//!
//! A controller is wired to harts by its `interrupts-extended`: one entry for each context of a PLIC, delivery control of an
//! APLIC or interrupt file of an IMSIC. There is no formula from hart to place; the list has to be read. Firmware overwrites
//! the entries it keeps to itself with all ones, but the places stay.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::cpu::Harts;
use crate::interrupt::{Controllers, next_extended};
use crate::property::{bytes, join};
use crate::walk::Place;

/// Cause number of the supervisor external interrupt (RISC-V privileged specification, `scause`).
const SUPERVISOR_EXTERNAL: u64 = 9;

/// Most entries that are read: the most contexts a PLIC can have (RISC-V PLIC specification, memory map).
const MAX_ENTRIES: u32 = 15872;

const WIRING: &str = "interrupts-extended";

/// The list of a controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wiring<'a> {
    fdt: Fdt<'a>,
    entries: &'a [u8],
}

impl<'a> Wiring<'a> {
    pub(crate) fn read(fdt: Fdt<'a>, place: &Place<'a>) -> Result<Self, NodeError> {
        let entries = bytes(&place.node, WIRING).ok_or(NodeError::MissingProperty(WIRING))?;
        Ok(Self { fdt, entries })
    }

    /// The place of the entry that delivers to a hart in S-mode; `None` if there is no such hart or entry.
    pub(crate) fn supervisor_place(&self, hart_id: u64) -> Result<Option<u32>, NodeError> {
        let mut harts = Harts::new(self.fdt).flatten();
        let hart = harts.find(|hart| hart.id == hart_id);
        let Some(wanted) = hart.and_then(|hart| hart.interrupt_controller) else {
            return Ok(None);
        };
        let mut rest = self.entries;
        let mut controllers = Controllers::new(self.fdt);
        for place in 0..MAX_ENTRIES {
            let Some((parent, specifier)) = next_extended(&mut controllers, &mut rest)? else {
                return Ok(None);
            };
            if parent == wanted && join(specifier) == Some(SUPERVISOR_EXTERNAL) {
                return Ok(Some(place));
            }
        }
        Err(NodeError::TooMany)
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> Result<u32, NodeError> {
        let mut rest = self.entries;
        let mut controllers = Controllers::new(self.fdt);
        for count in 0..MAX_ENTRIES {
            if next_extended(&mut controllers, &mut rest)?.is_none() {
                return Ok(count);
            }
        }
        Err(NodeError::TooMany)
    }
}
