//! Interrupts: which line of which controller.
//!
//! A device names its interrupt in the terms of its interrupt parent. That is a controller, or a *nexus*: a node whose
//! `interrupt-map` translates each interrupt of each device to one at another parent. A driver needs the controller at the end.

use dtoolkit::Node;
use dtoolkit::fdt::Fdt;
use heapless::Vec;

use crate::property::{CELL_BYTES, bytes, number, phandle, take_cells};
use crate::walk::{MAX_DEPTH, Place, by_phandle};
use crate::{NodeError, reg};

/// Most cells an interrupt specifier may have; the widest in use has three or four.
const MAX_SPECIFIER_CELLS: usize = 4;

/// Most different parents in the rows of one `interrupt-map`.
const MAX_MAP_PARENTS: usize = 32;

/// The number by which nodes of one tree refer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Phandle(pub u32);

/// An interrupt controller of a tree. Two are equal if they are the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Controller {
    /// How other nodes refer to it; `None` if it has no phandle, as a controller that serves only its children may.
    pub phandle: Option<Phandle>,
    /// The place of its name in the blob, which is different for each node.
    pub(crate) name_offset: usize,
}

impl Controller {
    pub(crate) fn at(fdt: Fdt<'_>, place: &Place<'_>) -> Self {
        Self {
            phandle: phandle(&place.node).map(Phandle),
            name_offset: place.node.name().as_ptr().addr() - fdt.data().as_ptr().addr(),
        }
    }
}

/// One interrupt of a device: the controller it goes to, and the line there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interrupt {
    /// The controller at the end of all maps.
    pub parent: Controller,
    // Unused cells stay zero, so that comparing values compares interrupts.
    cells: [u32; MAX_SPECIFIER_CELLS],
    used: u8,
}

impl Interrupt {
    /// The first cell of the specifier: the source number at a RISC-V PLIC or APLIC.
    ///
    /// With other kinds of controller the first cell is another value; see [`specifier`](Self::specifier).
    pub const fn number(&self) -> u32 {
        self.cells[0]
    }

    /// The whole specifier, in the terms of the controller.
    pub fn specifier(&self) -> &[u32] {
        self.cells.get(..usize::from(self.used)).unwrap_or(&[])
    }

    fn read(parent: Controller, cells: &[u8]) -> Result<Self, NodeError> {
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

/// Finds how many cells an interrupt specifier has at a controller.
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
        if let Some((last, cells)) = self.last
            && last == controller
        {
            return Ok(cells);
        }
        let cells = specifier_cells(&named(self.fdt, controller)?)?;
        self.last = Some((controller, cells));
        Ok(cells)
    }
}

/// `#interrupt-cells` of a controller or nexus.
fn specifier_cells(parent: &Place<'_>) -> Result<usize, NodeError> {
    const NAME: &str = "#interrupt-cells";
    match number(&parent.node, NAME)?.ok_or(NodeError::MissingProperty(NAME))? as usize {
        cells @ 1..=MAX_SPECIFIER_CELLS => Ok(cells),
        _ => Err(NodeError::BadValue(NAME)),
    }
}

fn named(fdt: Fdt<'_>, phandle: Phandle) -> Result<Place<'_>, NodeError> {
    by_phandle(fdt, phandle.0).ok_or(NodeError::UnknownPhandle(phandle.0))
}

/// The first interrupt of a node, or `None` if it has none.
///
/// `interrupts-extended` wins over `interrupts`, as the specification demands.
pub(crate) fn first<'a>(fdt: Fdt<'a>, place: &Place<'a>) -> Result<Option<Interrupt>, NodeError> {
    let (parent, specifier) = if let Some(mut rest) = bytes(&place.node, "interrupts-extended") {
        let (parent, specifier) =
            next_extended(&mut Controllers::new(fdt), &mut rest)?.ok_or(NodeError::BadLength("interrupts-extended"))?;
        (named(fdt, parent)?, specifier)
    } else if let Some(mut rest) = bytes(&place.node, "interrupts") {
        let parent = parent_of(fdt, place)?;
        let specifier = take_cells(&mut rest, specifier_cells(&parent)?).ok_or(NodeError::BadLength("interrupts"))?;
        (parent, specifier)
    } else {
        return Ok(None);
    };
    let signal = Signal {
        parent,
        address: bytes(&place.node, "reg").unwrap_or(&[]),
        specifier,
    };
    signal.resolve(fdt).map(Some)
}

/// Where an interrupt of a device at `address` goes that arrives at `nexus`.
pub(crate) fn at_nexus<'a>(
    fdt: Fdt<'a>,
    nexus: &Place<'a>,
    address: &'a [u8],
    specifier: &'a [u8],
) -> Result<Interrupt, NodeError> {
    let parent = nexus.clone();
    let signal = Signal {
        parent,
        address,
        specifier,
    };
    signal.resolve(fdt)
}

/// An interrupt on its way to a controller.
struct Signal<'a> {
    /// The controller or nexus that it has reached.
    parent: Place<'a>,
    /// The address of its source in the terms of `parent`, perhaps followed by more cells.
    address: &'a [u8],
    /// The interrupt in the terms of `parent`.
    specifier: &'a [u8],
}

