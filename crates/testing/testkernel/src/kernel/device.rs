//! A device whose notifications are the kernel's, so that what a driver does for a request does not depend on when the device
//! answers.
//!
//! A host serves the device while the guest runs, and one run is never like another. If a client counts instructions,
//! the kernel therefore accesses the registers in the place of the driver: the page is not mapped, each access faults, and
//! the kernel does what the instruction says. It has a notification wait until its time has come, and goes on when the
//! device has completed all that is available. So the device is either infinitely fast, or slower than everything else.
//! All other registers are passed through.

use board_qemu_virt::println;
use testkernel::register_access::RegisterAccess;
use testkernel::scenario::Pace;

use super::paging::DeviceRegister;
use super::physical;
use super::process::Slot;
use super::space::AddressSpace;
use super::state::Kernel;

/// Registers of the modern layout (VirtIO 1.3, 4.2.2), from the start of a window.
const QUEUE_NOTIFY: u64 = 0x50;
const INTERRUPT_STATUS: u64 = 0x60;
const DRIVER_AREA: u64 = 0x90;
const DEVICE_AREA: u64 = 0xA0;
const WINDOW_BYTES: u64 = 0x1000;

/// The place of the running index in the driver area, and in the device area.
const INDEX: u64 = 2;

/// The time that the device may take for all that is available, in microseconds.
const LIMIT_MICROS: u64 = 10_000_000;

/// A notification that waits for its time.
#[derive(Clone, Copy, Debug)]
struct Notification {
    register: u64,
    value: u32,
}

/// The device, and its only queue.
#[derive(Debug, Default)]
pub(crate) struct PacedDevice {
    pace: Pace,
    driver_area: u64,
    device_area: u64,
    waiting: Option<Notification>,
}

impl PacedDevice {
    pub(super) const fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Whether the kernel accesses the registers of windows that are mapped from now on.
    pub(crate) fn is_mediated(&self) -> bool {
        self.pace != Pace::Free
    }

    /// Remembers the places of the rings, which the driver writes in halves.
    fn note(&mut self, register: u64, value: u32) {
        let (area, shift) = match register % WINDOW_BYTES {
            DRIVER_AREA => (&mut self.driver_area, 0),
            register if register == DRIVER_AREA + 4 => (&mut self.driver_area, 32),
            DEVICE_AREA => (&mut self.device_area, 0),
            register if register == DEVICE_AREA + 4 => (&mut self.device_area, 32),
            _ => return,
        };
        *area = *area & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
    }

    /// Whether the device has completed all that is available to it.
    fn is_done(&self) -> bool {
        index(self.driver_area) == index(self.device_area)
    }
}

/// The running index of a ring.
fn index(area: u64) -> u16 {
    let at = area + INDEX;
    (physical::load(at & !7) >> (8 * (at & 7))) as u16
}

/// Does an access to a register in the place of a process that has faulted on it. False if it was none.
pub(super) fn access(kernel: &mut Kernel, slot: Slot, address: u64) -> bool {
    let process = &mut kernel.processes[slot];
    let Some(register) = process.space.mediated(address) else {
        return false;
    };
    let Some(access) = instruction_at(&process.space, process.context.pc()).and_then(RegisterAccess::decode) else {
        return false;
    };
    if !register.is_multiple_of(access.bytes as u64) {
        return false;
    }
    process.context.skip(access.length);
    // It has trapped, so the hart has not counted it.
    process.user_instructions += 1;
    let endpoint = process.endpoint;
    kernel.account.ran(endpoint, 1);
    let place = DeviceRegister::new(register, access.bytes);
    if !access.is_store {
        process
            .context
            .set_register(access.register, access.extended(place.read()));
        return true;
    }
    let value = process.context.register(access.register) as u32;
    kernel.device.note(register, value);
    if register % WINDOW_BYTES != QUEUE_NOTIFY {
        place.write(value);
        return true;
    }
    kernel.account.notified(endpoint);
    let notification = Notification { register, value };
    match kernel.device.pace {
        // One that waits already stands for all.
        Pace::WhenAllWait => kernel.device.waiting = Some(notification),
        Pace::Free | Pace::AtOnce => notify(kernel, notification),
    }
    true
}

/// Every process waits: lets the device have a notification that has waited for this. Whether there was one.
pub(super) fn release(kernel: &mut Kernel) -> bool {
    let waiting = kernel.device.waiting.take();
    waiting.inspect(|notification| notify(kernel, *notification)).is_some()
}

/// Notifies the device, and waits until it has nothing left to do.
fn notify(kernel: &mut Kernel, Notification { register, value }: Notification) {
    DeviceRegister::new(register, 4).write(value);
    let end = kernel.clock.now_micros().saturating_add(LIMIT_MICROS);
    while !kernel.device.is_done() {
        if kernel.clock.now_micros() > end {
            println!("test kernel: the device does not complete what is available");
            let text = format_args!("the device has not completed all requests after {LIMIT_MICROS} us");
            kernel.failures.violation(text);
            break;
        }
        core::hint::spin_loop();
    }
    // The device may have written its index and not yet interrupted. It answers when it has.
    DeviceRegister::new(register - QUEUE_NOTIFY + INTERRUPT_STATUS, 4).read();
}

/// The instruction at an address, which the process has just tried to execute.
fn instruction_at(space: &AddressSpace, pc: u64) -> Option<u32> {
    let half = |at| {
        let mut bytes = [0; 2];
        space.read(at, &mut bytes).ok()?;
        Some(u16::from_le_bytes(bytes))
    };
    let low = half(pc)?;
    let high = if RegisterAccess::is_long(low) { half(pc + 2)? } else { 0 };
    Some(u32::from(high) << 16 | u32::from(low))
}
