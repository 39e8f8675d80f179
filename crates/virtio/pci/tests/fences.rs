//! Fences between registers and memory: each access with the fences that were passed before it.
//!
//! The counts are of the whole program, so this is one test.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Plugged, QUEUE};
use virtio_blk_model::{ModelBar, ModelBarDoorbell, ModelConfig, ModelFunction, PciForm, RingReset};
use virtio_core::fence::counts::Fence;
use virtio_core::{
    DeviceStatus, FeatureChoice, Features, Init, InterruptSource, PollLimit, QueueNotifier, ResetError, Transport,
};
use virtio_pci::{BarRange, Doorbell, MapBar, PciTransport, RegisterAccess, Structure, probe};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Read(Structure, u32),
    Write(Structure, u32),
    Fence(Fence),
}
use Step::{Read, Write};

#[derive(Clone, Default)]
struct Log(Rc<RefCell<(Vec<Step>, [u32; 4])>>);

impl Log {
    /// Everything since the last call.
    fn steps(&self) -> Vec<Step> {
        let (steps, before) = &mut *self.0.borrow_mut();
        note_fences(steps, before);
        std::mem::take(steps)
    }

    fn note(&self, step: Step) {
        let (steps, before) = &mut *self.0.borrow_mut();
        note_fences(steps, before);
        steps.push(step);
    }
}

/// Notes the fences that were passed since the last look.
fn note_fences(steps: &mut Vec<Step>, before: &mut [u32; 4]) {
    for (fence, before) in Fence::ALL.into_iter().zip(before) {
        let now = fence.passed();
        steps.extend((*before..now).map(|_| Step::Fence(fence)));
        *before = now;
    }
}

/// A mapper whose windows and doorbells write a log.
struct Ordered(ModelFunction, Log);

// SAFETY: that of the model's mapper.
unsafe impl MapBar for Ordered {
    type Window = OrderedBar<ModelBar>;

    fn map(&mut self, range: &BarRange) -> Option<Self::Window> {
        Some(OrderedBar {
            inner: self.0.map(range)?,
            log: self.1.clone(),
            structure: range.structure(),
        })
    }
}

struct OrderedBar<T> {
    inner: T,
    log: Log,
    structure: Structure,
}

impl<T> OrderedBar<T> {
    fn read(&self, offset: u32) -> &T {
        self.log.note(Read(self.structure, offset));
        &self.inner
    }

    fn write(&mut self, offset: u32) -> &mut T {
        self.log.note(Write(self.structure, offset));
        &mut self.inner
    }
}

// SAFETY: every access is that of the window of the model.
unsafe impl RegisterAccess for OrderedBar<ModelBar> {
    type Doorbell = OrderedBar<ModelBarDoorbell>;

    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset).read_u8(offset)
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset).read_u16(offset)
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset).read_u32(offset)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset).write_u8(offset, value) }
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset).write_u16(offset, value) }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.write(offset).write_u32(offset, value) }
    }

    unsafe fn doorbell(&self, offset: u32) -> Self::Doorbell {
        OrderedBar {
            // SAFETY: the caller keeps the same contract.
            inner: unsafe { self.inner.doorbell(offset) },
            log: self.log.clone(),
            structure: self.structure,
        }
    }
}

impl Doorbell for OrderedBar<ModelBarDoorbell> {
    fn ring_u16(&self, value: u16) {
        self.log.note(Write(self.structure, 0));
        self.inner.ring_u16(value);
    }

    fn ring_u32(&self, value: u32) {
        self.log.note(Write(self.structure, 0));
        self.inner.ring_u32(value);
    }
}

type OrderedTransport = PciTransport<ModelFunction, OrderedBar<ModelBar>>;

/// The transport of a device with its features settled, and its log.
fn start(plugged: &Plugged) -> (OrderedTransport, Log) {
    let log = Log::default();
    let mut mapper = Ordered(plugged.function.clone(), log.clone());
    let mut transport = probe(plugged.handle(), &mut mapper).expect("the function is a device");
    let init = Init::begin(&mut transport, &mut PollLimit(10)).unwrap();
    let choice = FeatureChoice {
        supported: Features::RING_RESET,
        required: Features::empty(),
    };
    std::mem::forget(init.acknowledge().driver().unwrap().negotiate(choice).unwrap());
    log.steps();
    (transport, log)
}

