//! The conversation with RS: start, pings, signals, and no live update.
//!
//! RS is answered where it waits for an answer, and nowhere else: to anything else it would answer in turn, without end.

use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{PrivFlags, WhoAmI};
use minix_abi::rs::{FaultInjection, FaultKind, Init, InitFlags, InitType, LuPrepare, LuState, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use crate::{Ipc, kernel};

/// A start that RS waits to hear the outcome of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "RS waits to hear whether the start went well"]
pub struct Startup {
    /// Who this is. If the kernel would not say, the endpoint is [`NONE`](Endpoint::NONE).
    pub who: WhoAmI,
    /// What RS said.
    pub init: Init,
}

/// Finds out who this is and waits for RS to say that it is time to initialise.
///
/// It returns in an instance that starts from nothing. One that is to take over from an instance that died refuses, so that RS
/// starts a fresh one, under a new endpoint: that is what clients look for. One that is to take over from a running instance
/// refuses as well. RS ends both. Nor does it return if RS wants it to fail for a test.
pub fn start(ipc: &mut impl Ipc) -> Startup {
    start_with(ipc, |_| {})
}

/// Like [`start`], and does something in an instance that is to take over from one that died, before it refuses or fails.
///
/// At that moment the memory of the dead instance is still there, for the last time: a device that works for it can be
/// stopped before somebody else gets the memory.
pub fn start_with<I: Ipc>(ipc: &mut I, on_restart: impl FnOnce(&mut I)) -> Startup {
    let who = kernel::who_am_i(ipc)
        .unwrap_or_else(|_| WhoAmI::new(Endpoint::NONE, PrivFlags::empty(), InitFlags::empty(), b""));
    let init = wait_for_init(ipc);
    // Nothing was filtered; a kernel that does not know the call does no harm.
    let _ = kernel::clear_ipc_filters(ipc);
    let startup = Startup { who, init };
    if init.kind == InitType::RESTART {
        // Even an instance that is to fail on purpose has that memory on its hands.
        on_restart(ipc);
    }
    fail_on_purpose(ipc, startup);
    match init.kind {
        InitType::FRESH => startup,
        InitType::RESTART => startup.refuse(ipc, Errno::ERESTART),
        _ => startup.refuse(ipc, Errno::ENOSYS),
    }
}

/// Does what RS is told to have services do for a test of its own: crash, fail, or never answer.
fn fail_on_purpose(ipc: &mut impl Ipc, startup: Startup) {
    let flags = startup.init.flags;
    if flags.contains(InitFlags::CRASH) {
        // To RS an end that it did not ask for is a crash.
        kernel::exit(ipc);
    }
    if flags.contains(InitFlags::FAIL) {
        startup.refuse(ipc, Errno::ENODEV);
    }
    if flags.contains(InitFlags::TIMEOUT) {
        wait_for_the_end(ipc);
    }
}

impl Startup {
    /// Tells RS how the start went. After a failure this does not return, as RS ends the process.
    ///
    /// # Errors
    ///
    /// What RS says to it; [`EINVAL`](Errno::EINVAL) if it did not expect to be told.
    pub fn finish(self, ipc: &mut impl Ipc, result: Result<(), Errno>) -> Result<(), Errno> {
        let answer = Init::answer(Status::from(result));
        let mut message = Message::with_payload(MessageType::RS_INIT, &answer);
        ipc.sendrec(Endpoint::RS, &mut message)?;
        message.status().result().map(drop)
    }

    /// Tells RS why there is no start, and waits for the end.
    fn refuse(self, ipc: &mut impl Ipc, why: Errno) -> ! {
        let _ = self.finish(ipc, Err(why));
        // RS ends the process instead of answering. If it has answered, the end may take a moment longer.
        wait_for_the_end(ipc)
    }
}

/// Takes what RS sends, and answers nothing, until RS ends the process.
fn wait_for_the_end(ipc: &mut impl Ipc) -> ! {
    let mut message = Message::default();
    loop {
        match ipc.receive(Endpoint::RS, &mut message) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => kernel::exit(ipc),
        }
    }
}

fn wait_for_init(ipc: &mut impl Ipc) -> Init {
    let mut message = Message::default();
    loop {
        match ipc.receive(Endpoint::RS, &mut message) {
            Ok(status) if status.is_notification() => answer_ping(ipc),
            Ok(_) if message.kind == MessageType::RS_INIT => return message.payload(),
            // Nothing else concerns a service that has not started, and none of it is answered.
            Ok(_) | Err(Errno::EINTR) => {}
            // Without RS there is nobody to start for.
            Err(_) => kernel::exit(ipc),
        }
    }
}

/// What came of a message that [`handle`] looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was for the runtime, and there is nothing left to do.
    Handled,
    /// The service got a signal.
    Signal(Signal),
    /// It is about something else: an interrupt, an alarm, a request.
    NotForUs,
}

/// Looks at a message that was received, and deals with it if RS or the kernel sent it for reasons of their own. To be
/// given every message first.
///
/// Pings are answered, live updates are refused, and RS's request to crash is met by ending the process.
pub fn handle(ipc: &mut impl Ipc, status: IpcStatus, message: &Message) -> Event {
    if status.is_notification() {
        return match message.source {
            Endpoint::RS => {
                answer_ping(ipc);
                Event::Handled
            }
            // Signals of the kernel's are for signal managers and readers of its log.
            Endpoint::SYSTEM => Event::Handled,
            _ => Event::NotForUs,
        };
    }
    if message.source != Endpoint::RS {
        return Event::NotForUs;
    }
    match message.kind {
        MessageType::COMMON_SIGNAL => return Event::Signal(message.payload::<SignalReceived>().signal),
        MessageType::RS_LU_PREPARE => refuse_update(ipc, &message.payload()),
        MessageType::COMMON_FAULT_INJECTION if message.payload::<FaultInjection>().kind == FaultKind::CRASH => {
            kernel::exit(ipc)
        }
        _ => {}
    }
    Event::Handled
}

fn refuse_update(ipc: &mut impl Ipc, request: &LuPrepare) {
    if request.state == LuState::NULL {
        // An update that was called off, which is not answered.
        return;
    }
    let answer = request.answer(Errno::ENOSYS.into());
    let mut message = Message::with_payload(MessageType::RS_LU_PREPARE, &answer);
    // Whatever RS says to that: this instance goes on.
    let _ = ipc.sendrec(Endpoint::RS, &mut message);
}

fn answer_ping(ipc: &mut impl Ipc) {
    // If it does not arrive, RS will find the service dead, and is right.
    let _ = ipc.notify(Endpoint::RS);
}
