//! The device of `virtio-blk-model`, which misbehaves on request: it shows that a run sees what goes wrong.

use anyhow::{Context, Result};
use virtio_blk_model::faults::FaultScript;
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters, Service};
use virtio_mmio::MmioTransport;

use super::{Device, SECTORS};

/// A device in this process.
pub struct Software {
    model: Model,
    faults: FaultScript,
}

impl Software {
    /// A device that does what the script says with some requests. After each start their numbers begin at 0 again.
    pub fn new(faults: FaultScript) -> Self {
        let model = fresh(&faults);
        Self { model, faults }
    }
}

fn fresh(faults: &FaultScript) -> Model {
    let model = Model::new(ModelConfig {
        capacity: SECTORS as u64,
        service: Service::OnNotify,
        ..ModelConfig::modern()
    });
    model.set_fault(faults.clone());
    model
}

impl Device for Software {
    type Transport = MmioTransport<ModelRegisters>;
    type Memory = ModelDma;

    fn memory(&self) -> ModelDma {
        self.model.dma()
    }

    fn connect(&mut self) -> Result<Self::Transport> {
        virtio_mmio::probe(self.model.registers())
            .device()
            .context("the model shows no device")
    }

    fn kill(&mut self) {
        self.model.go_away();
    }

    fn start_again(&mut self) -> Result<()> {
        let next = fresh(&self.faults);
        next.write_disk(0, &self.model.read_disk(0, SECTORS as u64));
        self.model = next;
        Ok(())
    }

    fn wait(&self, _: &Self::Transport) {}
}
