//! The main loop: for what it waits, when it goes on without, and when it ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::kernel_call::{MapAccess, MapElement};
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_blockdriver::{
    BOUNCE_BYTES, BlockDevice, BlockDriver, BounceBuffer, Broken, DeviceError, DeviceRequest, DiskInfo, DriverOptions,
    Event, GrantedRange, Instant, Kernel, LOOK_EVERY, Listen, Refusal, Service, System, Tag, Together, Wait,
    WatchOptions,
};

/// Requests the driver works on at a time.
const JOBS: usize = 2;
/// Of the system's clock.
const TICK: Duration = Duration::from_millis(10);
/// The longest wait of a service that is done for its replies.
const REPLY_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy)]
struct Range(u64, u64);

impl GrantedRange for Range {
    const EMPTY: Self = Self(0, 0);

    fn address(&self) -> u64 {
        self.0
    }
    fn bytes(&self) -> u64 {
        self.1
    }
    fn split_at(self, bytes: u64) -> (Self, Self) {
        let first = bytes.min(self.1);
        (Self(self.0, first), Self(self.0 + first, self.1 - first))
    }
}

/// A disk without data.
#[derive(Default)]
struct Device {
    has: Vec<Tag>,
    /// Completes everything after so many polls with something to complete; `None`: only when a test says so.
    polls: Option<u32>,
    /// Its requests are complete, and the next poll says so.
    is_done: bool,
    /// It completes everything during the next wait.
    completes_in_wait: bool,
    interrupts: u32,
    dismissed: u32,
}

struct Disk(Rc<RefCell<Device>>);

impl BlockDevice for Disk {
    type Range = Range;

    fn info(&self) -> Option<&DiskInfo> {
        const INFO: DiskInfo = DiskInfo {
            sectors: 2048,
            block_bytes: 512,
            read_only: false,
            can_flush: false,
            write_cache: false,
            max_segments: 64,
            max_segment_bytes: 1 << 20,
            geometry: None,
            cache_switch: false,
            discard: None,
            write_zeroes: None,
            zeroes_unmap: false,
            secure_erase: None,
            lifetime: false,
        };
        Some(&INFO)
    }
    fn listen(&mut self, _: Listen) {}
    fn interrupted(&mut self) {
        self.0.borrow_mut().interrupts += 1;
    }
    fn dismiss_interrupt(&mut self) {
        self.0.borrow_mut().dismissed += 1;
    }
    fn list_ranges(&mut self, _: Tag, ranges: &[Range]) -> Result<Together, Refusal> {
        Ok(Together::of(ranges))
    }
    fn submit(&mut self, _: DeviceRequest, tag: Tag) -> Result<(), Refusal> {
        self.0.borrow_mut().has.push(tag);
        Ok(())
    }
    fn notify(&mut self) {}
    fn poll(&mut self, mut done: impl FnMut(Tag, Result<(), DeviceError>)) -> Result<bool, Broken> {
        let mut device = self.0.borrow_mut();
        if device.has.is_empty() {
            return Ok(false);
        }
        if let Some(polls) = &mut device.polls {
            *polls = polls.saturating_sub(1);
        }
        if !device.is_done && device.polls != Some(0) {
            return Ok(false);
        }
        device.is_done = false;
        device.has.drain(..).for_each(|tag| done(tag, Ok(())));
        Ok(true)
    }
    fn reset(&mut self, _: &mut dyn FnMut(Tag, Result<(), DeviceError>)) -> Result<(), Broken> {
        panic!("there is no reason for a reset");
    }
    fn is_alive(&mut self) -> bool {
        true
    }
    fn set_write_cache(&mut self, _: bool) -> Result<(), Refusal> {
        Err(Refusal::Unsupported)
    }
    fn bounce_buffers(&self) -> u8 {
        0
    }
    fn bounce_buffer(&mut self, _: BounceBuffer) -> Option<&mut [u8; BOUNCE_BYTES]> {
        None
    }
}

