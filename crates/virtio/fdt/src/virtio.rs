//! `virtio,mmio` windows.
//!
//! The tree lists places where a device *may* be. The registers of a window show whether there is one; an empty window has
//! device id 0.

use core::fmt;

use dtoolkit::Node;
use dtoolkit::fdt::Fdt;
use heapless::Vec;

use crate::NodeError;
use crate::interrupt::{self, Interrupt};
use crate::property::is_compatible;
use crate::reg::{self, PhysRange};
use crate::walk::{Place, Walk};

/// One register window of a VirtIO MMIO device (VirtIO 1.4, "MMIO Device Discovery").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MmioWindow {
    /// Where the registers are.
    pub registers: PhysRange,
    /// The interrupt line; `None` if the tree names none; then the device can only be polled.
    pub interrupt: Option<Interrupt>,
}

/// A window of the tree that cannot be used, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnusableWindow<'a> {
    /// The name of its node, with the unit address.
    pub node: &'a str,
    /// The defect.
    pub reason: NodeError,
}

impl fmt::Display for UnusableWindow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window `{}` cannot be used: {}", self.node, self.reason)
    }
}

impl core::error::Error for UnusableWindow<'_> {}

/// The windows of a tree, the usable ones apart from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedWindows<'a, const N: usize> {
    /// Those that can be used, lowest address first.
    pub usable: Vec<MmioWindow, N>,
    /// Those that cannot, in the order of the blob.
    pub unusable: Vec<UnusableWindow<'a>, N>,
}

impl<'a, const N: usize> SortedWindows<'a, N> {
    pub(crate) fn collect(windows: MmioWindows<'a>) -> Result<Self, NodeError> {
        let mut sorted = Self {
            usable: Vec::new(),
            unusable: Vec::new(),
        };
        for window in windows {
            match window {
                Ok(window) => sorted.usable.push(window).map_err(|_| NodeError::TooMany)?,
                Err(window) => sorted.unusable.push(window).map_err(|_| NodeError::TooMany)?,
            }
        }
        sorted
            .usable
            .sort_unstable_by_key(|window| window.registers.base_address);
        Ok(sorted)
    }
}

/// Iterator over the windows of a tree in the order of the blob.
///
/// QEMU writes them from the highest address to the lowest; ask for
/// [`virtio_mmio_sorted`](crate::DeviceTree::virtio_mmio_sorted) if the order matters.
#[derive(Debug)]
pub struct MmioWindows<'a> {
    fdt: Fdt<'a>,
    walk: Walk<'a>,
}

impl<'a> MmioWindows<'a> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self {
            fdt,
            walk: Walk::new(fdt),
        }
    }

    fn read(&self, place: &Place<'a>) -> Result<MmioWindow, NodeError> {
        Ok(MmioWindow {
            registers: reg::first(place)?,
            interrupt: interrupt::first(self.fdt, place)?,
        })
    }
}

impl<'a> Iterator for MmioWindows<'a> {
    type Item = Result<MmioWindow, UnusableWindow<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self
            .walk
            .find(|place| is_compatible(&place.node, &["virtio,mmio"]) && place.is_enabled())?;
        Some(self.read(&place).map_err(|reason| UnusableWindow {
            node: place.node.name(),
            reason,
        }))
    }
}
