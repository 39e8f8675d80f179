//! The transport: the operations of `virtio-core` on the registers of a PCI device.

use core::fmt;

use pci_types::{CommandRegister, ConfigRegionAccess};
use virtio_core::{
    DeviceGone, DeviceStatus, DeviceType, Features, Interface, InterruptCauses, InterruptSource, InterruptVector,
    QueueIndex, QueueSetup, QueueSetupError, ResetError, Transport, Wait, fence,
};

use crate::legacy::{self, Legacy};
use crate::modern::Modern;
use crate::msix::MsixCapability;
use crate::registers::{NO_VECTOR, Readable, Register, Width, common, isr, legacy as legacy_registers};
use crate::routing::Routing;
use crate::{MapBar, MsixError, MsixTable, PciFunction, PciNotifier, RegisterAccess};

/// The registers of either interface.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) enum Registers<W> {
    Modern(Modern<W>),
    Legacy(Legacy<W>),
}

/// The type and the vendor of the device, by the ids of the function.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Identity {
    pub(crate) device_type: DeviceType,
    pub(crate) vendor: u16,
}

/// A VirtIO device on a PCI bus. [`probe`](crate::probe) makes one.
///
/// It owns the function and the registers, and is not `Clone`: no second transport can make the device do something after this
/// one has seen the end of a reset.
///
/// The device can reach memory only from the first enabled queue to the next reset. Otherwise bus mastering is off. A device that
/// stops answering is cut off from memory in the same way.
pub struct PciTransport<C, W> {
    function: PciFunction<C>,
    identity: Identity,
    msix: Option<MsixCapability>,
    routing: Routing,
    registers: Registers<W>,
    accepted: Features,
    /// The device is not let at memory before it has finished a reset: it was cut off, or may know queues of before.
    reset_due: bool,
    /// The line was taken from a device that was cut off, and is given back after a reset.
    line_due: bool,
}

impl<C, W> PciTransport<C, W> {
    pub(crate) const fn new(
        function: PciFunction<C>,
        identity: Identity,
        msix: Option<MsixCapability>,
        registers: Registers<W>,
    ) -> Self {
        Self {
            function,
            identity,
            msix,
            routing: Routing::new(),
            registers,
            accepted: Features::empty(),
            reset_due: true,
            line_due: false,
        }
    }

    /// The function of the device. It can be read; writing takes an exclusive reference to it, and `unsafe`.
    pub const fn function(&self) -> &PciFunction<C> {
        &self.function
    }

    /// Gives the function back. The device is not reset by this. A table of its vectors stays valid; the next transport opens
    /// another one when it was given that one [back](Self::close_msix).
    pub fn into_function(self) -> PciFunction<C> {
        self.function
    }

    /// How many vectors the device has; 0: it has no MSI-X.
    pub const fn vectors(&self) -> u16 {
        match &self.msix {
            Some(msix) => msix.vectors(),
            None => 0,
        }
    }
}

impl<C: ConfigRegionAccess, W: RegisterAccess> PciTransport<C, W> {
    /// Switches from INTx to MSI-X. Every vector is masked and has no message; the kernel gives it one
    /// ([`MsixTable::set`]). Do this before the device is brought up.
    ///
    /// # Errors
    ///
    /// See [`MsixError`]; [`MsixError::InUse`] as long as a table was not given back. Interrupts come by INTx then, as before.
    pub fn open_msix<M: MapBar<Window = W>>(&mut self, mapper: &mut M) -> Result<MsixTable<W>, MsixError> {
        let msix = self.msix.ok_or(MsixError::Missing)?;
        if self.function.has_table() {
            return Err(MsixError::InUse);
        }
        let table = msix.open(&mut self.function, mapper)?;
        self.function.set_has_table(true);
        self.routing.vectors = true;
        Ok(table)
    }

