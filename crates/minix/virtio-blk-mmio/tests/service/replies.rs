//! What the service asks of the system, and what it makes of what comes.

use std::cell::Cell;
use std::rc::Rc;

use fake_minix::{Process, System as Minix, Trap, notification};
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::kernel_call::{IrqPolicy, IrqRequest};
use minix_abi::rs::SignalReceived;
use minix_abi::signal::Signal;
use minix_abi::trace::TraceEntry;
use minix_abi::vm::UnmapPhys;
use minix_abi::{Endpoint, Errno, Instant, Message, MessageType};
use minix_blockdriver::{Event, Kernel as _, System as _, Wait};
use minix_rt::kernel::IrqLine;
use minix_virtio_blk::system::{MAX_TRACE_ENTRIES, MinixSystem, ReplyTable};

use crate::journal::{self, lines, printed};

const SELF: Endpoint = Endpoint(40);
const CLIENT: Endpoint = Endpoint::MFS;

/// The system of a service with line 1, on a kernel.
fn system(minix: &Minix) -> MinixSystem<Process> {
    let mut process = minix.process(SELF, "disk");
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let line = IrqLine::attach(&mut process, 1, 0, IrqPolicy::empty()).expect("it is free");
    journal::set_time(0);
    MinixSystem::new(process, replies, journal::now, line, 1000, journal::logger())
}

/// A kernel that refuses some traps, and how often it did.
fn refusing(minix: &Minix, errno: Errno, is_refused: impl Fn(&Trap<'_>) -> bool + 'static) -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    // SAFETY: a trap that is refused names no memory.
    unsafe {
        minix.hook(move |_, trap| {
            is_refused(trap).then(|| {
                counted.set(counted.get() + 1);
                Err(errno)
            })
        });
    }
    count
}

/// What the service is told next.
fn next(system: &mut MinixSystem<Process>, until: Option<Instant>) -> Result<Event, Errno> {
    system.receive(Wait::ForAll, until, &mut Message::default())
}

#[test]
fn a_trace_takes_memory_but_not_all_there_is() {
    let minix = Minix::default();
    let mut system = system(&minix);
    assert_eq!(system.allocate_trace(MAX_TRACE_ENTRIES + 1).err(), Some(Errno::ENOMEM));
    assert_eq!(system.allocate_trace(usize::MAX).err(), Some(Errno::ENOMEM));
    assert!(minix.state().mappings.is_empty());
    let trace = system.allocate_trace(MAX_TRACE_ENTRIES).expect("VM has some");
    assert_eq!(trace.as_ref().len(), MAX_TRACE_ENTRIES);
    assert_eq!(minix.state().mappings, [2 << 20]);
    minix.state().no_memory = true;
    assert_eq!(system.allocate_trace(1).err(), Some(Errno::ENOMEM));
}

#[test]
fn the_memory_of_a_trace_is_written_and_given_back_whole() {
    let minix = Minix::default();
    let mut system = system(&minix);
    let unmapped = Rc::new(Cell::new(0));
    let seen = Rc::clone(&unmapped);
    // SAFETY: it only looks.
    unsafe {
        minix.hook(move |_, trap| {
            if let Trap::SendRec(Endpoint::VM, message) = trap
                && message.kind == MessageType::VM_MUNMAP
            {
                seen.set(message.payload::<UnmapPhys>().address);
            }
            None
        });
    }
    let mut trace = system.allocate_trace(3).expect("VM has some");
    let last = TraceEntry {
        size: 7,
        ..trace.as_ref()[2]
    };
    trace.as_mut()[2] = last;
    assert_eq!(
        trace.as_ref().iter().map(|entry| entry.size).collect::<Vec<_>>(),
        [0, 0, 7]
    );
    let start = trace.as_ref().as_ptr().addr() as u64;
    system.release_trace(trace);
    assert_eq!(unmapped.get(), start);
}

