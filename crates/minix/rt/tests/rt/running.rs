//! What RS and the kernel say to a service that runs.

use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::rs::{FaultInjection, FaultKind, Init, LuPrepare, LuState, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Message, MessageType, Payload, Status};
use minix_rt::sef::{self, Event};

use fake_minix::{Script, notification};

const CLIENT: Endpoint = Endpoint(0x8_0033);

fn message(source: Endpoint, kind: MessageType, body: &impl Payload) -> Message {
    Message {
        source,
        ..Message::with_payload(kind, body)
    }
}

/// Hands a message to the runtime; `script` is all it may do about it.
fn handle(mut script: Script, call: IpcCall, message: &Message) -> Event {
    let event = sef::handle(&mut script, IpcStatus::new(call, false), message);
    script.over();
    event
}

fn notified_by(source: Endpoint) -> Message {
    Message {
        source,
        ..notification(0)
    }
}

#[test]
fn a_ping_is_answered_by_a_notification() {
    let script = Script::new().notify(Endpoint::RS);
    assert_eq!(
        handle(script, IpcCall::NOTIFY, &notified_by(Endpoint::RS)),
        Event::Handled
    );
}

#[test]
fn a_signal_is_passed_on_and_not_answered() {
    for signal in [Signal::TERM, Signal::HUP, Signal(70)] {
        let message = message(Endpoint::RS, MessageType::COMMON_SIGNAL, &SignalReceived { signal });
        assert_eq!(handle(Script::new(), IpcCall::SENDA, &message), Event::Signal(signal));
    }
}

#[test]
fn a_live_update_is_refused_in_the_words_of_the_request() {
    let request = LuPrepare {
        state: LuState::REQUEST_FREE,
        max_time: 100,
        ..LuPrepare::default()
    };
    let script = Script::new().sendrec(Endpoint::RS, |message| {
        assert_eq!(message.kind, MessageType::RS_LU_PREPARE);
        let answer: LuPrepare = message.payload();
        assert_eq!((answer.result, answer.state), (Status(-78), LuState::REQUEST_FREE));
        *message = Message::reply(Status::OK);
    });
    let message = message(Endpoint::RS, MessageType::RS_LU_PREPARE, &request);
    assert_eq!(handle(script, IpcCall::SENDA, &message), Event::Handled);
}

#[test]
fn a_live_update_called_off_is_not_answered() {
    let message = message(Endpoint::RS, MessageType::RS_LU_PREPARE, &LuPrepare::default());
    assert_eq!(handle(Script::new(), IpcCall::SENDA, &message), Event::Handled);
}

#[test]
fn nothing_else_of_rs_is_answered() {
    for kind in [
        MessageType::RS_INIT,
        MessageType::RS_UP,
        MessageType::COMMON_GCOV,
        MessageType(0),
        MessageType(-22),
        MessageType::BDEV_OPEN,
    ] {
        for call in [IpcCall::SENDA, IpcCall::SENDREC, IpcCall::SEND] {
            let message = message(Endpoint::RS, kind, &Init::default());
            assert_eq!(handle(Script::new(), call, &message), Event::Handled, "{kind:?}");
        }
    }
}

#[test]
fn a_crash_on_request_ends_the_process() {
    let crash = FaultInjection {
        kind: FaultKind::CRASH,
        ..FaultInjection::default()
    };
    let crash = message(Endpoint::RS, MessageType::COMMON_FAULT_INJECTION, &crash);
    let mut script = Script::new().exit();
    script.ends(|script| sef::handle(script, IpcStatus::new(IpcCall::SENDA, false), &crash));

    let other = FaultInjection {
        kind: FaultKind(2),
        ..FaultInjection::default()
    };
    let other = message(Endpoint::RS, MessageType::COMMON_FAULT_INJECTION, &other);
    assert_eq!(handle(Script::new(), IpcCall::SENDA, &other), Event::Handled);
}

#[test]
fn what_others_send_is_for_the_service() {
    for source in [Endpoint::HARDWARE, Endpoint::CLOCK, Endpoint::ASYNCM, CLIENT] {
        assert_eq!(
            handle(Script::new(), IpcCall::NOTIFY, &notified_by(source)),
            Event::NotForUs
        );
    }
    // A client can send any type it likes, that of RS's messages as well.
    let term = SignalReceived { signal: Signal::TERM };
    for kind in [
        MessageType::COMMON_SIGNAL,
        MessageType::COMMON_FAULT_INJECTION,
        MessageType::RS_LU_PREPARE,
        MessageType::NOTIFY_MESSAGE,
        MessageType::BDEV_READ,
    ] {
        let message = message(CLIENT, kind, &term);
        assert_eq!(
            handle(Script::new(), IpcCall::SENDREC, &message),
            Event::NotForUs,
            "{kind:?}"
        );
    }
}

#[test]
fn signals_of_the_kernel_are_nobodys_business() {
    let event = handle(Script::new(), IpcCall::NOTIFY, &notified_by(Endpoint::SYSTEM));
    assert_eq!(event, Event::Handled);
}
