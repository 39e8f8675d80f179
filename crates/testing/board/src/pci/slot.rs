//! Slots into which devices are plugged while the machine runs (PCI Express Base Specification, "Slot Control Register").
//!
//! A removal begins with the attention button. The device stays in use until the guest has switched the power of the slot off; then
//! it is taken out. A device that is plugged in gets power from the guest, and addresses after that.

use pci_types::{ConfigRegionAccess, PciAddress};

use super::config::{Function, Kind};

/// The id of the capability.
const PCI_EXPRESS: u8 = 0x10;

/// Bytes from the start of the capability.
const CAPABILITIES: u16 = 0x00;
const SLOT_CAPABILITIES: u16 = 0x14;
/// Control in the lower half, status in the upper one.
const SLOT_CONTROL: u16 = 0x18;

const SLOT_IMPLEMENTED: u32 = 1 << (16 + 8);
const HOT_PLUG_CAPABLE: u32 = 1 << 6;

const BUTTON_INTERRUPT: u32 = 1 << 0;
const PRESENCE_INTERRUPT: u32 = 1 << 3;
const INTERRUPT_ON: u32 = 1 << 5;
const POWER_INDICATOR: u32 = 0b11 << 8;
const INDICATOR_ON: u32 = 0b01 << 8;
const INDICATOR_OFF: u32 = 0b11 << 8;
const POWER_OFF: u32 = 1 << 10;

/// Events in the status; a one clears the event.
const BUTTON_PRESSED: u32 = 1 << 0;
const PRESENCE_CHANGED: u32 = 1 << 3;
const EVENTS: u32 = 0b1_0001_1111;
const IS_OCCUPIED: u32 = 1 << 6;

/// A slot, by its port.
#[derive(Clone, Copy, Debug)]
pub struct Slot<C> {
    access: C,
    port: PciAddress,
    capability: u16,
}

/// What has happened at a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotEvents {
    /// The attention button was pressed: a device shall be removed, or was plugged in.
    pub button_pressed: bool,
    /// A device was plugged in or taken out.
    pub presence_changed: bool,
}

impl<C: ConfigRegionAccess> Slot<C> {
    /// The slot of a port; `None` if the function is no port with a slot into which devices can be plugged.
    pub(crate) fn of(access: C, port: PciAddress) -> Option<Self> {
        let function = Function::at(&access, port).filter(|function| function.kind() == Kind::Bridge)?;
        let capability = function.capability(PCI_EXPRESS)?;
        let has_slot = function.read(capability + CAPABILITIES) & SLOT_IMPLEMENTED != 0;
        let is_capable = function.read(capability + SLOT_CAPABILITIES) & HOT_PLUG_CAPABLE != 0;
        (has_slot && is_capable).then_some(Self {
            access,
            port,
            capability,
        })
    }

    /// The address of the port.
    pub const fn port(&self) -> PciAddress {
        self.port
    }

    /// The number of the slot, as it is printed beside it.
    pub fn number(&self) -> u32 {
        self.read(SLOT_CAPABILITIES) >> 19
    }

    /// The bus of the device in the slot.
    pub fn bus(&self) -> Option<u8> {
        let bus = Function::at(&self.access, self.port)?.buses_behind().0;
        (bus != 0).then_some(bus)
    }

    /// Whether there is a device.
    pub fn is_occupied(&self) -> bool {
        self.read(SLOT_CONTROL) >> 16 & IS_OCCUPIED != 0
    }

    /// Whether it has power.
    pub fn has_power(&self) -> bool {
        self.read(SLOT_CONTROL) & POWER_OFF == 0
    }

    /// What has happened since this was last asked.
    pub fn take_events(&mut self) -> SlotEvents {
        let word = self.read(SLOT_CONTROL);
        let events = word >> 16 & EVENTS;
        if events != 0 {
            self.write(word & 0xFFFF | events << 16);
        }
        SlotEvents {
            button_pressed: events & BUTTON_PRESSED != 0,
            presence_changed: events & PRESENCE_CHANGED != 0,
        }
    }

    /// Has the port interrupt when something happens, on its pin.
    pub fn set_interrupt(&mut self, is_on: bool) {
        let bits = BUTTON_INTERRUPT | PRESENCE_INTERRUPT | INTERRUPT_ON;
        self.control(if is_on { bits } else { 0 }, bits);
    }

    /// Takes the power from the device. It is gone then, and the machine takes it out of the slot if that was asked for. A driver
    /// that still uses it reads all ones.
    pub fn power_off(&mut self) {
        self.control(POWER_OFF | INDICATOR_OFF, POWER_INDICATOR);
    }

    /// Gives power to a device that was plugged in. It has no addresses yet.
    pub fn power_on(&mut self) {
        self.control(INDICATOR_ON, POWER_INDICATOR | POWER_OFF);
    }

    /// Changes the control register, and clears no event.
    fn control(&mut self, set: u32, clear: u32) {
        self.write(self.read(SLOT_CONTROL) & 0xFFFF & !clear | set);
    }

    fn read(&self, offset: u16) -> u32 {
        // SAFETY: a register of the capability that `of` has found; reading has no effect.
        unsafe { self.access.read(self.port, self.capability + offset) }
    }

    fn write(&mut self, value: u32) {
        // SAFETY: the control register of a slot. A device without power reaches no memory.
        unsafe { self.access.write(self.port, self.capability + SLOT_CONTROL, value) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    const PORT: (u8, u8, u8) = (0, 2, 0);

    fn slot(fake: &Fake) -> Slot<&Fake> {
        Slot::of(fake, PciAddress::new(0, 0, 2, 0)).unwrap()
    }

    #[test]
    fn ports_without_a_slot_are_told_apart() {
        let mut fake = Fake::default();
        fake.bridge((0, 1, 0));
        fake.bridge(PORT);
        fake.endpoint((0, 3, 0), &[]);
        fake.slot(PORT, 5, false);
        let of = |fake: &Fake, device| Slot::of(fake, PciAddress::new(0, 0, device, 0)).is_some();
        assert!([1, 2, 3, 4].iter().all(|&device| !of(&fake, device)));
        fake.slot(PORT, 5, true);
        assert!(of(&fake, 2));
        assert_eq!(slot(&fake).number(), 5);
    }

    #[test]
    fn power_is_switched_and_events_are_told_once() {
        let mut fake = Fake::default();
        fake.bridge(PORT);
        fake.slot(PORT, 1, true);
        fake.press_button(PORT);
        let mut slot = slot(&fake);
        assert!(slot.has_power());
        slot.set_interrupt(true);
        assert_eq!(fake.slot_control(PORT), 0x29);
        slot.power_off();
        assert!(!slot.has_power());
        assert_eq!(fake.slot_control(PORT), 0x729);
        // The event was not cleared by the writes of the control register.
        let pressed = SlotEvents {
            button_pressed: true,
            presence_changed: false,
        };
        assert_eq!(slot.take_events(), pressed);
        assert_eq!(slot.take_events(), SlotEvents::default());
        slot.power_on();
        assert_eq!(fake.slot_control(PORT), 0x129);
        assert!(!slot.is_occupied());
    }
}