    /// Switches from MSI-X back to INTx, for example when the device has refused every vector. Do this while the device is
    /// reset.
    ///
    /// # Errors
    ///
    /// Gives the table back if it is that of another function.
    pub fn close_msix(&mut self, table: MsixTable<W>) -> Result<(), MsixTable<W>> {
        match self.msix {
            Some(msix) if table.function() == self.function.address() => {
                msix.close(&mut self.function);
                // This is the one: another was not handed out before it came back.
                self.function.set_has_table(false);
                self.routing = Routing::new();
                Ok(())
            }
            _ => Err(table),
        }
    }

    /// Keeps all vectors from firing, whatever the mask of each says, or lets the mask of each decide again. Without MSI-X this has
    /// no effect.
    pub fn mask_vectors(&mut self, masked: bool) {
        if let Some(msix) = self.msix.filter(|_| self.routing.vectors) {
            msix.mask_function(&mut self.function, masked);
        }
    }

    /// Allows or forbids the device to assert its INTx line. A driver that polls forbids it, so that the device does not hold a line
    /// that others share.
    pub fn set_line_enabled(&mut self, enabled: bool) {
        let (set, clear) = if enabled {
            (CommandRegister::empty(), CommandRegister::INTERRUPT_DISABLE)
        } else {
            (CommandRegister::INTERRUPT_DISABLE, CommandRegister::empty())
        };
        self.line_due = false;
        // SAFETY: this is about a line.
        unsafe { self.function.change_command(set, clear) }
    }

    /// An error if no function answers any more. Then the device reaches no memory: a function that is off the bus makes no access,
    /// the answer to this read came after its last access, and a function that comes back has bus mastering off.
    fn check_presence(&self) -> Result<(), DeviceGone> {
        if self.function.is_gone() {
            // Memory is taken back on this word.
            fence::registers_and_memory();
            Err(DeviceGone)
        } else {
            Ok(())
        }
    }

    /// The value of a register that can read as all ones on a device that is there.
    fn sure<T: Width + PartialEq>(&self, value: T) -> Result<T, DeviceGone> {
        if value == T::ONES {
            self.check_presence()?;
        }
        Ok(value)
    }

    fn raw_status(&self) -> u8 {
        let status = match &self.registers {
            Registers::Modern(modern) => common::DEVICE_STATUS.read(&modern.common),
            Registers::Legacy(legacy) => legacy_registers::DEVICE_STATUS.read(&legacy.registers),
        };
        fence::registers_and_memory();
        status
    }

    /// Takes memory away from a device that does not do as it should, and the line, which no register of it may take down any more.
    /// Whether it reaches no memory any more.
    fn cut_off(&mut self) -> bool {
        self.reset_due = true;
        if !self.function.command().contains(CommandRegister::INTERRUPT_DISABLE) {
            self.set_line_enabled(false);
            self.line_due = true;
        }
        let stopped = self.function.stop_mastering();
        if self.function.is_gone() {
            self.function.switch_off();
        }
        fence::registers_and_memory();
        stopped
    }

    /// Tells a device that is gone from one that refuses.
    fn gone_or(&mut self, error: QueueSetupError) -> QueueSetupError {
        match self.check_presence() {
            Ok(()) => error,
            Err(gone) => {
                self.cut_off();
                gone.into()
            }
        }
    }

    /// Whether the table has this vector, and is in use (`PCI-D-33`).
    fn check_vector(&self, vector: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        match vector {
            Some(vector) if !self.routing.vectors || vector.0 >= self.vectors() => Err(QueueSetupError::VectorRefused),
            _ => Ok(()),
        }
    }

    fn read_config<T: Width + PartialEq>(&self, offset: u16) -> Result<T, DeviceGone> {
        let offset = u32::from(offset);
        let value = match &self.registers {
            Registers::Modern(modern) => modern.device.as_ref().map_or(T::ONES, |device| T::read(device, offset)),
            // Legacy configuration is in the byte order of the CPU, not of the bus (`LEG-N-16`).
            Registers::Legacy(legacy) => {
                let start = legacy::config_offset(self.routing.vectors);
                T::read(&legacy.registers, start + offset).native()
            }
        };
        self.sure(value)
    }
}

