//! The disk, on a device in software.

mod control;
mod refusals;

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use minix_abi::kernel_call::PhysRange;
use minix_blockdriver::{
    BOUNCE_BYTES, BlockDevice, BounceBuffer, Broken, Data, DeviceError, DeviceRequest, Direction, Geometry, Listen,
    Refusal, Tag,
};
use minix_rt::kernel::LentRange;
use minix_virtio_blk::disk::{DiskMemory, ListTable, VirtioDisk};
use virtio_blk::InitError;
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelDoorbell, ModelRegisters};
use virtio_core::{DeviceStatus, Dma, DmaError, DmaRegion, QueueSize};
use virtio_mmio::{MmioTransport, RegisterAccess, probe};

use crate::journal::{logger, printed};

const STATUS: u32 = 0x070;
/// The bit of the status that says that the driver is ready.
const DRIVER_OK: u32 = DeviceStatus::DRIVER_OK.bits() as u32;
const INTERRUPT_STATUS: u32 = 0x060;
const INTERRUPT_ACK: u32 = 0x064;
const QUEUE_SIZE_MAX: u32 = 0x034;

/// The registers of the model; while `stuck`, a reset never seems to end, and while `refuse_start`, there is no queue.
struct Registers {
    model: ModelRegisters,
    stuck: Rc<Cell<bool>>,
    refuse_start: Rc<Cell<bool>>,
    /// The device gets stuck when it is given DRIVER_OK.
    sticks_once_live: bool,
    /// Causes of an interrupt that the device has even when it is reset.
    causes: Rc<Cell<u32>>,
}

// SAFETY: the model's registers keep the contract; a status that stays away from zero and a queue that is not there promise
// less, not more.
unsafe impl RegisterAccess for Registers {
    type Doorbell = ModelDoorbell;

    fn read_u32(&self, offset: u32) -> u32 {
        let value = self.model.read_u32(offset);
        if offset == STATUS && self.stuck.get() {
            value | 1
        } else if offset == QUEUE_SIZE_MAX && self.refuse_start.get() {
            0
        } else if offset == INTERRUPT_STATUS {
            value | self.causes.get()
        } else {
            value
        }
    }
    fn read_u16(&self, offset: u32) -> u16 {
        self.model.read_u16(offset)
    }
    fn read_u8(&self, offset: u32) -> u8 {
        self.model.read_u8(offset)
    }
    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        self.model.write_u8(offset, value);
    }
    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        // A reset that never ends has not begun either, as far as memory goes.
        if !(offset == STATUS && value == 0 && self.stuck.get()) {
            self.model.write_u32(offset, value);
        }
        if offset == INTERRUPT_ACK {
            self.causes.set(self.causes.get() & !value);
        }
        if self.sticks_once_live && offset == STATUS && value & DRIVER_OK != 0 {
            self.stuck.set(true);
        }
    }
    unsafe fn doorbell(&self) -> ModelDoorbell {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.model.doorbell() }
    }
}

/// Memory of the model, with an end.
#[derive(Clone)]
struct Memory {
    inner: ModelDma,
    /// Bytes of the largest piece there is after the first one.
    largest: usize,
    /// Pages left.
    pages: Rc<Cell<usize>>,
    /// Bytes of the pieces that were given so far.
    given: Rc<RefCell<Vec<usize>>>,
}

impl Dma for Memory {
    fn allocate(&mut self, layout: Layout) -> Result<DmaRegion, DmaError> {
        let pages = layout.size().div_ceil(4096);
        let is_first = self.given.borrow().is_empty();
        if (layout.size() > self.largest && !is_first) || pages > self.pages.get() {
            return Err(DmaError::OutOfMemory);
        }
        let region = self.inner.allocate(layout)?;
        self.pages.set(self.pages.get() - pages);
        self.given.borrow_mut().push(layout.size());
        Ok(region)
    }

    fn release(&mut self, region: DmaRegion) {
        self.pages.set(self.pages.get() + region.len().div_ceil(4096));
        self.inner.release(region);
    }
}

/// Bytes of the memory of a client.
const CLIENT_BYTES: usize = 1 << 20;

