//! Initialisation against a scripted transport: what is written, in which order, and what happens when the device
//! does not play along.

use std::cell::{Cell, RefCell};

use virtio_core::{
    ConfigReader, ConfigUnstable, DeviceAddr, DeviceStatus, DeviceType, FeatureChoice, Features, HandshakeError, Init,
    Interface, InterruptCauses, NotLive, PollLimit, QueueIndex, QueueNotifier, QueueSetup, QueueSetupError, QueueSize,
    ResetTimeout, Transport, read_consistent,
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
            cleared: false,
            log: Vec::new(),
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
    fn notify(&self, _: u16) {}
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

    fn status(&self) -> DeviceStatus {
        self.status_reads.set(self.status_reads.get() + 1);
        match self.resetting.get() {
            0 => DeviceStatus::from_bits_retain(self.status),
            left => {
                self.resetting.set(left - 1);
                DeviceStatus::from_bits_retain(0x0F)
            }
        }
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

    fn offered_features(&mut self) -> Features {
        self.log.push(Event::ReadFeatures);
        self.offered
    }

    fn write_accepted_features(&mut self, accepted: Features) {
        assert_eq!(self.status & 8, 0, "features after FEATURES_OK (INIT-D-17)");
        self.log.push(Event::Accept(accepted));
    }

    fn max_queue_size(&mut self, _: QueueIndex) -> u32 {
        256
    }

    unsafe fn enable_queue(&mut self, queue: QueueIndex, _: &QueueSetup) -> Result<(), QueueSetupError> {
        self.log.push(Event::Enable(queue.0));
        if queue.0 == 0 {
            Ok(())
        } else {
            Err(QueueSetupError::NoSuchQueue)
        }
    }

    fn disable_queue(&mut self, _: QueueIndex) -> Result<(), QueueSetupError> {
        Err(QueueSetupError::NotReady)
    }

    fn notifier(&mut self, _: QueueIndex, _: Features) -> Silent {
        Silent
    }

    fn interrupt_causes(&mut self) -> InterruptCauses {
        InterruptCauses::empty()
    }

    fn acknowledge_interrupt(&mut self, _: InterruptCauses) {}

    fn config_generation(&self) -> Option<u32> {
        self.reads.update(|reads| reads + 1);
        let mut generations = self.generations.borrow_mut();
        if generations.len() > 1 {
            generations.remove(0)
        } else {
            generations[0]
        }
    }

    fn read_config_u8(&self, _: u16) -> u8 {
        self.reads.update(|reads| reads + 1);
        0
    }

    fn read_config_u16(&self, _: u16) -> u16 {
        self.reads.update(|reads| reads + 1);
        0
    }

    fn read_config_u32(&self, _: u16) -> u32 {
        self.reads.update(|reads| reads + 1);
        0
    }

    fn write_config_u8(&mut self, _: u16, _: u8) {}

    fn visit_registers(&self, _: &mut dyn FnMut(&'static str, u64)) {}
}

const LIMIT: PollLimit = PollLimit(100);

fn choice(supported: Features, required: Features) -> FeatureChoice {
    FeatureChoice { supported, required }
}

fn nothing() -> FeatureChoice {
    choice(Features::empty(), Features::empty())
}

/// The whole sequence; what was agreed.
fn bring_up(device: &mut Script, choice: FeatureChoice) -> Result<Features, HandshakeError> {
    let negotiated = Init::begin(device, LIMIT)?.acknowledge().driver().negotiate(choice)?;
    Ok(negotiated.finish().expect("the device goes live"))
}

fn setup() -> QueueSetup {
    QueueSetup {
        size: QueueSize::new(8).unwrap(),
        descriptor_table: DeviceAddr(0x1000),
        driver_area: DeviceAddr(0x1080),
        device_area: DeviceAddr(0x2000),
        legacy_align: 4096,
        vector: None,
    }
}

#[test]
fn a_modern_device_sees_the_eight_steps_in_order() {
    let mut device = Script::modern(Features::VERSION_1 | Features::EVENT_IDX);
    let mut init = Init::begin(&mut device, LIMIT)
        .unwrap()
        .acknowledge()
        .driver()
        .negotiate(choice(Features::EVENT_IDX, Features::empty()))
        .unwrap();
    // SAFETY: nothing here ever touches memory.
    unsafe { init.enable_queue(QueueIndex(0), &setup()) }.unwrap();
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
}

#[test]
fn a_legacy_device_sees_no_features_ok() {
    let mut device = Script::new(Interface::Legacy);
    device.offered = Features::INDIRECT_DESC | Features::NOTIFY_ON_EMPTY;
    let agreed = bring_up(&mut device, choice(Features::INDIRECT_DESC, Features::empty()));
    assert_eq!(agreed, Ok(Features::INDIRECT_DESC));
    assert_eq!(device.statuses(), [0, 1, 3, 7]);
}

#[test]
fn on_a_legacy_interface_only_the_first_word_exists() {
    let mut device = Script::new(Interface::Legacy);
    device.offered = Features::all();
    let agreed = bring_up(&mut device, choice(Features::all(), Features::empty()));
    assert_eq!(agreed, Ok(Features::LEGACY), "LEG-N-04");
    assert_eq!(device.accepted(), Some(Features::LEGACY));

    let required = choice(Features::empty(), Features::VERSION_1);
    assert_eq!(
        bring_up(&mut device, required),
        Err(HandshakeError::MissingFeatures(Features::VERSION_1))
    );
    assert_eq!(device.statuses()[4..], [0, 1, 3, 0x83]);
}

#[test]
fn bits_the_device_set_are_preserved() {
    let mut device = Script::modern(Features::VERSION_1);
    device.own_bits = 0x20;
    bring_up(&mut device, nothing()).unwrap();
    // The bit shows up after the first write that is not zero.
    assert_eq!(device.statuses(), [0, 1, 0x23, 0x2B, 0x2F]);

    let mut device = Script::new(Interface::Legacy);
    device.own_bits = 0x30;
    bring_up(&mut device, nothing()).unwrap();
    assert_eq!(device.statuses(), [0, 1, 0x33, 0x37]);
}

#[test]
fn a_slow_reset_is_waited_for_and_a_stuck_one_is_not_waited_for_forever() {
    let mut device = Script::modern(Features::VERSION_1);
    device.slow_reset = 99;
    assert!(Init::begin(&mut device, LIMIT).is_ok(), "zero at the hundredth read");
    assert_eq!(device.status_reads.get(), 100 + 1, "and one for FAILED");

    for stuck in [100, u32::MAX] {
        let mut device = Script::modern(Features::VERSION_1);
        device.slow_reset = stuck;
        assert_eq!(
            Init::begin(&mut device, LIMIT).unwrap_err(),
            HandshakeError::ResetTimeout
        );
        assert_eq!(device.status_reads.get(), 100);
        assert_eq!(device.log, [Event::Status(0)], "left alone: it may still be at work");
    }

    let mut device = Script::modern(Features::VERSION_1);
    assert_eq!(device.reset(PollLimit(0)), Err(ResetTimeout));
    assert_eq!(device.reset(PollLimit(1)), Ok(()));
}

#[test]
fn nothing_is_written_before_the_reset_is_over() {
    let mut device = Script::modern(Features::VERSION_1);
    device.slow_reset = 10;
    let clean = Init::begin(&mut device, LIMIT).unwrap();
    let acknowledged = clean.acknowledge();
    drop(acknowledged);
    assert_eq!(device.statuses(), [0, 1, 0x81]);
}

#[test]
fn features_refused_is_an_error_and_the_device_is_told() {
    let mut device = Script::modern(Features::VERSION_1 | Features::EVENT_IDX);
    device.refuses = true;
    let wanted = Features::EVENT_IDX | Features::VERSION_1;
    assert_eq!(
        bring_up(&mut device, choice(Features::EVENT_IDX, Features::empty())),
        Err(HandshakeError::FeaturesRefused(wanted))
    );
    assert_eq!(
        device.log,
        [
            Event::Status(0),
            Event::Status(1),
            Event::Status(3),
            Event::ReadFeatures,
            Event::Accept(wanted),
            Event::Status(0x0B),
            Event::Status(0x83),
        ]
    );
}

#[test]
fn a_modern_device_without_version_1_is_refused() {
    let mut device = Script::modern(Features::EVENT_IDX);
    assert_eq!(
        bring_up(&mut device, choice(Features::EVENT_IDX, Features::empty())),
        Err(HandshakeError::NotVersion1)
    );
    assert_eq!(
        device.accepted(),
        None,
        "nothing is accepted of a device that is not driven"
    );
    assert_eq!(device.statuses(), [0, 1, 3, 0x83]);
}

#[test]
fn a_missing_required_feature_is_named() {
    let mut device = Script::modern(Features::VERSION_1 | Features::EVENT_IDX);
    let wish = choice(
        Features::empty(),
        Features::INDIRECT_DESC | Features::EVENT_IDX | Features::from_low(1 << 9),
    );
    let missing = Features::INDIRECT_DESC | Features::from_low(1 << 9);
    assert_eq!(
        bring_up(&mut device, wish),
        Err(HandshakeError::MissingFeatures(missing))
    );
    assert_eq!(device.accepted(), None);
    assert_eq!(device.statuses(), [0, 1, 3, 0x83]);

    device.offered |= missing;
    assert_eq!(bring_up(&mut device, wish), Ok(Features::VERSION_1 | wish.required));
}

#[test]
fn a_failed_device_is_reset_before_the_next_attempt() {
    let mut device = Script::modern(Features::empty());
    assert!(bring_up(&mut device, nothing()).is_err());
    device.offered = Features::VERSION_1;
    bring_up(&mut device, nothing()).unwrap();
    assert_eq!(device.statuses()[4..], [0, 1, 3, 0x0B, 0x0F], "INIT-D-03");
}

#[test]
fn unknown_bits_are_never_accepted_whatever_is_offered() {
    for shift in 0..128 {
        let bit = Features::from_bits_retain(1 << shift);
        let mut device = Script::modern(Features::all());
        device.supported = Features::all();
        let agreed = bring_up(&mut device, choice(bit, Features::empty())).unwrap();
        let expected = (bit - Features::LEGACY_ONLY) | Features::VERSION_1;
        assert_eq!(agreed, expected, "bit {shift}");
        assert_eq!(device.accepted(), Some(agreed));
    }
    let mut device = Script::modern(Features::all());
    assert_eq!(bring_up(&mut device, nothing()), Ok(Features::VERSION_1));
}

#[test]
fn nothing_is_accepted_that_was_not_offered() {
    for shift in 0..128 {
        let offered = Features::from_bits_retain(1 << shift) | Features::VERSION_1;
        let mut device = Script::modern(offered);
        device.supported = Features::all();
        let agreed = bring_up(&mut device, choice(Features::all(), Features::empty()));
        assert_eq!(agreed, Ok(offered - Features::LEGACY_ONLY), "bit {shift}");
    }
}

#[test]
fn bits_the_transport_does_not_support_are_never_accepted() {
    let range = [33, 36, 37, 38, 39, 40, 41];
    for shift in range {
        let bit = Features::from_bits_retain(1 << shift);
        let mut device = Script::modern(Features::all());
        device.supported = Features::all() - bit;
        let agreed = bring_up(&mut device, choice(Features::all(), Features::empty()));
        let expected = Features::all() - Features::LEGACY_ONLY - bit;
        assert_eq!(agreed, Ok(expected), "bit {shift} (FEAT-D-06)");

        // To require it does not help either.
        let required = choice(Features::empty(), bit);
        assert_eq!(
            bring_up(&mut device, required),
            Err(HandshakeError::MissingFeatures(bit))
        );
        device.supported = bit;
        assert_eq!(bring_up(&mut device, required), Ok(bit | Features::VERSION_1));
    }
    // Every other bit is the driver's affair, whatever the transport says.
    let mut device = Script::modern(Features::all());
    let all_of_range = range.iter().fold(Features::empty(), |set, &shift| {
        set | Features::from_bits_retain(1 << shift)
    });
    let agreed = bring_up(&mut device, choice(Features::all(), Features::empty()));
    assert_eq!(agreed, Ok(Features::all() - Features::LEGACY_ONLY - all_of_range));
}

#[test]
fn bits_of_the_legacy_interface_are_never_accepted_on_a_modern_one() {
    for bit in [Features::NOTIFY_ON_EMPTY, Features::ANY_LAYOUT] {
        let mut device = Script::modern(Features::all());
        let agreed = bring_up(&mut device, choice(bit, Features::empty()));
        assert_eq!(agreed, Ok(Features::VERSION_1), "FEAT-D-04");
        let agreed = bring_up(&mut device, choice(Features::empty(), bit));
        assert_eq!(agreed, Err(HandshakeError::MissingFeatures(bit)));

        let mut device = Script::new(Interface::Legacy);
        device.offered = Features::all();
        assert_eq!(bring_up(&mut device, choice(bit, Features::empty())), Ok(bit));
    }
}

#[test]
fn giving_up_at_any_step_marks_the_device_as_failed() {
    let mut device = Script::modern(Features::VERSION_1);
    drop(Init::begin(&mut device, LIMIT).unwrap());
    assert_eq!(device.statuses(), [0, 0x80]);

    let mut device = Script::modern(Features::VERSION_1);
    drop(Init::begin(&mut device, LIMIT).unwrap().acknowledge().driver());
    assert_eq!(device.statuses(), [0, 1, 3, 0x83]);

    let mut device = Script::modern(Features::VERSION_1);
    let mut late = Init::begin(&mut device, LIMIT)
        .unwrap()
        .acknowledge()
        .driver()
        .negotiate(nothing())
        .unwrap();
    // SAFETY: nothing here ever touches memory.
    let refused = unsafe { late.enable_queue(QueueIndex(1), &setup()) };
    assert_eq!(refused, Err(QueueSetupError::NoSuchQueue));
    drop(late);
    assert_eq!(device.statuses(), [0, 1, 3, 0x0B, 0x8B]);
}

#[test]
fn a_device_that_went_live_is_not_marked() {
    let mut device = Script::modern(Features::VERSION_1);
    bring_up(&mut device, nothing()).unwrap();
    assert_eq!(device.status, 0x0F);
}

#[test]
fn the_offer_and_the_choice_can_be_looked_at() {
    let offered = Features::VERSION_1 | Features::EVENT_IDX | Features::from_low(1 << 9);
    let mut device = Script::modern(offered);
    let mut negotiating = Init::begin(&mut device, LIMIT).unwrap().acknowledge().driver();
    assert_eq!(negotiating.offered(), offered);
    assert_eq!(negotiating.peek().vendor(), 0);
    let mut negotiated = negotiating
        .negotiate(choice(Features::EVENT_IDX, Features::empty()))
        .unwrap();
    assert_eq!(negotiated.offered(), offered);
    assert_eq!(negotiated.accepted(), Features::VERSION_1 | Features::EVENT_IDX);
    assert_eq!(negotiated.device().max_queue_size(QueueIndex(0)), 256);
    negotiated.finish().unwrap();
}

#[test]
fn a_device_that_is_not_live_after_driver_ok_is_told_apart() {
    for (own_bits, takes_back, status) in [(0x40, 0, 0x4F), (0x80, 0, 0x8F), (0, 4, 0x0B), (0xF0, 0, 0xFF)] {
        let mut device = Script::modern(Features::VERSION_1);
        let mut init = Init::begin(&mut device, LIMIT)
            .unwrap()
            .acknowledge()
            .driver()
            .negotiate(nothing())
            .unwrap();
        init.device().own_bits = own_bits;
        init.device().takes_back = takes_back;
        let status = DeviceStatus::from_bits_retain(status);
        assert_eq!(init.finish(), Err(NotLive { status }));
        let told = device.statuses().pop().unwrap();
        assert_eq!(told, status.bits() | 0x80, "FAILED, beside what was there");
    }
}

/// Reads that answer one after the other, counted.
fn answers(count: &Cell<usize>, values: &[u64]) -> impl FnMut(&ConfigReader<'_, Script>) -> u64 {
    count.set(0);
    move |_| {
        let n = count.get();
        count.set(n + 1);
        values[n.min(values.len() - 1)]
    }
}

#[test]
fn a_steady_configuration_is_read_once() {
    let count = Cell::new(0);
    let device = Script::modern(Features::VERSION_1);
    let read = answers(&count, &[7]);
    assert_eq!(read_consistent(&device, &mut LIMIT.clone(), read), Ok(7));
    assert_eq!(count.get(), 1);
}

#[test]
fn a_configuration_that_changed_meanwhile_is_read_again() {
    let count = Cell::new(0);
    let device = Script::modern(Features::VERSION_1);
    // Before the first read, after it, after the second, after the third.
    *device.generations.borrow_mut() = vec![Some(1), Some(2), Some(3), Some(3)];
    let read = answers(&count, &[10, 20, 30, 40]);
    assert_eq!(read_consistent(&device, &mut LIMIT.clone(), read), Ok(30));
    assert_eq!(count.get(), 3);
}

#[test]
fn equal_values_do_not_make_up_for_a_changed_generation() {
    let count = Cell::new(0);
    let device = Script::modern(Features::VERSION_1);
    *device.generations.borrow_mut() = (0..3).map(Some).collect();
    let read = answers(&count, &[10]);
    assert_eq!(read_consistent(&device, &mut LIMIT.clone(), read), Ok(10));
    assert_eq!(count.get(), 3);
}

#[test]
fn without_a_generation_two_readings_must_agree() {
    let count = Cell::new(0);
    let device = Script::new(Interface::Legacy);
    *device.generations.borrow_mut() = vec![None];
    let read = answers(&count, &[10, 20, 20]);
    assert_eq!(read_consistent(&device, &mut LIMIT.clone(), read), Ok(20));
    assert_eq!(count.get(), 3);

    // Two that agree, but not one after the other, prove nothing.
    let read = answers(&count, &[10, 20, 10, 20, 30, 30]);
    assert_eq!(read_consistent(&device, &mut LIMIT.clone(), read), Ok(30));
    assert_eq!(count.get(), 6);
}

#[test]
fn a_configuration_that_never_stands_still_is_given_up_on() {
    let count = Cell::new(0);
    let device = Script::modern(Features::VERSION_1);
    *device.generations.borrow_mut() = (0..200).map(Some).collect();
    let read = answers(&count, &[10]);
    let mut limit = PollLimit(50);
    assert_eq!(read_consistent(&device, &mut limit, read), Err(ConfigUnstable));
    assert_eq!((limit, count.get()), (PollLimit(0), 50));

    let device = Script::new(Interface::Legacy);
    *device.generations.borrow_mut() = vec![None];
    let values: Vec<u64> = (0..60).collect();
    let read = answers(&count, &values);
    assert_eq!(read_consistent(&device, &mut PollLimit(50), read), Err(ConfigUnstable));
    assert_eq!(count.get(), 50);

    assert_eq!(read_consistent(&device, &mut PollLimit(0), |_| 0), Err(ConfigUnstable));
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
        assert_eq!((result, left), (Err(ConfigUnstable), PollLimit(0)));
        assert_eq!(device.reads.get(), limit);
    }
}

#[test]
fn what_one_look_leaves_of_a_limit_is_for_the_next() {
    let device = Script::modern(Features::VERSION_1);
    let mut limit = PollLimit(7);
    // The generation before, the field, the generation after.
    for left in [4, 1] {
        assert!(read_consistent(&device, &mut limit, |reader| reader.read_u8(0)).is_ok());
        assert_eq!(limit, PollLimit(left));
    }
    let third = read_consistent(&device, &mut limit, |reader| reader.read_u8(0));
    assert_eq!(third, Err(ConfigUnstable));
    assert_eq!(device.reads.get(), 7);
}