// SAFETY: the status and the registers of a queue reset are read from the device, which `RegisterAccess` vouches for, and fenced;
// a legacy queue is never said to be disabled. A device is said to be gone when configuration space answers for no function,
// or bus mastering was switched off and seen to be, and it is not switched on before a reset was over. The queue
// registers are written in `enable_queue` alone, and no other code has the registers.
unsafe impl<C: ConfigRegionAccess, W: RegisterAccess> Transport for PciTransport<C, W> {
    type Notifier = PciNotifier<W::Doorbell>;

    fn interface(&self) -> Interface {
        match self.registers {
            Registers::Modern(_) => Interface::Modern,
            Registers::Legacy(_) => Interface::Legacy,
        }
    }

    fn device_type(&self) -> DeviceType {
        self.identity.device_type
    }

    /// The vendor of the subsystem.
    fn vendor(&self) -> u32 {
        u32::from(self.identity.vendor)
    }

    /// ACCESS_PLATFORM and ORDER_PLATFORM ask nothing of the registers: addresses come from the platform's
    /// [`Dma`](virtio_core::Dma), ordering from [`virtio_core::fence`]; whether to accept them is the driver's choice.
    /// NOTIFICATION_DATA is supported, and NOTIF_CONFIG_DATA and RING_RESET are if the common configuration has their
    /// registers. SR_IOV and ADMIN_VQ are not (`FEAT-D-06`).
    fn supported_features(&self) -> Features {
        match &self.registers {
            Registers::Modern(modern) => modern.supported_features(),
            Registers::Legacy(_) => Features::empty(),
        }
    }

