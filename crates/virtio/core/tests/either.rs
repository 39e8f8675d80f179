//! One type for two transports: each call reaches the one that is there, and a user of one pays nothing.

use std::cell::RefCell;

use virtio_core::{
    DeviceGone, DeviceStatus, DeviceType, EitherNotifier, EitherTransport, Features, Interface, InterruptCauses,
    InterruptSource, InterruptVector, PollLimit, QueueIndex, QueueNotifier, QueueSetup, QueueSetupError, QueueSize,
    ResetError, Transport, Wait,
};

/// A transport that records the calls, and answers with its number.
#[derive(Default)]
struct Noted<const NUMBER: u16> {
    log: RefCell<Vec<&'static str>>,
}

impl<const NUMBER: u16> Noted<NUMBER> {
    fn note(&self, what: &'static str) {
        self.log.borrow_mut().push(what);
    }
}

struct Bell<const NUMBER: u16>;

impl<const NUMBER: u16> QueueNotifier for Bell<NUMBER> {
    fn notify(&self, next_available: u16) -> Result<(), DeviceGone> {
        if next_available == NUMBER {
            Ok(())
        } else {
            Err(DeviceGone)
        }
    }
}

// SAFETY: no device is behind it, so nothing uses any memory.
unsafe impl<const NUMBER: u16> Transport for Noted<NUMBER> {
    type Notifier = Bell<NUMBER>;

    fn interface(&self) -> Interface {
        self.note("interface");
        Interface::Legacy
    }

    fn device_type(&self) -> DeviceType {
        self.note("device_type");
        DeviceType(NUMBER.into())
    }

    fn vendor(&self) -> u32 {
        self.note("vendor");
        NUMBER.into()
    }

    fn supported_features(&self) -> Features {
        self.note("supported_features");
        Features::from_low(NUMBER.into())
    }

    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        self.note("status");
        Ok(DeviceStatus::from_bits_retain(NUMBER as u8))
    }

    fn write_status(&mut self, _: DeviceStatus) {
        self.note("write_status");
    }

    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        self.note("offered_features");
        Ok(Features::from_low(NUMBER.into()))
    }

    fn write_accepted_features(&mut self, _: Features) {
        self.note("write_accepted_features");
    }

    fn max_queue_size(&mut self, _: QueueIndex) -> Result<u32, DeviceGone> {
        self.note("max_queue_size");
        Ok(NUMBER.into())
    }

    unsafe fn enable_queue(&mut self, _: QueueIndex, _: &QueueSetup) -> Result<(), QueueSetupError> {
        self.note("enable_queue");
        Ok(())
    }

    fn disable_queue(&mut self, _: QueueIndex, _: &mut dyn Wait) -> Result<(), QueueSetupError> {
        self.note("disable_queue");
        Ok(())
    }

    fn notifier(&mut self, _: QueueIndex, _: Features) -> Bell<NUMBER> {
        self.note("notifier");
        Bell
    }

    fn set_config_vector(&mut self, _: Option<InterruptVector>) -> Result<(), QueueSetupError> {
        self.note("set_config_vector");
        Ok(())
    }

    fn interrupt_causes(&mut self, _: InterruptSource) -> InterruptCauses {
        self.note("interrupt_causes");
        InterruptCauses::from_bits_truncate(NUMBER.into())
    }

    fn acknowledge_interrupt(&mut self, _: InterruptSource, _: InterruptCauses) -> bool {
        self.note("acknowledge_interrupt");
        NUMBER == 2
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        self.note("config_generation");
        Ok(Some(NUMBER.into()))
    }

    fn read_config_u8(&self, _: u16) -> Result<u8, DeviceGone> {
        self.note("read_config_u8");
        Ok(NUMBER as u8)
    }

    fn read_config_u16(&self, _: u16) -> Result<u16, DeviceGone> {
        self.note("read_config_u16");
        Ok(NUMBER)
    }

    fn read_config_u32(&self, _: u16) -> Result<u32, DeviceGone> {
        self.note("read_config_u32");
        Ok(NUMBER.into())
    }

    fn write_config_u8(&mut self, _: u16, _: u8) {
        self.note("write_config_u8");
    }

    fn visit_registers(&self, _: &mut dyn FnMut(&'static str, u64)) {
        self.note("visit_registers");
    }

    fn reset(&mut self, _: &mut dyn Wait) -> Result<(), ResetError> {
        self.note("reset");
        Err(ResetError::Gone)
    }
}