struct Rig {
    model: Model,
    /// Memory of a client.
    client: DmaRegion,
    disk: VirtioDisk<MmioTransport<Registers>, Memory>,
    stuck: Rc<Cell<bool>>,
    refuse_start: Rc<Cell<bool>>,
    causes: Rc<Cell<u32>>,
    memory: Memory,
}

fn rig_of(config: ModelConfig, queue: u16) -> Rig {
    short_rig(config, queue, usize::MAX, usize::MAX).expect("the device comes up")
}

/// A disk where no piece of memory but the first is larger than `largest` bytes, and there are so many pages in all.
fn short_rig(config: ModelConfig, queue: u16, largest: usize, pages: usize) -> Result<Rig, InitError> {
    started_rig(config, queue, largest, pages, false)
}

fn started_rig(
    config: ModelConfig,
    queue: u16,
    largest: usize,
    pages: usize,
    sticks_once_live: bool,
) -> Result<Rig, InitError> {
    let model = Model::new(config);
    let stuck = Rc::new(Cell::new(false));
    let refuse_start = Rc::new(Cell::new(false));
    let causes = Rc::new(Cell::new(0));
    let registers = Registers {
        model: model.registers(),
        stuck: Rc::clone(&stuck),
        refuse_start: Rc::clone(&refuse_start),
        sticks_once_live,
        causes: Rc::clone(&causes),
    };
    let transport = probe(registers).device().expect("the model is a device");
    let lists = Box::leak(Box::new(ListTable::new()));
    let queue = QueueSize::new(queue).expect("a power of two");
    let home = Box::leak(Box::new(DiskMemory::new()));
    let memory = Memory {
        inner: model.dma(),
        largest,
        pages: Rc::new(Cell::new(pages)),
        given: Rc::default(),
    };
    let disk = VirtioDisk::start(transport, memory.clone(), queue, lists, home)?;
    let layout = Layout::from_size_align(CLIENT_BYTES, 4096).expect("pages");
    let client = model.dma().allocate(layout).expect("the model has memory");
    Ok(Rig {
        model,
        client,
        disk,
        stuck,
        refuse_start,
        causes,
        memory,
    })
}

fn rig() -> Rig {
    rig_of(ModelConfig::modern(), 256)
}

fn transfer(direction: Direction, first: u64, data: Data) -> DeviceRequest {
    DeviceRequest::Transfer { direction, first, data }
}

type Done = Vec<(u16, Result<(), DeviceError>)>;

impl Rig {
    /// `bytes` bytes of the client's memory, from `offset` on.
    fn lent(&self, offset: u64, bytes: u64) -> LentRange {
        assert!(offset + bytes <= CLIENT_BYTES as u64);
        let address = self.client.device_addr().get() + offset;
        // SAFETY: the region is the test's, which looks into it only between requests.
        unsafe { LentRange::new(PhysRange { address, bytes }) }
    }

    /// The first sector of the client's memory.
    fn sector(&self) -> LentRange {
        self.lent(0, 512)
    }

    /// What the client's memory holds.
    fn client_bytes(&self) -> &[u8] {
        // SAFETY: the region is this long, and the device is not working on it now.
        unsafe { std::slice::from_raw_parts(self.client.as_ptr().as_ptr(), CLIENT_BYTES) }
    }

    fn has_cache(&self) -> bool {
        self.disk.info().expect("it is live").write_cache
    }

    /// The bytes of a bounce buffer.
    fn bytes(&mut self, block: u8) -> Option<&mut [u8; BOUNCE_BYTES]> {
        self.disk.bounce_buffer(BounceBuffer(block))
    }

    fn read(&mut self, first: u64, ranges: &[LentRange], tag: u16) -> Result<(), Refusal> {
        self.disk.list_ranges(Tag(tag), ranges)?;
        self.disk
            .submit(transfer(Direction::Read, first, Data::Granted), Tag(tag))
    }

    fn write(&mut self, first: u64, ranges: &[LentRange], tag: u16) -> Result<(), Refusal> {
        self.disk.list_ranges(Tag(tag), ranges)?;
        self.disk
            .submit(transfer(Direction::Write, first, Data::Granted), Tag(tag))
    }

