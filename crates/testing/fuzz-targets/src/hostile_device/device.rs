//! A device whose registers and rings answer what the input says: mostly what is right, or there would be nothing to see.

use std::cell::RefCell;
use std::rc::Rc;

use virtio_mmio::{Doorbell, RegisterAccess};

use super::memory::Memory;
use crate::choices::Choices;

/// Register accesses of one step at most: waits and the reading of a configuration that changes are bounded far below.
const MOST_ACCESSES: u32 = 20_000;

/// Elements of a chain that the device follows at most.
const MOST_ELEMENTS: usize = 80;

/// All that a block device may offer, before the input takes something away: no packed ring, which the driver does not take.
const OFFERED: u64 = 0x0000_0142_3FFF_FFFF;

const MAGIC: u32 = 0x7472_6976;
const PAGE: u64 = 4096;

/// The first queue, as the registers describe it.
#[derive(Clone, Copy, Default)]
struct Queue {
    size: u32,
    descriptors: u64,
    driver: u64,
    device: u64,
    is_ready: bool,
    /// Chains that the device has taken, and that it has returned.
    taken: u16,
    used: u16,
}

struct State<'a> {
    choices: Choices<'a>,
    memory: Memory,
    is_legacy: bool,
    status: u32,
    features: u64,
    word: u32,
    align: u32,
    size_max: u32,
    queue: Queue,
    config: [u8; 96],
    generation: u32,
    interrupts: u32,
    is_gone: bool,
    accesses: u32,
}

/// A handle to the device: its registers, its doorbell, and the device itself.
#[derive(Clone)]
pub(super) struct Device<'a>(Rc<RefCell<State<'a>>>);

impl<'a> Device<'a> {
    pub(super) fn new(mut choices: Choices<'a>, memory: Memory) -> Self {
        let is_legacy = choices.rarely(3);
        let taken_away = choices.any::<u64>() & choices.any::<u64>();
        let mut config = [0; 96];
        config[..8].copy_from_slice(&u64::from(choices.any::<u16>()).to_le_bytes());
        for field in config[8..].chunks_exact_mut(4) {
            let value: u32 = match choices.below(8) {
                0..=3 => 0,
                4..=6 => choices.any::<u8>().into(),
                _ => choices.any(),
            };
            field.copy_from_slice(&value.to_le_bytes());
        }
        if !choices.rarely(4) {
            config[20..24].copy_from_slice(&512_u32.to_le_bytes());
        }
        let size_max = choices.of(&[16, 1, 2, 4, 8, 1024, 3, 0x8000]);
        Self(Rc::new(RefCell::new(State {
            choices,
            memory,
            is_legacy,
            status: 0,
            features: OFFERED & !taken_away | u64::from(!is_legacy) << 32,
            word: 0,
            align: 4096,
            size_max,
            queue: Queue::default(),
            config,
            generation: 0,
            interrupts: 0,
            is_gone: false,
            accesses: 0,
        })))
    }

    /// Asks the input.
    pub(super) fn choose<V>(&self, choose: impl FnOnce(&mut Choices<'a>) -> V) -> V {
        choose(&mut self.0.borrow_mut().choices)
    }

    /// A step begins: registers may be looked at again.
    pub(super) fn begin_step(&self) {
        self.0.borrow_mut().accesses = 0;
    }

    /// The device leaves the bus and uses no memory any more.
    pub(super) fn go_away(&self) {
        self.0.borrow_mut().is_gone = true;
    }

    /// The device returns chains, does wrong, or both.
    pub(super) fn work(&self) {
        let state = &mut *self.0.borrow_mut();
        if state.is_gone || !state.queue.is_ready {
            return;
        }
        for _ in 0..state.choices.below(8) + 1 {
            state.return_chain();
        }
        if state.choices.rarely(8) {
            state.scribble();
        }
    }
}

impl State<'_> {
    fn count(&mut self) {
        self.accesses += 1;
        assert!(self.accesses < MOST_ACCESSES, "a step without end");
    }

    fn read(&mut self, offset: u32, width: u32) -> u32 {
        self.count();
        assert!(offset.is_multiple_of(width), "a register that is not aligned");
        if self.is_gone {
            return u32::MAX;
        }
        let right = self.register(offset, width);
        let answer = match self.choices.any::<u8>() {
            0..=249 => right,
            250 => u32::MAX,
            251 => 0,
            252 => right ^ 1 << self.choices.below(32),
            _ => self.choices.any(),
        };
        // No device answers that, so it is cut off from now on.
        self.is_gone |= offset == 0 && answer == u32::MAX;
        answer
    }

