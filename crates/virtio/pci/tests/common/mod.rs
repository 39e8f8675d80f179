//! What the tests share: a machine in software, and a device of the model on it.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unused_imports, reason = "each test file uses its own part")]

mod machine;

pub(crate) use machine::{Machine, Place};

use std::cell::RefCell;

use virtio_blk_model::{Model, ModelBar, ModelConfig, ModelFunction, PciForm};
use virtio_core::{
    Dma, DmaRegion, FeatureChoice, Features, Init, PollLimit, QueueIndex, QueueSetup, QueueSize, Transport,
};
use virtio_pci::{PciFunction, PciTransport, ProbeError, probe};

pub(crate) type ModelTransport = PciTransport<ModelFunction, ModelBar>;

/// The forms with a device that fits each.
pub(crate) fn forms() -> [(PciForm, ModelConfig); 3] {
    [
        (PciForm::Transitional, ModelConfig::modern()),
        (PciForm::Modern, ModelConfig::modern()),
        (PciForm::Legacy, ModelConfig::legacy()),
    ]
}

/// A device on the bus.
pub(crate) struct Plugged {
    pub(crate) model: Model,
    pub(crate) function: ModelFunction,
    /// The memory of its queues.
    regions: RefCell<Vec<DmaRegion>>,
}

impl Drop for Plugged {
    fn drop(&mut self) {
        for region in self.regions.take() {
            self.model.dma().release(region);
        }
    }
}

impl Plugged {
    pub(crate) fn new(form: PciForm, config: ModelConfig) -> Self {
        Self::with_vectors(form, config, 3)
    }

    pub(crate) fn with_vectors(form: PciForm, config: ModelConfig, vectors: u16) -> Self {
        let model = Model::new(config);
        let function = model.on_pci(form, vectors);
        Self {
            model,
            function,
            regions: RefCell::default(),
        }
    }

    pub(crate) fn modern() -> Self {
        Self::new(PciForm::Modern, ModelConfig::modern())
    }

    pub(crate) fn legacy() -> Self {
        Self::new(PciForm::Legacy, ModelConfig::legacy())
    }

    pub(crate) fn handle(&self) -> PciFunction<ModelFunction> {
        // SAFETY: a model; it uses no memory but its own.
        unsafe { PciFunction::new(self.function.clone(), self.function.address()) }
    }

    pub(crate) fn probe(&self) -> Result<ModelTransport, ProbeError> {
        probe(self.handle(), &mut self.function.clone())
    }

    pub(crate) fn transport(&self) -> ModelTransport {
        self.probe().expect("the function is a device")
    }

    /// A transport whose features are settled, with `wanted` of those offered.
    pub(crate) fn negotiated(&self, wanted: Features) -> ModelTransport {
        let mut transport = self.transport();
        negotiate(&mut transport, wanted);
        transport
    }

    /// The set-up of a queue in memory of the model.
    pub(crate) fn queue(&self, size: u16) -> QueueSetup {
        let layout = std::alloc::Layout::from_size_align(64 << 10, 4096).unwrap();
        let region = self.model.dma().allocate(layout).unwrap();
        let table = region.device_addr();
        self.regions.borrow_mut().push(region);
        let entries = u64::from(size);
        let driver_area = table.checked_add(16 * entries).unwrap();
        let end = driver_area.get() + 6 + 2 * entries;
        let device_area = table.checked_add(end.next_multiple_of(4096) - table.get()).unwrap();
        QueueSetup {
            size: QueueSize::new(size).unwrap(),
            descriptor_table: table,
            driver_area,
            device_area,
            legacy_align: 4096,
            cpu: None,
            vector: None,
        }
    }
}

pub(crate) fn negotiate(transport: &mut ModelTransport, wanted: Features) {
    let init = Init::begin(transport, &mut PollLimit(10)).unwrap();
    let choice = FeatureChoice {
        supported: wanted,
        required: Features::empty(),
    };
    let init = init.acknowledge().driver().unwrap().negotiate(choice).unwrap();
    std::mem::forget(init);
}

pub(crate) const QUEUE: QueueIndex = QueueIndex(0);

/// Enables queue 0.
pub(crate) fn enable(transport: &mut ModelTransport, setup: &QueueSetup) -> Result<(), virtio_core::QueueSetupError> {
    // SAFETY: the memory belongs to the model, stays allocated, and nothing is made available in it.
    unsafe { transport.enable_queue(QUEUE, setup) }
}
