//! The device as a function of a PCI bus, in the three forms that QEMU gives its own.
//!
//! The registers of the device are those that MMIO shows, in other places and widths. What is particular to PCI is here:
//! configuration space, BARs, MSI-X, bus mastering, and the rules that a driver has to keep about them.

mod legacy;
mod modern;
mod msix;
mod space;

use std::sync::Arc;

use virtio_pci::pci_types::{ConfigRegionAccess, PciAddress};
use virtio_pci::{BarRange, Doorbell, MapBar, RegisterAccess};

use crate::device::Device;
use crate::model::{Model, Shared};

pub use self::space::PciForm;

pub(crate) use self::msix::Vectors;
pub(crate) use self::space::{CommonPlace, Space};

/// The address of the function.
pub(crate) fn address() -> PciAddress {
    PciAddress::new(0, 0, 3, 0)
}

/// What is particular to a device on a PCI bus.
pub(crate) struct Function {
    pub(crate) space: Space,
    pub(crate) vectors: Vectors,
    /// The BARs answer nothing, and configuration space does.
    pub(crate) deaf: bool,
    /// Accesses so far, to configuration space and BARs.
    pub(crate) accesses: u64,
    /// The queue vectors that are refused.
    pub(crate) refused_vectors: Vec<u16>,
    /// Selected words of features.
    pub(crate) feature_select: [u32; 2],
}

/// Where an access goes.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    bar: u8,
    offset: u32,
    width: u32,
    /// The value that is written.
    write: Option<u32>,
}

impl Device {
    /// Puts the device on a PCI bus.
    pub(crate) fn plug_in(&mut self, form: PciForm, vectors: u16) {
        assert_eq!(
            form == PciForm::Legacy,
            self.config.is_legacy(),
            "the form must fit the interface of the device"
        );
        self.pci = Some(Box::new(Function {
            space: Space::new(form, vectors),
            vectors: Vectors::new(vectors, self.config.queues),
            deaf: false,
            accesses: 0,
            refused_vectors: Vec::new(),
            feature_select: [0; 2],
        }));
    }

    /// The part that is particular to PCI.
    pub(crate) fn function(&mut self) -> &mut Function {
        self.pci.as_mut().expect("the device is on a PCI bus")
    }

    /// Whether the device can reach memory.
    pub(crate) fn masters_the_bus(&self) -> bool {
        let function = self.pci.as_ref();
        !self.presence.is_gone() && function.is_none_or(|function| function.space.masters())
    }

    /// Counts an access. Whether the device is there to answer.
    fn function_answers(&mut self) -> bool {
        self.function().accesses += 1;
        self.answers()
    }

    fn config_read(&mut self, offset: u16) -> u32 {
        if !self.function_answers() {
            return u32::MAX;
        }
        if let Some(window) = self.function().space.window(offset) {
            return self.bar_access(window.at(None));
        }
        self.function().space.read(offset)
    }

    fn config_write(&mut self, offset: u16, value: u32) {
        if !self.function_answers() {
            return;
        }
        if let Some(window) = self.function().space.window(offset) {
            self.bar_access(window.at(Some(value)));
            return;
        }
        if let Err((id, what)) = self.function().space.write(offset, value) {
            self.log.report(id, what);
        }
        let function = self.function();
        function.vectors.control(function.space.msix_control());
    }

    fn bar(&mut self, access: Access) -> u32 {
        if !self.function_answers() || self.function().deaf || !self.function().space.decodes(access.bar) {
            return u32::MAX;
        }
        self.bar_access(access)
    }

    fn bar_access(&mut self, access: Access) -> u32 {
        let form = self.function().space.form();
        let value = match access.bar {
            0 if form == PciForm::Legacy => self.legacy_access(access),
            1 => self.function().vectors.access(access),
            4 if form != PciForm::Legacy => self.modern_access(access),
            _ => u32::MAX,
        };
        value & (u32::MAX >> (32 - 8 * access.width))
    }
}

/// The function of a [`Model`] on a PCI bus: its configuration space. Clones are handles to the same one.
#[derive(Clone)]
pub struct ModelFunction(Arc<Shared>);