    /// A device is gone if its function does not answer in configuration space either. If it answers there, a status of all ones is
    /// returned as it is.
    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        let status = self.raw_status();
        self.sure(status).map(DeviceStatus::from_bits_retain)
    }

    fn write_status(&mut self, status: DeviceStatus) {
        match &mut self.registers {
            Registers::Modern(modern) => modern.write(common::DEVICE_STATUS, status.bits()),
            Registers::Legacy(legacy) => legacy.write(legacy_registers::DEVICE_STATUS, status.bits()),
        }
    }

    /// The first two words, or the one that a legacy device has (`LEG-N-04`). No bit from 64 on has a meaning for a driver yet.
    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        let (low, high) = match &mut self.registers {
            Registers::Modern(modern) => {
                let mut word = |index| {
                    modern.write(common::DEVICE_FEATURE_SELECT, index);
                    common::DEVICE_FEATURE.read(&modern.common)
                };
                (word(0), word(1))
            }
            Registers::Legacy(legacy) => (legacy_registers::DEVICE_FEATURES.read(&legacy.registers), 0),
        };
        let (low, high) = (self.sure(low)?, self.sure(high)?);
        Ok(Features::from_low(u64::from(low) | u64::from(high) << 32))
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        self.accepted = accepted;
        match &mut self.registers {
            Registers::Modern(modern) => {
                for index in 0..2 {
                    modern.write(common::DRIVER_FEATURE_SELECT, index);
                    modern.write(common::DRIVER_FEATURE, accepted.word(index));
                }
            }
            Registers::Legacy(legacy) => legacy.write(legacy_registers::DRIVER_FEATURES, accepted.word(0)),
        }
    }

    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone> {
        let size = match &mut self.registers {
            Registers::Modern(modern) => {
                modern.select(queue);
                common::QUEUE_SIZE.read(&modern.common)
            }
            Registers::Legacy(legacy) => {
                legacy.select(queue);
                legacy_registers::QUEUE_SIZE.read(&legacy.registers)
            }
        };
        self.sure(size).map(u32::from)
    }

    /// On a legacy interface, a queue has the size that the device says and starts at a multiple of
    /// [`LEGACY_PAGE_BYTES`](crate::LEGACY_PAGE_BYTES) other than zero and below 2^44, with driver area and device area exactly
    /// where the legacy layout has them.
    ///
    /// A vector is taken if MSI-X was opened, the table has it, and the device reads it back. Bus mastering is switched on, if
    /// the device was reset by this transport; otherwise the answer is [`QueueSetupError::NotReady`], since it may know queues
    /// of before.
    ///
    /// After [`QueueSetupError::NotReady`] the device is cut off from memory until it is reset: it was told of the queue, and may
    /// take it into use later.
    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        self.check_vector(setup.vector)?;
        if self.reset_due {
            return Err(self.gone_or(QueueSetupError::NotReady));
        }
        let vectors = self.routing.vectors;
        let function = &mut self.function;
        let let_at_memory = || {
            // SAFETY: the device knows of queues that were enabled under the contract of this method, and of no other: it has
            // been reset since this transport was made, and since it was cut off.
            unsafe { function.change_command(CommandRegister::BUS_MASTER_ENABLE, CommandRegister::empty()) }
        };
        // SAFETY: the caller keeps the same contract.
        let result = unsafe {
            match &mut self.registers {
                Registers::Modern(modern) => {
                    modern.select(queue);
                    modern.enable_selected(setup, self.accepted, vectors, let_at_memory)
                }
                Registers::Legacy(legacy) => {
                    legacy.select(queue);
                    legacy.enable_selected(setup, vectors, let_at_memory)
                }
            }
        };
        match result {
            Ok(()) => {
                self.routing.add_queue(setup.vector);
                Ok(())
            }
            Err(error) => {
                if error == QueueSetupError::NotReady {
                    warn!("the device did not take queue {} into use", queue.0);
                    self.cut_off();
                }
                Err(self.gone_or(error))
            }
        }
    }

    /// Uses RING_RESET, if that was accepted. Otherwise the answer is [`QueueSetupError::NotReady`]; a legacy device can only be
    /// reset as a whole.
    fn disable_queue(&mut self, queue: QueueIndex, wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        let possible = self.accepted.contains(Features::RING_RESET);
        let result = match &mut self.registers {
            Registers::Modern(modern) if possible => {
                modern.select(queue);
                modern.reset_selected(wait)
            }
            _ => Err(QueueSetupError::NotReady),
        };
        result.map_err(|error| self.gone_or(error))
    }

    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier {
        match &mut self.registers {
            Registers::Modern(modern) => {
                modern.select(queue);
                modern.notifier(queue, accepted)
            }
            Registers::Legacy(legacy) => legacy.notifier(queue),
        }
    }

    fn set_config_vector(&mut self, vector: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        self.check_vector(vector)?;
        if !self.routing.vectors {
            return Ok(());
        }
        let number = vector.map_or(NO_VECTOR, |vector| vector.0);
        let result = match &mut self.registers {
            Registers::Modern(modern) => modern.route(common::CONFIG_VECTOR, number),
            Registers::Legacy(legacy) => legacy.route(legacy_registers::CONFIG_VECTOR, number),
        };
        match result {
            // All ones are the answer for "no vector", and the answer of a device that is gone.
            Ok(()) if number == NO_VECTOR && self.check_presence().is_err() => Err(QueueSetupError::Gone),
            Ok(()) => {
                self.routing.set_config(vector);
                Ok(())
            }
            Err(error) => Err(self.gone_or(error)),
        }
    }

    /// The line tells its causes by the ISR, which reading clears, and the line goes down (`PCI-N-03`): an answer without causes
    /// is the interrupt of another device on the same line. While MSI-X is on, that register is not looked at (`PCI-D-29`).
    ///
    /// A vector that configuration changes share with a queue has both causes each time (`PCI-D-42`, `PCI-N-05`).
    #[inline]
    fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses {
        let causes = match source {
            InterruptSource::Vector(vector) => self.routing.causes(vector),
            InterruptSource::Line if self.routing.vectors => InterruptCauses::empty(),
            InterruptSource::Line => {
                let status = match &self.registers {
                    Registers::Modern(modern) => isr::STATUS.read(&modern.isr),
                    Registers::Legacy(legacy) => legacy_registers::ISR_STATUS.read(&legacy.registers),
                };
                // A device that is gone reads as all ones, which are all causes.
                InterruptCauses::from_bits_truncate(u32::from(status))
            }
        };
        fence::after_interrupt_status();
        causes
    }

    /// Nothing to do: reading has cleared the causes of a line, and a vector has none to clear. What comes later interrupts again.
    #[inline]
    fn acknowledge_interrupt(&mut self, _: InterruptSource, _: InterruptCauses) -> bool {
        false
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        match &self.registers {
            Registers::Modern(modern) => {
                let generation = self.sure(common::CONFIG_GENERATION.read(&modern.common))?;
                Ok(Some(u32::from(generation)))
            }
            Registers::Legacy(_) => Ok(None),
        }
    }

    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone> {
        self.read_config(offset)
    }

    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone> {
        self.read_config(offset)
    }

    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone> {
        self.read_config(offset)
    }

    fn write_config_u8(&mut self, offset: u16, value: u8) {
        let offset = u32::from(offset);
        // SAFETY: a configuration field tells the device of no memory.
        unsafe {
            match &mut self.registers {
                Registers::Modern(modern) => {
                    if let Some(device) = &mut modern.device {
                        device.write_u8(offset, value);
                    }
                }
                Registers::Legacy(legacy) => {
                    let start = legacy::config_offset(self.routing.vectors);
                    legacy.registers.write_u8(start + offset, value);
                }
            }
        }
    }

    /// The interrupt status is not among them, because reading clears it, and neither are the features, because a selector must
    /// be written first. The queue registers are those of the queue selected last.
    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("PCI command", u64::from(self.function.command().bits()));
        match &self.registers {
            Registers::Modern(modern) => {
                let access = &modern.common;
                show(common::DEVICE_STATUS, access, visit);
                show(common::CONFIG_GENERATION, access, visit);
                show(common::NUM_QUEUES, access, visit);
                show(common::CONFIG_VECTOR, access, visit);
                show(common::QUEUE_SELECT, access, visit);
                show(common::QUEUE_SIZE, access, visit);
                show(common::QUEUE_VECTOR, access, visit);
                show(common::QUEUE_ENABLE, access, visit);
            }
            Registers::Legacy(legacy) => {
                let access = &legacy.registers;
                show(legacy_registers::DEVICE_STATUS, access, visit);
                show(legacy_registers::QUEUE_SELECT, access, visit);
                show(legacy_registers::QUEUE_SIZE, access, visit);
                show(legacy_registers::QUEUE_ADDRESS, access, visit);
            }
        }
    }

    /// Waits for as long as `wait` says that the status reads 0 (`PCI-D-23`). Bus mastering is off afterwards.
    ///
    /// [`ResetError::Gone`] is a status of all ones, if the function is off the bus or bus mastering could be switched off: the device
    /// reaches no memory, and is not let at it before a reset of it has succeeded.
    fn reset(&mut self, wait: &mut dyn Wait) -> Result<(), ResetError> {
        self.write_status(DeviceStatus::RESET);
        loop {
            match self.raw_status() {
                0 => break,
                u8::MAX if self.cut_off() => return Err(ResetError::Gone),
                _ if !wait.wait() => return Err(ResetError::TimedOut),
                _ => (),
            }
        }
        self.accepted = Features::empty();
        self.routing.forget();
        self.function.stop_mastering();
        self.reset_due = false;
        if self.line_due {
            self.set_line_enabled(true);
        }
        Ok(())
    }
}

fn show<T: Width + Into<u64>, D: Readable>(
    register: Register<T, D>,
    access: &impl RegisterAccess,
    visit: &mut dyn FnMut(&'static str, u64),
) {
    visit(register.name(), register.read(access).into());
}

impl<C, W> fmt::Debug for PciTransport<C, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PciTransport")
            .field("function", &self.function)
            .field("identity", &self.identity)
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<C, W> defmt::Format for PciTransport<C, W> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "PciTransport({}, {}, {})",
            self.function,
            self.identity,
            self.routing
        );
    }
}
