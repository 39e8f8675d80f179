//! Initialisation against a scripted transport: what is written, in which order, and what happens when the device
//! does not play along.

use std::cell::{Cell, RefCell};

use virtio_core::{
    ConfigError, ConfigReader, DeviceAddr, DeviceGone, DeviceStatus, DeviceType, FeatureChoice, Features,
    HandshakeError, Init, Interface, InterruptCauses, InterruptSource, NotLive, PollLimit, QueueIndex, QueueNotifier,
    QueueSetup, QueueSetupError, QueueSize, ResetError, Transport, Wait, read_consistent,
};

/// What the driver did, in order. Status reads are counted apart, since any number of them is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Status(u8),
    ReadFeatures,
    Accept(Features),
    Enable(u16),
}

/// A device that does what its fields say.
struct Script {
    interface: Interface,
    offered: Features,
    supported: Features,
    /// FEATURES_OK falls off when written.
    refuses: bool,
    /// How many status reads after a reset still show the old status.
    slow_reset: u32,
    /// Bits the device sets on its own whenever the status is not zero.
    own_bits: u8,
    /// Bits the device takes back whenever the status is written.
    takes_back: u8,
    status: u8,
    resetting: Cell<u32>,
    status_reads: Cell<u32>,
    /// Reads of configuration fields and of the generation.
    reads: Cell<u32>,
    /// What the generation counter answers, one after the other; the last one stays.
    generations: RefCell<Vec<Option<u32>>>,
    /// Accesses until the device goes away, if it does. A store is none, since it tells nothing.
    goes_after: Cell<Option<u32>>,
    /// A status bit went away without a reset. Noted and not asserted, since FAILED is written while things unwind.
    cleared: bool,
    log: Vec<Event>,
}

impl Script {
    fn new(interface: Interface) -> Self {
        Self {
            interface,
            offered: Features::VERSION_1,
            supported: Features::empty(),
            refuses: false,
            slow_reset: 0,
            own_bits: 0,
            takes_back: 0,
            status: 0,
            resetting: Cell::new(0),
            status_reads: Cell::new(0),
            reads: Cell::new(0),
            generations: RefCell::new(vec![Some(0)]),
            goes_after: Cell::new(None),
            cleared: false,
            log: Vec::new(),
        }
    }

    /// Counts an access, and answers whether there is still a device.
    fn access(&self) -> Result<(), DeviceGone> {
        match self.goes_after.get() {
            None => Ok(()),
            Some(0) => Err(DeviceGone),
            Some(left) => {
                self.goes_after.set(Some(left - 1));
                Ok(())
            }
        }
    }

    fn modern(offered: Features) -> Self {
        Self {
            offered,
            ..Self::new(Interface::Modern)
        }
    }

    fn statuses(&self) -> Vec<u8> {
        assert!(!self.cleared, "a bit was cleared without a reset (INIT-D-02)");
        let status = |event: &Event| match event {
            Event::Status(status) => Some(*status),
            _ => None,
        };
        self.log.iter().filter_map(status).collect()
    }

    fn accepted(&self) -> Option<Features> {
        self.log.iter().find_map(|event| match event {
            Event::Accept(accepted) => Some(*accepted),
            _ => None,
        })
    }
}

struct Silent;

impl QueueNotifier for Silent {
    fn notify(&self, _: u16) -> Result<(), DeviceGone> {
        Ok(())
    }
}

// SAFETY: no device is behind it, so nothing uses any memory.
unsafe impl Transport for Script {
    type Notifier = Silent;

    fn interface(&self) -> Interface {
        self.interface
    }

    fn device_type(&self) -> DeviceType {
        DeviceType::BLOCK
    }

    fn vendor(&self) -> u32 {
        0
    }

    fn supported_features(&self) -> Features {
        self.supported
    }

    fn status(&self) -> Result<DeviceStatus, DeviceGone> {
        self.access()?;
        self.status_reads.set(self.status_reads.get() + 1);
        Ok(match self.resetting.get() {
            0 => DeviceStatus::from_bits_retain(self.status),
            left => {
                self.resetting.set(left - 1);
                DeviceStatus::from_bits_retain(0x0F)
            }
        })
    }