#[test]
fn an_alarm_that_is_refused_is_asked_for_again() {
    let minix = Minix::default();
    let mut system = system(&minix);
    let refused = refusing(
        &minix,
        Errno::EPERM,
        |trap| matches!(trap, Trap::Call(message) if message.kind == MessageType::SYS_SETALARM),
    );
    let until = Some(Instant::from_micros(5_000));
    for nth in 1..=2 {
        minix.state().push(SELF, CLIENT, IpcCall::SENDREC, Message::default());
        assert!(matches!(next(&mut system, until), Ok(Event::Message(_))));
        assert_eq!(refused.get(), nth);
    }
    assert_eq!(printed("cannot set an alarm: "), 1, "{:?}", lines());
    // The kernel sets it now, and it is not asked for once more.
    let set = refusing(&minix, Errno::EPERM, |_| false);
    assert_eq!(next(&mut system, until), Ok(Event::Alarm));
    assert_eq!((minix.state().alarms, set.get()), (1, 0));
}

#[test]
fn what_is_not_for_the_driver_is_no_event_of_it() {
    let minix = Minix::default();
    let mut system = system(&minix);
    let hang_up = Message::with_payload(MessageType::COMMON_SIGNAL, &SignalReceived { signal: Signal::HUP });
    minix.state().push(SELF, Endpoint::RS, IpcCall::SENDA, hang_up);
    assert_eq!(next(&mut system, None), Ok(Event::Other));
    assert_eq!(printed("HUP"), 1, "{:?}", lines());
    // The interrupt of another line, and a notification of a process.
    minix.state().push_notification(SELF, Endpoint::HARDWARE, 1 << 1);
    assert_eq!(next(&mut system, None), Ok(Event::Other));
    minix.state().push(SELF, CLIENT, IpcCall::NOTIFY, notification(1));
    assert_eq!(next(&mut system, None), Ok(Event::Other));
    minix.state().push_notification(SELF, Endpoint::HARDWARE, 1 << 0);
    assert_eq!(next(&mut system, None), Ok(Event::Interrupt));
}

#[test]
fn a_wait_that_is_disturbed_is_no_error_and_another_failure_is() {
    let minix = Minix::default();
    let mut system = system(&minix);
    for (errno, told) in [
        (Errno::EINTR, Ok(Event::Other)),
        (Errno::EDEADSRCDST, Err(Errno::EDEADSRCDST)),
    ] {
        refusing(&minix, errno, |trap| matches!(trap, Trap::Receive(..)));
        assert_eq!(next(&mut system, None), told);
    }
}

#[test]
fn a_line_that_cannot_be_enabled_is_told() {
    let minix = Minix::default();
    let mut system = system(&minix);
    let refused = refusing(&minix, Errno::EPERM, |trap| {
        use minix_abi::kernel_call::IrqCtl;
        matches!(trap, Trap::Call(message) if message.kind == MessageType::SYS_IRQCTL
            && message.payload::<IrqCtl>().request == IrqRequest::ENABLE)
    });
    system.enable_interrupts();
    assert_eq!((refused.get(), printed("cannot enable the interrupt line: ")), (1, 1));
}

#[test]
fn a_reply_that_is_not_taken_is_told_for_people() {
    let calls = IpcStatus::new(IpcCall::SENDREC, false);
    for (errno, line, told) in [
        (Errno::EDEADSRCDST, "no reply to ", 2),
        // It calls again, and is named once.
        (Errno::ECALLDENIED, "missing in the ipc list", 1),
    ] {
        let minix = Minix::default();
        let mut system = system(&minix);
        let refused = refusing(&minix, errno, |trap| matches!(trap, Trap::SendNb(..)));
        for client in [CLIENT, Endpoint::VFS] {
            system.reply(client, calls, &Message::default());
        }
        assert_eq!((refused.get(), printed(line)), (2, told), "{:?}", lines());
    }
}
