//! A transport with what MMIO lacks: interrupt vectors, and the reset of one queue.

use std::sync::{Arc, Mutex};

use virtio_core::{
    DeviceGone, DeviceStatus, DeviceType, Features, Interface, InterruptCauses, InterruptSource, InterruptVector,
    QueueIndex, QueueSetup, QueueSetupError, Transport, Wait,
};
use virtio_mmio::RegisterAccess;

use super::{Rig, TestTransport, register};

/// The vectors that the device was told of.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) config: Option<u16>,
    pub(crate) queues: Vec<(u16, u16)>,
    /// This one and those above it are refused.
    pub(crate) end: u16,
}

/// The MMIO transport of a model, as if it had vectors and QueueReset.
pub(crate) struct Capable {
    inner: TestTransport,
    pub(crate) routes: Arc<Mutex<Routes>>,
}

impl Capable {
    /// With `vectors` vectors.
    pub(crate) fn new(model: &virtio_blk_model::Model, vectors: u16) -> Self {
        let routes = Routes {
            end: vectors,
            ..Routes::default()
        };
        Self {
            inner: Rig::<16>::probe(model),
            routes: Arc::new(Mutex::new(routes)),
        }
    }

    /// The registers, for a hook.
    pub(crate) fn registers(&self) -> super::Hooked {
        self.inner.access().clone()
    }

    fn takes(&self, vector: InterruptVector) -> Result<u16, QueueSetupError> {
        let is_there = vector.0 < self.routes.lock().unwrap().end;
        is_there.then_some(vector.0).ok_or(QueueSetupError::VectorRefused)
    }
}

// SAFETY: all that matters for memory is done by the transport inside, and QueueReset reads 0 only when the model has let go of the
// queue.
unsafe impl Transport for Capable {
    type Notifier = <TestTransport as Transport>::Notifier;

    fn interface(&self) -> Interface {
        self.inner.interface()
    }

    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn vendor(&self) -> u32 {
        self.inner.vendor()
    }

    fn supported_features(&self) -> Features {
        self.inner.supported_features() | Features::RING_RESET
    }

    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        self.inner.status()
    }

    fn write_status(&mut self, status: DeviceStatus) {
        self.inner.write_status(status);
    }

    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        self.inner.offered_features()
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        self.inner.write_accepted_features(accepted);
    }

    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone> {
        self.inner.max_queue_size(queue)
    }

    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        if let Some(vector) = setup.vector {
            let vector = self.takes(vector)?;
            self.routes.lock().unwrap().queues.push((queue.0, vector));
        }
        let setup = QueueSetup { vector: None, ..*setup };
        // SAFETY: the caller keeps the same contract.
        unsafe { self.inner.enable_queue(queue, &setup) }
    }

    fn disable_queue(&mut self, queue: QueueIndex, wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        let mut registers = self.registers();
        // SAFETY: it takes memory from the device, and tells it of none.
        unsafe {
            registers.write_u32(register::QUEUE_SEL, u32::from(queue.0));
            registers.write_u32(register::QUEUE_RESET, 1);
        }
        while registers.read_u32(register::QUEUE_RESET) != 0 {
            if !wait.wait() {
                return Err(QueueSetupError::NotReady);
            }
        }
        Ok(())
    }

    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier {
        self.inner.notifier(queue, accepted)
    }

    fn set_config_vector(&mut self, vector: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        let vector = vector.map(|vector| self.takes(vector)).transpose()?;
        self.routes.lock().unwrap().config = vector;
        Ok(())
    }

    fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses {
        let InterruptSource::Vector(InterruptVector(vector)) = source else {
            return self.inner.interrupt_causes(source);
        };
        let routes = self.routes.lock().unwrap();
        let mut causes = InterruptCauses::empty();
        causes.set(InterruptCauses::CONFIG_CHANGE, routes.config == Some(vector));
        causes.set(
            InterruptCauses::USED_BUFFER,
            routes.queues.iter().any(|&(_, of)| of == vector),
        );
        causes
    }

    fn acknowledge_interrupt(&mut self, source: InterruptSource, causes: InterruptCauses) -> bool {
        source == InterruptSource::Line && self.inner.acknowledge_interrupt(source, causes)
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        self.inner.config_generation()
    }

    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone> {
        self.inner.read_config_u8(offset)
    }

    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone> {
        self.inner.read_config_u16(offset)
    }

    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone> {
        self.inner.read_config_u32(offset)
    }

    fn write_config_u8(&mut self, offset: u16, value: u8) {
        self.inner.write_config_u8(offset, value);
    }

    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.inner.visit_registers(visit);
    }
}