    fn write_status(&mut self, status: DeviceStatus) {
        let bits = status.bits();
        self.log.push(Event::Status(bits));
        if bits == 0 {
            self.resetting.set(self.slow_reset);
            self.status = 0;
        } else {
            self.cleared |= self.status & !bits != 0;
            self.status = (bits | self.own_bits) & !self.takes_back;
            if self.refuses {
                self.status &= !DeviceStatus::FEATURES_OK.bits();
            }
        }
    }

    fn offered_features(&mut self) -> Result<Features, DeviceGone> {
        self.access()?;
        self.log.push(Event::ReadFeatures);
        Ok(self.offered)
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        assert_eq!(self.status & 8, 0, "features after FEATURES_OK (INIT-D-17)");
        self.log.push(Event::Accept(accepted));
    }

    fn max_queue_size(&mut self, _: QueueIndex) -> Result<u32, DeviceGone> {
        self.access()?;
        Ok(256)
    }

    unsafe fn enable_queue(&mut self, queue: QueueIndex, _: &QueueSetup) -> Result<(), QueueSetupError> {
        self.access()?;
        self.log.push(Event::Enable(queue.0));
        if queue.0 == 0 {
            Ok(())
        } else {
            Err(QueueSetupError::NoSuchQueue)
        }
    }

    fn disable_queue(&mut self, _: QueueIndex, _: &mut dyn Wait) -> Result<(), QueueSetupError> {
        Err(QueueSetupError::NotReady)
    }

    fn notifier(&mut self, _: QueueIndex, _: Features) -> Silent {
        Silent
    }

    fn interrupt_causes(&mut self, _: InterruptSource) -> InterruptCauses {
        InterruptCauses::empty()
    }

    fn acknowledge_interrupt(&mut self, _: InterruptSource, _: InterruptCauses) -> bool {
        false
    }

    fn config_generation(&self) -> Result<Option<u32>, DeviceGone> {
        self.access()?;
        self.reads.update(|reads| reads + 1);
        let mut generations = self.generations.borrow_mut();
        Ok(if generations.len() > 1 {
            generations.remove(0)
        } else {
            generations[0]
        })
    }

    fn read_config_u8(&self, _: u16) -> Result<u8, DeviceGone> {
        self.access()?;
        self.reads.update(|reads| reads + 1);
        Ok(0)
    }

    fn read_config_u16(&self, _: u16) -> Result<u16, DeviceGone> {
        self.access()?;
        self.reads.update(|reads| reads + 1);
        Ok(0)
    }

    fn read_config_u32(&self, _: u16) -> Result<u32, DeviceGone> {
        self.access()?;
        self.reads.update(|reads| reads + 1);
        Ok(0)
    }

    fn write_config_u8(&mut self, _: u16, _: u8) {}