type Either = EitherTransport<Noted<1>, Noted<2>>;

/// Calls each method, and makes sure that transport `number` answers.
fn call_all(either: &mut Either, number: u16) {
    const QUEUE: QueueIndex = QueueIndex(0);
    let (line, wide) = (InterruptSource::Line, u32::from(number));
    assert_eq!(either.interface(), Interface::Legacy);
    assert_eq!(either.device_type(), DeviceType(wide));
    assert_eq!(either.vendor(), wide);
    assert_eq!(either.supported_features(), Features::from_low(number.into()));
    assert_eq!(either.status(), Ok(DeviceStatus::from_bits_retain(number as u8)));
    either.write_status(DeviceStatus::FAILED);
    assert_eq!(either.offered_features(), Ok(Features::from_low(number.into())));
    either.write_accepted_features(Features::VERSION_1);
    assert_eq!(either.max_queue_size(QUEUE), Ok(wide));
    let setup = QueueSetup {
        size: QueueSize::MAX,
        descriptor_table: virtio_core::DeviceAddr(0),
        driver_area: virtio_core::DeviceAddr(0),
        device_area: virtio_core::DeviceAddr(0),
        legacy_align: 4096,
        cpu: None,
        vector: None,
    };
    // SAFETY: no device is behind it.
    assert_eq!(unsafe { either.enable_queue(QUEUE, &setup) }, Ok(()));
    assert_eq!(either.disable_queue(QUEUE, &mut PollLimit(0)), Ok(()));
    let bell = either.notifier(QUEUE, Features::empty());
    assert_eq!((bell.notify(number), bell.notify(3)), (Ok(()), Err(DeviceGone)));
    assert_eq!(either.set_config_vector(Some(InterruptVector(1))), Ok(()));
    let causes = either.interrupt_causes(line);
    assert_eq!(causes, InterruptCauses::from_bits_truncate(wide));
    assert_eq!(either.acknowledge_interrupt(line, causes), number == 2);
    assert_eq!(either.config_generation(), Ok(Some(wide)));
    assert_eq!(either.read_config_u8(0), Ok(number as u8));
    assert_eq!(either.read_config_u16(0), Ok(number));
    assert_eq!(either.read_config_u32(0), Ok(wide));
    either.write_config_u8(0, 0);
    either.visit_registers(&mut |_, _| ());
    // Not the default: the transport's own.
    assert_eq!(either.reset(&mut PollLimit(0)), Err(ResetError::Gone));
}

const METHODS: [&str; 21] = [
    "interface",
    "device_type",
    "vendor",
    "supported_features",
    "status",
    "write_status",
    "offered_features",
    "write_accepted_features",
    "max_queue_size",
    "enable_queue",
    "disable_queue",
    "notifier",
    "set_config_vector",
    "interrupt_causes",
    "acknowledge_interrupt",
    "config_generation",
    "read_config_u8",
    "read_config_u16",
    "read_config_u32",
    "write_config_u8",
    "visit_registers",
];

#[test]
fn each_call_reaches_the_transport_that_is_there() {
    let mut either = Either::First(Noted::default());
    call_all(&mut either, 1);
    let EitherTransport::First(first) = either else {
        panic!("it stays what it is");
    };
    let expected = METHODS.iter().chain(&["reset"]).copied().collect::<Vec<_>>();
    assert_eq!(first.log.into_inner(), expected);

    let mut either = Either::Second(Noted::default());
    call_all(&mut either, 2);
    let EitherTransport::Second(second) = either else {
        panic!("it stays what it is");
    };
    assert_eq!(second.log.into_inner(), expected);
}

#[test]
fn a_transport_that_cannot_be_there_takes_no_room() {
    /// A transport without values.
    enum Never {}
    assert_eq!(size_of::<EitherTransport<u64, Never>>(), size_of::<u64>());
    assert_eq!(size_of::<EitherNotifier<u64, Never>>(), size_of::<u64>());
}