    /// Reads to the start of a bounce buffer.
    fn read_bounced(&mut self, first: u64, block: u8, bytes: usize, tag: u16) -> Result<(), Refusal> {
        let data = Data::Bounce(BounceBuffer(block), bytes);
        self.disk.submit(transfer(Direction::Read, first, data), Tag(tag))
    }

    /// Writes the start of a bounce buffer.
    fn write_bounced(&mut self, first: u64, block: u8, bytes: usize, tag: u16) -> Result<(), Refusal> {
        let data = Data::Bounce(BounceBuffer(block), bytes);
        self.disk.submit(transfer(Direction::Write, first, data), Tag(tag))
    }

    fn poll(&mut self) -> Result<Done, Broken> {
        let mut done = Vec::new();
        self.disk.poll(|tag: Tag, result| done.push((tag.0, result)))?;
        Ok(done)
    }

    /// Lets the device work on everything, and collects.
    fn finish(&mut self) -> Done {
        self.disk.notify();
        self.model.process(usize::MAX);
        self.poll().expect("the device works")
    }
}

#[test]
fn it_says_what_the_device_is() {
    let info = *rig().disk.info().expect("it is live");
    assert_eq!((info.sectors, info.block_bytes), (16384, 512));
    assert_eq!((info.read_only, info.can_flush, info.max_segments), (false, true, 64));
    let geometry = Geometry {
        cylinders: 16,
        heads: 16,
        sectors: 63,
    };
    assert_eq!(info.geometry, Some(geometry));
}

#[test]
fn what_is_written_is_read() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut rig = rig_of(config, 256);
        rig.bytes(0).expect("free").fill(0x5A);
        rig.write_bounced(8, 0, BOUNCE_BYTES, 1).expect("room");
        assert_eq!(rig.finish(), [(1, Ok(()))]);
        rig.read_bounced(8, 1, BOUNCE_BYTES, 2).expect("room");
        assert_eq!(rig.finish(), [(2, Ok(()))]);
        assert!(rig.bytes(1).expect("free").iter().all(|&byte| byte == 0x5A));
        let ranges = [rig.lent(4096, 512), rig.lent(512, 512)];
        rig.read(8, &ranges, 2).expect("room");
        assert_eq!(rig.finish(), [(2, Ok(()))]);
        let filled = rig.client_bytes().iter().filter(|&&byte| byte == 0x5A).count();
        assert_eq!(
            (filled, rig.client_bytes()[512], rig.client_bytes()[4607]),
            (1024, 0x5A, 0x5A)
        );
        rig.disk.submit(DeviceRequest::Flush, Tag(3)).expect("room");
        assert_eq!(rig.finish(), [(3, Ok(()))]);
        rig.model.assert_clean();
    }
}

#[test]
fn a_bounce_buffer_is_the_devices_while_a_request_has_it() {
    let mut rig = rig();
    rig.read_bounced(0, 2, 512, 1).expect("room");
    rig.write_bounced(8, 3, 512, 2).expect("room");
    assert!(rig.bytes(2).is_none() && rig.bytes(3).is_none());
    assert!(rig.bytes(1).is_some() && rig.bytes(4).is_some());
    // One request at a time.
    assert_eq!(rig.read_bounced(0, 2, 512, 3), Err(Refusal::Invalid));
    assert_eq!(rig.write_bounced(0, 2, 512, 3), Err(Refusal::Invalid));
    rig.disk.notify();
    rig.model.process(1);
    assert_eq!(rig.poll(), Ok(vec![(1, Ok(()))]));
    assert!(rig.bytes(2).is_some() && rig.bytes(3).is_none());
    rig.model.process(1);
    assert_eq!(rig.poll(), Ok(vec![(2, Ok(()))]));
    assert!(rig.bytes(3).is_some());
    assert!(rig.bytes(8).is_none());
}

#[test]
fn a_bounce_buffer_that_is_not_there_is_refused() {
    let mut rig = rig();
    assert_eq!(rig.read_bounced(0, 8, 512, 1), Err(Refusal::Invalid));
    for bytes in [0, 100, BOUNCE_BYTES + 512, usize::MAX, 1 << 32] {
        assert_eq!(rig.read_bounced(0, 0, bytes, 1), Err(Refusal::Invalid), "{bytes}");
        assert!(rig.bytes(0).is_some());
    }
    assert_eq!(rig.model.counters().requests_of(0), 0);
}

