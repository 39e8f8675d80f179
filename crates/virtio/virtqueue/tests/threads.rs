//! Driver and device as two threads on real memory, sleeping whenever they may and waking each other when asked to.
//!
//! A lost notification or interrupt shows as both asleep; a missing ordering as a wrong answer, or to Miri as a race.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use common::{Bus, Device, Platform, direct, drain, indirect, with_events};
use virtio_core::{DmaBuffer, DmaRegion, DmaSegments, QueueSetup};
use virtqueue::{ChainError, DmaRing, Notification, QueueOptions, RingLayout, RingMemory, Used, VirtQueue};

const CAPACITY: usize = 16;
const HEADER: usize = 8;
const ANSWER: usize = 24;

/// How long one side may sleep before it is declared dead. Never reached unless something is lost.
const FOREVER: Duration = Duration::from_secs(60);

/// What the device makes of a request.
fn answer(number: u64) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    for (k, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15 + k as u64).to_le_bytes());
    }
    bytes
}

/// One side's bell: set, then wake. The one who sleeps checks it first, so that none is lost between the two.
#[derive(Default)]
struct Bell(AtomicBool);

impl Bell {
    fn ring(&self, sleeper: &Thread) {
        self.0.store(true, Ordering::Release);
        sleeper.unpark();
    }

    fn wait(&self, who: &str) {
        while !self.0.swap(false, Ordering::Acquire) {
            let before = std::time::Instant::now();
            thread::park_timeout(FOREVER);
            assert!(before.elapsed() < FOREVER, "the {who} was not woken");
        }
    }
}

/// Everything one request needs; the queue holds it while the device has it.
struct Request {
    number: u64,
    header: DmaBuffer,
    answer: DmaBuffer,
}

struct Bells {
    device: Bell,
    driver: Bell,
    stop: AtomicBool,
}

/// The device: works through what there is in bursts, completes in another order, sleeps when there is nothing.
fn run_device(bus: Bus, setup: QueueSetup, event_idx: bool, bells: &Bells, driver: &Thread) -> u64 {
    let mut device = Device::new(bus, &setup, event_idx);
    let mut interrupts = 0;
    loop {
        device.suppress_notifications();
        loop {
            let mut burst = Vec::new();
            while burst.len() < 5
                && let Some(found) = device.take()
            {
                let header = device.bus.read(found.readable[0].addr.get(), HEADER);
                let number = u64::from_le_bytes(header.try_into().unwrap());
                let mut rest = &answer(number)[..];
                for segment in &found.writable {
                    let (part, more) = rest.split_at(segment.len as usize);
                    device.bus.write(segment.addr.get(), part);
                    rest = more;
                }
                burst.push((u32::from(found.head), ANSWER as u32));
            }
            if burst.is_empty() {
                break;
            }
            burst.reverse();
            device.post(&burst);
            if device.interrupt_due() {
                interrupts += 1;
                bells.driver.ring(driver);
            }
        }
        if device.arm_notifications() {
            continue;
        }
        if bells.stop.load(Ordering::Acquire) {
            return interrupts;
        }
        bells.device.wait("device");
    }
}