const BEFORE_DOORBELL: Step = Step::Fence(Fence::BeforeDoorbell);
const AFTER_STATUS: Step = Step::Fence(Fence::AfterInterruptStatus);
const BOTH: Step = Step::Fence(Fence::RegistersAndMemory);
const ENABLE: u32 = 0x1C;

#[test]
fn registers_and_memory_are_ordered_where_they_meet() {
    let config = ModelConfig {
        ring_reset: RingReset::After(1),
        ..ModelConfig::modern()
    };
    let plugged = Plugged::new(PciForm::Modern, config);
    let (mut transport, log) = start(&plugged);
    // What was written to the rings is there before the device is told to look.
    let setup = plugged.queue(8);
    // SAFETY: the memory belongs to the model, stays allocated, and nothing is made available in it.
    unsafe { transport.enable_queue(QUEUE, &setup) }.unwrap();
    let steps = log.steps();
    let last = [
        Write(Structure::Common, 0x34),
        BEFORE_DOORBELL,
        Write(Structure::Common, ENABLE),
        Read(Structure::Common, ENABLE),
    ];
    assert!(steps.ends_with(&last), "a queue that is enabled: {steps:?}");
    let status = transport.status().unwrap();
    transport.write_status(status | DeviceStatus::DRIVER_OK);
    let notifier = transport.notifier(QUEUE, Features::empty());
    log.steps();
    notifier.notify(0).unwrap();
    assert_eq!(
        log.steps(),
        [BEFORE_DOORBELL, Write(Structure::Notify, 0)],
        "notification"
    );

    // What the device wrote to memory is looked at after the register that told of it.
    transport.interrupt_causes(InterruptSource::Line);
    assert_eq!(
        log.steps(),
        [Read(Structure::Isr, 0), AFTER_STATUS],
        "causes of an interrupt"
    );

    // Memory is taken back after the device has let go of it.
    transport.status().unwrap();
    assert_eq!(log.steps(), [Read(Structure::Common, 0x14), BOTH], "status");
    transport.disable_queue(QUEUE, &mut PollLimit(10)).unwrap();
    let steps = log.steps();
    assert!(
        steps.ends_with(&[Read(Structure::Common, 0x3A), Read(Structure::Common, ENABLE), BOTH]),
        "a queue that is reset: {steps:?}"
    );
    transport.reset(&mut PollLimit(10)).unwrap();
    let steps = log.steps();
    assert!(
        steps.ends_with(&[Read(Structure::Common, 0x14), BOTH]),
        "reset: {steps:?}"
    );

    let plugged = Plugged::legacy();
    let (mut transport, log) = start(&plugged);
    let setup = plugged.queue(u16::try_from(transport.max_queue_size(QUEUE).unwrap()).unwrap());
    // SAFETY: the memory belongs to the model, stays allocated, and nothing is made available in it.
    unsafe { transport.enable_queue(QUEUE, &setup) }.unwrap();
    let steps = log.steps();
    let last = [
        BEFORE_DOORBELL,
        Write(Structure::Legacy, 0x08),
        Read(Structure::Legacy, 0x08),
    ];
    assert!(steps.ends_with(&last), "a legacy queue: {steps:?}");

    // Memory is taken back from a device that is gone, or that does not answer and is cut off.
    log.steps();
    plugged.function.set_deaf(true);
    assert_eq!(transport.reset(&mut PollLimit(10)), Err(ResetError::Gone));
    let last = [Read(Structure::Legacy, 0x12), BOTH, BOTH];
    assert!(log.steps().ends_with(&last), "a device that is cut off");
    plugged.function.set_deaf(false);
    plugged.model.go_away();
    transport.max_queue_size(QUEUE).unwrap_err();
    assert!(log.steps().ends_with(&[BOTH]), "a device that is gone");
}