#[test]
fn a_refused_request_keeps_nothing() {
    let mut rig = rig();
    let sector = rig.sector();
    let huge = PhysRange {
        address: 0x8000_0000,
        bytes: 1 << 32,
    };
    // SAFETY: the device does not get it, which is what this is about.
    let huge = unsafe { LentRange::new(huge) };
    for _ in 0..100 {
        assert_eq!(rig.read(0, &[sector; 65], 1), Err(Refusal::Invalid));
        assert_eq!(rig.read(0, &[huge], 1), Err(Refusal::Invalid));
        assert_eq!(rig.read(16384, &[sector], 1), Err(Refusal::Invalid));
        assert_eq!(rig.read_bounced(16384, 0, 512, 1), Err(Refusal::Invalid));
        assert_eq!(rig.read(0, &[], 1), Err(Refusal::Invalid));
        assert_eq!(rig.read(0, &[rig.lent(0, 100)], 1), Err(Refusal::Invalid));
    }
    assert!(rig.bytes(0).is_some());
    rig.read(0, &[sector], 1).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(()))]);
}

#[test]
fn what_the_system_maps_at_a_time_is_one_device_request() {
    let mut rig = rig();
    rig.model.write_disk(0, &[7; 64 * 512]);
    // Each next to none of its neighbours.
    let ranges: Vec<LentRange> = (0..64).map(|nth| rig.lent(nth * 1024, 512)).collect();
    rig.read(0, &ranges, 1).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(()))]);
    assert_eq!(rig.model.counters().requests_of(0), 1);
    assert_eq!(rig.client_bytes().iter().filter(|&&byte| byte == 7).count(), 64 * 512);
    rig.model.assert_clean();
}

#[test]
fn a_contiguous_megabyte_is_one_device_request() {
    let mut rig = rig();
    rig.model.write_disk(8, &[7; CLIENT_BYTES]);
    let before = rig.model.counters();
    rig.read(8, &[rig.lent(0, CLIENT_BYTES as u64)], 1).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(()))]);
    let after = rig.model.counters();
    assert_eq!((after.requests_of(0), after.chains - before.chains), (1, 1));
    assert!(rig.client_bytes().iter().all(|&byte| byte == 7));
    rig.model.assert_clean();
}

#[test]
fn a_small_queue_of_a_simple_device_takes_fewer() {
    use virtio_blk_model::feature::INDIRECT_DESC;
    let mut rig = rig_of(ModelConfig::modern().withdraw(INDIRECT_DESC), 16);
    assert_eq!(rig.disk.info().expect("it is live").max_segments, 14);
    let range = rig.sector();
    rig.read(0, &[range; 14], 1).expect("room");
    assert_eq!(rig.read(0, &[range], 2), Err(Refusal::Full));
    assert_eq!(rig.finish(), [(1, Ok(()))]);
}

#[test]
fn sixty_four_requests_are_in_flight_and_no_more() {
    let mut rig = rig();
    let range = rig.sector();
    for tag in 0..64 {
        rig.read(0, &[range], tag).expect("room");
    }
    assert_eq!(rig.read(0, &[range], 64), Err(Refusal::Full));
    assert_eq!(rig.finish().len(), 64);
    rig.read(0, &[range], 63).expect("room again");
}

#[test]
fn errors_of_the_device_come_with_the_request() {
    let mut rig = rig();
    rig.model.set_fault(
        FaultScript::new()
            .at(0, FaultKind::Status(1))
            .at(1, FaultKind::Status(2)),
    );
    let range = rig.sector();
    for tag in [5, 6, 7] {
        rig.read(0, &[range], tag).expect("room");
    }
    let expected = [
        (5, Err(DeviceError::Io)),
        (6, Err(DeviceError::Unsupported)),
        (7, Ok(())),
    ];
    assert_eq!(rig.finish(), expected);
}

