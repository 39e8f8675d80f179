//! When a device gets its notifications, if that is for the kernel to decide; and where its rings are, as the driver tells it.
//!
//! Registers are those of the modern layout of virtio-mmio (VirtIO 1.3, 4.2.2), with one queue.

use crate::scenario::Pace;

/// Bytes of a window, which starts at a multiple of them.
const WINDOW_BYTES: u64 = 0x1000;
const QUEUE_NOTIFY: u64 = 0x50;
const INTERRUPT_STATUS: u64 = 0x60;
const DRIVER_AREA: u64 = 0x90;
const DEVICE_AREA: u64 = 0xA0;

/// A write to the register by which a device is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    pub register: u64,
    pub value: u32,
}

impl Notification {
    /// A register of the device. A read of it returns only when the device has finished its current work.
    pub const fn interrupt_status(&self) -> u64 {
        self.register - QUEUE_NOTIFY + INTERRUPT_STATUS
    }
}

/// What is to be done about a write to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write it.
    Pass,
    /// Write it, and wait until the device has completed everything.
    Notify(Notification),
    /// Leave it for later.
    Hold,
}

/// The pace of the device, and what the driver has told it.
#[derive(Clone, Debug, Default)]
pub struct Pacing {
    pace: Pace,
    driver_area: u64,
    device_area: u64,
    held: Option<Notification>,
}

impl Pacing {
    /// From now on.
    pub const fn set(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Whether the kernel accesses the registers of windows that are mapped from now on.
    pub fn is_mediated(&self) -> bool {
        self.pace != Pace::Free
    }

    /// The driver writes a register, by its physical address.
    pub fn write(&mut self, register: u64, value: u32) -> Write {
        match register % WINDOW_BYTES {
            QUEUE_NOTIFY => {
                let notification = Notification { register, value };
                if self.pace != Pace::WhenAllWait {
                    return Write::Notify(notification);
                }
                // With one queue, the last one says what those before it have said.
                self.held = Some(notification);
                return Write::Hold;
            }
            DRIVER_AREA => set_half(&mut self.driver_area, 0, value),
            register if register == DRIVER_AREA + 4 => set_half(&mut self.driver_area, 32, value),
            DEVICE_AREA => set_half(&mut self.device_area, 0, value),
            register if register == DEVICE_AREA + 4 => set_half(&mut self.device_area, 32, value),
            _ => {}
        }
        Write::Pass
    }

    /// Every process waits. The notification that was left for this moment.
    pub const fn release(&mut self) -> Option<Notification> {
        self.held.take()
    }

    /// Addresses of the running indices of driver and device, 16 bits each. Once they are equal, all that is available is
    /// completed. `None` before the driver has told the device where its rings are.
    pub const fn indices(&self) -> Option<[u64; 2]> {
        const INDEX: u64 = 2;
        if self.driver_area == 0 || self.device_area == 0 {
            return None;
        }
        Some([self.driver_area + INDEX, self.device_area + INDEX])
    }
}

const fn set_half(area: &mut u64, shift: u32, value: u32) {
    *area = *area & !(0xFFFF_FFFF << shift) | (value as u64) << shift;
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 0x1000_8000;
    const NOTIFICATION: Notification = Notification {
        register: WINDOW + QUEUE_NOTIFY,
        value: 0,
    };

    fn pacing(pace: Pace) -> Pacing {
        let mut pacing = Pacing::default();
        pacing.set(pace);
        pacing
    }

    #[test]
    fn a_notification_is_passed_on_or_held() {
        for pace in [Pace::Free, Pace::AtOnce] {
            let mut pacing = pacing(pace);
            assert_eq!(pacing.write(WINDOW + QUEUE_NOTIFY, 0), Write::Notify(NOTIFICATION));
            assert_eq!(pacing.release(), None);
        }
        let mut pacing = pacing(Pace::WhenAllWait);
        for _ in 0..3 {
            assert_eq!(pacing.write(WINDOW + QUEUE_NOTIFY, 0), Write::Hold);
        }
        assert_eq!(pacing.release(), Some(NOTIFICATION));
        assert_eq!(pacing.release(), None, "one stands for all");
        assert_eq!(NOTIFICATION.interrupt_status(), WINDOW + INTERRUPT_STATUS);
    }

    #[test]
    fn the_rings_are_where_the_driver_says() {
        let mut pacing = pacing(Pace::AtOnce);
        let halves = [
            (DRIVER_AREA, 0x8765_4000),
            (DRIVER_AREA + 4, 1),
            (DEVICE_AREA, 0xFFFF_F000),
        ];
        for (register, value) in halves {
            assert_eq!(pacing.indices(), None);
            assert_eq!(pacing.write(WINDOW + register, value), Write::Pass);
        }
        assert_eq!(pacing.indices(), Some([0x1_8765_4002, 0xFFFF_F002]));
        // After a reset they are somewhere else.
        pacing.write(WINDOW + DRIVER_AREA, 0x9000_0000);
        pacing.write(WINDOW + DRIVER_AREA + 4, 0);
        assert_eq!(pacing.indices(), Some([0x9000_0002, 0xFFFF_F002]));
    }

    #[test]
    fn other_registers_are_passed_on() {
        let mut pacing = pacing(Pace::WhenAllWait);
        for register in [0x70, 0x64, 0x98, 0xA8, 0x100] {
            assert_eq!(pacing.write(WINDOW + register, 7), Write::Pass);
        }
        assert_eq!((pacing.release(), pacing.indices()), (None, None));
    }

    #[test]
    fn only_a_device_with_a_pace_is_mediated() {
        let are = [Pace::Free, Pace::AtOnce, Pace::WhenAllWait].map(|pace| pacing(pace).is_mediated());
        assert_eq!(are, [false, true, true]);
    }
}
