//! The driver, unchanged, on the block device of a real QEMU: registers, negotiation and requests as QEMU has them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Disk, DiskOptions, Liveness, Request};
use virtio_core::{DeviceStatus, Dma, DmaBuffer, Features, Interface, InterruptSource, PollLimit, Transport};
use virtio_qtest::{Bus, Machine, MachineOptions, QEMU};
use virtio_vhost_user::SharedMemory;

/// As many descriptors as QEMU has: the legacy interface of PCI takes no other number.
type TestDisk<T> = Disk<T, DmaBuffer, u32, 256>;

/// How long QEMU may take to answer before a test gives it up.
const LIMIT: Duration = Duration::from_secs(60);

const IMAGE_BYTES: u64 = 4 << 20;

/// The four devices: bus, legacy or not.
const DEVICES: [(Bus, bool); 4] = [
    (Bus::Mmio, false),
    (Bus::Mmio, true),
    (Bus::Pci, false),
    (Bus::Pci, true),
];

/// A machine with a disk, and the directory of the image. `None`, with a line that says so, where the program is missing. With
/// `FOREIGN_DEVICES_REQUIRED` in the environment that is a failure.
fn machine(bus: Bus, legacy: bool, properties: &str) -> Option<(Machine, TempDir)> {
    if std::process::Command::new(QEMU).arg("--version").output().is_err() {
        let is_required = std::env::var_os("FOREIGN_DEVICES_REQUIRED").is_some();
        assert!(!is_required, "{QEMU} is missing");
        eprintln!("skipped: {QEMU} is missing");
        return None;
    }
    let directory = TempDir::new().unwrap();
    let image = directory.path().join("disk.raw");
    File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
    let options = MachineOptions {
        bus,
        legacy,
        properties: properties.to_owned(),
    };
    Some((Machine::start(&image, &options).unwrap(), directory))
}

/// Runs `test` on a transport of each of the four devices.
macro_rules! on_each_device {
    ($properties:expr, $test:expr) => {
        for (bus, legacy) in DEVICES {
            let Some((mut machine, directory)) = machine(bus, legacy, $properties) else {
                return;
            };
            let memory = machine.memory();
            let interface = if legacy { Interface::Legacy } else { Interface::Modern };
            match bus {
                Bus::Mmio => $test(machine.mmio().expect("a window has the disk"), memory, interface),
                Bus::Pci => $test(machine.pci().expect("the slot has the disk"), memory, interface),
            }
            drop((machine, directory));
        }
    };
}

fn started<T: Transport>(transport: T, memory: &mut SharedMemory) -> TestDisk<T> {
    let started = Disk::start(transport, memory, &DiskOptions::default(), &mut PollLimit(1000));
    started.unwrap_or_else(|error| panic!("bring-up failed: {error:?}"))
}

fn collect<T: Transport>(disk: &mut TestDisk<T>, count: usize) -> Vec<virtio_blk::Completion<DmaBuffer, u32>> {
    let (mut done, started) = (Vec::new(), Instant::now());
    while done.len() < count {
        assert!(started.elapsed() < LIMIT, "QEMU does not answer");
        disk.poll(|completion| done.push(completion)).unwrap();
        std::thread::yield_now();
    }
    done
}

/// A buffer whose content follows from `seed`.
fn filled(memory: &mut SharedMemory, bytes: usize, seed: u32) -> DmaBuffer {
    let mut buffer = DmaBuffer::allocate(memory, bytes, 512).unwrap();
    for (index, word) in buffer.chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&(seed ^ index as u32).to_le_bytes());
    }
    buffer
}

fn is_filled(bytes: &[u8], seed: u32) -> bool {
    let mut words = bytes.chunks_exact(4).enumerate();
    words.all(|(index, word)| word == (seed ^ index as u32).to_le_bytes())
}

/// Writes at many places, flushes, and reads all of it back.
fn write_and_verify<T: Transport>(disk: &mut TestDisk<T>, memory: &mut SharedMemory) {
    for write in [true, false] {
        for seed in 0..16_u32 {
            let first = Sector(u64::from(seed) * 64);
            let bytes = [512, 4096, 12 * 1024, 32 * 1024][seed as usize % 4];
            let request = if write {
                Request::write(first, filled(memory, bytes, seed), seed)
            } else {
                Request::read(first, DmaBuffer::allocate(memory, bytes, 512).unwrap(), seed)
            };
            disk.submit(request).unwrap();
        }
        disk.notify();
        for done in collect(disk, 16) {
            assert_eq!(done.result, Ok(Answer::Done), "request {}", done.token);
            let buffer = done.buffer.unwrap();
            assert!(is_filled(&buffer, done.token), "request {}", done.token);
            memory.release(buffer.into_region());
        }
        disk.submit(Request::flush(99)).unwrap();
        disk.notify();
        assert_eq!(collect(disk, 1)[0].result, Ok(Answer::Done));
    }
}

#[test]
fn data_written_is_read_back_on_each_device() {
    fn check<T: Transport>(transport: T, mut memory: SharedMemory, interface: Interface) {
        let mut disk = started(transport, &mut memory);
        assert_eq!(disk.control().transport().interface(), interface);
        assert_eq!(disk.limits().capacity, Sector(IMAGE_BYTES / 512));
        write_and_verify(&mut disk, &mut memory);
        let (transport, counters) = disk
            .shut_down(&mut memory, &mut PollLimit(1000), |_| unreachable!())
            .map_err(|(error, _)| error)
            .unwrap();
        assert_eq!(transport.status(), Ok(DeviceStatus::RESET));
        assert_eq!((counters.queue.faults, counters.queue.odd_lengths), (0, 0));
        // A reset leaves nothing behind.
        let mut disk = started(transport, &mut memory);
        write_and_verify(&mut disk, &mut memory);
    }
    on_each_device!("", check);
}

