//! What goes wrong with requests, one after the other, and the register window with a meter.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::panic_any;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex};

use virtio_blk_model::ModelRegisters;
use virtio_blk_model::faults::{Completion, Fault, FaultKind, RequestInfo, Verdict};
use virtio_mmio::{Doorbell, RegisterAccess};

use crate::plan::Target;

const FLUSH: u32 = 4;
const QUEUE_NOTIFY: u32 = 0x050;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Target, FaultKind)>,
    failed_flushes: u64,
}

/// The faults that wait for a request each. Clones are handles to the same ones.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    queue: Arc<Mutex<Queue>>,
    /// What the request that is served now meets.
    now: Option<FaultKind>,
}

impl Faults {
    pub(crate) fn add(&self, target: Target, kind: FaultKind, times: u32) {
        let mut queue = self.queue.lock().expect("one thread");
        queue.waiting.extend((0..times).map(|_| (target, kind)));
    }

    pub(crate) fn clear(&self) {
        self.queue.lock().expect("one thread").waiting.clear();
    }

    /// Flushes that were answered with an error so far.
    pub(crate) fn failed_flushes(&self) -> u64 {
        self.queue.lock().expect("one thread").failed_flushes
    }
}

impl Fault for Faults {
    fn before_service(&mut self, request: &RequestInfo) -> Verdict {
        let mut queue = self.queue.lock().expect("one thread");
        let flush = request.kind == FLUSH;
        let place = queue
            .waiting
            .iter()
            .position(|(target, _)| *target == Target::Any || flush);
        self.now = place
            .and_then(|place| queue.waiting.remove(place))
            .map(|(_, kind)| kind);
        // Half of a flush is none.
        let verdict = match self.now.map_or(Verdict::Serve, FaultKind::verdict) {
            Verdict::Half(status) if flush => Verdict::Answer(status),
            verdict => verdict,
        };
        queue.failed_flushes += u64::from(flush && matches!(verdict, Verdict::Answer(1..)));
        verdict
    }

    fn before_completion(&mut self, request: &RequestInfo, completion: &mut Completion) {
        if let Some(kind) = self.now.take() {
            kind.twist(request, completion);
        }
    }
}

/// Register accesses in one call of the driver at most. A device that finishes no reset and no start is allowed a limit of
/// polls for each, which is a million.
const ACCESSES: u64 = 3_500_000;

/// What a driver that exceeds that is stopped with.
pub(crate) struct TooManyAccesses(pub(crate) u64);

/// The registers of the model, counting accesses.
pub(crate) struct Window {
    model: ModelRegisters,
    accesses: Cell<u64>,
}

impl Window {
    pub(crate) fn new(model: ModelRegisters) -> Rc<Self> {
        Rc::new(Self {
            model,
            accesses: Cell::new(0),
        })
    }

    /// A call of the driver begins.
    pub(crate) fn begin_call(&self) {
        self.accesses.set(0);
    }

    /// Counts an access.
    fn count(&self) -> &ModelRegisters {
        let accesses = self.accesses.get() + 1;
        self.accesses.set(accesses);
        // Once: what is dropped on the way out may write to a register.
        if accesses == ACCESSES {
            panic_any(TooManyAccesses(accesses));
        }
        &self.model
    }
}

/// The driver's handle to the window. It keeps it for good, so it must not keep the model alive.
pub(crate) struct Registers(Weak<Window>);

/// The same for the doorbell.
pub(crate) struct Bell(Weak<Window>);

impl Registers {
    pub(crate) fn new(window: &Rc<Window>) -> Self {
        Self(Rc::downgrade(window))
    }

    fn window(&self) -> Rc<Window> {
        self.0.upgrade().expect("the run is not over")
    }
}

// SAFETY: the registers are those of one model, which keeps the contract, and are handed on as they are.
unsafe impl RegisterAccess for Registers {
    type Doorbell = Bell;

    fn read_u8(&self, offset: u32) -> u8 {
        self.window().count().read_u8(offset)
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.window().count().read_u16(offset)
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.window().count().read_u32(offset)
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.window().count().write_u8(offset, value);
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.window().count().write_u32(offset, value);
    }

    unsafe fn doorbell(&self) -> Bell {
        Bell(self.0.clone())
    }
}

impl Doorbell for Bell {
    fn ring(&self, value: u32) {
        let window = self.0.upgrade().expect("the run is not over");
        window.count().write_u32(QUEUE_NOTIFY, value);
    }
}
