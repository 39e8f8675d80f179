//! The functions on the software device, with callbacks as a program in C has them.

use core::ffi::c_void;
use core::ptr::{null, null_mut};
use std::alloc::Layout;

use virtio_blk_capi::*;
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters, StartFault, feature};
use virtio_core::{DeviceAddr, Dma, DmaBuffer, DmaRegion};
use virtio_mmio::{Doorbell, RegisterAccess};

/// What the contexts of the callbacks point to.
struct Machine {
    registers: ModelRegisters,
    dma: ModelDma,
    /// Pieces of memory that the driver has.
    taken: usize,
    /// There is no memory.
    is_full: bool,
}

unsafe extern "C" fn read(context: *mut c_void, offset: u32, bytes: u32) -> u32 {
    // SAFETY: each context is a machine, and callbacks do not overlap.
    let machine = unsafe { &*context.cast::<Machine>() };
    match bytes {
        1 => u32::from(machine.registers.read_u8(offset)),
        2 => u32::from(machine.registers.read_u16(offset)),
        4 => machine.registers.read_u32(offset),
        _ => panic!("{bytes} bytes"),
    }
}

unsafe extern "C" fn write(context: *mut c_void, offset: u32, bytes: u32, value: u32) {
    // SAFETY: each context is a machine, and callbacks do not overlap. The driver answers for what it writes.
    unsafe {
        let machine = &mut *context.cast::<Machine>();
        match (offset, bytes) {
            (0x50, 4) => machine.registers.doorbell().ring(value),
            (_, 1) => machine.registers.write_u8(offset, value.try_into().unwrap()),
            (_, 4) => machine.registers.write_u32(offset, value),
            _ => panic!("{bytes} bytes"),
        }
    }
}

unsafe extern "C" fn allocate(context: *mut c_void, bytes: usize, alignment: usize, address: *mut u64) -> *mut c_void {
    // SAFETY: each context is a machine, and callbacks do not overlap.
    let machine = unsafe { &mut *context.cast::<Machine>() };
    if machine.is_full {
        return null_mut();
    }
    let region = machine
        .dma
        .allocate(Layout::from_size_align(bytes, alignment).unwrap())
        .unwrap();
    machine.taken += 1;
    // SAFETY: the driver gives a place for the address.
    unsafe { address.write(region.device_addr().0) };
    region.as_ptr().as_ptr().cast()
}

unsafe extern "C" fn release(context: *mut c_void, start: *mut c_void, bytes: usize, address: u64) {
    // SAFETY: each context is a machine, and callbacks do not overlap. The driver gives back what it got.
    unsafe {
        let machine = &mut *context.cast::<Machine>();
        machine.taken -= 1;
        let start = core::ptr::NonNull::new(start.cast()).unwrap();
        machine
            .dma
            .release(DmaRegion::from_raw_parts(start, bytes, DeviceAddr(address)));
    }
}

/// Requests that are over: token, outcome, bytes.
type Over = Vec<(usize, Outcome, u64)>;

unsafe extern "C" fn completed(context: *mut c_void, token: *mut c_void, outcome: Outcome, bytes: u64) {
    // SAFETY: each context is such a list, and callbacks do not overlap.
    unsafe { &mut *context.cast::<Over>() }.push((token.addr(), outcome, bytes));
}

fn token(number: usize) -> *mut c_void {
    core::ptr::without_provenance_mut(number)
}

/// A piece of storage.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "it is only memory")] [u8; 64]);

/// A disk on a model, with its storage.
struct Started {
    model: Model,
    machine: *mut Machine,
    /// Where the disk lies.
    storage: Vec<Line>,
    disk: *mut VirtioBlkDisk,
    outcome: Outcome,
}

/// The window and the memory of the machine behind `context`.
fn callbacks(context: *mut c_void) -> (Registers, Memory) {
    let registers = Registers {
        context,
        read: Some(read),
        write: Some(write),
    };
    let memory = Memory {
        context,
        allocate: Some(allocate),
        release: Some(release),
    };
    (registers, memory)
}

