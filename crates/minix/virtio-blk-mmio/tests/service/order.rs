//! A device that still works for a dead instance is stopped before anything else happens: the order of register accesses
//! and system calls over a whole start.
//!
//! Its memory belongs to another process soon. So what takes memory, lets interrupts in or calls clients comes after the
//! reset, in the instance that starts as in the one that only declines. Only the question whose the disk is comes before it, as the
//! device of another service is not to be touched.

use std::alloc::Layout;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use fake_minix::host::pages;
use fake_minix::{Ended, HOOK, Process, System, Trap};
use minix_abi::ipc::IpcCall;
use minix_abi::kernel_call::{GetInfo, InfoRequest, IrqCtl, IrqRequest, Umap, UmapReply};
use minix_abi::rs::{Init, InitType};
use minix_abi::vm::Mmap;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_virtio_blk::args::Arguments;
use minix_virtio_blk::registration::{GrantTable, Registration};
use minix_virtio_blk::start::{self, Tables};
use minix_virtio_blk::windows::{FIRST_WINDOW, Window};
use virtio_blk_model::{Model, ModelConfig, ModelRegisters};
use virtio_core::{DeviceStatus, Dma as _, DmaRegion, QueueSize};
use virtio_mmio::{Doorbell, RegisterAccess};

use crate::journal;

const STATUS: u32 = 0x070;
/// The windows that have a disk. The second disk is the one the service is for.
const DISKS: [usize; 2] = [2, 5];
const CHOSEN: usize = DISKS[1];
const SELF: Endpoint = Endpoint(0x8_0040);
/// The interrupt line of the second disk.
const LINE: i32 = CHOSEN as i32 + 1;
/// The number of its hook.
pub(crate) const LINE_HOOK: i32 = LINE + HOOK;

/// What the service did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It read the status of the device in a window.
    StatusRead(usize, u32),
    /// It wrote to a register of the device in a window.
    Written(usize, u32, u32),
    /// It made a kernel call.
    Called(MessageType),
    /// It asked for something about an interrupt line, by its number or that of a hook.
    Line(IrqRequest, i32),
    /// It sent a message and waited for the reply.
    Asked(Endpoint, MessageType, Status),
}

/// What is at an address of this process: a window by its number, with or without a device.
type Slot = (usize, usize, Option<ModelRegisters>);

thread_local! {
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    static SLOTS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

fn note(event: Event) {
    EVENTS.with_borrow_mut(|events| events.push(event));
}

/// Registers that write down what is done to them.
#[derive(Clone)]
struct Recorded {
    window: usize,
    device: Option<ModelRegisters>,
}

impl Window for Recorded {
    unsafe fn at(start: NonNull<u8>) -> Option<Self> {
        SLOTS.with_borrow(|slots| {
            let (window, _, device) = slots.iter().find(|slot| slot.1 == start.addr().get())?;
            Some(Self {
                window: *window,
                device: device.clone(),
            })
        })
    }
}

// SAFETY: the model's registers keep the contract; an empty slot has no device.
unsafe impl RegisterAccess for Recorded {
    type Doorbell = Self;

    fn read_u8(&self, offset: u32) -> u8 {
        self.device.as_ref().map_or(0, |device| device.read_u8(offset))
    }
    fn read_u16(&self, offset: u32) -> u16 {
        self.device.as_ref().map_or(0, |device| device.read_u16(offset))
    }
    fn read_u32(&self, offset: u32) -> u32 {
        let Some(device) = &self.device else {
            // An empty slot: magic value, version, no device.
            return [0x7472_6976, 2, 0][offset as usize / 4];
        };
        let value = device.read_u32(offset);
        if offset == STATUS {
            note(Event::StatusRead(self.window, value));
        }
        value
    }
    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        note(Event::Written(self.window, offset, value.into()));
        self.device.as_ref().expect("a device").write_u8(offset, value);
    }
    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        self.write(offset, value);
    }
    unsafe fn doorbell(&self) -> Self {
        self.clone()
    }
}