#[test]
fn it_interrupts_if_listened_to_and_not_while_polled() {
    let mut rig = rig();
    let range = rig.sector();
    rig.disk.listen(Listen::Polled);
    rig.read(0, &[range], 1).expect("room");
    assert_eq!(rig.finish().len(), 1);
    assert!(!rig.model.interrupt_line());

    rig.disk.listen(Listen::Interrupts);
    assert_eq!(rig.poll(), Ok(Vec::new()));
    rig.read(0, &[range], 2).expect("room");
    rig.disk.notify();
    rig.model.process(1);
    assert!(rig.model.interrupt_line());
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Ok(vec![(2, Ok(()))]));
    assert!(!rig.model.interrupt_line());
    // Following it up has asked for the next one.
    rig.read(0, &[range], 3).expect("room");
    rig.disk.notify();
    rig.model.process(1);
    assert!(rig.model.interrupt_line());
    let totals = rig.disk.totals();
    assert_eq!((totals.interrupts, totals.spurious_interrupts), (1, 0));
}

#[test]
fn a_resize_is_followed() {
    logger();
    let mut rig = rig();
    rig.disk.listen(Listen::Interrupts);
    rig.model.resize(99);
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Ok(Vec::new()));
    assert_eq!(rig.disk.info().expect("it is live").sectors, 99);
    assert_eq!(printed("capacity is now 99 sectors, was 16384"), 1);
}

#[test]
fn a_reset_forgets_requests_and_keeps_bounce_buffers() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut rig = rig_of(config, 256);
        rig.disk.listen(Listen::Interrupts);
        rig.bytes(0).expect("free").fill(0x11);
        let allocations = rig.model.allocations();
        for _ in 0..3 {
            for tag in 0..64 {
                let sector = rig.sector();
                match tag {
                    0 => rig.write_bounced(0, 0, 512, tag).expect("room"),
                    _ => rig.write(0, &[sector], tag).expect("room"),
                }
            }
            rig.disk.notify();
            rig.model.hold(64);
            assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
            assert_eq!(rig.poll(), Ok(Vec::new()));
            assert_eq!(rig.bytes(0).expect("free again")[511], 0x11);
        }
        assert_eq!(rig.model.allocations(), allocations);
        // Interrupts are asked for again, without a poll in between.
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
        rig.write(0, &[rig.sector()], 1).expect("room");
        rig.disk.notify();
        rig.model.process(1);
        assert!(rig.model.interrupt_line());
        assert_eq!(rig.poll(), Ok(vec![(1, Ok(()))]));
        rig.model.assert_clean();
    }
}

#[test]
fn a_device_that_asks_for_a_reset_gets_one() {
    logger();
    let mut rig = rig();
    rig.disk.listen(Listen::Interrupts);
    let range = rig.sector();
    rig.read(0, &[range], 1).expect("room");
    rig.disk.notify();
    rig.model.needs_reset();
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Err(Broken));
    assert_eq!(printed("the device asks for a reset"), 1);
    assert_eq!(rig.read(0, &[range], 2), Err(Refusal::Broken));
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    rig.read(0, &[range], 2).expect("room");
    assert_eq!(rig.finish(), [(2, Ok(()))]);
}

#[test]
fn a_look_finds_a_device_needing_a_reset_without_interrupt() {
    let mut rig = rig();
    rig.disk.listen(Listen::Polled);
    assert!(rig.disk.is_alive());
    rig.model.needs_reset();
    assert_eq!(rig.poll(), Ok(Vec::new()), "the ring says nothing");
    assert!(!rig.disk.is_alive());
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    assert!(rig.disk.is_alive());
}

#[test]
fn a_device_that_needs_a_reset_has_no_properties() {
    type Cause = fn(&mut Rig);
    let asks: Cause = |rig| {
        rig.model.needs_reset();
        rig.disk.interrupted();
        assert_eq!(rig.poll(), Err(Broken));
    };
    let lies: Cause = |rig| {
        rig.model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(77)));
        rig.read_bounced(0, 0, 512, 1).expect("room");
        rig.disk.notify();
        rig.model.process(1);
        assert_eq!(rig.poll(), Err(Broken));
    };
    let is_stuck: Cause = |rig| {
        rig.stuck.set(true);
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Err(Broken));
        rig.stuck.set(false);
    };
    for cause in [asks, lies, is_stuck] {
        let mut rig = rig();
        cause(&mut rig);
        assert_eq!((rig.disk.info(), rig.disk.queue()), (None, None));
        assert!(!rig.disk.is_alive());
        assert_eq!(rig.disk.set_write_cache(true), Err(Refusal::Broken));
        rig.model.resize(4096);
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
        assert_eq!(rig.disk.info().expect("it is live").sectors, 4096);
    }
}

