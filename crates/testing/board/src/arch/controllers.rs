//! Which controller delivers to which hart.

use virtio_fdt::{Aplic, Controller, DeviceTree, Plic};

use super::local_controller::{LocalController, MessageFile};
use crate::aplic;
use crate::error::{BoardError, node};
use crate::plic;

/// The controller of a hart, and how the tree names it.
pub(super) type Found = (LocalController, Controller);

/// The controller that delivers to a hart. If several do, the one that the devices are wired to is taken.
///
/// A machine with several PLICs has one for each group of harts. Of several APLICs that send messages each reaches all harts.
pub(super) fn find(
    tree: &DeviceTree<'static>,
    hart_id: usize,
    of_devices: Option<Controller>,
) -> Result<Option<Found>, BoardError> {
    let mut any = None;
    let mut consider = |found: Option<Found>| match found {
        Some((_, controller)) if Some(controller) == of_devices => found,
        _ => {
            any = any.or(found);
            None
        }
    };
    for found in tree.plics() {
        let wanted = consider(with_plic(&found.map_err(node("PLIC"))?, hart_id)?);
        if wanted.is_some() {
            return Ok(wanted);
        }
    }
    for found in tree.aplics() {
        let wanted = consider(with_aplic(tree, &found.map_err(node("APLIC"))?, hart_id)?);
        if wanted.is_some() {
            return Ok(wanted);
        }
    }
    Ok(any)
}

/// The controller that the first device with an interrupt has: a VirtIO window, or a slot of a PCI bus.
pub(super) fn of_devices(tree: &DeviceTree<'static>) -> Option<Controller> {
    let windows = tree.virtio_mmio().flatten().filter_map(|window| window.interrupt);
    let slots = tree.pci_hosts().flatten();
    let slots = slots.filter_map(|host| host.interrupt(0, 0, 1).ok().flatten());
    windows.chain(slots).map(|interrupt| interrupt.parent).next()
}

fn with_plic(found: &Plic<'_>, hart_id: usize) -> Result<Option<Found>, BoardError> {
    let Some(context) = found.supervisor_context(hart_id as u64).map_err(node("PLIC"))? else {
        return Ok(None);
    };
    // SAFETY: the tree describes this machine, nothing is translated, and the board is the only driver.
    let plic = unsafe { plic::Plic::new(found.registers, context, found.source_count) };
    let plic = plic.ok_or(BoardError::Unusable("PLIC: registers outside of its block"))?;
    Ok(Some((LocalController::Plic(plic), found.controller)))
}

fn with_aplic(tree: &DeviceTree<'static>, found: &Aplic<'_>, hart_id: usize) -> Result<Option<Found>, BoardError> {
    let outside = BoardError::Unusable("APLIC: registers outside of its block");
    // SAFETY: the tree describes this machine and nothing is translated. The board is the only driver: what is found here is used only
    // if it delivers to a hart in S-mode.
    let aplic = || unsafe { aplic::Aplic::new(found.registers, found.source_count) }.ok_or(outside);
    let local = if found.msi_parent.is_some() {
        let mut imsics = tree.imsics().flatten();
        let Some(imsic) = imsics.find(|imsic| imsic.controller.phandle == found.msi_parent) else {
            return Ok(None);
        };
        let Some(file) = imsic.supervisor_file(hart_id as u64).map_err(node("IMSIC"))? else {
            return Ok(None);
        };
        LocalController::Messages(MessageFile {
            aplic: aplic()?,
            hart_index: file.hart_index,
            address: file.registers.base_address,
            id_count: imsic.id_count,
        })
    } else {
        let Some(index) = found.supervisor_delivery(hart_id as u64).map_err(node("APLIC"))? else {
            return Ok(None);
        };
        LocalController::Direct(aplic::Delivery::new(aplic()?, index).ok_or(outside)?)
    };
    Ok(Some((local, found.controller)))
}