impl Recorded {
    fn write(&self, offset: u32, value: u32) {
        note(Event::Written(self.window, offset, value));
        self.device.as_ref().expect("a device").write_u32(offset, value);
    }
}

impl Doorbell for Recorded {
    fn ring(&self, value: u32) {
        self.write(0x050, value);
    }
}

/// A machine with eight windows and two disks, both still at work for another instance.
pub(crate) struct Machine {
    pub(crate) chosen: Model,
    pub(crate) process: Process,
}

/// What the system does not do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Refused {
    /// The kernel does not do this with the interrupt line.
    pub(crate) line: Option<IrqRequest>,
    /// VM has no larger piece of memory, in bytes.
    pub(crate) larger: Option<u64>,
    /// The kernel does not tell its clock rate.
    pub(crate) clock_rate: bool,
}

/// `line` is what the kernel does not do with the interrupt line.
fn machine(init: InitType, line: Option<IrqRequest>) -> Machine {
    // A reset takes a while.
    let config = ModelConfig {
        reset_reads: 3,
        ..ModelConfig::modern()
    };
    let refused = Refused {
        line,
        ..Refused::default()
    };
    machine_of(config, init, refused)
}

/// A machine with two such disks.
pub(crate) fn machine_of(config: ModelConfig, init: InitType, refused: Refused) -> Machine {
    let disks = [Model::new(config.clone()), Model::new(config)];
    for disk in &disks {
        disk.registers().write_u32(STATUS, 1);
        disk.registers().write_u32(STATUS, 3);
    }
    let process = System::default().process(SELF, "disk");
    let slots = (0..8).map(|window| {
        let page = pages(4096);
        let address = FIRST_WINDOW + 4096 * window as u64;
        process.state().device_pages.insert(address, page);
        let disk = DISKS.iter().position(|&at| at == window);
        (window, page, disk.map(|nth| disks[nth].registers()))
    });
    SLOTS.set(slots.collect());
    EVENTS.take();
    let init = Init {
        kind: init,
        ..Init::default()
    };
    let message = Message::with_payload(MessageType::RS_INIT, &init);
    process.state().push(SELF, Endpoint::RS, IpcCall::SENDA, message);
    let [_, chosen] = disks;
    let dma = RefCell::new((chosen.dma(), Vec::<DmaRegion>::new()));
    // SAFETY: memory that is mapped comes from the model, whose device sees it where the model says.
    unsafe {
        process.system.hook(move |_, trap| {
            note_trap(trap);
            let (dma, given) = &mut *dma.borrow_mut();
            match trap {
                Trap::SendRec(_, message) if message.kind == MessageType::VM_MMAP => {
                    let mut request: Mmap = message.payload();
                    if refused.larger.is_some_and(|most| request.bytes > most) {
                        message.kind = Status::from(Errno::ENOMEM).into();
                        return Some(Ok(0));
                    }
                    let layout = Layout::from_size_align(request.bytes as usize, 4096).expect("pages");
                    let region = dma.allocate(layout).expect("the model has memory");
                    request.mapped_at = region.as_ptr().as_ptr().expose_provenance() as u64;
                    given.push(region);
                    message.set_payload(&request);
                    message.kind = Status::OK.into();
                    Some(Ok(0))
                }
                Trap::Call(message) if message.kind == MessageType::SYS_UMAP => {
                    let request: Umap = message.payload();
                    let start = |region: &&DmaRegion| region.as_ptr().addr().get() as u64 == request.address;
                    let region = given.iter().find(start).expect("memory that was given");
                    let physical = region.device_addr().get();
                    message.set_payload(&UmapReply { physical });
                    Some(Ok(0))
                }
                Trap::Call(message) if message.kind == MessageType::SYS_IRQCTL => {
                    let request = message.payload::<IrqCtl>().request;
                    (refused.line == Some(request)).then_some(Err(Errno::EPERM))
                }
                Trap::Call(message) if message.kind == MessageType::SYS_GETINFO => {
                    let is_clock = message.payload::<GetInfo>().request == InfoRequest::HZ;
                    (refused.clock_rate && is_clock).then_some(Err(Errno::EPERM))
                }
                _ => None,
            }
        });
    }
    Machine { chosen, process }
}