    fn visit_registers(&self, _: &mut dyn FnMut(&'static str, u64)) {}
}

/// A hundred looks.
const LIMIT: PollLimit = PollLimit(99);

const NOTHING: FeatureChoice = supported(Features::empty());

const fn supported(supported: Features) -> FeatureChoice {
    let required = Features::empty();
    FeatureChoice { supported, required }
}

const fn required(required: Features) -> FeatureChoice {
    let supported = Features::empty();
    FeatureChoice { supported, required }
}

fn bit(shift: u32) -> Features {
    Features::from_bits_retain(1 << shift)
}

/// Steps 1 to 6.
fn negotiate(
    device: &mut Script,
    choice: FeatureChoice,
) -> Result<Init<'_, Script, virtio_core::init::Negotiated>, HandshakeError> {
    Init::begin(device, &mut LIMIT.clone())?
        .acknowledge()
        .driver()?
        .negotiate(choice)
}

/// The whole sequence; what was agreed.
fn bring_up(device: &mut Script, choice: FeatureChoice) -> Result<Features, HandshakeError> {
    Ok(negotiate(device, choice)?.finish().expect("the device goes live"))
}

fn enable(init: &mut Init<'_, Script, virtio_core::init::Negotiated>, queue: u16) -> Result<(), QueueSetupError> {
    let setup = QueueSetup {
        size: QueueSize::new(8).unwrap(),
        descriptor_table: DeviceAddr(0x1000),
        driver_area: DeviceAddr(0x1080),
        device_area: DeviceAddr(0x2000),
        legacy_align: 4096,
        cpu: None,
        vector: None,
    };
    // SAFETY: nothing here ever touches memory.
    unsafe { init.enable_queue(QueueIndex(queue), &setup) }
}

// Shows INIT-D-01, INIT-D-06, INIT-D-07, INIT-D-08, INIT-D-09, INIT-D-10, INIT-D-11, INIT-D-13, INIT-D-14, SUSP-D-01.
#[test]
fn a_modern_device_sees_the_eight_steps_in_order() {
    let mut device = Script::modern(Features::VERSION_1 | Features::EVENT_IDX);
    let mut init = negotiate(&mut device, supported(Features::EVENT_IDX)).unwrap();
    enable(&mut init, 0).unwrap();
    let agreed = init.finish().unwrap();
    assert_eq!(agreed, Features::VERSION_1 | Features::EVENT_IDX);
    assert_eq!(
        device.log,
        [
            Event::Status(0),
            Event::Status(1),
            Event::Status(3),
            Event::ReadFeatures,
            Event::Accept(agreed),
            Event::Status(0x0B),
            Event::Enable(0),
            Event::Status(0x0F),
        ]
    );
    assert_eq!(device.status, 0x0F, "a live device is not marked as failed");
}

// Shows LEG-D-04, LEG-D-05.
#[test]
fn a_legacy_device_sees_no_features_ok_and_one_word() {
    let mut device = Script::new(Interface::Legacy);
    device.offered = Features::INDIRECT_DESC | Features::NOTIFY_ON_EMPTY;
    let agreed = bring_up(&mut device, supported(Features::INDIRECT_DESC));
    assert_eq!(agreed, Ok(Features::INDIRECT_DESC));
    assert_eq!(device.statuses(), [0, 1, 3, 7]);

    let mut device = Script::new(Interface::Legacy);
    device.offered = Features::all();
    let agreed = bring_up(&mut device, supported(Features::all()));
    assert_eq!(agreed, Ok(Features::LEGACY), "LEG-N-04");
    assert_eq!(device.accepted(), Some(Features::LEGACY));
    let missing = Err(HandshakeError::MissingFeatures(Features::VERSION_1));
    assert_eq!(bring_up(&mut device, required(Features::VERSION_1)), missing);
    assert_eq!(device.statuses()[4..], [0, 1, 3, 0x83]);
}

// Shows INIT-D-02.
#[test]
fn bits_the_device_set_are_preserved() {
    // The bits show up after the first write that is not zero.
    for (interface, own_bits, statuses) in [
        (Interface::Modern, 0x20, &[0, 1, 0x23, 0x2B, 0x2F][..]),
        (Interface::Legacy, 0x30, &[0, 1, 0x33, 0x37]),
    ] {
        let mut device = Script::new(interface);
        device.own_bits = own_bits;
        bring_up(&mut device, NOTHING).unwrap();
        assert_eq!(device.statuses(), statuses);
    }
}

// Shows INIT-D-05.
#[test]
fn a_reset_is_waited_for_within_the_limit() {
    let mut device = Script::modern(Features::VERSION_1);
    device.slow_reset = 99;
    drop(Init::begin(&mut device, &mut LIMIT.clone()).unwrap().acknowledge());
    assert_eq!(device.statuses(), [0, 1, 0x81], "zero at the hundredth read");
    assert_eq!(device.status_reads.get(), 100 + 2, "and one for each bit");

    for stuck in [100, u32::MAX] {
        let mut device = Script::modern(Features::VERSION_1);
        device.slow_reset = stuck;
        let error = Init::begin(&mut device, &mut LIMIT.clone()).unwrap_err();
        assert_eq!(error, HandshakeError::ResetTimedOut);
        assert_eq!(device.status_reads.get(), 100);
        assert_eq!(device.log, [Event::Status(0)], "left alone: it may still be at work");
    }

    let mut device = Script::modern(Features::VERSION_1);
    device.slow_reset = 2;
    assert_eq!(device.reset(&mut PollLimit(1)), Err(ResetError::TimedOut));
    assert_eq!(device.reset(&mut PollLimit(2)), Ok(()));
    let mut waits = 0;
    let mut patient = || {
        waits += 1;
        true
    };
    assert_eq!(device.reset(&mut patient), Ok(()));
    assert_eq!(waits, 2, "once between two looks");
}

// Shows INIT-D-12, INIT-D-19.
#[test]
fn features_refused_are_an_error_and_the_device_is_told() {
    let wanted = Features::EVENT_IDX | Features::VERSION_1;
    let mut device = Script::modern(wanted);
    device.refuses = true;
    let refused = Err(HandshakeError::FeaturesRefused(wanted));
    assert_eq!(bring_up(&mut device, supported(Features::EVENT_IDX)), refused);
    assert_eq!(device.accepted(), Some(wanted));
    assert_eq!(device.statuses(), [0, 1, 3, 0x0B, 0x83]);
}

// Shows INIT-D-03, FEAT-D-09.
#[test]
fn missing_features_are_named_and_nothing_is_accepted() {
    let vendor_bit = bit(9);
    let wanted = Features::INDIRECT_DESC | Features::EVENT_IDX | vendor_bit;
    let missing = Features::INDIRECT_DESC | vendor_bit;
    for (offered, error) in [
        (Features::EVENT_IDX, HandshakeError::NotVersion1),
        (
            Features::VERSION_1 | Features::EVENT_IDX,
            HandshakeError::MissingFeatures(missing),
        ),
    ] {
        let mut device = Script::modern(offered);
        assert_eq!(bring_up(&mut device, required(wanted)), Err(error));
        assert_eq!(device.accepted(), None);
        assert_eq!(device.statuses(), [0, 1, 3, 0x83]);

        // The next attempt begins with a reset (`INIT-D-03`).
        device.offered |= missing | Features::VERSION_1;
        assert_eq!(
            bring_up(&mut device, required(wanted)),
            Ok(Features::VERSION_1 | wanted)
        );
        assert_eq!(device.statuses()[4..], [0, 1, 3, 0x0B, 0x0F]);
    }
}

// Shows FEAT-D-01, FEAT-D-08.
#[test]
fn only_bits_that_are_offered_and_supported_are_accepted() {
    for shift in 0..64 {
        let bit = bit(shift);
        let expected = (bit - Features::LEGACY_ONLY) | Features::VERSION_1;
        for (offered, choice) in [(Features::all(), bit), (bit | Features::VERSION_1, Features::all())] {
            let mut device = Script::modern(offered);
            device.supported = Features::all();
            assert_eq!(bring_up(&mut device, supported(choice)), Ok(expected), "bit {shift}");
            assert_eq!(device.accepted(), Some(expected));
        }
    }
    let mut device = Script::modern(Features::all());
    assert_eq!(bring_up(&mut device, NOTHING), Ok(Features::VERSION_1));
}

// Shows FEAT-D-06, FEAT-D-20.
#[test]
fn bits_the_transport_does_not_support_are_never_accepted() {
    let range = [33, 36, 37, 38, 39, 40, 41];
    for shift in range {
        let bit = bit(shift);
        let mut device = Script::modern(Features::all());
        device.supported = Features::all() - bit;
        let expected = Features::all() - Features::LEGACY_ONLY - bit;
        let agreed = bring_up(&mut device, supported(Features::all()));
        assert_eq!(agreed, Ok(expected), "bit {shift} (FEAT-D-06)");

        // To require it does not help either.
        let missing = Err(HandshakeError::MissingFeatures(bit));
        assert_eq!(bring_up(&mut device, required(bit)), missing);
        device.supported = bit;
        assert_eq!(bring_up(&mut device, required(bit)), Ok(bit | Features::VERSION_1));
    }
    // Every other bit is the driver's affair.
    let mut device = Script::modern(Features::all());
    let all_of_range = range.iter().fold(Features::empty(), |set, &shift| set | bit(shift));
    let agreed = bring_up(&mut device, supported(Features::all()));
    assert_eq!(agreed, Ok(Features::all() - Features::LEGACY_ONLY - all_of_range));
}

// Shows FEAT-D-04.
#[test]
fn bits_of_the_legacy_interface_are_accepted_only_there() {
    for bit in [Features::NOTIFY_ON_EMPTY, Features::ANY_LAYOUT] {
        let mut device = Script::modern(Features::all());
        assert_eq!(
            bring_up(&mut device, supported(bit)),
            Ok(Features::VERSION_1),
            "FEAT-D-04"
        );
        let missing = Err(HandshakeError::MissingFeatures(bit));
        assert_eq!(bring_up(&mut device, required(bit)), missing);

        let mut device = Script::new(Interface::Legacy);
        device.offered = Features::all();
        assert_eq!(bring_up(&mut device, supported(bit)), Ok(bit));
    }
}

// Shows INIT-D-18.
#[test]
fn a_value_dropped_at_any_step_marks_the_device_as_failed() {
    let mut device = Script::modern(Features::VERSION_1);
    drop(Init::begin(&mut device, &mut LIMIT.clone()).unwrap());
    assert_eq!(device.statuses(), [0, 0x80]);

    let mut device = Script::modern(Features::VERSION_1);
    drop(
        Init::begin(&mut device, &mut LIMIT.clone())
            .unwrap()
            .acknowledge()
            .driver()
            .unwrap(),
    );
    assert_eq!(device.statuses(), [0, 1, 3, 0x83]);

    let mut device = Script::modern(Features::VERSION_1);
    let mut late = negotiate(&mut device, NOTHING).unwrap();
    assert_eq!(enable(&mut late, 1), Err(QueueSetupError::NoSuchQueue));
    drop(late);
    assert_eq!(device.statuses(), [0, 1, 3, 0x0B, 0x8B]);
}

// Shows INIT-D-15.
#[test]
fn the_offer_and_the_choice_can_be_looked_at() {
    let offered = Features::VERSION_1 | Features::EVENT_IDX | bit(9);
    let mut device = Script::modern(offered);
    let mut negotiating = Init::begin(&mut device, &mut LIMIT.clone())
        .unwrap()
        .acknowledge()
        .driver()
        .unwrap();
    assert_eq!(negotiating.offered_features(), offered);
    assert_eq!(negotiating.peek().vendor(), 0);
    let mut negotiated = negotiating.negotiate(supported(Features::EVENT_IDX)).unwrap();
    assert_eq!(negotiated.offered_features(), offered);
    assert_eq!(
        negotiated.accepted_features(),
        Features::VERSION_1 | Features::EVENT_IDX
    );
    assert_eq!(negotiated.device().max_queue_size(QueueIndex(0)), Ok(256));
    negotiated.finish().unwrap();
}

#[test]
fn a_device_that_is_not_live_after_driver_ok_is_an_error() {
    for (own_bits, takes_back, status) in [(0x40, 0, 0x4F), (0x80, 0, 0x8F), (0, 4, 0x0B), (0xF0, 0, 0xFF)] {
        let mut device = Script::modern(Features::VERSION_1);
        let mut init = negotiate(&mut device, NOTHING).unwrap();
        init.device().own_bits = own_bits;
        init.device().takes_back = takes_back;
        let status = DeviceStatus::from_bits_retain(status);
        assert_eq!(init.finish(), Err(NotLive::Status(status)));
        let told = device.statuses().pop().unwrap();
        assert_eq!(told, status.bits() | 0x80, "FAILED, beside what was there");
    }
}

/// Reads a configuration that shows `values` one after the other, the last one from then on, and whose generation counter
/// shows `generations` likewise. Returns the result, the number of looks, and what is left of the limit.
fn read_within(
    limit: u32,
    generations: impl IntoIterator<Item = Option<u32>>,
    values: &[u64],
) -> (Result<u64, ConfigError>, usize, u32) {
    let device = Script::modern(Features::VERSION_1);
    *device.generations.borrow_mut() = generations.into_iter().collect();
    let (mut looks, mut limit) = (0, PollLimit(limit));
    let result = read_consistent(&device, &mut limit, |_: &ConfigReader<'_, Script>| {
        looks += 1;
        values[looks.min(values.len()) - 1]
    });
    (result, looks, limit.0)
}

