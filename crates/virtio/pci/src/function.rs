//! One function of the bus: its configuration space.

use core::fmt;

use pci_types::{CommandRegister, ConfigRegionAccess, HeaderType, PciAddress, PciHeader};

/// The vendor id that a read answers if no function is there.
pub(crate) const NO_VENDOR: u16 = 0xFFFF;

/// The command and status registers, in bytes.
const COMMAND: u8 = 0x04;
/// Subsystem vendor (low half) and subsystem id (high half), in bytes.
const SUBSYSTEM: u8 = 0x2C;

/// The configuration space of one function, with the right to change it.
///
/// Safe code can read it and no more. This crate writes to it to size BARs, and to switch decoding, bus mastering, INTx and MSI-X.
///
/// ```compile_fail,E0133
/// # use pci_types::ConfigRegionAccess;
/// # fn on<C: ConfigRegionAccess>(function: &mut virtio_pci::PciFunction<C>) {
/// function.write(0x10, 0x8000_0000); // where the registers of the device lie
/// # }
/// ```
pub struct PciFunction<C> {
    access: C,
    address: PciAddress,
    /// An [`MsixTable`](crate::MsixTable) of it exists, or was dropped.
    has_table: bool,
    /// A [`CfgWindows`](crate::CfgWindows) of it exists, or was dropped.
    has_windows: bool,
}

impl<C> PciFunction<C> {
    /// The function at `address`, through the machine's access to configuration space.
    ///
    /// # Safety
    ///
    /// As long as the value exists, or a transport, a table of vectors or a [`CfgWindows`](crate::CfgWindows) made of it:
    ///
    /// * `access` reaches the configuration space of the machine: its answers are those of the function at `address`, and
    ///   all ones if there is none. Every read and write of a 32-bit register of it is completed without a trap;
    /// * no other code writes to the function's configuration space, and there is no other `PciFunction` of it. The machine
    ///   may move bus numbers and bridge windows only while the addresses in the function's BARs stay reachable.
    pub const unsafe fn new(access: C, address: PciAddress) -> Self {
        Self {
            access,
            address,
            has_table: false,
            has_windows: false,
        }
    }

    /// Segment, bus, device and function.
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// Whether a table of its vectors was handed out and not given back. There is one at a time, whatever transports come and
    /// go: the stores of two would mix, and a message made of two halves goes anywhere.
    pub(crate) const fn has_table(&self) -> bool {
        self.has_table
    }

    /// Notes that a table was handed out or given back.
    pub(crate) const fn set_has_table(&mut self, has_table: bool) {
        self.has_table = has_table;
    }
}

impl<C: ConfigRegionAccess> PciFunction<C> {
    /// Reads the 32-bit register at byte `offset`, which is rounded down to a multiple of four.
    pub fn read(&self, offset: u8) -> u32 {
        // SAFETY: the register exists in every configuration space, and by the contract of `new` reads are completed.
        unsafe { self.access.read(self.address, u16::from(offset & !3)) }
    }