pub(crate) fn arguments() -> Arguments {
    Arguments {
        instance: 1,
        ..Arguments::default()
    }
}

fn note_trap(trap: &Trap<'_>) {
    match trap {
        Trap::SendRec(to, message) => {
            let told = match message.kind {
                MessageType::RS_INIT => message.payload::<Init>().result,
                _ => Status::OK,
            };
            note(Event::Asked(*to, message.kind, told));
        }
        Trap::Call(message) => {
            note(Event::Called(message.kind));
            if message.kind == MessageType::SYS_IRQCTL {
                let request: IrqCtl = message.payload();
                let number = match request.request {
                    IrqRequest::SETPOLICY => request.vector,
                    _ => request.hook_id,
                };
                note(Event::Line(request.request, number));
            }
        }
        _ => {}
    }
}

/// Where the status of the chosen device first read zero after zero was written to it. Nothing else was written before.
fn reset(events: &[Event]) -> usize {
    let first = events
        .iter()
        .position(|event| matches!(event, Event::Written(..)))
        .expect("something is written");
    assert_eq!(
        events[first],
        Event::Written(CHOSEN, STATUS, 0),
        "the first write is the reset"
    );
    let done = events[first..]
        .iter()
        .position(|&event| event == Event::StatusRead(CHOSEN, 0))
        .expect("the end of the reset is seen");
    let waiting = &events[first + 1..first + done];
    // It took a while, in which nothing else was done.
    assert!(!waiting.is_empty());
    assert!(
        waiting
            .iter()
            .all(|event| matches!(event, Event::StatusRead(CHOSEN, _))),
        "{waiting:?}"
    );
    first + done
}

/// What was done since the machine is there.
pub(crate) fn events() -> Vec<Event> {
    EVENTS.take()
}

/// Brings the service up on a machine.
pub(crate) fn brings_up(machine: &mut Machine) -> Result<(), Errno> {
    brings_up_with(machine, &arguments())
}

pub(crate) fn brings_up_with(machine: &mut Machine, arguments: &Arguments) -> Result<(), Errno> {
    let logger = journal::logger();
    let process = &mut machine.process;
    // SAFETY: the windows are those of the test, and the service drives no device yet.
    let startup = unsafe { start::wait_for_rs::<Recorded>(process, Some(arguments)) };
    let tables: &mut Tables<Process, Recorded> = Box::leak(Box::default());
    let grants: &mut GrantTable = Box::leak(Box::new(GrantTable::new()));
    let mut registration = Registration::new(process, grants, startup.who.endpoint)?;
    // SAFETY: as above.
    unsafe {
        start::bring_up(
            process.clone(),
            arguments,
            &mut registration,
            journal::now,
            logger,
            tables,
            |_| {},
        )
    }?;
    registration.announce(process)?;
    startup.finish(process, Ok(()))
}

/// Where something first happened.
fn first(events: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(what).expect("it happens")
}

