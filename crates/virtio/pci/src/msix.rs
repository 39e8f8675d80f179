//! MSI-X: the vectors of a function, each with a message that the device writes to memory.

use core::fmt;

use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};
use virtio_core::InterruptVector;

use crate::capability::{Capabilities, ListError};
use crate::{BarRange, Bars, MapBar, PciFunction, RegisterAccess, Structure, StructureError};

/// The id of the capability.
const ID: u8 = 0x11;
/// Bits of the message control, as they stand in the first register of the capability.
const ENABLE: u32 = 1 << 31;
const FUNCTION_MASK: u32 = 1 << 30;
/// The bytes of an entry in the table, and the offsets of its fields.
const ENTRY: u32 = 16;
const ADDRESS_LOW: u32 = 0;
const ADDRESS_HIGH: u32 = 4;
const DATA: u32 = 8;
const CONTROL: u32 = 12;
/// The bit of a vector's control that masks it.
const MASKED: u32 = 1;

/// The message of a vector: the value that the device writes when the vector fires, and the address it writes to.
///
/// ```compile_fail,E0133
/// virtio_pci::MsiMessage::new(0x8000_0000, 42); // anywhere in memory
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsiMessage {
    address: u64,
    data: u32,
}

impl MsiMessage {
    /// The message that writes `data` to the device address `address`.
    ///
    /// # Safety
    ///
    /// The address belongs to an interrupt controller, and the data is what it takes there for this device. A device may write
    /// it at any time: it is a store to memory that no driver can call back.
    pub const unsafe fn new(address: u64, data: u32) -> Self {
        Self { address, data }
    }
}

/// Why MSI-X cannot be used, or a vector not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MsixError {
    /// The function has no MSI-X.
    #[error("the device has no MSI-X")]
    Missing,
    /// The vectors are in use already.
    #[error("MSI-X is in use already")]
    InUse,
    /// The table or the pending bits cannot be used.
    #[error("MSI-X cannot be used, {0}: {1}")]
    Structure(Structure, StructureError),
    /// The table has no such vector.
    #[error("the device has no such vector")]
    NoSuchVector,
    /// The vector was not given a message.
    #[error("the vector has no message")]
    NoMessage,
}

/// The MSI-X capability of a function.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct MsixCapability {
    at: u8,
    /// From 1 to 2048.
    vectors: u16,
    table: Result<BarRange, StructureError>,
    pending: Result<BarRange, StructureError>,
}

impl MsixCapability {
    /// The capability, if there is one.
    pub(crate) fn find<C: ConfigRegionAccess>(
        function: &PciFunction<C>,
        bars: &Bars,
    ) -> Result<Option<Self>, ListError> {
        // One that goes past the end of configuration space is none.
        let found = Capabilities::of(function).find_id(ID)?;
        let Some(at) = found.filter(|found| found.byte(11).is_some()).map(|found| found.at) else {
            return Ok(None);
        };
        // All 2048 sizes are legal (`PCI-D-30`).
        let vectors = (function.read_u16(at + 2) & 0x7FF) + 1;
        let range = |register, bytes, structure| {
            let place = function.read(at + register);
            let range = bars.range(structure, ((place & 7) as u8, place & !7), bytes, bytes);
            range.map_err(StructureError::from)
        };
        let bits = u32::from(vectors).div_ceil(64) * 8;
        Ok(Some(Self {
            at,
            vectors,
            table: range(4, ENTRY * u32::from(vectors), Structure::MsixTable),
            pending: range(8, bits, Structure::MsixPending),
        }))
    }

    pub(crate) const fn vectors(self) -> u16 {
        self.vectors
    }

    /// Maps table and pending bits, masks all vectors and switches MSI-X on.
    pub(crate) fn open<C: ConfigRegionAccess, M: MapBar>(
        self,
        function: &mut PciFunction<C>,
        mapper: &mut M,
    ) -> Result<MsixTable<M::Window>, MsixError> {
        let mut map = |range: Result<BarRange, StructureError>, structure| {
            range
                .and_then(|range| mapper.map(&range).ok_or(StructureError::NotMapped))
                .map_err(|cause| MsixError::Structure(structure, cause))
        };
        let table = map(self.table, Structure::MsixTable)?;
        let pending = map(self.pending, Structure::MsixPending)?;
        // Both are behind decoding, which is on if BARs are mapped; with ports alone it may not be.
        // SAFETY: the BARs are assigned, or nothing would have been mapped in them.
        unsafe { function.change_command(CommandRegister::MEMORY_ENABLE, CommandRegister::empty()) };
        let mut table = MsixTable {
            table,
            pending,
            vectors: self.vectors,
            function: function.address(),
        };
        // Nothing fires before it was given a message, whatever stood in the table.
        self.control(function, ENABLE | FUNCTION_MASK);
        table.forget();
        self.control(function, ENABLE);
        Ok(table)
    }

