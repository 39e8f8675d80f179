//! Registers by way of configuration space, for kernels that cannot map a BAR.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use pci_types::ConfigRegionAccess;

use crate::capability;
use crate::{BarRange, Doorbell, MapBar, PciFunction, RegisterAccess, Structure, StructureError};

/// Where the registers of the capability are, in bytes from its start.
const BAR: u8 = 4;
const OFFSET: u8 = 8;
const LENGTH: u8 = 12;
const DATA: u8 = 16;

/// A mapper that maps nothing: each access goes through the window in configuration space that VirtIO devices have for this
/// (`VIRTIO_PCI_CAP_PCI_CFG`). It is slow. Firmware and diagnostic programs use it.
///
/// QEMU 10.0.2 ends with a failed assertion at the first such access on its RISC-V machine `virt`.
///
/// An access takes several steps, so this, and all that is made of it, stays on one thread, and a function has one.
///
/// ```compile_fail,E0277
/// # fn on<C: pci_types::ConfigRegionAccess + Send + Sync + 'static>(windows: &'static virtio_pci::CfgWindows<C>) {
/// std::thread::spawn(move || windows.offset());
/// # }
/// ```
pub struct CfgWindows<C> {
    function: PciFunction<C>,
    /// Where the capability is.
    at: u8,
    one_thread: PhantomData<Cell<()>>,
}

impl<C: ConfigRegionAccess + Clone> CfgWindows<C> {
    /// The window of `function`.
    ///
    /// # Errors
    ///
    /// [`StructureError`] if there is none. Devices need not have it. [`StructureError::InUse`] if it was taken before.
    pub fn new(function: &mut PciFunction<C>) -> Result<Self, StructureError> {
        let at = capability::find(function, Structure::CfgAccess)?.at;
        Ok(Self {
            function: function.take_alias().ok_or(StructureError::InUse)?,
            at,
            one_thread: PhantomData,
        })
    }
}

impl<C> CfgWindows<C> {
    /// Where the capability is in configuration space, in bytes.
    pub const fn offset(&self) -> u8 {
        self.at
    }
}

impl<C: ConfigRegionAccess> CfgWindows<C> {
    /// Points the window at a register. `offset` is a multiple of `width` (`PCI-D-45`).
    fn aim(&self, bar: u8, offset: u32, width: u32) {
        let register = self.at + BAR;
        let others = self.function.read(register) & !0xFF;
        // SAFETY: these three registers only say what the data register stands for. That is the one capability of which fields may
        // be written (`PCI-D-16`).
        unsafe {
            self.function.write_shared(register, others | u32::from(bar));
            self.function.write_shared(self.at + OFFSET, offset);
            self.function.write_shared(self.at + LENGTH, width);
        }
    }

    fn read(&self, bar: u8, offset: u32, width: u32) -> u32 {
        self.aim(bar, offset, width);
        self.function.read(self.at + DATA)
    }

    /// # Safety
    ///
    /// That of [`RegisterAccess::write_u8`].
    unsafe fn write(&self, bar: u8, offset: u32, width: u32, value: u32) {
        self.aim(bar, offset, width);
        // SAFETY: the caller keeps the same contract.
        unsafe { self.function.write_shared(self.at + DATA, value) }
    }
}

// SAFETY: a range of another function is not mapped. Every access is one of the register in the BAR that the range names, as the
// device promises by its capability. A function has one `CfgWindows`, and what is made of that is on one thread, so that the
// steps of two accesses do not mix.
unsafe impl<'w, C: ConfigRegionAccess> MapBar for &'w CfgWindows<C> {
    type Window = CfgWindow<'w, C>;

    /// Only what lies in the structures of VirtIO of this function can be reached (`PCI-D-46`): not the vectors of MSI-X, nor
    /// legacy registers.
    fn map(&mut self, range: &BarRange) -> Option<CfgWindow<'w, C>> {
        let virtio = matches!(
            range.structure(),
            Structure::Common | Structure::Notify | Structure::Isr | Structure::Device
        );
        let own = range.function() == self.function.address();
        (virtio && own).then_some(CfgWindow {
            windows: self,
            range: *range,
        })
    }
}

/// A structure of a device, reached by [`CfgWindows`].
pub struct CfgWindow<'w, C> {
    windows: &'w CfgWindows<C>,
    range: BarRange,
}

impl<C: ConfigRegionAccess> CfgWindow<'_, C> {
    /// Where a register is in its BAR, if it lies in the structure and is aligned.
    fn place(&self, offset: u32, width: u32) -> Option<u32> {
        let end = offset.checked_add(width)?;
        let place = self.range.offset().checked_add(offset)?;
        (end <= self.range.bytes() && place.is_multiple_of(width)).then_some(place)
    }

    fn read(&self, offset: u32, width: u32) -> u32 {
        self.place(offset, width)
            .map_or(u32::MAX, |place| self.windows.read(self.range.bar(), place, width))
    }

    /// # Safety
    ///
    /// That of [`RegisterAccess::write_u8`].
    unsafe fn write(&self, offset: u32, width: u32, value: u32) {
        if let Some(place) = self.place(offset, width) {
            // SAFETY: the caller keeps the same contract.
            unsafe { self.windows.write(self.range.bar(), place, width, value) }
        }
    }
}

// SAFETY: every access is one of the structure that the window was made for; no other code has it, by the contract of
// `PciFunction::new`, and a doorbell writes one register.
unsafe impl<'w, C: ConfigRegionAccess> RegisterAccess for CfgWindow<'w, C> {
    type Doorbell = CfgDoorbell<'w, C>;

    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset, 4)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset, 1, u32::from(value)) }
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset, 2, u32::from(value)) }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset, 4, value) }
    }

    unsafe fn doorbell(&self, offset: u32) -> CfgDoorbell<'w, C> {
        CfgDoorbell {
            window: CfgWindow {
                windows: self.windows,
                range: self.range,
            },
            offset,
        }
    }
}

/// One doorbell of a device, reached by [`CfgWindows`].
#[derive(Debug)]
pub struct CfgDoorbell<'w, C> {
    window: CfgWindow<'w, C>,
    offset: u32,
}

impl<C: ConfigRegionAccess> Doorbell for CfgDoorbell<'_, C> {
    fn ring_u16(&self, value: u16) {
        // SAFETY: a doorbell is there, and it may be rung at any time, by the contract of `RegisterAccess::doorbell`.
        unsafe { self.window.write(self.offset, 2, u32::from(value)) }
    }

    fn ring_u32(&self, value: u32) {
        // SAFETY: as in `ring_u16`.
        unsafe { self.window.write(self.offset, 4, value) }
    }
}

impl<C> fmt::Debug for CfgWindows<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CfgWindows({}, at {:#x})", self.function.address(), self.at)
    }
}

impl<C> fmt::Debug for CfgWindow<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CfgWindow({})", self.range.structure())
    }
}