/// `polled`: the driver never sleeps and wants no interrupts.
fn converse(options: QueueOptions, requests: u64, polled: bool) {
    let mut platform = Platform::new();
    let buffer = |platform: &mut Platform, bytes: usize| {
        let layout = core::alloc::Layout::from_size_align(bytes, 8).unwrap();
        let region: DmaRegion = platform.region(layout, 0xEE);
        DmaBuffer::new(region).unwrap()
    };
    let mut idle: Vec<Request> = (0..6)
        .map(|number| Request {
            number,
            header: buffer(&mut platform, HEADER),
            answer: buffer(&mut platform, ANSWER),
        })
        .collect();
    let region = platform.region(options.offsets().memory().unwrap(), 0);
    let mut queue = VirtQueue::<Request, CAPACITY>::new(options, region)
        .map_err(|(error, _)| error)
        .unwrap();

    let bells = Arc::new(Bells {
        device: Bell::default(),
        driver: Bell::default(),
        stop: AtomicBool::new(false),
    });
    let device = {
        let (bus, setup, bells) = (platform.bus(), queue.setup(), Arc::clone(&bells));
        let driver = thread::current();
        thread::spawn(move || run_device(bus, setup, options.event_idx, &bells, &driver))
    };

    if polled {
        queue.suppress_interrupts();
    }
    let (mut sent, mut received, mut notifications) = (0u64, 0u64, 0u64);
    while received < requests {
        // A batch of what there is room for.
        let mut full = false;
        while sent < requests && !full {
            let Some(mut request) = idle.pop() else { break };
            request.number = sent;
            request.header.copy_from_slice(&sent.to_le_bytes());
            request.answer.fill(0);
            let readable = request.header.segments()[0];
            let writable = request.answer.segments()[0];
            let parts = [writable.part(0, 16).unwrap(), writable.part(16, 8).unwrap()];
            match queue.submit(&[readable], &parts, request) {
                Ok(_) => sent += 1,
                Err((error, request)) => {
                    assert_eq!(error, ChainError::QueueFull);
                    idle.push(request);
                    full = true;
                }
            }
        }
        if let Notification::Needed { .. } = queue.publish() {
            notifications += 1;
            bells.device.ring(device.thread());
        }
        let mut take = |used: Used<Request>| {
            let request = used.token;
            assert!(used.written.is_none_or(|bytes| bytes == ANSWER as u32));
            assert_eq!(request.answer[..], answer(request.number), "request {}", request.number);
            received += 1;
            idle.push(request);
        };
        if polled {
            match queue.pop_used().unwrap() {
                Some(used) => take(used),
                None => thread::yield_now(),
            }
            continue;
        }
        let taken = drain(&mut queue, take).unwrap();
        // Nothing came and nothing could be sent: only an interrupt helps, and it has been asked for.
        if taken == 0 && (idle.is_empty() || sent == requests || full) {
            bells.driver.wait("driver");
        }
    }
    assert_eq!(queue.in_flight(), 0);
    bells.stop.store(true, Ordering::Release);
    bells.device.ring(device.thread());
    let interrupts = device.join().unwrap();
    assert!(notifications <= requests && interrupts <= requests);
}

fn requests() -> u64 {
    if cfg!(miri) { 60 } else { 70_000 }
}

#[test]
fn by_flags() {
    converse(direct(16), requests(), false);
}

#[test]
fn by_event_index() {
    converse(with_events(direct(16)), requests(), false);
}

#[test]
fn with_tables() {
    converse(with_events(indirect(4, 3)), requests(), false);
}

#[test]
fn polled() {
    converse(direct(16), requests(), true);
    converse(with_events(indirect(16, 4)), requests(), true);
}

#[test]
fn on_a_legacy_ring() {
    let options = QueueOptions {
        layout: RingLayout::Legacy,
        used_len_valid: false,
        ..indirect(8, 4)
    };
    converse(options, requests(), false);
}

/// Lets two threads start each round together, as nearly as can be.
struct Rounds {
    arrived: AtomicU32,
}

impl Rounds {
    /// Waits for the other side; `round` counts from one.
    fn meet(&self, round: u32) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.arrived.load(Ordering::Acquire) < 2 * round {
            spins += 1;
            if spins.is_multiple_of(64) {
                // There may be only one processor.
                thread::yield_now();
            }
            core::hint::spin_loop();
        }
    }
}

/// Both sides store and then look at what the other one stored, a great many times: one of them must see the other.
///
/// This is the fence on real memory, where the models only have their own.
#[test]
fn of_two_sides_that_store_and_look_one_sees_the_other() {
    let rounds = if cfg!(miri) { 150 } else { 150_000u32 };
    let options = with_events(direct(4));
    let mut platform = Platform::new();
    let region = platform.region(options.offsets().memory().unwrap(), 0);
    let mut ring = DmaRing::new(options.offsets(), region).unwrap();
    let gate = Arc::new(Rounds {
        arrived: AtomicU32::new(0),
    });
    let device = {
        let (bus, setup, gate) = (platform.bus(), ring.setup(), Arc::clone(&gate));
        thread::spawn(move || {
            let device = Device::new(bus, &setup, true);
            let seen = |round: u32| {
                gate.meet(2 * round - 1);
                device.set_avail_event(round as u16);
                fence(Ordering::SeqCst);
                let index = device.available_index();
                gate.meet(2 * round);
                index == round as u16
            };
            (1..=rounds).map(seen).collect::<Vec<bool>>()
        })
    };
    let mut seen = |round: u32| {
        gate.meet(2 * round - 1);
        ring.store_available_index(round as u16, Ordering::Release);
        ring.store_load_fence();
        let event = ring.load_avail_event(Ordering::Relaxed);
        gate.meet(2 * round);
        event == round as u16
    };
    let driver: Vec<bool> = (1..=rounds).map(&mut seen).collect();
    let device = device.join().unwrap();
    let missed = driver
        .iter()
        .zip(&device)
        .filter(|&(driver, device)| !driver && !device);
    assert_eq!(missed.count(), 0, "rounds in which neither saw the other");
}
