//! `reg`: where a device or a piece of memory is.
//!
//! An address of a node is an address on the bus above it. The `ranges` of each bus translate its addresses to those of the
//! bus above; addresses at the root are those of the CPU.

use dtoolkit::fdt::FdtNode;

use crate::NodeError;
use crate::property::{bytes, join, number, take_cells};
use crate::walk::Place;

/// A range of addresses as the CPU sees them, before any MMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PhysRange {
    /// First physical address of the range.
    pub base_address: u64,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl PhysRange {
    /// A range; `None` if it runs past the end of the 64-bit address space.
    pub const fn new(base_address: u64, size_bytes: u64) -> Option<Self> {
        match base_address.checked_add(size_bytes) {
            Some(_) => Some(Self {
                base_address,
                size_bytes,
            }),
            None => None,
        }
    }

    /// The first physical address after the range.
    ///
    /// Saturates for a range whose end does not fit into 64 bits.
    pub const fn end_address(self) -> u64 {
        self.base_address.saturating_add(self.size_bytes)
    }
}

/// `#address-cells` of a bus; the specification's default is 2.
pub(crate) fn address_cells(bus: &FdtNode<'_>) -> Result<usize, NodeError> {
    cell_count(bus, "#address-cells", 2)
}

/// `#size-cells` of a bus; the specification's default is 1.
pub(crate) fn size_cells(bus: &FdtNode<'_>) -> Result<usize, NodeError> {
    cell_count(bus, "#size-cells", 1)
}

pub(crate) fn cell_count(bus: &FdtNode<'_>, name: &'static str, default: u32) -> Result<usize, NodeError> {
    let cells = number(bus, name)?.unwrap_or(default);
    // Nothing in use has more than PCI's three; the bound keeps the arithmetic below small.
    if cells > 8 {
        return Err(NodeError::BadValue(name));
    }
    Ok(cells as usize)
}

/// The entries of `reg`, each translated to a physical range. No `reg` at all is an error, an empty one is not.
pub(crate) fn entries<'a>(place: &'a Place<'_>) -> Result<Entries<'a>, NodeError> {
    let bus = place.ancestors.last().ok_or(NodeError::NotMapped)?;
    let (address_cells, size_cells) = (address_cells(bus)?, size_cells(bus)?);
    let rest = bytes(&place.node, "reg").ok_or(NodeError::MissingProperty("reg"))?;
    if address_cells == 0 {
        return Err(NodeError::NotMapped);
    }
    Ok(Entries {
        ancestors: &place.ancestors,
        rest,
        address_cells,
        size_cells,
    })
}

/// The first entry of `reg`.
pub(crate) fn first(place: &Place<'_>) -> Result<PhysRange, NodeError> {
    entries(place)?.next().unwrap_or(Err(NodeError::BadLength("reg")))
}

/// The number in `reg` of a node that is numbered rather than mapped, such as a CPU.
pub(crate) fn unit_number(place: &Place<'_>) -> Result<u64, NodeError> {
    let bus = place.ancestors.last().ok_or(NodeError::NotMapped)?;
    let mut rest = bytes(&place.node, "reg").ok_or(NodeError::MissingProperty("reg"))?;
    let cells = take_cells(&mut rest, address_cells(bus)?).ok_or(NodeError::BadLength("reg"))?;
    if cells.is_empty() {
        return Err(NodeError::BadLength("reg"));
    }
    join(cells).ok_or(NodeError::AddressTooWide)
}

/// Iterator over the entries of one `reg`.
pub(crate) struct Entries<'a> {
    ancestors: &'a [FdtNode<'a>],
    rest: &'a [u8],
    address_cells: usize,
    size_cells: usize,
}

impl Entries<'_> {
    fn read(&mut self) -> Result<PhysRange, NodeError> {
        let mut rest = self.rest;
        // The iterator ends with this entry, also if it is broken.
        self.rest = &[];
        let address = take_cells(&mut rest, self.address_cells).ok_or(NodeError::BadLength("reg"))?;
        let size = take_cells(&mut rest, self.size_cells).ok_or(NodeError::BadLength("reg"))?;
        self.rest = rest;
        let address = join(address).ok_or(NodeError::AddressTooWide)?;
        let size_bytes = join(size).ok_or(NodeError::AddressTooWide)?;
        let local = PhysRange::new(address, size_bytes).ok_or(NodeError::AddressTooWide)?;
        to_root(local, self.ancestors)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<PhysRange, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.read())
    }
}

/// Carries a range from the innermost of `buses` up to the root.
pub(crate) fn to_root(mut range: PhysRange, buses: &[FdtNode<'_>]) -> Result<PhysRange, NodeError> {
    for pair in buses.windows(2).rev() {
        let [parent, bus] = pair else { break };
        range = one_level_up(range, bus, parent)?;
    }
    Ok(range)
}

/// Applies the `ranges` of `bus`, whose own addresses are in the terms of `parent`.
fn one_level_up(range: PhysRange, bus: &FdtNode<'_>, parent: &FdtNode<'_>) -> Result<PhysRange, NodeError> {
    let mut rest = bytes(bus, "ranges").ok_or(NodeError::NotMapped)?;
    if rest.is_empty() {
        // The bus passes addresses on as they are.
        return Ok(range);
    }
    let (child_cells, parent_cells, size_cells) = (address_cells(bus)?, address_cells(parent)?, size_cells(bus)?);
    while !rest.is_empty() {
        let mut field = |cells| take_cells(&mut rest, cells).filter(|field| !field.is_empty());
        let (child, up, size) = (field(child_cells), field(parent_cells), field(size_cells));
        let (Some(child), Some(up), Some(size)) = (child, up, size) else {
            return Err(NodeError::BadLength("ranges"));
        };
        // A window whose numbers are wider than 64 bits does not cover the address.
        let (Some(child), Some(up), Some(size)) = (join(child), join(up), join(size)) else {
            continue;
        };
        let Some(offset) = range.base_address.checked_sub(child) else {
            continue;
        };
        if offset.checked_add(range.size_bytes).is_some_and(|end| end <= size) {
            let base = up.checked_add(offset).ok_or(NodeError::AddressTooWide)?;
            return PhysRange::new(base, range.size_bytes).ok_or(NodeError::AddressTooWide);
        }
    }
    Err(NodeError::NotMapped)
}