/// A system in which every grant is good, and whose events are scripted. When they are over, alarms come.
struct Machine {
    now: Cell<Instant>,
    /// Looks at the clock so far. Each round takes some, and no test many.
    looks: Cell<u32>,
    events: VecDeque<Result<(Event, Message), Errno>>,
    /// For what was waited, and until when.
    waits: Vec<(Wait, Option<Instant>)>,
    /// The ids and results of what was answered.
    answers: Vec<(i32, i32)>,
    /// Calls of `enable_interrupts`.
    enabled: u32,
    replies_wait: bool,
    device: Rc<RefCell<Device>>,
}

impl Kernel for Machine {
    type Range = Range;
    type Trace = Vec<TraceEntry>;

    fn copy_from(&mut self, _: Endpoint, _: GrantId, _: u64, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn copy_to(&mut self, _: Endpoint, _: GrantId, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    fn map(
        &mut self,
        _: Endpoint,
        elements: &[MapElement],
        offset: u64,
        _: MapAccess,
        ranges: &mut [Range],
    ) -> Result<usize, Errno> {
        ranges[0] = Range(0x8000_0000 + offset, elements[0].bytes - offset);
        Ok(1)
    }
    fn reply(&mut self, _: Endpoint, _: IpcStatus, message: &Message) {
        let BdevReply { id, status, .. } = message.payload();
        self.answers.push((id, status.0));
    }
    fn allocate_trace(&mut self, _: usize) -> Result<Self::Trace, Errno> {
        Err(Errno::ENOMEM)
    }
    fn release_trace(&mut self, _: Self::Trace) {}
}

impl System for Machine {
    /// Each look takes a microsecond.
    fn now(&self) -> Instant {
        self.looks.update(|looks| looks + 1);
        assert!(self.looks.get() < 100_000, "the loop goes round without end");
        let now = self.now.get();
        self.now.set(now.after(Duration::from_micros(1)));
        now
    }
    fn receive(&mut self, wait: Wait, until: Option<Instant>, message: &mut Message) -> Result<Event, Errno> {
        self.waits.push((wait, until));
        let mut device = self.device.borrow_mut();
        device.is_done |= std::mem::take(&mut device.completes_in_wait);
        let next = match wait {
            Wait::ForAll => self.events.pop_front(),
            Wait::ForAlarm => None,
        };
        match next {
            Some(event) => event.map(|(event, received)| {
                *message = received;
                event
            }),
            None => {
                let until = until.expect("it would wait for ever");
                self.now.set(until.max(self.now.get().after(TICK)));
                Ok(Event::Alarm)
            }
        }
    }
    fn enable_interrupts(&mut self) {
        self.enabled += 1;
    }
    fn has_replies_waiting(&mut self) -> bool {
        self.replies_wait
    }
}

/// The loop, its system and its disk.
struct Rig {
    service: Service<Disk, Machine, JOBS>,
    device: Rc<RefCell<Device>>,
}

impl Rig {
    /// Minor 0 is open, and the disk completes nothing more by itself.
    fn new(watch: WatchOptions) -> Self {
        let device: Rc<RefCell<Device>> = Rc::default();
        device.borrow_mut().polls = Some(0);
        let machine = Machine {
            now: Cell::new(Instant::from_micros(1_000_000)),
            looks: Cell::new(0),
            events: VecDeque::new(),
            waits: Vec::new(),
            answers: Vec::new(),
            enabled: 0,
            replies_wait: false,
            device: device.clone(),
        };
        let driver = BlockDriver::new(Disk(device.clone()), DriverOptions::default());
        let mut rig = Self {
            service: Service::new(machine, driver, watch),
            device,
        };
        let open = BdevRequest {
            id: 1,
            access: BdevAccess::READ,
            ..BdevRequest::default()
        };
        rig.comes_as(MessageType::BDEV_OPEN, open);
        while rig.machine().answers.is_empty() {
            rig.comes(Event::Other);
            assert!(rig.service.round());
        }
        rig.machine().events.clear();
        assert_eq!(rig.take_answers(), [(1, 0)]);
        rig.device.borrow_mut().polls = None;
        rig.machine().waits.clear();
        rig
    }

    fn machine(&mut self) -> &mut Machine {
        self.service.parts_mut().1
    }

    fn take_answers(&mut self) -> Vec<(i32, i32)> {
        std::mem::take(&mut self.machine().answers)
    }

    fn comes(&mut self, event: Event) {
        self.machine().events.push_back(Ok((event, Message::default())));
    }

    fn comes_as(&mut self, kind: MessageType, request: BdevRequest) {
        let mut message = Message::with_payload(kind, &request);
        message.source = Endpoint(100);
        let event = Event::Message(IpcStatus::new(IpcCall::SENDA, false));
        self.machine().events.push_back(Ok((event, message)));
    }

    fn read_comes(&mut self, id: i32) {
        let read = BdevRequest {
            id,
            position: 4096 * id as u64,
            count: 512,
            grant: GrantId(7),
            ..BdevRequest::default()
        };
        self.comes_as(MessageType::BDEV_READ, read);
    }

    /// A round that goes on: how often it waited, and for what.
    fn round(&mut self) -> Vec<(Wait, Option<Instant>)> {
        assert!(self.service.round());
        std::mem::take(&mut self.machine().waits)
    }

    fn has(&self) -> usize {
        self.device.borrow().has.len()
    }

    fn completes(&self) {
        self.device.borrow_mut().is_done = true;
    }
}

#[test]
fn each_round_waits_for_one_event() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    rig.comes(Event::Other);
    assert_eq!(rig.round(), [(Wait::ForAll, None)]);
    rig.read_comes(2);
    assert_eq!(rig.round(), [(Wait::ForAll, None)]);
    rig.comes(Event::Other);
    let now = rig.machine().now.get();
    let [(Wait::ForAll, Some(until))] = rig.round()[..] else {
        panic!("a device with a request is looked at");
    };
    assert!(until > now && until <= now.after(LOOK_EVERY + TICK));
    rig.completes();
    rig.comes(Event::Interrupt);
    rig.round();
    assert_eq!(rig.take_answers(), [(2, 512)]);
    assert_eq!((rig.machine().enabled, rig.device.borrow().dismissed), (1, 1));
    assert_eq!(rig.service.lost_interrupts(), (0, 0));
}

#[test]
fn requests_without_room_wait_in_the_loop_and_are_taken_once_there_is_room() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    for id in 2..7 {
        rig.read_comes(id);
    }
    for _ in 2..7 {
        assert_eq!(rig.round().len(), 1);
    }
    assert_eq!(rig.has(), JOBS);
    assert!(!rig.service.is_backlog_empty());
    rig.completes();
    assert_eq!(rig.round(), [], "there is room: the next requests are not kept waiting");
    assert_eq!(rig.take_answers(), [(2, 512), (3, 512)]);
    rig.comes(Event::Other);
    assert_eq!(rig.round().len(), 1);
    assert_eq!(rig.has(), JOBS);
    rig.completes();
    assert_eq!(rig.round(), []);
    rig.comes(Event::Other);
    assert_eq!(rig.round().len(), 1);
    assert_eq!((rig.has(), rig.service.is_backlog_empty()), (1, true));
    assert_eq!(rig.take_answers(), [(4, 512), (5, 512)]);
}