fn start(config: ModelConfig) -> Started {
    start_of(Model::new(config), false)
}

fn start_of(model: Model, is_full: bool) -> Started {
    let machine = Box::into_raw(Box::new(Machine {
        registers: model.registers(),
        dma: model.dma(),
        taken: 0,
        is_full,
    }));
    let context = machine.cast::<c_void>();
    let (registers, memory) = callbacks(context);
    let mut storage = vec![Line([0; 64]); virtio_blk_disk_bytes().div_ceil(64)];
    let mut disk = null_mut();
    let bytes = virtio_blk_disk_bytes();
    // SAFETY: the storage is as large as asked for and aligned, and the machine outlives the disk.
    let outcome = unsafe { virtio_blk_start(&raw mut disk, storage.as_mut_ptr().cast(), bytes, &registers, &memory) };
    Started {
        model,
        machine,
        storage,
        disk,
        outcome,
    }
}

impl Started {
    /// The end: how many pieces of memory the driver has kept.
    fn kept(self) -> usize {
        drop(self.storage);
        // SAFETY: the disk is shut down, so no callback is called any more.
        unsafe { Box::from_raw(self.machine) }.taken
    }
}

fn context(over: &mut Over) -> *mut c_void {
    (&raw mut *over).cast()
}

#[test]
fn what_is_written_is_read_and_all_memory_comes_back() {
    let started = start(ModelConfig::default());
    assert_eq!(started.outcome, Outcome::Ok);
    let (model, disk) = (started.model.clone(), started.disk);
    let mut dma = model.dma();
    let mut buffer = DmaBuffer::allocate(&mut dma, 1024, 512).unwrap();
    buffer.fill(0x5A);
    let region = buffer.into_region();
    let address = region.device_addr().0;
    let mut over = Over::new();
    // SAFETY: the disk is started, calls do not overlap, and the buffer is left alone.
    unsafe {
        assert!(virtio_blk_capacity(disk) > 100);
        assert_eq!(virtio_blk_block_bytes(disk), 512);
        assert_eq!(virtio_blk_write(disk, 3, address, 512, token(1)), Outcome::Ok);
        assert_eq!(virtio_blk_read(disk, 3, address + 512, 512, token(2)), Outcome::Ok);
        virtio_blk_notify(disk);
        model.process(usize::MAX);
        assert_eq!(virtio_blk_poll(disk, Some(completed), context(&mut over)), Outcome::Ok);
        assert_eq!(over, [(1, Outcome::Ok, 512), (2, Outcome::Ok, 512)]);
        over.clear();
        assert_eq!(virtio_blk_flush(disk, token(3)), Outcome::Ok);
        virtio_blk_notify(disk);
        model.process(usize::MAX);
        assert_eq!(
            virtio_blk_interrupt(disk, Some(completed), context(&mut over)),
            Outcome::Ok
        );
        assert_eq!(over, [(3, Outcome::Ok, 0)]);
        over.clear();
        assert_eq!(virtio_blk_read(disk, 4, address, 512, token(4)), Outcome::Ok);
        assert_eq!(
            virtio_blk_shut_down(disk, Some(completed), context(&mut over)),
            Outcome::Ok
        );
    }
    // What was in flight comes back, too.
    assert_eq!(over, [(4, Outcome::Aborted, 0)]);
    dma.release(region);
    assert_eq!(started.kept(), 0);
    model.assert_clean();
}

