//! The driver on a device that lies: in registers, in the used ring, in statuses, in memory that is not its own to write.

mod device;
mod memory;

use std::collections::BTreeMap;

use virtio_blk::proto::Sector;
use virtio_blk::proto::zoned::ZoneId;
use virtio_blk::{Completion, Disk, DiskOptions, Request, SectorRange, StartError, WriteCache};
use virtio_core::{Dma, DmaBuffer, InterruptSource, PollLimit};
use virtio_mmio::MmioTransport;

use device::Device;
use memory::Memory;

use crate::choices::Choices;

/// Looks at a register that is waited for.
const WAIT: PollLimit = PollLimit(20);

/// Starts on one transport, and steps after each.
const STARTS: usize = 4;
const STEPS: usize = 64;

type TestDisk<'a> = Disk<MmioTransport<Device<'a>>, DmaBuffer, u32, 16>;

/// Drives a disk whose device answers what `input` says.
///
/// # Panics
///
/// If the driver panics, if a step has no end, if a request does not come back exactly once with its own buffer, or if memory
/// is lost although the device is known to be gone.
pub fn hostile_device(input: &[u8]) {
    let memory = Memory::default();
    let device = Device::new(Choices::new(input), memory.clone());
    let mut run = Run {
        device: device.clone(),
        memory: memory.clone(),
        waiting: BTreeMap::new(),
        next: 0,
    };
    let Some(mut transport) = virtio_mmio::probe(device.clone()).device() else {
        return;
    };
    let mut all_started = true;
    for _ in 0..STARTS {
        device.begin_step();
        memory.set_starting(true);
        let options = run.options();
        let started = TestDisk::start(transport, &mut run.memory, &options, &mut WAIT.clone());
        memory.set_starting(false);
        transport = match started {
            Ok(disk) => run.use_and_stop(disk),
            Err(StartError { transport, .. }) => {
                // Its memory stays with a device that does not end the reset.
                all_started = false;
                transport
            }
        };
        assert!(run.waiting.is_empty(), "requests were lost: {:?}", run.waiting);
        assert!(!all_started || memory.held() == 0, "memory was lost");
        if device.choose(|choices| choices.is_over()) {
            break;
        }
    }
}

/// Where a buffer starts, and how long it is.
type Place = (*const u8, usize);

struct Run<'a> {
    device: Device<'a>,
    memory: Memory,
    /// The requests that were taken, each with where its buffer is.
    waiting: BTreeMap<u32, Option<Place>>,
    next: u32,
}

impl<'a> Run<'a> {
    fn options(&self) -> DiskOptions {
        let options = DiskOptions::default();
        if self.device.choose(|choices| choices.rarely(3)) {
            options.with_zones()
        } else {
            options
        }
    }

    /// Works with a disk and shuts it down.
    fn use_and_stop(&mut self, mut disk: TestDisk<'a>) -> MmioTransport<Device<'a>> {
        for _ in 0..STEPS {
            if self.device.choose(|choices| choices.is_over()) {
                break;
            }
            self.device.begin_step();
            self.step(&mut disk);
        }
        self.device.begin_step();
        let mut memory = self.memory.clone();
        let disk = match disk.shut_down(&mut memory, &mut WAIT.clone(), |done| self.settle(done)) {
            Ok((transport, _)) => return transport,
            Err((_, disk)) => disk,
        };
        self.device.begin_step();
        self.device.go_away();
        let stopped = disk.shut_down(&mut memory, &mut WAIT.clone(), |done| self.settle(done));
        let Ok((transport, _)) = stopped else {
            panic!("a device that is gone was waited for");
        };
        transport
    }

    fn step(&mut self, disk: &mut TestDisk<'a>) {
        match self.device.choose(|choices| choices.below(16)) {
            0..=5 => self.submit(disk),
            6 | 7 => drop(disk.notify()),
            8 | 9 => self.device.work(),
            10 => drop(disk.poll(|done| self.settle(done))),
            11 => drop(disk.drain(|done| self.settle(done))),
            12 => drop(disk.on_interrupt(InterruptSource::Line, |done| self.settle(done))),
            13 => drop(disk.refresh_config()),
            14 => {
                let _ = disk.set_write_cache(WriteCache::WriteThrough);
                let _ = (disk.write_cache(), disk.liveness(), disk.counters());
            }
            _ => assert!(!disk.dump().to_string().is_empty()),
        }
    }

    /// Submits any request, on the disk or not.
    fn submit(&mut self, disk: &mut TestDisk<'a>) {
        self.next += 1;
        let token = self.next;
        let (kind, sector, sectors) = self.device.choose(|choices| {
            let sector = if choices.rarely(16) {
                choices.any()
            } else {
                u64::from(choices.any::<u8>())
            };
            (choices.below(16), sector, choices.below(20) as u64)
        });
        let buffer = matches!(kind, 0..=7 | 14 | 15).then(|| self.buffer());
        let place = buffer.as_ref().map(place);
        let (first, zone) = (Sector(sector), ZoneId::starting_at(Sector(sector)));
        let range = SectorRange { first, sectors };
        let request = match (kind, buffer) {
            (0..=3, Some(buffer)) => Request::read(first, buffer, token),
            (14, Some(buffer)) => Request::report_zones(first, buffer, token),
            (15, Some(buffer)) => Request::append(zone, buffer, token),
            (_, Some(buffer)) => Request::write(first, buffer, token),
            (8, None) => Request::flush(token),
            (9, None) => Request::discard(range, token),
            (10, None) => Request::write_zeroes(range, true, token),
            (11, None) => Request::secure_erase(range, token),
            (12, None) => Request::identify(token),
            (_, None) => Request::lifetime(token),
        };
        match disk.submit(request) {
            Ok(()) => assert!(self.waiting.insert(token, place).is_none()),
            Err(rejected) => {
                let (buffer, same) = rejected.request.into_parts();
                assert_eq!(same, token);
                self.release(buffer, place);
            }
        }
    }

    fn buffer(&mut self) -> DmaBuffer {
        let bytes = self.device.choose(|choices| match choices.below(8) {
            0..=5 => 512 * (choices.below(9) + 1),
            6 => choices.below(256) + 1,
            _ => 1 << (choices.below(6) + 12),
        });
        DmaBuffer::allocate(&mut self.memory, bytes, 1).expect("there is memory")
    }

    fn settle(&mut self, done: Completion<DmaBuffer, u32>) {
        let place = self.waiting.remove(&done.token);
        let place = place.unwrap_or_else(|| panic!("request {} came back without being out", done.token));
        self.release(done.buffer, place);
    }

    fn release(&mut self, buffer: Option<DmaBuffer>, expected: Option<Place>) {
        assert_eq!(buffer.as_ref().map(place), expected, "the buffer of another request");
        if let Some(buffer) = buffer {
            self.memory.release(buffer.into_region());
        }
    }
}

fn place(buffer: &DmaBuffer) -> Place {
    (buffer.as_ptr(), buffer.len())
}
