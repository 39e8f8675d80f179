//! Finding out what a function is, and reaching its registers.

use pci_types::{CommandRegister, ConfigRegionAccess, HeaderType};
use virtio_core::DeviceType;

use crate::capability::{self, Structure, StructureError};
use crate::legacy::{Legacy, MOST_BYTES};
use crate::modern::Modern;
use crate::msix::MsixCapability;
use crate::registers::legacy::CONFIG_WITH_VECTORS;
use crate::transport::{Identity, Registers};
use crate::{BarRange, BarSpace, Bars, ListError, MapBar, PciFunction, PciTransport, VirtioId};

/// A device of this type has no configuration of its own (entropy).
const WITHOUT_CONFIG: DeviceType = DeviceType(4);

/// Why a function cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ProbeError {
    /// No function answers at the address.
    #[error("no function is there")]
    Empty,
    /// The header is that of a bridge, or of another function that is no endpoint.
    #[error("the function is no endpoint")]
    NotAnEndpoint,
    /// Its ids are not those of a VirtIO device.
    #[error("the function is no VirtIO device (vendor {vendor:#06x}, device {device:#06x})")]
    NotVirtio {
        /// The vendor id.
        vendor: u16,
        /// The device id.
        device: u16,
    },
    /// Its capability list cannot be followed.
    #[error("{0}")]
    List(ListError),
    /// A structure that the driver needs cannot be used. Of several of a kind, the error is that of the first.
    #[error("the {0} cannot be used: {1}")]
    Structure(Structure, StructureError),
}

/// Looks at a function and makes its registers accessible.
///
/// Capabilities come first (`LEG-D-13`, `PCI-N-06`): with those of the modern interface the device is driven by it, transitional
/// or not (`PCI-D-02`); without any, a transitional device is driven by its legacy interface (`LEG-D-14`). Of several
/// structures of a kind the first usable one is taken (`PCI-D-10`).
///
/// The BARs must have been assigned. Decoding of memory and ports is switched on as needed, MSI-X off, and INTx is let through,
/// whatever was used before; bus mastering is left alone. Nothing is written to the device's registers.
///
/// # Errors
///
/// See [`ProbeError`]. Nothing but decoding has changed then.
pub fn probe<C: ConfigRegionAccess, M: MapBar>(
    mut function: PciFunction<C>,
    mapper: &mut M,
) -> Result<PciTransport<C, M::Window>, ProbeError> {
    if function.is_gone() {
        return Err(ProbeError::Empty);
    }
    if function.header_type() != HeaderType::Endpoint {
        return Err(ProbeError::NotAnEndpoint);
    }
    let (vendor, device) = function.ids();
    let (subsystem_vendor, subsystem) = function.subsystem();
    let id = VirtioId::new(vendor, device, subsystem).ok_or(ProbeError::NotVirtio { vendor, device })?;
    let modern = capability::has_modern(&function).map_err(ProbeError::List)?;
    if !modern && !id.transitional {
        // A driver without the legacy interface gives up here (`LEG-D-16`), and so does this one: the id says that the device
        // does not have it.
        return Err(ProbeError::Structure(Structure::Common, StructureError::Missing));
    }
    let bars = Bars::read(&mut function);
    let msix = MsixCapability::find(&function, &bars).map_err(ProbeError::List)?;
    let mut decoding = CommandRegister::empty();
    let mut note = |range: &BarRange| {
        decoding |= match range.space() {
            BarSpace::Memory => CommandRegister::MEMORY_ENABLE,
            BarSpace::Ports => CommandRegister::IO_ENABLE,
        }
    };
    let registers = if modern {
        Registers::Modern(map_modern(&function, &bars, id.device_type, mapper, &mut note)?)
    } else {
        Registers::Legacy(map_legacy(&bars, mapper, &mut note)?)
    };
    // SAFETY: what lies in the BARs is mapped, so the machine has assigned them.
    unsafe { function.change_command(decoding, CommandRegister::INTERRUPT_DISABLE) };
    if let Some(msix) = msix {
        msix.close(&mut function);
    }
    let identity = Identity {
        device_type: id.device_type,
        vendor: subsystem_vendor,
    };
    Ok(PciTransport::new(function, identity, msix, registers))
}

fn map_modern<C: ConfigRegionAccess, M: MapBar>(
    function: &PciFunction<C>,
    bars: &Bars,
    device_type: DeviceType,
    mapper: &mut M,
    note: &mut impl FnMut(&BarRange),
) -> Result<Modern<M::Window>, ProbeError> {
    let mut map = |structure| {
        let (capability, range, window) = capability::map_first(function, bars, structure, mapper)
            .map_err(|cause| ProbeError::Structure(structure, cause))?;
        note(&range);
        Ok((capability, range, window))
    };
    let (_, common_range, common) = map(Structure::Common)?;
    let (doorbells, notify_range, notify) = map(Structure::Notify)?;
    let (_, _, isr) = map(Structure::Isr)?;
    let device = match map(Structure::Device) {
        Ok((_, _, window)) => Some(window),
        Err(ProbeError::Structure(_, StructureError::Missing)) if device_type == WITHOUT_CONFIG => None,
        Err(error) => return Err(error),
    };
    Ok(Modern {
        common,
        common_bytes: common_range.bytes(),
        notify,
        notify_multiplier: doorbells.multiplier,
        notify_bytes: notify_range.bytes(),
        notify_offset: notify_range.offset(),
        isr,
        device,
    })
}

/// The legacy registers are in BAR 0 (`LEG-D-17`).
fn map_legacy<M: MapBar>(
    bars: &Bars,
    mapper: &mut M,
    note: &mut impl FnMut(&BarRange),
) -> Result<Legacy<M::Window>, ProbeError> {
    let range = bars.range(Structure::Legacy, (0, 0), CONFIG_WITH_VECTORS, MOST_BYTES);
    let mapped = range.map_err(StructureError::from).and_then(|range| {
        let registers = mapper.map(&range).ok_or(StructureError::NotMapped)?;
        note(&range);
        Ok(Legacy { registers })
    });
    mapped.map_err(|cause| ProbeError::Structure(Structure::Legacy, cause))
}
