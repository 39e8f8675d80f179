//! Interrupt pins: which pin of the root bus a function's pin becomes.

use pci_types::{ConfigRegionAccess, PciAddress};

use super::config::{Function, Kind};

/// A pin at the root bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootPin {
    /// The device on the root bus: the function's own, or the topmost bridge above it.
    pub(crate) device: u8,
    /// The function of that device.
    pub(crate) function: u8,
    /// 1 for INTA to 4 for INTD.
    pub(crate) pin: u8,
}

/// The pin at the root bus on which the interrupt of a function arrives. `None` if the function has no pin, or if no bridges lead to it.
///
/// At each bridge a pin moves on by the number of the device behind it (PCI-to-PCI Bridge Architecture Specification, "Interrupt
/// Support").
pub(crate) fn pin_at_root<C: ConfigRegionAccess>(access: &C, root_bus: u8, address: PciAddress) -> Option<RootPin> {
    let pin = Function::at(access, address)?.pin()?;
    let segment = address.segment();
    let mut bus = root_bus;
    let mut moved = 0;
    let mut top = None;
    // Bus numbers grow from bridge to bridge.
    while bus != address.bus() {
        let bridge = Function::on_bus(access, segment, bus).find(|function| {
            let (first, last) = function.buses_behind();
            function.kind() == Kind::Bridge && first > bus && (first..=last).contains(&address.bus())
        })?;
        match top {
            None => top = Some((bridge.address.device(), bridge.address.function())),
            Some(_) => moved += u32::from(bridge.address.device()),
        }
        bus = bridge.buses_behind().0;
    }
    let Some((device, function)) = top else {
        return Some(RootPin {
            device: address.device(),
            function: address.function(),
            pin,
        });
    };
    moved += u32::from(address.device());
    Some(RootPin {
        device,
        function,
        // Below five.
        pin: ((u32::from(pin) - 1 + moved) % 4 + 1) as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::{AddressSpace, Spaces, assign};
    use super::*;

    #[test]
    fn pins_move_by_the_device_at_each_bridge() {
        let mut fake = Fake::default();
        fake.endpoint((0, 7, 0), &[]);
        fake.bridge((0, 3, 1));
        fake.bridge((0, 3, 0));
        fake.endpoint((1, 2, 0), &[]);
        fake.bridge((1, 6, 0));
        fake.endpoint((2, 9, 0), &[]);
        for (function, pin) in [((0, 7, 0), 2), ((1, 2, 0), 4), ((2, 9, 0), 1)] {
            fake.set_pin(function, pin);
        }
        assign(
            &fake,
            0,
            0,
            255,
            &mut Spaces {
                memory: AddressSpace::new(1, 1 << 30),
                ..Spaces::default()
            },
        );
        let pin = |(bus, device, function)| pin_at_root(&fake, 0, PciAddress::new(0, bus, device, function));
        let root = |device, function, pin| Some(RootPin { device, function, pin });
        assert_eq!(pin((0, 7, 0)), root(7, 0, 2));
        assert_eq!(pin((1, 2, 0)), root(3, 0, 2), "INTD and 2");
        assert_eq!(pin((2, 9, 0)), root(3, 0, 4), "INTA, 9 and 6");
        assert_eq!(pin((0, 3, 0)), None, "no pin");
        assert_eq!(pin((5, 0, 0)), None, "no function");
    }

    #[test]
    fn bridges_that_lead_in_a_circle_end_the_search() {
        let mut fake = Fake::default();
        fake.bridge((0, 1, 0));
        fake.bridge((1, 1, 0));
        fake.endpoint((2, 0, 0), &[]);
        fake.set_pin((2, 0, 0), 1);
        fake.set_buses((0, 1, 0), (0, 1, 9));
        fake.set_buses((1, 1, 0), (1, 0, 9));
        assert_eq!(pin_at_root(&fake.unrouted(), 0, PciAddress::new(0, 2, 0, 0)), None);
    }
}