// Shows CFG-D-02, CFG-D-03.
#[test]
fn a_configuration_is_read_until_it_has_stood_still() {
    let steady = [Some(0)];
    assert_eq!(read_within(10, steady, &[7]), (Ok(7), 1, 8));
    // Before the first look, after it, after the second, after the third.
    let changing = [Some(1), Some(2), Some(3), Some(3)];
    assert_eq!(read_within(10, changing, &[10, 20, 30, 40]), (Ok(30), 3, 6));
    // Equal values do not make up for a changed generation.
    assert_eq!(read_within(10, changing, &[10]), (Ok(10), 3, 6));
    // Without a generation two successive looks must agree.
    assert_eq!(read_within(10, [None], &[10, 20, 20]), (Ok(20), 3, 6));
    assert_eq!(read_within(10, [None], &[10, 20, 10, 20, 30, 30]), (Ok(30), 6, 3));
}

#[test]
fn a_configuration_that_never_stands_still_is_an_error() {
    assert_eq!(
        read_within(50, (0..200).map(Some), &[10]),
        (Err(ConfigError::Unstable), 50, 0)
    );
    let values: Vec<u64> = (0..60).collect();
    assert_eq!(read_within(50, [None], &values), (Err(ConfigError::Unstable), 50, 0));
    assert_eq!(read_within(0, [Some(0)], &[10]), (Err(ConfigError::Unstable), 1, 0));
}

