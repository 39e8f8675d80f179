//! The device of `virtio-blk-model`, which misbehaves on request: it shows that a run sees what goes wrong.

use anyhow::{Context, Result};
use virtio_blk_model::faults::FaultScript;
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters, Service};
use virtio_mmio::MmioTransport;

use super::{Device, SECTORS};

/// A device in this process.
pub struct Software(Model);

impl Software {
    /// A device that does what the script says with some requests.
    pub fn new(faults: FaultScript) -> Self {
        let device = Self(fresh());
        device.0.set_fault(faults);
        device
    }
}

fn fresh() -> Model {
    Model::new(ModelConfig {
        capacity: SECTORS as u64,
        service: Service::OnNotify,
        ..ModelConfig::modern()
    })
}

impl Device for Software {
    type Transport = MmioTransport<ModelRegisters>;
    type Memory = ModelDma;

    fn memory(&self) -> ModelDma {
        self.0.dma()
    }

    fn connect(&mut self) -> Result<Self::Transport> {
        virtio_mmio::probe(self.0.registers())
            .device()
            .context("the model shows no device")
    }

    fn kill(&mut self) {
        self.0.go_away();
    }

    fn start_again(&mut self) -> Result<()> {
        let next = fresh();
        next.write_disk(0, &self.0.read_disk(0, SECTORS as u64));
        self.0 = next;
        Ok(())
    }

    fn wait(&self, _: &Self::Transport) {}
}
