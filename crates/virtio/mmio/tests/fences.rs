//! Fences between registers and memory: each access with the fences that were passed before it.
//!
//! The counts are of the whole program, so this is one test.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Script, Seen, queue_of_eight};
use virtio_core::fence::counts::Fence;
use virtio_core::{
    Features, InterruptCauses, InterruptSource, PollLimit, QueueIndex, QueueNotifier, ResetError, Transport,
};
use virtio_mmio::{Doorbell, MmioTransport, RegisterAccess, probe};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Read(u32),
    Write(u32),
    Fence(Fence),
}
use Step::{Read, Write};

/// The scripted device; its log has the fences, too.
#[derive(Clone)]
struct Ordered {
    script: Script,
    log: Rc<RefCell<(Vec<Step>, [u32; 4])>>,
}

impl Ordered {
    fn new(script: Script) -> Self {
        let it = Self {
            script,
            log: Rc::default(),
        };
        it.steps();
        it
    }

    fn transport(&self) -> MmioTransport<Ordered> {
        let transport = probe(self.clone()).device().expect("a device");
        self.steps();
        transport
    }

    /// Notes the fences that were passed since the last look.
    fn note_fences(&self) {
        let (steps, before) = &mut *self.log.borrow_mut();
        for (fence, before) in Fence::ALL.into_iter().zip(before) {
            let now = fence.passed();
            steps.extend((*before..now).map(|_| Step::Fence(fence)));
            *before = now;
        }
    }

    /// Everything since the last call.
    fn steps(&self) -> Vec<Step> {
        self.note_fences();
        self.script.log();
        std::mem::take(&mut self.log.borrow_mut().0)
    }

    fn note<V>(&self, access: impl FnOnce(&Script) -> V) -> V {
        self.note_fences();
        let value = access(&self.script);
        let steps = self.script.log().into_iter().map(|seen| match seen {
            Seen::Read8(at) | Seen::Read16(at) | Seen::Read32(at) => Read(at),
            Seen::Write8(at, _) | Seen::Write32(at, _) => Write(at),
        });
        self.log.borrow_mut().0.extend(steps);
        value
    }
}

// SAFETY: no device is behind it, so nothing uses any memory.
unsafe impl RegisterAccess for Ordered {
    type Doorbell = Self;

    fn read_u8(&self, offset: u32) -> u8 {
        self.note(|script| script.read_u8(offset))
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.note(|script| script.read_u16(offset))
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.note(|script| script.read_u32(offset))
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        // SAFETY: no device is behind it.
        self.note(|script| unsafe { script.clone().write_u8(offset, value) });
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: no device is behind it.
        self.note(|script| unsafe { script.clone().write_u32(offset, value) });
    }

    unsafe fn doorbell(&self) -> Self {
        self.clone()
    }
}

impl Doorbell for Ordered {
    fn ring(&self, value: u32) {
        self.note(|script| script.ring(value));
    }
}

const BEFORE_DOORBELL: Step = Step::Fence(Fence::BeforeDoorbell);
const AFTER_STATUS: Step = Step::Fence(Fence::AfterInterruptStatus);
const BOTH: Step = Step::Fence(Fence::RegistersAndMemory);

#[test]
fn registers_and_memory_are_ordered_where_they_meet() {
    // What was written to the rings is there before the device is told to look.
    let device = Ordered::new(Script::block(2).answer(0x034, &[64]).answer(0x044, &[0, 1]));
    let mut transport = device.transport();
    let notifier = transport.notifier(QueueIndex(0), Features::empty());
    device.steps();
    notifier.notify(1).unwrap();
    assert_eq!(device.steps(), [BEFORE_DOORBELL, Write(0x050)], "notification");

    // SAFETY: the device is a script and touches no memory.
    unsafe { transport.enable_queue(QueueIndex(0), &queue_of_eight(1 << 33)) }.unwrap();
    let steps = device.steps();
    assert!(
        steps.ends_with(&[Write(0x0A4), BEFORE_DOORBELL, Write(0x044), Read(0x044)]),
        "a queue that is made ready: {steps:?}"
    );

    let legacy = Ordered::new(Script::block(1).answer(0x034, &[64]).answer(0x040, &[0, 2]));
    let mut old = legacy.transport();
    // SAFETY: the device is a script and touches no memory.
    unsafe { old.enable_queue(QueueIndex(0), &queue_of_eight(0x2000)) }.unwrap();
    let steps = legacy.steps();
    assert!(
        steps.ends_with(&[Write(0x03C), BEFORE_DOORBELL, Write(0x040), Read(0x040)]),
        "a legacy queue: {steps:?}"
    );

    // What the device wrote to memory is looked at after the register that told of it.
    device.steps();
    transport.interrupt_causes(InterruptSource::Line);
    assert_eq!(device.steps(), [Read(0x060), AFTER_STATUS], "causes of an interrupt");
    transport.acknowledge_interrupt(InterruptSource::Line, InterruptCauses::USED_BUFFER);
    assert_eq!(device.steps(), [Write(0x064), BOTH], "acknowledge");

    // Memory is taken back after the device has let go of it.
    transport.status().unwrap();
    assert_eq!(device.steps(), [Read(0x070), BOTH], "status");
    transport.reset(&mut PollLimit(3)).unwrap();
    assert_eq!(device.steps(), [Write(0x070), Read(0x070), BOTH], "reset");
    let ready = Ordered::new(Script::block(2).answer(0x044, &[1, 0]));
    let mut transport = ready.transport();
    transport.disable_queue(QueueIndex(0), &mut PollLimit(3)).unwrap();
    assert_eq!(
        ready.steps(),
        [Write(0x030), Write(0x044), Read(0x044), Read(0x044), BOTH],
        "a queue that is taken back"
    );

    // Nor is it in use by a device that is gone.
    let gone = Ordered::new(
        Script::block(2)
            .answer(0x000, &[common::MAGIC, u32::MAX])
            .answer(0x070, &[u32::MAX]),
    );
    let mut transport = gone.transport();
    assert_eq!(transport.reset(&mut PollLimit(3)), Err(ResetError::Gone));
    assert_eq!(
        gone.steps(),
        [Write(0x070), Read(0x070), BOTH, Read(0x000), BOTH],
        "a device that is gone"
    );
}
