//! QEMU's device for teaching (`-device edu`): a few registers, an interrupt on demand, by pin or by message.

use core::ptr::NonNull;

use board_qemu_virt::{Board, Message, Pci, println};
use pci_types::capability::PciCapability;
use pci_types::device_type::DeviceType;
use pci_types::{Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, PciAddress, PciHeader};

use super::{deadline, fail, in_millis};

const ID: (u16, u16) = (0x1234, 0x11E8);

/// Registers by their offsets, 32 bits each.
const IDENTIFICATION: usize = 0x00;
const LIVENESS: usize = 0x04;
const INTERRUPT_STATUS: usize = 0x24;
const INTERRUPT_RAISE: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;

/// One of the devices. The value is what its interrupt status shows.
pub(crate) struct Edu {
    pub(crate) address: PciAddress,
    ecam: board_qemu_virt::Ecam,
    registers: NonNull<u8>,
}

/// All devices of the kind.
pub(crate) fn find(pci: &Pci) -> impl Iterator<Item = PciAddress> + use<> {
    let ecam = pci.ecam();
    // No machine here has more buses.
    let places = (0..16_u8).flat_map(|bus| (0..32_u8).map(move |device| (bus, device)));
    let addresses = places.map(move |(bus, device)| PciAddress::new(ecam.segment(), bus, device, 0));
    addresses.filter(move |address| PciHeader::new(*address).id(ecam) == ID)
}

impl Edu {
    pub(crate) fn new(pci: &Pci, address: PciAddress) -> Self {
        let ecam = pci.ecam();
        let header = PciHeader::new(address);
        let (_, class, subclass, _) = header.revision_and_class(ecam);
        let Some(mut header) = EndpointHeader::from_header(header, ecam) else {
            fail!("{address}: no endpoint ({:?})", DeviceType::from((class, subclass)));
        };
        if !header.command(ecam).contains(CommandRegister::MEMORY_ENABLE) {
            fail!("{address}: no address");
        }
        // Its size is found by a write of ones, during which it must not answer.
        header.update_command(ecam, |command| command - CommandRegister::MEMORY_ENABLE);
        let bar = header.bar(0, ecam);
        header.update_command(ecam, |command| {
            command | CommandRegister::MEMORY_ENABLE | CommandRegister::BUS_MASTER_ENABLE
        });
        let Some(Bar::Memory32 {
            address: base, size, ..
        }) = bar
        else {
            fail!("{address}: {bar:?}");
        };
        let Some(registers) = pci.pointer(false, base.into(), size.into()) else {
            fail!("{address}: {base:#x} is in no window");
        };
        Self {
            address,
            ecam,
            registers,
        }
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: a register of the BAR, which has 1 MiB.
        unsafe { self.registers.byte_add(offset).cast().read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: as in `read`. The device is not asked to reach memory.
        unsafe { self.registers.byte_add(offset).cast().write_volatile(value) };
    }

    /// Its registers are those of the device and not of another.
    pub(crate) fn try_registers(&self) {
        let id = self.read(IDENTIFICATION);
        if id & 0xFFFF != 0xED {
            fail!("{}: identification {id:#x}", self.address);
        }
        for value in [0, 0x1234_5678, u32::from(self.address.device())] {
            self.write(LIVENESS, value);
            if self.read(LIVENESS) != !value {
                fail!("{}: does not answer", self.address);
            }
        }
    }

    pub(crate) fn raise(&self) {
        self.write(INTERRUPT_RAISE, 1);
    }

    /// Whether the device had raised its interrupt. It has let go of it then.
    pub(crate) fn acknowledge(&self) -> bool {
        let status = self.read(INTERRUPT_STATUS);
        self.write(INTERRUPT_ACKNOWLEDGE, status);
        status != 0
    }

    /// Its pin interrupts this hart, again and again, and not while it is masked.
    pub(crate) fn try_pin(&self, board: &Board, pci: &Pci) {
        let interrupt = match pci.interrupt(self.address) {
            Ok(Some(interrupt)) => interrupt,
            Ok(None) => fail!("{}: no pin", self.address),
            Err(error) => fail!("{}: {error}", self.address),
        };
        let Some(source) = board.source_of(&interrupt) else {
            let name = board.foreign_controller(&interrupt);
            println!("{}: pin goes to {}", self.address, name.unwrap_or("?"));
            return;
        };
        let interrupts = board.interrupts;
        if !interrupts.enable(source) {
            fail!("{}: no {source:?}", self.address);
        }
        for round in 0..3 {
            self.raise();
            if !interrupts.wait(source, deadline()) {
                fail!("{}: interrupt {round} by {source:?} was lost", self.address);
            }
            if !self.acknowledge() {
                fail!(
                    "{}: interrupt {round} by {source:?} was of another device",
                    self.address
                );
            }
            interrupts.unmask(source);
        }
        interrupts.mask(source);
        // QEMU's PLIC keeps a line pending that was raised before its source was enabled, so one interrupt more can have come until here.
        interrupts.take(source);
        self.raise();
        if interrupts.wait(source, in_millis(5)) {
            fail!("{}: a masked source has interrupted", self.address);
        }
        interrupts.unmask(source);
        if !interrupts.wait(source, deadline()) {
            fail!("{}: an interrupt was lost while masked", self.address);
        }
        // Not acknowledged: an APLIC looks at the line again.
        interrupts.unmask(source);
        let again = interrupts.wait(source, in_millis(5));
        self.acknowledge();
        interrupts.unmask(source);
        interrupts.disable(source);
        self.raise();
        if interrupts.wait(source, in_millis(5)) && interrupts.wait(source, in_millis(5)) {
            fail!("{}: a disabled source has interrupted", self.address);
        }
        self.acknowledge();
        println!(
            "{}: pin by source {}, raised line seen again: {again}",
            self.address,
            source.number()
        );
    }

    /// Has the device send this message in place of its pin, or none for `None`.
    pub(crate) fn send_messages(&self, message: Option<&Message>) {
        let header = EndpointHeader::from_header(PciHeader::new(self.address), self.ecam);
        let Some(header) = header else {
            fail!("{}: gone", self.address)
        };
        let capability = header.capabilities(self.ecam).find_map(|capability| match capability {
            PciCapability::Msi(msi) => Some(msi),
            _ => None,
        });
        let Some(msi) = capability else {
            fail!("{}: no MSI", self.address)
        };
        if let Some(message) = message {
            msi.set_message_info(message.address, message.data, self.ecam);
        }
        msi.set_enabled(message.is_some(), self.ecam);
    }

    /// Whether configuration space reads as if there was no device.
    pub(crate) fn is_gone(&self) -> bool {
        // SAFETY: the ids of a function that may exist.
        unsafe { self.ecam.read(self.address, 0) == u32::MAX }
    }
}