#[test]
fn without_room_for_another_request_only_an_alarm_is_waited_for() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    let mut id = 2;
    loop {
        rig.read_comes(id);
        match rig.round()[..] {
            [(Wait::ForAll, _)] => id += 1,
            [(Wait::ForAlarm, Some(_))] => break,
            ref others => panic!("{others:?}"),
        }
    }
    assert_eq!(id as usize - 2, JOBS + 128);
    // An alarm that nothing else could have ended says nothing about interrupts.
    for _ in 0..10 {
        assert!(matches!(rig.round()[..], [(Wait::ForAlarm, Some(_))]));
    }
    assert_eq!(rig.service.lost_interrupts(), (0, 0));
    rig.completes();
    assert_eq!(rig.round(), []);
}

#[test]
fn completions_that_only_the_clock_finds_tell_of_a_lost_interrupt() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    rig.read_comes(2);
    rig.round();
    rig.device.borrow_mut().completes_in_wait = true;
    rig.round();
    assert_eq!(rig.take_answers(), [(2, 512)]);
    assert_eq!(rig.service.lost_interrupts(), (0, 0), "it may be about to come");
    for _ in 0..3 {
        rig.round();
    }
    assert_eq!(rig.service.lost_interrupts(), (1, 1));
    assert_eq!(rig.machine().enabled, 1, "the line may be masked");
    assert_eq!(rig.device.borrow().interrupts, 0);
    // From now on each tick counts as an interrupt.
    rig.read_comes(3);
    rig.round();
    rig.device.borrow_mut().completes_in_wait = true;
    rig.round();
    assert_eq!(rig.take_answers(), [(3, 512)]);
    assert_eq!(rig.service.lost_interrupts(), (1, 2));
    assert_eq!(rig.device.borrow().interrupts, 1);
    rig.comes(Event::Interrupt);
    rig.round();
    assert_eq!(rig.service.lost_interrupts(), (1, 2));
}