    /// Switches MSI-X off; interrupts go to INTx.
    pub(crate) fn close<C: ConfigRegionAccess>(self, function: &mut PciFunction<C>) {
        self.control(function, 0);
    }

    /// Masks all vectors at once, or leaves masking to each.
    pub(crate) fn mask_function<C: ConfigRegionAccess>(self, function: &mut PciFunction<C>, masked: bool) {
        let mask = if masked { FUNCTION_MASK } else { 0 };
        self.control(function, ENABLE | mask);
    }

    /// Writes enable bit and function mask. The rest of the register can only be read.
    fn control<C: ConfigRegionAccess>(self, function: &mut PciFunction<C>, bits: u32) {
        // SAFETY: messages go only where `MsiMessage`s say, since every entry was masked before any is sent.
        unsafe { function.write(self.at, bits) };
        // The answer comes after the write.
        let _ = function.read(self.at);
    }
}

/// The vectors of a function. The kernel owns it: it alone knows what message reaches which hart.
///
/// Every vector is masked until it was given a message.
pub struct MsixTable<W> {
    table: W,
    pending: W,
    vectors: u16,
    function: PciAddress,
}

impl<W> MsixTable<W> {
    /// The function whose vectors these are.
    pub const fn function(&self) -> PciAddress {
        self.function
    }

    /// How many vectors there are, from 1 to 2048.
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    fn entry(&self, vector: InterruptVector) -> Result<u32, MsixError> {
        if vector.0 < self.vectors {
            Ok(ENTRY * u32::from(vector.0))
        } else {
            Err(MsixError::NoSuchVector)
        }
    }
}

impl<W: RegisterAccess> MsixTable<W> {
    /// Gives a vector its message and lets it fire. If it was in use, it is masked while the message changes.
    ///
    /// # Errors
    ///
    /// [`MsixError::NoSuchVector`] if the table has no such vector.
    pub fn set(&mut self, vector: InterruptVector, message: MsiMessage) -> Result<(), MsixError> {
        let entry = self.entry(vector)?;
        self.mask(vector)?;
        self.write_message(entry, message.address, message.data);
        self.write(entry + CONTROL, 0);
        Ok(())
    }

    /// Keeps a vector from firing, for a driver that polls. An event that comes meanwhile makes the vector pending, and fires after
    /// [`unmask`](Self::unmask).
    ///
    /// The device sends no message of this vector after this has returned. The interrupt controller may still have one.
    ///
    /// # Errors
    ///
    /// [`MsixError::NoSuchVector`] if the table has no such vector.
    pub fn mask(&mut self, vector: InterruptVector) -> Result<(), MsixError> {
        let entry = self.entry(vector)?;
        self.write(entry + CONTROL, MASKED);
        // The answer comes after the write, and after every message that was sent before it.
        let _ = self.table.read_u32(entry + CONTROL);
        Ok(())
    }

    /// Lets a vector fire again.
    ///
    /// # Errors
    ///
    /// [`MsixError::NoSuchVector`] if the table has no such vector, [`MsixError::NoMessage`] if it was never [`set`](Self::set).
    pub fn unmask(&mut self, vector: InterruptVector) -> Result<(), MsixError> {
        let entry = self.entry(vector)?;
        let low = self.table.read_u32(entry + ADDRESS_LOW);
        let high = self.table.read_u32(entry + ADDRESS_HIGH);
        if low | high == 0 {
            return Err(MsixError::NoMessage);
        }
        self.write(entry + CONTROL, 0);
        Ok(())
    }

    /// Whether a vector would fire if it were not masked.
    ///
    /// # Errors
    ///
    /// [`MsixError::NoSuchVector`] if the table has no such vector.
    pub fn is_pending(&self, vector: InterruptVector) -> Result<bool, MsixError> {
        self.entry(vector)?;
        let bits = self.pending.read_u32(u32::from(vector.0 / 32) * 4);
        Ok(bits & 1 << (vector.0 % 32) != 0)
    }

    /// Masks every vector and takes its message away.
    fn forget(&mut self) {
        for vector in 0..self.vectors {
            let entry = ENTRY * u32::from(vector);
            self.write(entry + CONTROL, MASKED);
            self.write_message(entry, 0, 0);
        }
    }

    fn write_message(&mut self, entry: u32, address: u64, data: u32) {
        self.write(entry + ADDRESS_LOW, address as u32);
        self.write(entry + ADDRESS_HIGH, (address >> 32) as u32);
        self.write(entry + DATA, data);
    }

    fn write(&mut self, offset: u32, value: u32) {
        // SAFETY: what an entry holds is zeroes, and then it is masked, or a message that is harmless by the contract of
        // `MsiMessage::new`.
        unsafe { self.table.write_u32(offset, value) }
    }
}

impl<W> fmt::Debug for MsixTable<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsixTable({} vectors)", self.vectors)
    }
}

#[cfg(feature = "defmt")]
impl<W> defmt::Format for MsixTable<W> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "MsixTable({=u16} vectors)", self.vectors);
    }
}