    /// Writes the 32-bit register at byte `offset`, which is rounded down to a multiple of four.
    ///
    /// # Safety
    ///
    /// Registers of configuration space say where the device answers, whether it may write to memory, and where its
    /// interrupt messages go. A caller answers for what the device does with what it is told.
    pub unsafe fn write(&mut self, offset: u8, value: u32) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write_shared(offset, value) }
    }

    /// As [`write`](Self::write), for two values that share the function and take turns.
    ///
    /// # Safety
    ///
    /// That of [`write`](Self::write).
    pub(crate) unsafe fn write_shared(&self, offset: u8, value: u32) {
        // SAFETY: the register exists in every configuration space; the caller answers for the value.
        unsafe { self.access.write(self.address, u16::from(offset & !3), value) }
    }

    /// Reads the byte at `offset`.
    pub fn read_u8(&self, offset: u8) -> u8 {
        self.read(offset).to_le_bytes()[usize::from(offset & 3)]
    }

    /// Reads the 16-bit register at `offset`, which is rounded down to a multiple of two.
    pub fn read_u16(&self, offset: u8) -> u16 {
        (self.read(offset) >> (8 * u32::from(offset & 2))) as u16
    }

    /// Vendor and device id.
    pub fn ids(&self) -> (u16, u16) {
        self.header().id(&self.access)
    }

    /// Whether no function answers at the address, or none any more.
    pub fn is_gone(&self) -> bool {
        self.ids().0 == NO_VENDOR
    }

    /// Vendor and id of the subsystem.
    pub fn subsystem(&self) -> (u16, u16) {
        (self.read_u16(SUBSYSTEM), self.read_u16(SUBSYSTEM + 2))
    }

    /// What kind of header it has.
    pub fn header_type(&self) -> HeaderType {
        self.header().header_type(&self.access)
    }

    /// The pin of INTx that the function uses, from 1 (INTA) to 4; `None` if it uses none.
    pub fn interrupt_pin(&self) -> Option<u8> {
        let pin = self.read_u8(0x3D);
        (1..=4).contains(&pin).then_some(pin)
    }

    /// The command register.
    pub fn command(&self) -> CommandRegister {
        CommandRegister::from_bits_retain(self.read_u16(COMMAND))
    }

    /// The configuration space of the same function once more, for [`CfgWindows`](crate::CfgWindows), which writes nothing
    /// but its own capability. There is one: the steps of two would mix, and a store would go to another register.
    pub(crate) fn take_alias(&mut self) -> Option<Self>
    where
        C: Clone,
    {
        if self.has_windows {
            return None;
        }
        self.has_windows = true;
        Some(Self {
            access: self.access.clone(),
            address: self.address,
            has_table: true,
            has_windows: true,
        })
    }

    pub(crate) fn has_capability_list(&self) -> bool {
        self.header().status(&self.access).has_capability_list()
    }

    /// Sets and clears bits of the command register. Nothing is written if they are as wanted, or if the register reads as all
    /// ones: no function is there, and one that comes back at this moment is not to be given the bits of none.
    ///
    /// # Safety
    ///
    /// With memory or port decoding on, the device answers at the addresses in its BARs. With bus mastering on, it reaches the
    /// memory that it was told of.
    pub(crate) unsafe fn change_command(&mut self, set: CommandRegister, clear: CommandRegister) {
        let now = self.command();
        let wanted = (now | set) - clear;
        if wanted != now && now.bits() != u16::MAX {
            // The upper half are status bits that a one would clear.
            // SAFETY: the caller answers for the bits.
            unsafe { self.write(COMMAND, u32::from(wanted.bits())) }
        }
    }

    /// Takes the right to reach memory away from the function. Whether it has let go of it: bus mastering reads as off, or
    /// no function is there.
    ///
    /// The answer to the read comes after every write to memory that the function sent before it.
    pub(crate) fn stop_mastering(&mut self) -> bool {
        // SAFETY: this takes memory away from the device.
        unsafe { self.change_command(CommandRegister::empty(), CommandRegister::BUS_MASTER_ENABLE) };
        let command = self.command();
        self.is_gone() || !command.contains(CommandRegister::BUS_MASTER_ENABLE)
    }

    /// Switches everything off, for a function that does not answer: should it be back later, it reaches no memory.
    pub(crate) fn switch_off(&mut self) {
        // SAFETY: this takes memory and addresses away from the device.
        unsafe { self.write(COMMAND, 0) }
    }

    fn header(&self) -> PciHeader {
        PciHeader::new(self.address)
    }
}

impl<C> fmt::Debug for PciFunction<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PciFunction({})", self.address)
    }
}

#[cfg(feature = "defmt")]
impl<C> defmt::Format for PciFunction<C> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let address = self.address;
        defmt::write!(
            f,
            "PciFunction({=u16:04x}:{=u8:02x}:{=u8:02x}.{=u8})",
            address.segment(),
            address.bus(),
            address.device(),
            address.function()
        );
    }
}