#[test]
fn refused_requests_are_not_taken() {
    let started = start(ModelConfig::default());
    let disk = started.disk;
    let mut over = Over::new();
    // SAFETY: the disk is started, calls do not overlap, and the device gets none of the requests.
    unsafe {
        let capacity = virtio_blk_capacity(disk);
        assert_eq!(
            virtio_blk_read(disk, capacity, 0x1000, 512, token(1)),
            Outcome::OutOfRange
        );
        assert_eq!(virtio_blk_write(disk, 0, 0x1000, 100, token(1)), Outcome::Misaligned);
        assert_eq!(virtio_blk_read(disk, 0, 0x1000, 0, token(1)), Outcome::Misaligned);
        assert_eq!(
            virtio_blk_shut_down(disk, Some(completed), context(&mut over)),
            Outcome::Ok
        );
    }
    assert!(over.is_empty(), "{over:?}");
    assert_eq!(started.kept(), 0);
}

#[test]
fn wrong_arguments_are_told() {
    let started = start(ModelConfig::default());
    let context = started.machine.cast::<c_void>();
    let (registers, memory) = callbacks(context);
    let no_read = Registers {
        read: None,
        ..registers
    };
    let no_write = Registers {
        write: None,
        ..registers
    };
    let no_allocate = Memory {
        allocate: None,
        ..memory
    };
    let no_release = Memory {
        release: None,
        ..memory
    };
    let bytes = virtio_blk_disk_bytes();
    let mut other = vec![Line([0; 64]); bytes.div_ceil(64) + 1];
    let place = other.as_mut_ptr().cast::<c_void>();
    let mut disk = null_mut();
    let answer = &raw mut disk;
    // SAFETY: each call finds out that it must do nothing before it uses anything.
    unsafe {
        for outcome in [
            virtio_blk_start(answer, place, bytes - 1, &registers, &memory),
            virtio_blk_start(answer, place.wrapping_byte_add(16), bytes, &registers, &memory),
            virtio_blk_start(answer, null_mut(), bytes, &registers, &memory),
            virtio_blk_start(null_mut(), place, bytes, &registers, &memory),
            virtio_blk_start(answer, place, bytes, null(), &memory),
            virtio_blk_start(answer, place, bytes, &registers, null()),
            virtio_blk_start(answer, place, bytes, &no_read, &memory),
            virtio_blk_start(answer, place, bytes, &no_write, &memory),
            virtio_blk_start(answer, place, bytes, &registers, &no_allocate),
            virtio_blk_start(answer, place, bytes, &registers, &no_release),
        ] {
            assert_eq!(outcome, Outcome::Argument);
        }
        assert!((*answer).is_null());
        assert_eq!(virtio_blk_shut_down(started.disk, None, null_mut()), Outcome::Ok);
    }
    assert_eq!(started.kept(), 0);
}

#[test]
fn a_device_that_does_not_come_up_keeps_no_memory() {
    let with = |fault| {
        let model = Model::new(ModelConfig::default());
        model.set_start_faults([fault]);
        model
    };
    let of_kind = |device_id| {
        Model::new(ModelConfig {
            device_id,
            ..ModelConfig::default()
        })
    };
    let gone = Model::new(ModelConfig::default());
    gone.go_away_after(8);
    for (model, is_full, outcome) in [
        (of_kind(0), false, Outcome::NoDevice),
        (of_kind(1), false, Outcome::NoDevice),
        (gone, false, Outcome::NoDevice),
        (with(StartFault::NoQueue), false, Outcome::NotStarted),
        (with(StartFault::FeaturesRefused), false, Outcome::NotStarted),
        (Model::new(ModelConfig::default()), true, Outcome::Memory),
    ] {
        let started = start_of(model, is_full);
        assert_eq!(started.outcome, outcome);
        assert!(started.disk.is_null());
        assert_eq!(started.kept(), 0, "{outcome:?}");
    }
}

