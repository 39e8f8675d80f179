//! What can be wrong with a tree as a whole, and with one node of it.
//!
//! The two are kept apart because they call for different answers. A blob that does not parse is useless; one broken
//! node is a reason to skip that node and go on.

use core::fmt;

/// Why a blob is not a device tree this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FdtError {
    /// There are fewer bytes than the size in the header, or than a header takes.
    Truncated {
        /// Bytes there are.
        have_bytes: usize,
        /// Bytes needed.
        need_bytes: usize,
    },
    /// The first four bytes are not those of a flattened device tree.
    NotADeviceTree,
    /// The blob is of a version that cannot be read as version 17.
    UnsupportedVersion(u32),
    /// The blob contradicts itself.
    Corrupt {
        /// The part of the blob that is broken.
        block: Block,
        /// Where, in bytes from the start of the blob. It can lie outside of the blob if that is the defect.
        offset_bytes: usize,
        /// The defect.
        defect: Defect,
    },
    /// Nodes are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    TooDeep,
}

impl fmt::Display for FdtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { have_bytes, need_bytes } => {
                write!(
                    f,
                    "device tree is cut off: {have_bytes} bytes given, {need_bytes} needed"
                )
            }
            Self::NotADeviceTree => f.write_str("no device tree: the magic number is missing"),
            Self::UnsupportedVersion(version) => write!(f, "device tree version {version} is not supported"),
            Self::Corrupt {
                block,
                offset_bytes,
                defect,
            } => write!(
                f,
                "device tree is corrupt: {block} at offset {offset_bytes:#x}: {defect}"
            ),
            Self::TooDeep => f.write_str("device tree is nested too deeply"),
        }
    }
}

impl core::error::Error for FdtError {}

/// A part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Block {
    /// The header: where the others are.
    Header,
    /// The list of memory reservations.
    Reservations,
    /// The structure: nodes, properties and their values.
    Structure,
    /// The strings: names of properties.
    Strings,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Reservations => "memory reservations",
            Self::Structure => "structure",
            Self::Strings => "strings",
        })
    }
}

/// The defect of a part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Defect {
    /// The size in the header is smaller than the header.
    TooSmall,
    /// The block, or a value or name in it, reaches beyond its bounds.
    Outside,
    /// The block does not start at a multiple of its alignment.
    Misaligned,
    /// The block shares bytes with another one.
    Overlap,
    /// The block ends in the middle of a list, a node or a name.
    Unterminated,
    /// A token with a meaning that it cannot have in this place.
    MisplacedToken(u32),
    /// A token without a meaning.
    UnknownToken(u32),
    /// A name that is empty or not printable, or a root node with a name.
    BadName,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => f.write_str("too small for a header"),
            Self::Outside => f.write_str("reaches outside"),
            Self::Misaligned => f.write_str("misaligned"),
            Self::Overlap => f.write_str("overlaps another block"),
            Self::Unterminated => f.write_str("not terminated"),
            Self::MisplacedToken(token) => write!(f, "token {token} in the wrong place"),
            Self::UnknownToken(token) => write!(f, "unknown token {token:#x}"),
            Self::BadName => f.write_str("bad name"),
        }
    }
}

/// Why one node could not be understood. The rest of the tree is not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NodeError {
    /// A node that must be there is not.
    MissingNode(&'static str),
    /// The node lacks this property.
    MissingProperty(&'static str),
    /// This property has a length that its meaning does not allow.
    BadLength(&'static str),
    /// This property is no NUL-terminated UTF-8 string.
    BadString(&'static str),
    /// This property has a value that its meaning does not allow.
    BadValue(&'static str),
    /// An address, a size or their sum does not fit into 64 bits.
    AddressTooWide,
    /// A bus on the way to the root does not pass the address on (no `ranges`, or none that covers it).
    NotMapped,
    /// Neither the node nor a node above it names an interrupt parent, and no node above it is one.
    NoInterruptParent,
    /// An `interrupt-map` on the way to the controller has no row for the interrupt.
    InterruptNotMapped,
    /// The way to the controller leads through more maps than a tree can have levels.
    InterruptLoop,
    /// A property refers to a phandle that no node has.
    UnknownPhandle(u32),
    /// There are more of the nodes than the caller's table has room for.
    TooMany,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingNode(name) => write!(f, "node `{name}` is missing"),
            Self::MissingProperty(name) => write!(f, "property `{name}` is missing"),
            Self::BadLength(name) => write!(f, "property `{name}` has a wrong length"),
            Self::BadString(name) => write!(f, "property `{name}` is not a string"),
            Self::BadValue(name) => write!(f, "property `{name}` has an impossible value"),
            Self::AddressTooWide => f.write_str("address or size does not fit into 64 bits"),
            Self::NotMapped => f.write_str("address is not mapped to the root of the tree"),
            Self::NoInterruptParent => f.write_str("no interrupt parent"),
            Self::InterruptNotMapped => f.write_str("interrupt has no row in an `interrupt-map`"),
            Self::InterruptLoop => f.write_str("interrupt maps lead in a circle"),
            Self::UnknownPhandle(phandle) => write!(f, "no node has the phandle {phandle:#x}"),
            Self::TooMany => f.write_str("more nodes than there is room for"),
        }
    }
}

impl core::error::Error for NodeError {}
