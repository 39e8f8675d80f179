//! Registers with a hook, which can let things happen at exact moments.

use std::sync::{Arc, Mutex};

use virtio_blk_model::ModelRegisters;
use virtio_mmio::{Doorbell, RegisterAccess};

/// Offsets of registers, in bytes.
pub(crate) mod register {
    pub(crate) const QUEUE_SEL: u32 = 0x030;
    pub(crate) const QUEUE_PFN: u32 = 0x040;
    pub(crate) const QUEUE_READY: u32 = 0x044;
    pub(crate) const QUEUE_NOTIFY: u32 = 0x050;
    pub(crate) const INTERRUPT_ACK: u32 = 0x064;
    pub(crate) const STATUS: u32 = 0x070;
    pub(crate) const QUEUE_RESET: u32 = 0x0C0;
    pub(crate) const CONFIG_GENERATION: u32 = 0x0FC;
    pub(crate) const CONFIG: u32 = 0x100;
}

/// An access to a register on its way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A read at this offset.
    Read(u32),
    /// A write of this value at this offset.
    Write(u32, u32),
}

type Hook = Box<dyn FnMut(Access) -> Option<u32> + Send>;

/// The registers of a model. A hook sees every access first; if it answers, the device never sees it.
#[derive(Clone)]
pub(crate) struct Hooked {
    registers: ModelRegisters,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Hooked {
    pub(crate) fn new(registers: ModelRegisters) -> Self {
        Self {
            registers,
            hook: Arc::default(),
        }
    }

    /// Asks `hook` about every access from now on.
    pub(crate) fn hook(&self, hook: impl FnMut(Access) -> Option<u32> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Removes the hook.
    pub(crate) fn unhook(&self) {
        *self.hook.lock().unwrap() = None;
    }

    /// Runs `act` just before the first write to `offset` reaches the device.
    pub(crate) fn before_write(&self, offset: u32, act: impl FnOnce() + Send + 'static) {
        let mut act = Some(act);
        self.hook(move |access| {
            if matches!(access, Access::Write(at, _) if at == offset)
                && let Some(act) = act.take()
            {
                act();
            }
            None
        });
    }

    fn write(&self, offset: u32, value: u32) {
        if self.ask(Access::Write(offset, value)).is_none() {
            self.registers.write_u32(offset, value);
        }
    }

    fn ask(&self, access: Access) -> Option<u32> {
        self.hook.lock().unwrap().as_mut().and_then(|hook| hook(access))
    }
}

// SAFETY: it stands before the registers of a model, whose memory outlives what is freed on a wrong answer.
unsafe impl RegisterAccess for Hooked {
    type Doorbell = Self;

    fn read_u8(&self, offset: u32) -> u8 {
        let answer = self.ask(Access::Read(offset));
        answer.map_or_else(|| self.registers.read_u8(offset), |value| value as u8)
    }

    fn read_u16(&self, offset: u32) -> u16 {
        let answer = self.ask(Access::Read(offset));
        answer.map_or_else(|| self.registers.read_u16(offset), |value| value as u16)
    }

    fn read_u32(&self, offset: u32) -> u32 {
        let answer = self.ask(Access::Read(offset));
        answer.unwrap_or_else(|| self.registers.read_u32(offset))
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        if self.ask(Access::Write(offset, u32::from(value))).is_none() {
            self.registers.write_u8(offset, value);
        }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.write(offset, value);
    }

    unsafe fn doorbell(&self) -> Self {
        self.clone()
    }
}

impl Doorbell for Hooked {
    fn ring(&self, value: u32) {
        self.write(register::QUEUE_NOTIFY, value);
    }
}
