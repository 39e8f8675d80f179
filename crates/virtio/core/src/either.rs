//! One type for kernels with two transports: which one a device has is known at run time.

use crate::{
    DeviceGone, DeviceStatus, DeviceType, Features, Interface, InterruptCauses, InterruptSource, InterruptVector,
    QueueIndex, QueueNotifier, QueueSetup, QueueSetupError, ResetError, Transport, Wait,
};

/// A device behind one of two transports, such as MMIO and PCI. For three, one of the two is an `EitherTransport` itself.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EitherTransport<A, B> {
    /// The device is behind the first transport.
    First(A),
    /// The device is behind the second transport.
    Second(B),
}

/// The doorbell of a queue behind one of two transports.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EitherNotifier<A, B> {
    /// The device is behind the first transport.
    First(A),
    /// The device is behind the second transport.
    Second(B),
}

impl<A: QueueNotifier, B: QueueNotifier> QueueNotifier for EitherNotifier<A, B> {
    #[inline]
    fn notify(&self, next_available: u16) -> Result<(), DeviceGone> {
        match self {
            Self::First(notifier) => notifier.notify(next_available),
            Self::Second(notifier) => notifier.notify(next_available),
        }
    }
}

/// Does the same with either transport.
macro_rules! with {
    ($either:expr, $transport:ident => $what:expr) => {
        match $either {
            EitherTransport::First($transport) => $what,
            EitherTransport::Second($transport) => $what,
        }
    };
}

// SAFETY: every call goes to one transport, always the same one, which keeps the contract. Methods with a default go there, too.
unsafe impl<A: Transport, B: Transport> Transport for EitherTransport<A, B> {
    type Notifier = EitherNotifier<A::Notifier, B::Notifier>;

    fn interface(&self) -> Interface {
        with!(self, it => it.interface())
    }

    fn device_type(&self) -> DeviceType {
        with!(self, it => it.device_type())
    }

    fn vendor(&self) -> u32 {
        with!(self, it => it.vendor())
    }

    fn supported_features(&self) -> Features {
        with!(self, it => it.supported_features())
    }

    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        with!(self, it => it.status())
    }

    fn write_status(&mut self, status: DeviceStatus) {
        with!(self, it => it.write_status(status));
    }

    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        with!(self, it => it.offered_features())
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        with!(self, it => it.write_accepted_features(accepted));
    }

    fn max_queue_size(&mut self, queue: QueueIndex) -> Result<u32, DeviceGone> {
        with!(self, it => it.max_queue_size(queue))
    }

    unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        // SAFETY: the caller keeps the same contract.
        with!(self, it => unsafe { it.enable_queue(queue, setup) })
    }

    fn disable_queue(&mut self, queue: QueueIndex, wait: &mut dyn Wait) -> Result<(), QueueSetupError> {
        with!(self, it => it.disable_queue(queue, wait))
    }

    fn notifier(&mut self, queue: QueueIndex, accepted: Features) -> Self::Notifier {
        match self {
            Self::First(it) => EitherNotifier::First(it.notifier(queue, accepted)),
            Self::Second(it) => EitherNotifier::Second(it.notifier(queue, accepted)),
        }
    }

    fn set_config_vector(&mut self, vector: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        with!(self, it => it.set_config_vector(vector))
    }

    fn interrupt_causes(&mut self, source: InterruptSource) -> InterruptCauses {
        with!(self, it => it.interrupt_causes(source))
    }

    fn acknowledge_interrupt(&mut self, source: InterruptSource, causes: InterruptCauses) -> bool {
        with!(self, it => it.acknowledge_interrupt(source, causes))
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        with!(self, it => it.config_generation())
    }

    fn read_config_u8(&self, offset: u16) -> Result<u8, DeviceGone> {
        with!(self, it => it.read_config_u8(offset))
    }

    fn read_config_u16(&self, offset: u16) -> Result<u16, DeviceGone> {
        with!(self, it => it.read_config_u16(offset))
    }

    fn read_config_u32(&self, offset: u16) -> Result<u32, DeviceGone> {
        with!(self, it => it.read_config_u32(offset))
    }

    fn write_config_u8(&mut self, offset: u16, value: u8) {
        with!(self, it => it.write_config_u8(offset, value));
    }

    fn visit_registers(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        with!(self, it => it.visit_registers(visit));
    }

    fn reset(&mut self, wait: &mut dyn Wait) -> Result<(), ResetError> {
        with!(self, it => it.reset(wait))
    }
}