#[test]
fn the_reset_comes_before_memory_interrupts_and_announcement() {
    let mut machine = machine(InitType::FRESH, None);
    assert_eq!(brings_up(&mut machine), Ok(()));
    assert!(machine.chosen.status().contains(DeviceStatus::DRIVER_OK));
    assert_eq!(machine.process.state().store.numbers["drv.blk.disk"], 1);

    let events = events();
    let reset = reset(&events);
    let memory = first(&events, |event| {
        matches!(event, Event::Asked(_, MessageType::VM_MMAP, _))
    });
    let interrupts = first(&events, |event| matches!(event, Event::Line(..)));
    let claim = first(&events, |event| matches!(event, Event::Asked(Endpoint::DS, ..)));
    let announced = events
        .iter()
        .rposition(|event| matches!(event, Event::Asked(Endpoint::DS, MessageType::DS_PUBLISH, _)))
        .expect("it happens");
    let told = first(&events, |event| matches!(event, Event::Asked(Endpoint::RS, ..)));
    assert!(claim < reset && reset < memory.min(interrupts), "{events:?}");
    // And clients hear of the service when it is ready, RS last of all.
    assert!(memory.max(interrupts) < announced && announced < told, "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| !matches!(event, Event::Written(window, ..) if *window != CHOSEN))
    );
}

#[test]
fn the_disk_of_another_service_is_not_touched() {
    let mut machine = machine(InitType::FRESH, None);
    {
        let store = &mut machine.process.state().store;
        store.labels.insert(99, "twin".to_owned());
        store.numbers.insert("virtio_blk@0x10006000".to_owned(), 99);
    }
    assert_eq!(brings_up(&mut machine), Err(Errno::EBUSY));
    let events = events();
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::Written(..) | Event::Line(..))),
        "{events:?}"
    );
    assert_eq!(
        journal::lines(),
        ["no access to block device 1 at 0x10006000: it is served by twin, endpoint 99"]
    );
}

#[test]
fn a_queue_that_is_cut_is_said_so() {
    for (queue, lines) in [(128, 0), (256, 1)] {
        let arguments = Arguments {
            queue: QueueSize::new(queue).expect("a power of two"),
            ..arguments()
        };
        assert_eq!(brings_up_with(&mut machine(InitType::FRESH, None), &arguments), Ok(()));
        assert_eq!(journal::printed("queue=256: there is room for 128"), lines);
    }
}

#[test]
fn a_start_that_fails_at_the_line_leaves_the_device_reset() {
    for refused in [IrqRequest::SETPOLICY, IrqRequest::ENABLE] {
        let mut machine = machine(InitType::FRESH, Some(refused));
        assert_eq!(brings_up(&mut machine), Err(Errno::EPERM));
        assert!(machine.chosen.status().is_empty(), "it is reset");
        let events = events();
        let freed = events.contains(&Event::Line(IrqRequest::RMPOLICY, LINE_HOOK));
        assert_eq!(freed, refused == IrqRequest::ENABLE);
    }
}

#[test]
fn a_declining_instance_resets_the_device_and_frees_the_line() {
    let mut machine = machine(InitType::RESTART, None);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the windows are those of the test, and the service drives no device.
        unsafe { start::wait_for_rs::<Recorded>(&mut machine.process, Some(&arguments())) }
    }));
    match ended {
        Ok(startup) => panic!("it goes on: {startup:?}"),
        Err(end) if end.is::<Ended>() => {}
        Err(other) => resume_unwind(other),
    }
    let events = events();
    let reset = reset(&events);
    let declined = first(&events, |event| {
        *event == Event::Asked(Endpoint::RS, MessageType::RS_INIT, Errno::ERESTART.into())
    });
    // A hook under the same endpoint and notify id replaces that of the dead one.
    let taken = first(&events, |event| *event == Event::Line(IrqRequest::SETPOLICY, LINE));
    let freed = first(&events, |event| *event == Event::Line(IrqRequest::RMPOLICY, LINE_HOOK));
    assert!(reset < taken && taken < freed && freed < declined, "{events:?}");
    let lines = events.iter().filter(|event| matches!(event, Event::Line(..)));
    assert_eq!(lines.count(), 2);
    let takes = |event: &Event| {
        matches!(
            event,
            Event::Asked(Endpoint::DS, ..) | Event::Asked(_, MessageType::VM_MMAP, _)
        )
    };
    assert!(!events.iter().any(takes), "{events:?}");
    let written = events.iter().filter(|event| matches!(event, Event::Written(..)));
    assert_eq!(written.count(), 1);
}