    fn register(&mut self, offset: u32, width: u32) -> u32 {
        match offset {
            0x000 => MAGIC,
            0x004 => {
                if self.is_legacy {
                    1
                } else {
                    2
                }
            }
            0x008 => 2,
            0x010 if self.word < 2 => (self.features >> (32 * self.word)) as u32,
            0x034 => self.size_max,
            0x040 => (self.queue.descriptors / PAGE) as u32,
            0x044 => self.queue.is_ready.into(),
            0x060 => {
                let causes = self.choices.any::<u8>();
                self.interrupts | u32::from(causes & 3)
            }
            0x070 => self.status,
            0x0FC => {
                self.generation += u32::from(self.choices.rarely(32));
                self.generation
            }
            0x100.. => {
                let bytes = |at: u32| self.config.get(at as usize).copied().unwrap_or(0);
                let value = (0..width).map(|nth| u32::from(bytes(offset - 0x100 + nth)) << (8 * nth));
                value.sum()
            }
            _ => 0,
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.count();
        if self.is_gone {
            return;
        }
        let (low, high) = (
            |old: u64| old & !0xFFFF_FFFF | u64::from(value),
            |old: u64| old & 0xFFFF_FFFF | u64::from(value) << 32,
        );
        let queue = &mut self.queue;
        match offset {
            0x014 => self.word = value,
            0x038 => queue.size = value,
            0x03C => self.align = value,
            0x040 if self.is_legacy => {
                let start = u64::from(value) * PAGE;
                let end = start + 18 * u64::from(queue.size) + 6;
                *queue = Queue {
                    size: queue.size,
                    descriptors: start,
                    driver: start + 16 * u64::from(queue.size),
                    device: end.next_multiple_of(u64::from(self.align.max(1))),
                    is_ready: value != 0,
                    ..Queue::default()
                };
            }
            0x044 => {
                *queue = Queue {
                    is_ready: value == 1,
                    taken: 0,
                    used: 0,
                    ..*queue
                }
            }
            0x064 => self.interrupts &= !value,
            // It stops whatever else it does wrong.
            0x070 if value == 0 => (self.status, self.queue) = (0, Queue::default()),
            0x070 => self.status = value,
            0x080 => queue.descriptors = low(queue.descriptors),
            0x084 => queue.descriptors = high(queue.descriptors),
            0x090 => queue.driver = low(queue.driver),
            0x094 => queue.driver = high(queue.driver),
            0x0A0 => queue.device = low(queue.device),
            0x0A4 => queue.device = high(queue.device),
            _ => {}
        }
    }

    /// Takes the next chain, if there is one, and returns it or something else.
    fn return_chain(&mut self) {
        let Queue {
            size,
            driver,
            device,
            taken,
            ..
        } = self.queue;
        let size = size.clamp(1, 1 << 15) as u16;
        let available = u16::from_le_bytes(self.memory.read(driver + 2));
        let mischief = self.choices.any::<u8>();
        let (mut id, mut len) = (self.choices.any::<u8>().into(), 1);
        if available != taken {
            let head = u16::from_le_bytes(self.memory.read(driver + 4 + 2 * u64::from(taken % size)));
            self.queue.taken = taken.wrapping_add(1);
            id = u32::from(head);
            len = self.answer(head, mischief);
        } else if mischief < 240 {
            return;
        }
        match mischief {
            255 => id = self.choices.any(),
            254 => len = self.choices.any(),
            253 => return,
            _ => {}
        }
        let place = device + 4 + 8 * u64::from(self.queue.used % size);
        self.memory.write(place, &id.to_le_bytes());
        self.memory.write(place + 4, &len.to_le_bytes());
        let step = if mischief == 252 { self.choices.any() } else { 1 };
        self.queue.used = self.queue.used.wrapping_add(step);
        self.memory.write(device + 2, &self.queue.used.to_le_bytes());
        self.interrupts |= 1;
    }

    /// Fills what the device may write of a chain. The last byte is the status. Answers how many bytes these are.
    fn answer(&mut self, head: u16, mischief: u8) -> u32 {
        let (mut table, mut index, mut bytes, mut last) = (self.queue.descriptors, head, 0_u32, None);
        for _ in 0..MOST_ELEMENTS {
            let descriptor: [u8; 16] = self.memory.read(table + 16 * u64::from(index));
            let field = u128::from_le_bytes(descriptor);
            let (addr, len) = (field as u64, (field >> 64) as u32);
            let (flags, next) = ((field >> 96) as u16, (field >> 112) as u16);
            if flags & 4 != 0 {
                (table, index) = (addr, 0);
                continue;
            }
            if flags & 2 != 0 {
                let content = self.choices.any::<u8>();
                self.memory.write(addr, &vec![content; len.min(1 << 20) as usize]);
                bytes = bytes.wrapping_add(len);
                last = addr.checked_add(u64::from(len.max(1)) - 1);
            }
            if flags & 1 == 0 {
                break;
            }
            index = next;
        }
        let status = match mischief {
            0..=229 => Some(0),
            230..=245 => Some(self.choices.any()),
            246 => None,
            _ => Some(0),
        };
        if let (Some(addr), Some(status)) = (last, status) {
            self.memory.write(addr, &[status]);
        }
        bytes
    }

    /// Writes where the driver looks, and where it does not.
    fn scribble(&mut self) {
        let number = self.choices.any();
        if let Some(addr) = self.memory.somewhere_shared(number) {
            let bytes = self.choices.any::<u32>().to_le_bytes();
            let count = self.choices.below(4) + 1;
            self.memory.write(addr, &bytes[..count]);
        }
    }
}

// SAFETY: the device uses no memory but what the `Memory` of this crate knows to be held.
unsafe impl<'a> RegisterAccess for Device<'a> {
    type Doorbell = Self;

    fn read_u8(&self, offset: u32) -> u8 {
        self.0.borrow_mut().read(offset, 1) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.0.borrow_mut().read(offset, 2) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.0.borrow_mut().read(offset, 4)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.0.borrow_mut().write(offset, value.into());
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.0.borrow_mut().write(offset, value);
    }

    unsafe fn doorbell(&self) -> Self {
        self.clone()
    }
}

impl Doorbell for Device<'_> {
    fn ring(&self, value: u32) {
        self.0.borrow_mut().write(0x050, value);
    }
}
