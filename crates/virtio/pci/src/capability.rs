//! The capability list of a function, and the structures of a VirtIO device that it names.

use core::fmt;

use pci_types::ConfigRegionAccess;

use crate::registers::{common, isr};
use crate::{BarError, BarRange, Bars, MapBar, PciFunction};

/// Where the list starts, in bytes.
const POINTER: u8 = 0x34;
/// Below this, configuration space is the header.
const FIRST: u8 = 0x40;
/// As many capabilities as configuration space has room for.
const MOST: u8 = 48;
/// The id of a vendor-specific capability. Those of VirtIO have it.
const VENDOR_SPECIFIC: u8 = 0x09;
/// The bytes of a VirtIO capability, and of one that has one more register at its end.
const BYTES: u8 = 16;
const LONG_BYTES: u8 = 20;
/// No more than this of a device configuration is mapped (`PCI-D-17`).
const CONFIG_BYTES: u32 = 4096;

/// The capability list cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ListError {
    /// It points into the header.
    #[error("the capability list points into the header ({0:#x})")]
    BadPointer(u8),
    /// It has more entries than there is room for: it runs in a circle.
    #[error("the capability list has no end")]
    Endless,
}

/// A structure of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Structure {
    /// Features, status and queues.
    Common,
    /// Doorbells.
    Notify,
    /// Interrupt status.
    Isr,
    /// The device's own configuration.
    Device,
    /// Registers by way of configuration space.
    CfgAccess,
    /// The vectors of MSI-X.
    MsixTable,
    /// The pending bits of MSI-X.
    MsixPending,
    /// The legacy registers.
    Legacy,
}

impl Structure {
    /// The number of its kind in a VirtIO capability; 0: no VirtIO capability names it.
    const fn cfg_type(self) -> u8 {
        match self {
            Self::Common => 1,
            Self::Notify => 2,
            Self::Isr => 3,
            Self::Device => 4,
            Self::CfgAccess => 5,
            Self::MsixTable | Self::MsixPending | Self::Legacy => 0,
        }
    }

    /// The least bytes with which it can be used, and its alignment.
    const fn least(self) -> (u32, u32) {
        match self {
            Self::Common => (common::BYTES, 4),
            Self::Notify => (2, 2),
            Self::Isr => (isr::STATUS.end(), 1),
            Self::Device => (1, 4),
            Self::CfgAccess | Self::MsixTable | Self::MsixPending | Self::Legacy => (0, 1),
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Common => "common configuration",
            Self::Notify => "notification structure",
            Self::Isr => "interrupt status",
            Self::Device => "device configuration",
            Self::CfgAccess => "configuration access capability",
            Self::MsixTable => "MSI-X table",
            Self::MsixPending => "pending bits of MSI-X",
            Self::Legacy => "legacy registers",
        })
    }
}

/// Why a structure cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StructureError {
    /// No capability names it.
    #[error("the device does not have it")]
    Missing,
    /// The capability list ends in an error before it.
    #[error("{0}")]
    List(ListError),
    /// Its capability is shorter than specified, or goes past the end of configuration space.
    #[error("its capability is too short")]
    CapabilityTooShort,
    /// It is shorter than its registers.
    #[error("it is too short")]
    TooShort,
    /// It starts where its registers would not be aligned.
    #[error("it is not aligned")]
    Misaligned,
    /// It does not lie in a BAR that the machine has assigned.
    #[error("{0}")]
    Bar(BarError),
    /// The kernel could not map it.
    #[error("it cannot be mapped")]
    NotMapped,
    /// It was taken before, and there is one of it.
    #[error("it is in use already")]
    InUse,
}

impl From<BarError> for StructureError {
    fn from(cause: BarError) -> Self {
        Self::Bar(cause)
    }
}

impl From<ListError> for StructureError {
    fn from(cause: ListError) -> Self {
        Self::List(cause)
    }
}

/// One entry of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capability {
    /// Where it starts in configuration space: a multiple of four.
    pub(crate) at: u8,
    pub(crate) id: u8,
}

impl Capability {
    /// Where byte `offset` of the capability is; `None` past the end of configuration space.
    pub(crate) fn byte(self, offset: u8) -> Option<u8> {
        self.at.checked_add(offset)
    }
}

/// The capabilities of a function, in the order of the list. It ends after the first error.
pub(crate) struct Capabilities<'f, C> {
    function: &'f PciFunction<C>,
    next: u8,
    left: u8,
}

impl<'f, C: ConfigRegionAccess> Capabilities<'f, C> {
    pub(crate) fn of(function: &'f PciFunction<C>) -> Self {
        let next = if function.has_capability_list() {
            function.read_u8(POINTER)
        } else {
            0
        };
        Self {
            function,
            next,
            left: MOST,
        }
    }

    /// The first capability with this id.
    pub(crate) fn find_id(mut self, id: u8) -> Result<Option<Capability>, ListError> {
        self.find_map(|found| match found {
            Ok(capability) => (capability.id == id).then_some(Ok(capability)),
            Err(error) => Some(Err(error)),
        })
        .transpose()
    }
}