#[test]
fn negotiation_is_as_qemu_has_it() {
    fn check<T: Transport>(mut transport: T, mut memory: SharedMemory, interface: Interface) {
        let offered: Features = Transport::offered_features(&mut transport).unwrap();
        let is_modern = interface == Interface::Modern;
        assert_eq!(offered.contains(Features::VERSION_1), is_modern, "{offered:?}");
        assert!(offered.contains(Features::INDIRECT_DESC | Features::EVENT_IDX));
        let disk = started(transport, &mut memory);
        let accepted = disk.accepted_features();
        assert_eq!(accepted.contains(Features::VERSION_1), is_modern);
        assert!(accepted.contains(Features::INDIRECT_DESC | Features::EVENT_IDX));
        assert_eq!(accepted.bits() & !offered.bits(), 0, "nothing that was not offered");
        assert_eq!(disk.liveness(), Liveness::Live);
        let all = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::DRIVER_OK;
        let status = disk.control().transport().status().unwrap();
        assert!(status.contains(all), "{status:?}");
        assert_eq!(status.contains(DeviceStatus::FEATURES_OK), is_modern);
    }
    on_each_device!("", check);
}

#[test]
fn each_ring_format_that_qemu_offers_works() {
    for properties in [
        "indirect_desc=off",
        "event_idx=off",
        "indirect_desc=off,event_idx=off,queue-size=8",
    ] {
        fn check<T: Transport>(transport: T, mut memory: SharedMemory, _: Interface) {
            let mut disk = started(transport, &mut memory);
            for _ in 0..4 {
                write_and_verify_slowly(&mut disk, &mut memory);
            }
        }
        on_each_device!(properties, check);
    }
}

/// One request at a time, for queues that are too short for more.
fn write_and_verify_slowly<T: Transport>(disk: &mut TestDisk<T>, memory: &mut SharedMemory) {
    for seed in 0..8_u32 {
        let first = Sector(u64::from(seed) * 8);
        disk.submit(Request::write(first, filled(memory, 4096, seed), 0))
            .unwrap();
        disk.notify();
        memory.release(collect(disk, 1).remove(0).buffer.unwrap().into_region());
        let buffer = DmaBuffer::allocate(memory, 4096, 512).unwrap();
        disk.submit(Request::read(first, buffer, 1)).unwrap();
        disk.notify();
        let buffer = collect(disk, 1).remove(0).buffer.unwrap();
        assert!(is_filled(&buffer, seed));
        memory.release(buffer.into_region());
    }
}

#[test]
fn an_interrupt_tells_of_completions_and_is_acknowledged() {
    fn check<T: Transport>(transport: T, mut memory: SharedMemory, _: Interface) {
        let mut disk = started(transport, &mut memory);
        for round in 0..10 {
            assert_eq!(disk.drain(|_| unreachable!()), Ok(0));
            let buffer = DmaBuffer::allocate(&mut memory, 4096, 512).unwrap();
            disk.submit(Request::read(Sector(0), buffer, round)).unwrap();
            disk.notify();
            let (mut done, started) = (0, Instant::now());
            while done == 0 {
                assert!(started.elapsed() < LIMIT, "no interrupt in round {round}");
                let seen = disk.on_interrupt(InterruptSource::Line, |completion| {
                    assert_eq!((completion.token, completion.result), (round, Ok(Answer::Done)));
                    memory.release(completion.buffer.unwrap().into_region());
                });
                done = seen.unwrap().completions;
            }
        }
        assert_eq!(disk.counters().queue.faults, 0);
    }
    on_each_device!("", check);
}

#[test]
fn what_was_written_and_flushed_is_in_the_file() {
    let Some((mut machine, directory)) = machine(Bus::Mmio, false, "") else {
        return;
    };
    let mut memory = machine.memory();
    let mut disk = started(machine.mmio().unwrap(), &mut memory);
    assert!(machine.mmio().is_none(), "the registers are given out once");
    write_and_verify(&mut disk, &mut memory);
    let file = File::open(directory.path().join("disk.raw")).unwrap();
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 5 * 64 * 512).unwrap();
    assert!(is_filled(&bytes, 5));
}

#[test]
fn a_qemu_that_is_killed_is_a_device_that_is_gone() {
    let Some((mut machine, _directory)) = machine(Bus::Mmio, false, "") else {
        return;
    };
    let mut memory = machine.memory();
    let mut disk = started(machine.mmio().unwrap(), &mut memory);
    write_and_verify(&mut disk, &mut memory);
    for token in 0..4 {
        let buffer = DmaBuffer::allocate(&mut memory, 512, 512).unwrap();
        disk.submit(Request::read(Sector(0), buffer, token)).unwrap();
    }
    machine.kill();
    assert!(disk.notify());
    assert_eq!(disk.liveness(), Liveness::Gone);
    let mut tokens = Vec::new();
    disk.shut_down(&mut memory, &mut PollLimit(9), |completion| {
        tokens.push(completion.token);
    })
    .map_err(|(error, _)| error)
    .unwrap();
    assert_eq!(tokens, [0, 1, 2, 3]);
}
