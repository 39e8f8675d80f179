//! `virtio,mmio` windows.
//!
//! The tree says where a device *may* be. Whether there is one, the window's own registers tell; an empty window has
//! device id 0.

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::interrupt::{self, Controllers, Interrupt};
use crate::property::is_compatible;
use crate::reg::{self, PhysRange};
use crate::walk::{Place, Walk};

/// One register window of a VirtIO MMIO device (VirtIO 1.4, "MMIO Device Discovery").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MmioWindow {
    /// Where the registers are.
    pub registers: PhysRange,
    /// The interrupt line; `None` if the tree gives none, in which case the device can only be polled.
    pub interrupt: Option<Interrupt>,
}

/// Iterator over the usable windows of a tree in the order of the blob.
///
/// QEMU writes them from the highest address to the lowest; ask for
/// [`virtio_mmio_sorted`](crate::DeviceTree::virtio_mmio_sorted) if the order matters.
#[derive(Debug)]
pub struct MmioWindows<'a> {
    controllers: Controllers<'a>,
    walk: Walk<'a>,
}

impl<'a> MmioWindows<'a> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self {
            controllers: Controllers::new(fdt),
            walk: Walk::new(fdt),
        }
    }

    fn read(&mut self, place: &Place<'a>) -> Result<MmioWindow, NodeError> {
        Ok(MmioWindow {
            registers: reg::first(place)?,
            interrupt: interrupt::first(&mut self.controllers, place)?,
        })
    }
}

impl Iterator for MmioWindows<'_> {
    type Item = Result<MmioWindow, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self
            .walk
            .find(|place| is_compatible(&place.node, &["virtio,mmio"]) && place.is_enabled())?;
        Some(self.read(&place))
    }
}