impl Model {
    /// Puts the device on a PCI bus, as a function with this many vectors of MSI-X (0: none), whose BARs are assigned.
    ///
    /// # Panics
    ///
    /// If the form does not fit the interface of the device.
    pub fn on_pci(&self, form: PciForm, vectors: u16) -> ModelFunction {
        self.0.lock().plug_in(form, vectors);
        ModelFunction(Arc::clone(&self.0))
    }
}

impl ModelFunction {
    /// Where the function is.
    pub fn address(&self) -> PciAddress {
        address()
    }

    /// While `deaf`, the BARs answer nothing, and configuration space does.
    pub fn set_deaf(&self, deaf: bool) {
        self.0.lock().function().deaf = deaf;
    }

    /// Accesses to configuration space and BARs so far.
    pub fn accesses(&self) -> u64 {
        self.0.lock().function().accesses
    }

    /// The device does not map an event to these vectors (`PCI-V-03`).
    pub fn refuse_vectors(&self, vectors: &[u16]) {
        self.0.lock().function().refused_vectors = vectors.to_vec();
    }

    /// The messages that the device has sent since the last call: address and data.
    pub fn take_messages(&self) -> Vec<(u64, u32)> {
        self.0.lock().function().vectors.take_messages()
    }

    /// Whether bus mastering is on.
    pub fn masters_the_bus(&self) -> bool {
        self.0.lock().masters_the_bus()
    }

    /// Whether the INTx line is asserted.
    pub fn line(&self) -> bool {
        let device = self.0.lock();
        let function = device.pci.as_ref();
        device.interrupt != 0 && function.is_some_and(|function| function.space.has_line())
    }

    /// Changes bytes of configuration space behind the back of the driver, read-only or not.
    pub fn poke(&self, offset: u8, bytes: &[u8]) {
        self.0.lock().function().space.poke(offset, bytes);
    }
}

impl ConfigRegionAccess for ModelFunction {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address == self::address() && offset < 256 {
            self.0.lock().config_read(offset)
        } else {
            u32::MAX
        }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if address == self::address() && offset < 256 {
            self.0.lock().config_write(offset, value);
            self.0.rung.notify_all();
        }
    }
}

// SAFETY: the registers are those of a model, which uses no memory but its own.
unsafe impl MapBar for ModelFunction {
    type Window = ModelBar;

    fn map(&mut self, range: &BarRange) -> Option<ModelBar> {
        let start = self.0.lock().function().space.start(range.bar())?;
        assert_eq!(
            range.address(),
            start + u64::from(range.offset()),
            "where the BAR was assigned"
        );
        Some(ModelBar {
            device: Arc::clone(&self.0),
            bar: range.bar(),
            start: range.offset(),
            bytes: range.bytes(),
        })
    }
}

/// A piece of a BAR of a [`Model`].
#[derive(Clone)]
pub struct ModelBar {
    device: Arc<Shared>,
    bar: u8,
    start: u32,
    bytes: u32,
}

impl ModelBar {
    fn access(&self, offset: u32, width: u32, write: Option<u32>) -> u32 {
        if offset.checked_add(width).is_none_or(|end| end > self.bytes) {
            return u32::MAX;
        }
        let value = self.device.lock().bar(Access {
            bar: self.bar,
            offset: self.start + offset,
            width,
            write,
        });
        if write.is_some() {
            self.device.rung.notify_all();
        }
        value
    }
}

// SAFETY: the registers are those of a model, which uses no memory but its own.
unsafe impl RegisterAccess for ModelBar {
    type Doorbell = ModelBarDoorbell;

    fn read_u8(&self, offset: u32) -> u8 {
        self.access(offset, 1, None) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.access(offset, 2, None) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.access(offset, 4, None)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.access(offset, 1, Some(u32::from(value)));
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        self.access(offset, 2, Some(u32::from(value)));
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.access(offset, 4, Some(value));
    }

    unsafe fn doorbell(&self, offset: u32) -> ModelBarDoorbell {
        ModelBarDoorbell {
            bar: self.clone(),
            offset,
        }
    }
}

/// A doorbell of a [`Model`] on a PCI bus.
pub struct ModelBarDoorbell {
    bar: ModelBar,
    offset: u32,
}

impl Doorbell for ModelBarDoorbell {
    fn ring_u16(&self, value: u16) {
        self.bar.access(self.offset, 2, Some(u32::from(value)));
    }

    fn ring_u32(&self, value: u32) {
        self.bar.access(self.offset, 4, Some(value));
    }
}