impl<C: ConfigRegionAccess> Iterator for Capabilities<'_, C> {
    type Item = Result<Capability, ListError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The low bits are reserved, and not part of the pointer.
        let at = self.next & !3;
        if at == 0 {
            return None;
        }
        self.next = 0;
        if at < FIRST {
            return Some(Err(ListError::BadPointer(at)));
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(ListError::Endless));
        };
        self.left = left;
        let [id, next, ..] = self.function.read(at).to_le_bytes();
        self.next = next;
        Some(Ok(Capability { at, id }))
    }
}

/// The fields of a VirtIO capability, unchecked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtioCapability {
    /// Where it starts in configuration space.
    pub(crate) at: u8,
    bar: u8,
    offset: u32,
    length: u32,
    /// For doorbells: how far apart they are, in bytes.
    pub(crate) multiplier: u32,
}

impl VirtioCapability {
    /// Reads the capability if it names `structure` (`PCI-D-09`). It may be longer than specified (`PCI-D-11`).
    fn read<C: ConfigRegionAccess>(
        function: &PciFunction<C>,
        capability: Capability,
        structure: Structure,
    ) -> Option<Result<Self, StructureError>> {
        if cfg_type(function, capability) != Some(structure.cfg_type()) {
            return None;
        }
        let [_, _, length, _] = function.read(capability.at).to_le_bytes();
        let long = matches!(structure, Structure::Notify | Structure::CfgAccess);
        let needed = if long { LONG_BYTES } else { BYTES };
        if length < needed || capability.byte(needed - 1).is_none() {
            return Some(Err(StructureError::CapabilityTooShort));
        }
        let at = capability.at;
        Some(Ok(Self {
            at,
            bar: function.read_u8(at + 4),
            offset: function.read(at + 8),
            length: function.read(at + 12),
            multiplier: if structure == Structure::Notify {
                function.read(at + 16)
            } else {
                0
            },
        }))
    }

    /// The piece of a BAR to be mapped, no longer than needed (`PCI-D-13`, `PCI-D-14`).
    fn range(&self, bars: &Bars, structure: Structure) -> Result<BarRange, StructureError> {
        let (least, align) = structure.least();
        if self.length < least {
            return Err(StructureError::TooShort);
        }
        if !self.offset.is_multiple_of(align) {
            return Err(StructureError::Misaligned);
        }
        let most = match structure {
            Structure::Common => common::ALL_BYTES,
            // The last of 65,536 offsets, and four bytes there.
            Structure::Notify => self.multiplier.saturating_mul(0xFFFF).saturating_add(4),
            Structure::Device => CONFIG_BYTES,
            _ => least,
        };
        Ok(bars.range(structure, (self.bar, self.offset), least, most.min(self.length))?)
    }
}

/// The number of the structure, if this capability is vendor-specific.
fn cfg_type<C: ConfigRegionAccess>(function: &PciFunction<C>, capability: Capability) -> Option<u8> {
    let [id, _, _, cfg_type] = function.read(capability.at).to_le_bytes();
    (id == VENDOR_SPECIFIC && capability.id == id).then_some(cfg_type)
}

/// Whether the function has a capability of the modern interface, sound or not (`LEG-D-13`).
pub(crate) fn has_modern<C: ConfigRegionAccess>(function: &PciFunction<C>) -> Result<bool, ListError> {
    for capability in Capabilities::of(function) {
        if matches!(cfg_type(function, capability?), Some(1..=4)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first capability of `structure`.
pub(crate) fn find<C: ConfigRegionAccess>(
    function: &PciFunction<C>,
    structure: Structure,
) -> Result<VirtioCapability, StructureError> {
    Capabilities::of(function)
        .find_map(|found| match found {
            Ok(capability) => VirtioCapability::read(function, capability, structure),
            Err(error) => Some(Err(error.into())),
        })
        .unwrap_or(Err(StructureError::Missing))
}

/// Maps the first usable one of the capabilities of `structure` (`PCI-D-10`): sound, in a BAR that is assigned (`PCI-D-12`),
/// and of a kind that the kernel can map. If there is none, the error is that of the first.
pub(crate) fn map_first<C: ConfigRegionAccess, M: MapBar>(
    function: &PciFunction<C>,
    bars: &Bars,
    structure: Structure,
    mapper: &mut M,
) -> Result<(VirtioCapability, BarRange, M::Window), StructureError> {
    let mut first = None;
    for found in Capabilities::of(function) {
        let result = match found {
            Ok(capability) => match VirtioCapability::read(function, capability, structure) {
                Some(result) => result.and_then(|capability| {
                    let range = capability.range(bars, structure)?;
                    let window = mapper.map(&range).ok_or(StructureError::NotMapped)?;
                    Ok((capability, range, window))
                }),
                None => continue,
            },
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(mapped) => return Ok(mapped),
            Err(error) => {
                warn!("a capability of the device cannot be used");
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or(StructureError::Missing))
}
