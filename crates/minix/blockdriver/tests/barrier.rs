//! Requests that run alone, and those that wait for them: none of them waits for ever on a device that works.

mod common;

use common::{Rig, micros, wire};
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Errno, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions, Refusal};
use proptest::prelude::*;

fn on_minor_0() -> BdevRequest {
    BdevRequest {
        minor: Minor(0),
        ..BdevRequest::default()
    }
}

/// Four submissions that are refused as broken, and one look at the disk for each of them: the first open is answered.
fn refuse_four(rig: &mut Rig) {
    for _ in 0..4 {
        rig.disk().refusals.push_back(Some(Refusal::Broken));
    }
    for _ in 0..4 {
        rig.sleep(DriverOptions::default().reset_pause);
    }
}

#[test]
fn requests_after_a_barrier_ended_by_recovery_are_admitted() {
    for kind in [MessageType::BDEV_OPEN, MessageType::BDEV_CLOSE] {
        let mut rig = Rig::new();
        let first = rig.send(MessageType::BDEV_OPEN, on_minor_0());
        let second = rig.send(MessageType::BDEV_OPEN, on_minor_0());
        refuse_four(&mut rig);
        assert_eq!(rig.answer(first), Some(wire(Errno::EIO)));
        let third = rig.send(kind, on_minor_0());
        for _ in 0..100 {
            rig.poll();
        }
        assert_eq!((rig.answer(second), rig.answer(third)), (Some(0), Some(0)));
    }
}

#[test]
fn a_transfer_does_not_pass_requests_that_wait() {
    let mut rig = Rig::opened();
    let flush = BdevRequest {
        request: IoctlCode::DIOCFLUSH,
        ..on_minor_0()
    };
    let first = rig.send(MessageType::BDEV_IOCTL, flush);
    let open = rig.send(MessageType::BDEV_OPEN, on_minor_0());
    let write = rig.send_write(5, 1, 7);
    refuse_four(&mut rig);
    let (request, buffer) = rig.read_request(0, 5 * 512, 512);
    let read = rig.send(MessageType::BDEV_READ, request);
    rig.settle();
    assert_eq!(rig.answer(first), Some(wire(Errno::EIO)));
    assert_eq!(rig.answer(open), Some(0));
    assert_eq!((rig.answer(write), rig.answer(read)), (Some(512), Some(512)));
    assert!(rig.bytes(buffer).iter().all(|&byte| byte == 7), "the write came first");
}

#[derive(Clone, Debug)]
enum Event {
    Open(i32),
    Close(i32),
    Flush,
    Switch(bool),
    Read(u64),
    Write { sector: u64, force: bool },
    Refuse(Refusal),
    FailReset { stuck: bool },
    Break,
    Finish(usize, bool),
    Poll,
    Sleep(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let refusals = [Refusal::Broken, Refusal::Broken, Refusal::Full, Refusal::Unsupported];
    prop_oneof![
        4 => (0..2).prop_map(Event::Open),
        3 => (0..2).prop_map(Event::Close),
        2 => Just(Event::Flush),
        1 => any::<bool>().prop_map(Event::Switch),
        3 => (0..64_u64).prop_map(Event::Read),
        3 => (0..64_u64, any::<bool>()).prop_map(|(sector, force)| Event::Write { sector, force }),
        5 => prop::sample::select(refusals.to_vec()).prop_map(Event::Refuse),
        2 => any::<bool>().prop_map(|stuck| Event::FailReset { stuck }),
        2 => Just(Event::Break),
        6 => (0..16_usize, prop::bool::weighted(0.9)).prop_map(|(nth, works)| Event::Finish(nth, works)),
        6 => Just(Event::Poll),
        4 => (0..200_000_u64).prop_map(Event::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_the_device_works_every_request_is_answered(events in prop::collection::vec(event(), 1..60)) {
        let mut rig = Rig::new();
        rig.disk().automatic = false;
        let mut asked = Vec::new();
        for event in events {
            match event {
                Event::Open(minor) => {
                    asked.push(rig.send(MessageType::BDEV_OPEN, BdevRequest { minor: Minor(minor), ..on_minor_0() }));
                }
                Event::Close(minor) => {
                    asked.push(rig.send(MessageType::BDEV_CLOSE, BdevRequest { minor: Minor(minor), ..on_minor_0() }));
                }
                Event::Flush => {
                    let request = BdevRequest { request: IoctlCode::DIOCFLUSH, ..on_minor_0() };
                    asked.push(rig.send(MessageType::BDEV_IOCTL, request));
                }
                Event::Switch(on) => {
                    let buffer = rig.buffer(4, common::Placement::Contiguous, 0);
                    rig.fill(buffer, &i32::from(on).to_le_bytes());
                    let grant = rig.lend_to_take(buffer);
                    let request = BdevRequest { request: IoctlCode::DIOCSETWC, grant, ..on_minor_0() };
                    asked.push(rig.send(MessageType::BDEV_IOCTL, request));
                }
                Event::Read(sector) => asked.push(rig.send_read(sector, 1)),
                Event::Write { sector, force } => {
                    let mut request = rig.write_request(0, sector * 512, &[1; 512]);
                    if force {
                        request.flags = BdevFlags::FORCEWRITE;
                    }
                    asked.push(rig.send(MessageType::BDEV_WRITE, request));
                }
                Event::Refuse(refusal) => rig.disk().refusals.push_back(Some(refusal)),
                Event::FailReset { stuck } => {
                    rig.disk().stuck = stuck;
                    rig.disk().resets.push_back(Err(Broken));
                }
                Event::Break => rig.disk().broken = true,
                Event::Finish(nth, works) => {
                    let notified = rig.disk().notified;
                    if notified > 0 {
                        let result = if works { Ok(()) } else { Err(DeviceError::Io) };
                        rig.disk().finish(nth % notified, result);
                    }
                }
                Event::Poll => drop(rig.poll()),
                Event::Sleep(span) => rig.sleep(micros(span)),
            }
        }
        let disk = rig.disk();
        disk.automatic = true;
        disk.broken = false;
        disk.refusals.clear();
        disk.resets.clear();
        // As many rounds as it takes the service, which polls after each message and calls by the deadline.
        asked.push(rig.send(MessageType::BDEV_OPEN, on_minor_0()));
        asked.push(rig.send_read(0, 1));
        for _ in 0..80 {
            rig.poll();
            if let Some(at) = rig.driver.deadline() {
                rig.sleep(at.since(rig.now));
            }
        }
        prop_assert!(asked.iter().all(|&id| rig.answer(id).is_some()), "{} wait", rig.kernel.unanswered());
        prop_assert!(rig.driver.is_idle());
    }
}