#[test]
fn a_watch_ends_with_the_completion() {
    let limit = Duration::from_millis(1);
    let mut rig = Rig::new(WatchOptions { limit, share: 100 });
    rig.read_comes(2);
    rig.round();
    rig.device.borrow_mut().polls = Some(20);
    rig.comes(Event::Other);
    let begun = rig.machine().now.get();
    rig.round();
    assert_eq!(rig.take_answers(), [(2, 512)]);
    assert!(rig.machine().now.get() < begun.after(limit / 2));
    let watches = rig.service.driver().watches();
    assert_eq!((watches.hit, watches.missed), (1, 0));
}

#[test]
fn a_watch_in_vain_ends_in_time() {
    let limit = Duration::from_millis(1);
    let mut rig = Rig::new(WatchOptions { limit, share: 100 });
    rig.read_comes(2);
    rig.round();
    rig.comes(Event::Other);
    let begun = rig.machine().now.get();
    rig.round();
    let now = rig.machine().now.get();
    assert!(now >= begun.after(limit) && now < begun.after(2 * limit));
    let watches = rig.service.driver().watches();
    assert_eq!((watches.hit, watches.missed), (0, 1));
}

/// Ends the service, whose minor is closed first.
fn end(rig: &mut Rig) {
    let close = BdevRequest {
        id: 9,
        ..BdevRequest::default()
    };
    rig.comes_as(MessageType::BDEV_CLOSE, close);
    rig.comes(Event::Terminate);
    rig.service.run();
    assert_eq!(rig.take_answers(), [(9, 0)]);
}

#[test]
fn a_service_that_is_done_ends_at_once() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    end(&mut rig);
    assert_eq!(rig.machine().waits.len(), 2);
}

#[test]
fn the_last_replies_are_waited_for_but_not_for_long() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    rig.machine().replies_wait = true;
    let begun = rig.machine().now.get();
    end(&mut rig);
    let now = rig.machine().now.get();
    assert!(now >= begun.after(REPLY_TIMEOUT) && now < begun.after(REPLY_TIMEOUT + 2 * TICK));
    assert!(
        rig.machine().waits[2..]
            .iter()
            .all(|(wait, until)| *wait == Wait::ForAll && until.is_some())
    );
}

#[test]
fn replies_of_a_service_in_trouble_are_waited_for_with_alarms_alone() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    rig.service.flush_replies();
    assert_eq!(rig.machine().waits, []);
    rig.machine().replies_wait = true;
    let begun = rig.machine().now.get();
    rig.service.flush_replies();
    let now = rig.machine().now.get();
    assert!(now >= begun.after(REPLY_TIMEOUT) && now < begun.after(REPLY_TIMEOUT + 2 * TICK));
    let waits = std::mem::take(&mut rig.machine().waits);
    assert!(!waits.is_empty() && waits.iter().all(|(wait, _)| *wait == Wait::ForAlarm));
}

#[test]
fn a_system_that_receives_nothing_ends_the_service() {
    let mut rig = Rig::new(WatchOptions::NEVER);
    for failures in [15, 16] {
        let failure = Err(Errno::EFAULT);
        rig.machine().events = vec![failure; failures].into();
        rig.comes(Event::Terminate);
        let goes_on = (0..failures).all(|_| rig.service.round());
        assert_eq!(goes_on, failures < 16, "{failures}");
        if goes_on {
            rig.machine().events.clear();
            rig.comes(Event::Other);
            rig.round();
        }
    }
}
