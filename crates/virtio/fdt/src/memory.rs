//! Main memory and its reservations.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use crate::NodeError;
use crate::property::{bytes, string, wide_number};
use crate::reg::{self, PhysRange};
use crate::walk::{Place, Walk, at_path};

/// Calls `each` with every piece of main memory.
pub(crate) fn for_each_memory(fdt: Fdt<'_>, mut each: impl FnMut(Result<PhysRange, NodeError>)) {
    for place in Walk::new(fdt).filter(is_memory) {
        visit(&place, &mut each);
    }
}

fn is_memory(place: &Place<'_>) -> bool {
    place.ancestors.len() == 1 && place.is_enabled() && matches!(string(&place.node, "device_type"), Ok(Some("memory")))
}

/// Calls `each` with everything that main memory must not be used for: the blob's own reservations first, then the
/// children of `/reserved-memory` that have an address.
pub(crate) fn for_each_reservation(fdt: Fdt<'_>, mut each: impl FnMut(Result<PhysRange, NodeError>)) {
    for entry in fdt.memory_reservations() {
        each(PhysRange::new(entry.address(), entry.size()).ok_or(NodeError::AddressTooWide));
    }
    let Some(parent) = at_path(fdt, "/reserved-memory") else {
        return;
    };
    let mut ancestors = parent.ancestors.clone();
    if ancestors.push(parent.node).is_err() {
        return;
    }
    for node in parent.node.children() {
        // A reservation without `reg` asks for memory anywhere; there is nothing to keep away from yet.
        if bytes(&node, "reg").is_none() {
            continue;
        }
        let ancestors = ancestors.clone();
        visit(&Place { node, ancestors }, &mut each);
    }
}

fn visit(place: &Place<'_>, each: &mut impl FnMut(Result<PhysRange, NodeError>)) {
    match reg::entries(place) {
        Ok(entries) => entries
            .filter(|entry| !matches!(entry, Ok(range) if range.size_bytes == 0))
            .for_each(each),
        Err(error) => each(Err(error)),
    }
}

const INITRD_START: &str = "linux,initrd-start";
const INITRD_END: &str = "linux,initrd-end";

/// The initial RAM disk that `/chosen` names.
pub(crate) fn initrd(chosen: &FdtNode<'_>) -> Result<Option<PhysRange>, NodeError> {
    let (start, end) = (wide_number(chosen, INITRD_START)?, wide_number(chosen, INITRD_END)?);
    let (start, end) = match (start, end) {
        (None, None) => return Ok(None),
        (Some(start), Some(end)) => (start, end),
        (None, _) => return Err(NodeError::MissingProperty(INITRD_START)),
        (_, None) => return Err(NodeError::MissingProperty(INITRD_END)),
    };
    let size_bytes = end.checked_sub(start).ok_or(NodeError::BadValue(INITRD_END))?;
    Ok(PhysRange::new(start, size_bytes).filter(|range| range.size_bytes > 0))
}
