//! The conversation with RS: start, pings, signals, and no live update.
//!
//! RS is answered where it waits for an answer, and nowhere else: to any other answer it would reply in turn, without end.

use minix_abi::ipc::IpcStatus;
use minix_abi::kernel_call::{PrivFlags, WhoAmI};
use minix_abi::rs::{FaultInjection, FaultKind, Init, InitFlags, InitType, LuPrepare, LuState, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};

use crate::{Ipc, kernel};

/// A start whose result RS waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "RS waits to hear whether the start went well"]
pub struct Startup {
    /// The own endpoint and label. If the kernel did not tell, the endpoint is [`NONE`](Endpoint::NONE).
    pub who: WhoAmI,
    /// The start message of RS.
    pub init: Init,
}

/// Finds the own endpoint and label, and waits for the start message of RS.
///
/// It returns in an instance that starts from nothing. One that is to take over from an instance that died refuses, so that RS
/// starts a fresh one, under a new endpoint, which clients wait for. One that is to take over from a running instance
/// refuses as well. RS ends both. Nor does it return if RS wants it to fail for a test.
pub fn start(ipc: &mut impl Ipc) -> Startup {
    start_with(ipc, |_| {})
}

/// Like [`start`], and does something in an instance that is to take over from one that died, before it refuses or fails.
///
/// At that moment the memory of the dead instance is still there, for the last time: a device that works for it can be
/// stopped before another process gets the memory.
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

/// Crashes, fails or never answers, if RS asks for that in a test of its own.
fn fail_on_purpose(ipc: &mut impl Ipc, startup: Startup) {
    let flags = startup.init.flags;
    if flags.contains(InitFlags::CRASH) {
        // RS counts an end without its request as a crash.
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
    /// The answer of RS; [`EINVAL`](Errno::EINVAL) if RS did not wait for a result.
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
            // Without RS a service has no use.
            Err(_) => kernel::exit(ipc),
        }
    }
}

/// The result of [`handle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was for the runtime, and there is nothing left to do.
    Handled,
    /// The service got a signal.
    Signal(Signal),
    /// It is about something else: an interrupt, an alarm, a request.
    NotForUs,
}

/// Handles a message if RS or the kernel sent it for their own purposes. Call it first for every message that is
/// received.
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
    // This instance continues after every answer of RS.
    let _ = ipc.sendrec(Endpoint::RS, &mut message);
}

fn answer_ping(ipc: &mut impl Ipc) {
    // If it is not delivered, RS finds the service dead, and is right.
    let _ = ipc.notify(Endpoint::RS);
}