impl<'a> Signal<'a> {
    fn resolve(mut self, fdt: Fdt<'a>) -> Result<Interrupt, NodeError> {
        // Maps lead up a tree. A way with more of them than the tree has levels is a circle.
        for _ in 0..MAX_DEPTH {
            let Some(map) = bytes(&self.parent.node, "interrupt-map") else {
                return Interrupt::read(Controller::at(fdt, &self.parent), self.specifier);
            };
            self = self.through(fdt, map)?;
        }
        Err(NodeError::InterruptLoop)
    }

    /// Looks the interrupt up in one map: rows of unit address, specifier, the next parent, and address and specifier in its terms.
    fn through(self, fdt: Fdt<'a>, map: &'a [u8]) -> Result<Self, NodeError> {
        const MAP: &str = "interrupt-map";
        const MASK: &str = "interrupt-map-mask";
        let nexus = &self.parent.node;
        let address_cells = reg::address_cells(nexus)?;
        let cells = address_cells + specifier_cells(&self.parent)?;
        let mask = bytes(nexus, MASK);
        if mask.is_some_and(|mask| mask.len() != cells * CELL_BYTES) {
            return Err(NodeError::BadLength(MASK));
        }
        let address = self
            .address
            .get(..address_cells * CELL_BYTES)
            .ok_or(NodeError::InterruptNotMapped)?;
        let mut widths = Widths::new(fdt);
        let mut rest = map;
        while !rest.is_empty() {
            let row = take_cells(&mut rest, cells).ok_or(NodeError::BadLength(MAP))?;
            let parent = take_phandle(&mut rest).ok_or(NodeError::BadLength(MAP))?;
            let (up_cells, up_specifier_cells) = widths.of(parent)?;
            let up_address = take_cells(&mut rest, up_cells).ok_or(NodeError::BadLength(MAP))?;
            let up_specifier = take_cells(&mut rest, up_specifier_cells).ok_or(NodeError::BadLength(MAP))?;
            let source = address.iter().chain(self.specifier);
            let is_it = match mask {
                Some(mask) => row
                    .iter()
                    .zip(source)
                    .zip(mask)
                    .all(|((a, b), mask)| (a ^ b) & mask == 0),
                None => row.iter().eq(source),
            };
            if is_it {
                return Ok(Self {
                    parent: named(fdt, parent)?,
                    address: up_address,
                    specifier: up_specifier,
                });
            }
        }
        Err(NodeError::InterruptNotMapped)
    }
}

/// How many cells the parents in the rows of one map take for an address and for an interrupt.
///
/// The length of a row depends on its parent, and finding a parent walks the tree. Maps name one or two parents, so these are
/// remembered. A map that names more than any machine has is refused: it could take hours to read.
struct Widths<'a> {
    fdt: Fdt<'a>,
    known: Vec<(Phandle, usize, usize), MAX_MAP_PARENTS>,
}

impl<'a> Widths<'a> {
    const fn new(fdt: Fdt<'a>) -> Self {
        Self { fdt, known: Vec::new() }
    }

    fn of(&mut self, parent: Phandle) -> Result<(usize, usize), NodeError> {
        if let Some((_, address, specifier)) = self.known.iter().find(|(known, ..)| *known == parent) {
            return Ok((*address, *specifier));
        }
        let place = named(self.fdt, parent)?;
        // A controller without the property has no addresses: its children are only interrupts.
        let address = reg::cell_count(&place.node, "#address-cells", 0)?;
        let specifier = specifier_cells(&place)?;
        self.known
            .push((parent, address, specifier))
            .map_err(|_| NodeError::TooMany)?;
        Ok((address, specifier))
    }
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
    let parent = take_phandle(rest).ok_or(NodeError::BadLength(NAME))?;
    let cells = controllers.specifier_cells(parent)?;
    let specifier = take_cells(rest, cells).ok_or(NodeError::BadLength(NAME))?;
    Ok(Some((parent, specifier)))
}

fn take_phandle(rest: &mut &[u8]) -> Option<Phandle> {
    let phandle = take_cells(rest, 1)?.first_chunk::<CELL_BYTES>()?;
    Some(Phandle(u32::from_be_bytes(*phandle)))
}

/// The interrupt parent of a node: the one in `interrupt-parent` of the node or of the nearest node above, unless a node
/// in between is a controller or nexus itself.
fn parent_of<'a>(fdt: Fdt<'a>, place: &Place<'a>) -> Result<Place<'a>, NodeError> {
    let mut place = place.clone();
    loop {
        if let Some(phandle) = number(&place.node, "interrupt-parent")? {
            return named(fdt, Phandle(phandle));
        }
        place = place.parent().ok_or(NodeError::NoInterruptParent)?;
        if ["interrupt-controller", "interrupt-map"]
            .iter()
            .any(|name| bytes(&place.node, name).is_some())
        {
            return Ok(place);
        }
    }
}
