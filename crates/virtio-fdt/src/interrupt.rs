//! Interrupts: which line of which controller.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::property::{bytes, number, take_cells};
use crate::walk::{Place, by_phandle};

/// Most cells an interrupt specifier may have; the widest in use has three or four.
const MAX_SPECIFIER_CELLS: usize = 4;

/// The number by which nodes of one tree refer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Phandle(pub u32);

/// One interrupt of a device: the controller it goes to, and the line there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interrupt {
    /// The controller.
    pub parent: Phandle,
    // Unused cells stay zero, so that comparing values compares interrupts.
    cells: [u32; MAX_SPECIFIER_CELLS],
    used: u8,
}

impl Interrupt {
    /// The first cell of the specifier: the source number at a RISC-V PLIC or APLIC.
    ///
    /// Other kinds of controller put something else first; ask [`specifier`](Self::specifier) for all of it.
    pub const fn number(&self) -> u32 {
        self.cells[0]
    }

    /// The whole specifier, in the terms of the controller.
    pub fn specifier(&self) -> &[u32] {
        self.cells.get(..usize::from(self.used)).unwrap_or(&[])
    }

    fn read(parent: Phandle, cells: &[u8]) -> Result<Self, NodeError> {
        let (words, _) = cells.as_chunks::<4>();
        if words.is_empty() || words.len() > MAX_SPECIFIER_CELLS {
            return Err(NodeError::BadValue("#interrupt-cells"));
        }
        let mut interrupt = Self {
            parent,
            cells: [0; MAX_SPECIFIER_CELLS],
            used: words.len() as u8,
        };
        for (cell, word) in interrupt.cells.iter_mut().zip(words) {
            *cell = u32::from_be_bytes(*word);
        }
        Ok(interrupt)
    }
}

impl core::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Interrupt")
            .field("parent", &self.parent)
            .field("specifier", &self.specifier())
            .finish()
    }
}

/// Answers how many cells an interrupt specifier has at a controller.
///
/// Remembers the last answer: neighbours in a tree mostly share their controller, and finding one walks the whole tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controllers<'a> {
    fdt: Fdt<'a>,
    last: Option<(Phandle, usize)>,
}

impl<'a> Controllers<'a> {
    pub(crate) const fn new(fdt: Fdt<'a>) -> Self {
        Self { fdt, last: None }
    }

    fn specifier_cells(&mut self, controller: Phandle) -> Result<usize, NodeError> {
        const NAME: &str = "#interrupt-cells";
        if let Some((last, cells)) = self.last
            && last == controller
        {
            return Ok(cells);
        }
        let place = by_phandle(self.fdt, controller.0).ok_or(NodeError::UnknownPhandle(controller.0))?;
        match number(&place.node, NAME)?.ok_or(NodeError::MissingProperty(NAME))? as usize {
            cells @ 1..=MAX_SPECIFIER_CELLS => {
                self.last = Some((controller, cells));
                Ok(cells)
            }
            _ => Err(NodeError::BadValue(NAME)),
        }
    }
}

/// The first interrupt of a node, or `None` if it has none.
///
/// `interrupts-extended` wins over `interrupts`, as the specification has it.
pub(crate) fn first(controllers: &mut Controllers<'_>, place: &Place<'_>) -> Result<Option<Interrupt>, NodeError> {
    if let Some(mut rest) = bytes(&place.node, "interrupts-extended") {
        return match next_extended(controllers, &mut rest)? {
            Some((parent, cells)) => Interrupt::read(parent, cells).map(Some),
            None => Err(NodeError::BadLength("interrupts-extended")),
        };
    }
    let Some(mut rest) = bytes(&place.node, "interrupts") else {
        return Ok(None);
    };
    let parent = inherited_parent(place)?;
    let cells = controllers.specifier_cells(parent)?;
    let cells = take_cells(&mut rest, cells).ok_or(NodeError::BadLength("interrupts"))?;
    Interrupt::read(parent, cells).map(Some)
}

/// Cuts the next (controller, specifier) pair off the value of an `interrupts-extended`; `None` at its end.
pub(crate) fn next_extended<'a>(
    controllers: &mut Controllers<'_>,
    rest: &mut &'a [u8],
) -> Result<Option<(Phandle, &'a [u8])>, NodeError> {
    const NAME: &str = "interrupts-extended";
    if rest.is_empty() {
        return Ok(None);
    }
    let [parent] = take_cells(rest, 1).unwrap_or(&[]).as_chunks::<4>().0 else {
        return Err(NodeError::BadLength(NAME));
    };
    let parent = Phandle(u32::from_be_bytes(*parent));
    let cells = controllers.specifier_cells(parent)?;
    let specifier = take_cells(rest, cells).ok_or(NodeError::BadLength(NAME))?;
    Ok(Some((parent, specifier)))
}

/// `interrupt-parent` of the node or of the nearest node above that has one.
fn inherited_parent(place: &Place<'_>) -> Result<Phandle, NodeError> {
    for node in core::iter::once(&place.node).chain(place.ancestors.iter().rev()) {
        if let Some(phandle) = number(node, "interrupt-parent")? {
            return Ok(Phandle(phandle));
        }
    }
    Err(NodeError::NoInterruptParent)
}