#[test]
fn a_limit_counts_register_reads_and_not_snapshots() {
    for limit in 0..40 {
        let device = Script::modern(Features::VERSION_1);
        *device.generations.borrow_mut() = (0..200).map(Some).collect();
        let mut left = PollLimit(limit);
        let result = read_consistent(&device, &mut left, |reader| {
            (0..9).map(|n| reader.read_u32(4 * n)).collect::<Vec<_>>()
        });
        assert_eq!((result, left), (Err(ConfigError::Unstable), PollLimit(0)));
        assert_eq!(device.reads.get(), limit);
    }
}

#[test]
fn a_limit_is_shared_by_successive_looks() {
    let device = Script::modern(Features::VERSION_1);
    let mut limit = PollLimit(7);
    // The generation before, the field, the generation after.
    for (left, result) in [(4, Ok(0)), (1, Ok(0)), (0, Err(ConfigError::Unstable))] {
        let look = read_consistent(&device, &mut limit, |reader| reader.read_u8(0));
        assert_eq!((look, limit), (result, PollLimit(left)));
    }
    assert_eq!(device.reads.get(), 7);
}

#[test]
fn a_device_that_goes_away_at_any_step_is_an_error_and_not_written_to() {
    let goes_after = |accesses| {
        let mut device = Script::modern(Features::VERSION_1);
        device.slow_reset = 2;
        device.goes_after.set(Some(accesses));
        device
    };
    // Three looks at the reset, one for each of ACKNOWLEDGE and DRIVER, the features, FEATURES_OK and the look after it.
    for accesses in 0..8 {
        let mut device = goes_after(accesses);
        assert_eq!(negotiate(&mut device, NOTHING).unwrap_err(), HandshakeError::Gone);
        assert!(!device.statuses().contains(&0x80), "it cannot be told");
    }
    let mut device = goes_after(8);
    let mut init = negotiate(&mut device, NOTHING).unwrap();
    assert_eq!(init.device().max_queue_size(QueueIndex(0)), Err(DeviceGone));
    assert_eq!(enable(&mut init, 0), Err(QueueSetupError::Gone));
    assert_eq!(init.finish(), Err(NotLive::Gone));
    for accesses in [8, 9] {
        let mut device = goes_after(accesses);
        let init = negotiate(&mut device, NOTHING).unwrap();
        assert_eq!(init.finish(), Err(NotLive::Gone));
    }
    assert_eq!(bring_up(&mut goes_after(10), NOTHING), Ok(Features::VERSION_1));
}

#[test]
fn a_wait_is_not_asked_about_a_device_that_is_gone() {
    let mut device = Script::modern(Features::VERSION_1);
    device.slow_reset = u32::MAX;
    device.goes_after.set(Some(3));
    let mut waits = 0;
    let mut patient = || {
        waits += 1;
        true
    };
    assert_eq!(device.reset(&mut patient), Err(ResetError::Gone));
    assert_eq!(waits, 3);
}

#[test]
fn a_configuration_of_a_device_that_goes_away_is_an_error() {
    for accesses in 0..3 {
        let device = Script::modern(Features::VERSION_1);
        device.goes_after.set(Some(accesses));
        let mut limit = PollLimit(50);
        let read = read_consistent(&device, &mut limit, |reader| (reader.read_u8(0), reader.read_u32(4)));
        assert_eq!(read, Err(ConfigError::Gone));
        assert_eq!(device.reads.get(), accesses, "no further read");
    }
}

#[test]
fn the_doorbell_is_made_for_the_features_in_force() {
    let mut device = Script::modern(Features::VERSION_1);
    let mut init = negotiate(&mut device, NOTHING).unwrap();
    assert_eq!(init.notifier(QueueIndex(0)).notify(1), Ok(()));
    init.finish().unwrap();
}