#[test]
fn a_failed_restart_leaves_a_device_without_properties() {
    let mut rig = rig();
    rig.write(0, &[rig.sector()], 1).expect("room");
    rig.disk.notify();
    rig.refuse_start.set(true);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Err(Broken));
    assert_eq!((rig.disk.info(), rig.disk.queue()), (None, None));
    assert!(!rig.disk.is_alive());
    assert_eq!(rig.disk.set_write_cache(true), Err(Refusal::Broken));
    assert_eq!(rig.poll(), Err(Broken));
    assert!(rig.bytes(0).is_some());
    rig.refuse_start.set(false);
    rig.model.resize(4096);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    assert_eq!(rig.disk.info().expect("it is live").sectors, 4096);
}

#[test]
fn a_device_that_lies_is_broken_until_reset() {
    let mut rig = rig();
    rig.model.set_fault(FaultScript::new().at(0, FaultKind::UsedId(77)));
    rig.read_bounced(0, 0, 512, 1).expect("room");
    rig.disk.notify();
    rig.model.process(1);
    assert_eq!(rig.poll(), Err(Broken));
    assert!(rig.bytes(0).is_none());
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    assert!(rig.bytes(0).is_some());
    assert_eq!(rig.disk.totals().faults, 1);
}

#[test]
fn a_device_that_does_not_finish_its_reset_keeps_its_memory() {
    let mut rig = rig();
    let range = rig.sector();
    rig.read_bounced(0, 0, 512, 1).expect("room");
    rig.disk.notify();
    rig.stuck.set(true);
    for _ in 0..2 {
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Err(Broken));
        assert_eq!(rig.read(0, &[range], 2), Err(Refusal::Broken));
        assert_eq!(rig.poll(), Err(Broken));
        // It may still be written to.
        assert!(rig.bytes(0).is_none());
    }
    // Its interrupt is acknowledged, and its completions wait for the reset.
    rig.model.process(1);
    rig.disk.interrupted();
    assert_eq!(rig.poll(), Err(Broken));
    rig.model.spurious_interrupt(1);
    rig.disk.dismiss_interrupt();
    assert!(!rig.model.interrupt_line());
    assert!(rig.bytes(0).is_none());
    rig.stuck.set(false);
    let mut done = Vec::new();
    assert_eq!(rig.disk.reset(&mut |tag, result| done.push((tag.0, result))), Ok(()));
    assert_eq!(done, [(1, Ok(()))]);
    assert!(rig.bytes(0).is_some());
    rig.read(0, &[range], 2).expect("room");
    assert_eq!(rig.finish(), [(2, Ok(()))]);
}

#[test]
fn a_device_that_does_not_start_again_can_be_asked_again() {
    let mut rig = rig_of(
        ModelConfig {
            reset_reads: 3,
            ..ModelConfig::modern()
        },
        256,
    );
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    assert!(rig.disk.stop());
    assert_eq!(rig.model.status(), DeviceStatus::RESET);
    assert_eq!(rig.read(0, &[rig.sector()], 1), Err(Refusal::Broken));
    assert_eq!((rig.disk.info(), rig.disk.queue()), (None, None));
    assert!(!rig.disk.is_alive());
    assert_eq!(rig.disk.set_write_cache(false), Err(Refusal::Broken));
    assert!(rig.bytes(0).is_some());
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    rig.read(0, &[rig.sector()], 1).expect("room");
    assert_eq!(rig.finish(), [(1, Ok(()))]);
}

#[test]
fn stopping_resets_the_device_whatever_it_is_at() {
    let mut rig = rig();
    rig.write(0, &[rig.sector()], 1).expect("room");
    rig.disk.notify();
    assert!(rig.disk.stop());
    assert_eq!(rig.model.status(), DeviceStatus::RESET);
    assert_eq!(rig.model.process(1), 0);
}

