//! Property values as numbers and strings.
//!
//! Numbers in a tree are big-endian, and a property can have any length. So each reader here returns an error that names the
//! property.

use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};

use crate::NodeError;

/// Bytes of one cell, the unit in which trees count.
pub(crate) const CELL_BYTES: usize = 4;

/// The raw value of a property, or `None` if the node does not have it.
pub(crate) fn bytes<'a>(node: &FdtNode<'a>, name: &'static str) -> Option<&'a [u8]> {
    // The conversion to bytes cannot fail.
    node.property(name)?.value_as::<&'a [u8]>().ok()
}

/// A property that is one 32-bit number.
pub(crate) fn number(node: &FdtNode<'_>, name: &'static str) -> Result<Option<u32>, NodeError> {
    let Some(value) = bytes(node, name) else {
        return Ok(None);
    };
    match value.as_chunks::<CELL_BYTES>() {
        ([cell], []) => Ok(Some(u32::from_be_bytes(*cell))),
        _ => Err(NodeError::BadLength(name)),
    }
}

/// The number by which other nodes refer to this one. Old trees write it as `linux,phandle`.
///
/// A malformed one counts as none: nothing can refer to the node.
pub(crate) fn phandle(node: &FdtNode<'_>) -> Option<u32> {
    ["phandle", "linux,phandle"]
        .into_iter()
        .find_map(|name| number(node, name).ok().flatten())
}

/// A property that is a number of one or two cells, as frequencies are.
pub(crate) fn wide_number(node: &FdtNode<'_>, name: &'static str) -> Result<Option<u64>, NodeError> {
    match bytes(node, name) {
        None => Ok(None),
        Some(value) if matches!(value.len(), 4 | 8) => Ok(Some(join(value).ok_or(NodeError::BadLength(name))?)),
        Some(_) => Err(NodeError::BadLength(name)),
    }
}

/// A property that is one string, without its terminator.
pub(crate) fn string<'a>(node: &FdtNode<'a>, name: &'static str) -> Result<Option<&'a str>, NodeError> {
    let Some(value) = bytes(node, name) else {
        return Ok(None);
    };
    let text = value.strip_suffix(b"\0").ok_or(NodeError::BadString(name))?;
    let text = core::str::from_utf8(text).map_err(|_| NodeError::BadString(name))?;
    if text.contains('\0') {
        return Err(NodeError::BadString(name));
    }
    Ok(Some(text))
}

/// Whether `compatible` lists one of `names`.
///
/// A node whose `compatible` is broken is compatible with nothing; that is how it drops out of every search.
pub(crate) fn is_compatible(node: &FdtNode<'_>, names: &[&str]) -> bool {
    let Some(list) = bytes(node, "compatible") else {
        return false;
    };
    list.split(|&byte| byte == 0)
        .any(|entry| names.iter().any(|name| name.as_bytes() == entry))
}

/// Whether the node may be used: `status` is absent, `okay` or `ok`.
///
/// Anything else (`disabled`, `reserved`, `fail…`) and any unknown value mean that the node is not to be used.
pub(crate) fn is_enabled(node: &FdtNode<'_>) -> bool {
    matches!(bytes(node, "status"), None | Some(b"okay\0" | b"ok\0"))
}

/// Reads big-endian cells as one number; `None` if it has a value of more than 64 bits or is no whole number of cells.
pub(crate) fn join(cells: &[u8]) -> Option<u64> {
    let (cells, []) = cells.as_chunks::<CELL_BYTES>() else {
        return None;
    };
    cells.iter().try_fold(0u64, |value, cell| {
        // Leading zero cells do no harm, which is why the width is judged by value.
        let shifted = value.checked_mul(1 << 32)?;
        Some(shifted | u64::from(u32::from_be_bytes(*cell)))
    })
}

/// Cuts the first `cells` cells off `rest`; `None` if they are not there.
pub(crate) fn take_cells<'a>(rest: &mut &'a [u8], cells: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(cells.checked_mul(CELL_BYTES)?)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_join_big_endian() {
        assert_eq!(join(&[]), Some(0));
        assert_eq!(join(&[0, 0, 0, 7]), Some(7));
        assert_eq!(join(&[0, 0, 0, 1, 0x80, 0, 0, 2]), Some(0x1_8000_0002));
        assert_eq!(
            join(&[0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 1]),
            Some(0xff00_0000_0000_0001)
        );
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(join(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(join(&[0, 0, 1]), None);
    }

    #[test]
    fn cells_are_taken_in_order() {
        let mut rest: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 2];
        assert_eq!(take_cells(&mut rest, 1), Some(&[0, 0, 0, 1][..]));
        assert_eq!(take_cells(&mut rest, 2), None);
        assert_eq!(take_cells(&mut rest, 1), Some(&[0, 0, 0, 2][..]));
        assert_eq!(take_cells(&mut rest, usize::MAX), None);
    }
}