#[test]
fn each_refusal_of_the_driver_has_its_answer() {
    let config = ModelConfig::default;
    for (config, is_read_only) in [(config(), false), (config().offer(feature::RO), true)] {
        let started = start(config);
        let disk = started.disk;
        let region = started
            .model
            .dma()
            .allocate(Layout::from_size_align(512, 512).unwrap())
            .unwrap();
        let address = region.device_addr().0;
        let mut over = Over::new();
        // SAFETY: the disk is started, calls do not overlap, and the buffer is the device's until the end.
        unsafe {
            let expected = if is_read_only { Outcome::ReadOnly } else { Outcome::Ok };
            assert_eq!(virtio_blk_write(disk, 0, address, 512, token(1)), expected);
            assert_eq!(
                virtio_blk_read(disk, 0, u64::MAX - 511, 1024, token(2)),
                Outcome::OutOfRange
            );
            let mut taken = usize::from(!is_read_only);
            while virtio_blk_read(disk, 0, address, 512, token(3)) == Outcome::Ok {
                taken += 1;
            }
            assert_eq!(virtio_blk_read(disk, 0, address, 512, token(3)), Outcome::QueueFull);
            assert!((1..=64).contains(&taken), "{taken}");
            let down = virtio_blk_shut_down(disk, Some(completed), context(&mut over));
            assert_eq!((down, over.len()), (Outcome::Ok, taken));
        }
        started.model.dma().release(region);
        assert_eq!(started.kept(), 0);
    }
}

#[test]
fn what_a_device_answers_is_told_and_one_that_lies_is_broken() {
    for interrupts in [false, true] {
        let started = start(ModelConfig::default());
        let (model, disk) = (started.model.clone(), started.disk);
        let faults = [FaultKind::Status(1), FaultKind::Status(2), FaultKind::UsedId(77)];
        model.set_fault(
            (0..)
                .zip(faults)
                .fold(FaultScript::new(), |script, (nth, fault)| script.at(nth, fault)),
        );
        let region = model
            .dma()
            .allocate(Layout::from_size_align(512, 512).unwrap())
            .unwrap();
        let address = region.device_addr().0;
        let mut over = Over::new();
        // SAFETY: the disk is started, calls do not overlap, and the buffer is the device's until the end.
        unsafe {
            let mut next = |number| {
                assert_eq!(virtio_blk_read(disk, 0, address, 512, token(number)), Outcome::Ok);
                virtio_blk_notify(disk);
                model.process(usize::MAX);
                let over = context(&mut over);
                if interrupts {
                    virtio_blk_interrupt(disk, Some(completed), over)
                } else {
                    virtio_blk_poll(disk, Some(completed), over)
                }
            };
            assert_eq!([next(1), next(2), next(3)], [Outcome::Ok, Outcome::Ok, Outcome::Broken]);
            let outcomes: Vec<_> = over.iter().map(|&(token, outcome, _)| (token, outcome)).collect();
            assert_eq!(outcomes, [(1, Outcome::Io), (2, Outcome::Unsupported)]);
            assert_eq!(virtio_blk_read(disk, 0, address, 512, token(4)), Outcome::Broken);
            over.clear();
            // Nothing is told to a caller that does not ask.
            assert_eq!(virtio_blk_shut_down(disk, None, null_mut()), Outcome::Ok);
        }
        assert!(over.is_empty());
        model.dma().release(region);
        assert_eq!(started.kept(), 0);
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million looks at a reset that does not end")]
fn a_disk_whose_reset_does_not_end_is_a_disk_until_it_does() {
    let started = start(ModelConfig::default());
    let (model, disk) = (started.model.clone(), started.disk);
    let mut over = Over::new();
    model.hold_resets(true);
    // SAFETY: the disk is started, and calls do not overlap.
    unsafe {
        let context = context(&mut over);
        assert_eq!(virtio_blk_shut_down(disk, Some(completed), context), Outcome::TimedOut);
        assert!((*started.machine).taken > 0, "the device may still use its memory");
        model.hold_resets(false);
        assert_eq!(virtio_blk_shut_down(disk, Some(completed), context), Outcome::Ok);
    }
    assert_eq!(started.kept(), 0);
}