#[test]
fn the_write_cache_is_switched() {
    let mut rig = rig();
    assert!(rig.has_cache());
    assert_eq!(rig.disk.set_write_cache(false), Ok(()));
    assert!(!rig.has_cache() && !rig.model.writeback());
    assert_eq!(rig.disk.set_write_cache(true), Ok(()));
    assert!(rig.has_cache());
}

#[test]
fn a_reset_keeps_the_write_cache_as_it_was_set() {
    for wanted in [false, true] {
        let mut rig = rig();
        assert_eq!(rig.disk.set_write_cache(wanted), Ok(()));
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
        assert_eq!((rig.has_cache(), rig.model.writeback()), (wanted, wanted));
    }
    // A cache that was not switched is left to the device.
    let mut rig = rig();
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    assert!(rig.has_cache());
}

/// Whether a disk reads and writes.
fn works(rig: &mut Rig) {
    for nth in 0..3_u8 {
        rig.bytes(0).expect("free").fill(nth);
        rig.write_bounced(8, 0, BOUNCE_BYTES, 1).expect("room");
        assert_eq!(rig.finish(), [(1, Ok(()))]);
        rig.bytes(0).expect("free").fill(0xFF);
        rig.read_bounced(8, 0, BOUNCE_BYTES, 2).expect("room");
        assert_eq!(rig.finish(), [(2, Ok(()))]);
        assert!(rig.bytes(0).expect("free").iter().all(|&byte| byte == nth));
    }
}

#[test]
fn the_queue_takes_no_more_memory_than_it_needs() {
    let rig = rig();
    assert_eq!(rig.disk.queue(), Some((QueueSize::new(128).unwrap(), true)));
    assert!(rig.memory.given.borrow().iter().all(|&bytes| bytes <= 140 << 10));
    // Without tables a request takes several descriptors, so there are more.
    let simple = ModelConfig::modern().withdraw(virtio_blk_model::feature::INDIRECT_DESC);
    let mut rig = rig_of(simple.clone(), 256);
    assert_eq!(rig.disk.queue(), Some((QueueSize::new(128).unwrap(), false)));
    works(&mut rig);
    assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
    works(&mut rig);
    rig.model.assert_clean();
    // A smaller queue can be asked for.
    assert_eq!(
        rig_of(simple, 32).disk.queue(),
        Some((QueueSize::new(32).unwrap(), false))
    );
    assert_eq!(
        rig_of(ModelConfig::modern(), 8).disk.queue(),
        Some((QueueSize::new(8).unwrap(), true))
    );
}

#[test]
fn with_memory_in_small_pieces_it_does_with_less() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let rig = short_rig(config.clone(), 256, 96 << 10, usize::MAX).expect("there are pieces enough");
        assert_eq!(rig.disk.queue(), Some((QueueSize::new(64).unwrap(), true)));
        // What a queue with tables takes is not there in one piece.
        let mut rig = short_rig(config.clone(), 256, 32 << 10, usize::MAX).expect("there are pieces enough");
        assert_eq!(rig.disk.queue(), Some((QueueSize::new(128).unwrap(), false)));
        assert_eq!(rig.disk.bounce_buffers(), 8);
        works(&mut rig);
        // A reset needs what is there already.
        rig.memory.pages.set(0);
        assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
        works(&mut rig);
        rig.model.assert_clean();
    }
}

#[test]
fn with_hardly_any_memory_it_still_works() {
    // Four for a block, and at most three for the smallest queue.
    for (pages, blocks) in [(7, 1), (11, 2), (15, 3)] {
        for config in [ModelConfig::modern(), ModelConfig::legacy()] {
            let mut rig = short_rig(config, 256, 16 << 10, pages).expect("it will do");
            assert!((1..=blocks).contains(&rig.disk.bounce_buffers()), "{pages}");
            assert!(rig.bytes(rig.disk.bounce_buffers()).is_none());
            works(&mut rig);
            assert_eq!(rig.disk.reset(&mut |_, _| {}), Ok(()));
            works(&mut rig);
            rig.model.assert_clean();
        }
    }
    for pages in [3, 4, 5] {
        let error = short_rig(ModelConfig::modern(), 256, 16 << 10, pages).err();
        assert_eq!(error, Some(InitError::Dma(DmaError::OutOfMemory)), "{pages}");
    }
}
