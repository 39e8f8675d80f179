//! The conversation with RS until the service runs.

use minix_abi::ipc::IpcCall;
use minix_abi::kernel_call::{PrivFlags, StateCtl, StateRequest, WhoAmI};
use minix_abi::rs::{Init, InitFlags, InitType, SignalReceived};
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::sef;

use fake_minix::{Script, notification};

const SELF: Endpoint = Endpoint(0x8_0040);

fn who_am_i(script: Script) -> Script {
    script.call(MessageType::SYS_GETINFO, |message| {
        let flags = PrivFlags::SYS_PROC;
        message.set_payload(&WhoAmI::new(SELF, flags, InitFlags::empty(), b"virtio_blk_mmio"));
    })
}

fn init(kind: InitType) -> Message {
    let init = Init {
        kind,
        restarts: 2,
        ..Init::default()
    };
    Message::with_payload(MessageType::RS_INIT, &init)
}

fn init_arrives(script: Script, kind: InitType) -> Script {
    script.receive(Endpoint::RS, Endpoint::RS, IpcCall::SENDA, init(kind))
}

fn filters_cleared(script: Script) -> Script {
    script.call(MessageType::SYS_STATECTL, |message| {
        let request: StateCtl = message.payload();
        assert_eq!(request.request, StateRequest::CLEAR_IPC_FILTERS);
    })
}

/// RS is told `result`, and answers with `answer`.
fn told(script: Script, result: i32, answer: i32) -> Script {
    script.sendrec(Endpoint::RS, move |message| {
        assert_eq!(message.kind, MessageType::RS_INIT);
        assert_eq!(message.payload::<Init>().result, Status(result));
        *message = Message::reply(Status(answer));
    })
}

#[test]
fn a_fresh_instance_starts() {
    let script = who_am_i(Script::new());
    let mut script = filters_cleared(init_arrives(script, InitType::FRESH));
    let startup = sef::start(&mut script);
    assert_eq!(startup.who.endpoint, SELF);
    assert_eq!(startup.who.name_bytes(), b"virtio_blk_mmio");
    assert_eq!((startup.init.kind, startup.init.restarts), (InitType::FRESH, 2));
    script.over();
    script.extend(told(Script::new(), 0, 0));
    assert_eq!(startup.finish(&mut script, Ok(())), Ok(()));
    script.over();
}

#[test]
fn before_the_start_nothing_but_pings_is_answered() {
    let signal = SignalReceived { signal: Signal::TERM };
    let term = Message::with_payload(MessageType::COMMON_SIGNAL, &signal);
    let script = who_am_i(Script::new())
        .receive(Endpoint::RS, Endpoint::RS, IpcCall::SENDA, term)
        .receive(Endpoint::RS, Endpoint::RS, IpcCall::NOTIFY, notification(0))
        .notify(Endpoint::RS)
        .receive(
            Endpoint::RS,
            Endpoint::RS,
            IpcCall::SENDA,
            Message::new(MessageType::RS_LU_PREPARE),
        )
        .receive_fails(Endpoint::RS, Errno::EINTR);
    let mut script = filters_cleared(init_arrives(script, InitType::FRESH));
    let _ = sef::start(&mut script);
    script.over();
}

#[test]
fn a_notification_is_never_taken_for_the_start() {
    // Its type is the kernel's, but only the status word is proof.
    let script = who_am_i(Script::new())
        .receive(Endpoint::RS, Endpoint::RS, IpcCall::NOTIFY, init(InitType::RESTART))
        .notify(Endpoint::RS);
    let mut script = filters_cleared(init_arrives(script, InitType::FRESH));
    let _ = sef::start(&mut script);
    script.over();
}

#[test]
fn a_replacement_of_a_dead_instance_asks_for_a_fresh_one() {
    let script = filters_cleared(init_arrives(who_am_i(Script::new()), InitType::RESTART));
    let mut script = told(script, -200, 0)
        .receive(Endpoint::RS, Endpoint::RS, IpcCall::NOTIFY, notification(0))
        .receive_fails(Endpoint::RS, Errno::EINTR)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit();
    script.ends(sef::start);
}

#[test]
fn a_replacement_can_stop_the_stale_device_before_it_refuses() {
    let script = filters_cleared(init_arrives(who_am_i(Script::new()), InitType::RESTART));
    // As if it were a call that stops a device.
    let script = script.call(MessageType::SYS_TIMES, |_| {});
    let mut script = told(script, -200, 0)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit();
    script.ends(|script| {
        sef::start_with(script, |script| {
            let _ = minix_rt::kernel::times(script);
        })
    });
}

#[test]
fn a_fresh_instance_and_one_for_an_update_stop_nothing() {
    let mut script = filters_cleared(init_arrives(who_am_i(Script::new()), InitType::FRESH));
    let _ = sef::start_with(&mut script, |_| panic!("it is fresh"));
    script.over();
    let script = filters_cleared(init_arrives(who_am_i(Script::new()), InitType::LU));
    let mut script = told(script, -78, 0)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit();
    // The instance that is to be replaced works on.
    script.ends(|script| sef::start_with(script, |_| panic!("somebody else uses it")));
}

fn faulty_init(flags: InitFlags) -> Script {
    let init = Init {
        flags,
        ..Init::default()
    };
    let message = Message::with_payload(MessageType::RS_INIT, &init);
    filters_cleared(who_am_i(Script::new()).receive(Endpoint::RS, Endpoint::RS, IpcCall::SENDA, message))
}

#[test]
fn it_crashes_fails_and_hangs_when_rs_wants_to_see_that() {
    faulty_init(InitFlags::CRASH).exit().ends(sef::start);
    told(faulty_init(InitFlags::FAIL), -19, 0)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit()
        .ends(sef::start);
    // Not even pings are answered.
    faulty_init(InitFlags::TIMEOUT)
        .receive(Endpoint::RS, Endpoint::RS, IpcCall::NOTIFY, notification(0))
        .receive_fails(Endpoint::RS, Errno::EINTR)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit()
        .ends(sef::start);
}

#[test]
fn a_replacement_that_is_to_fail_stops_the_stale_device_first() {
    let failing = |flags| {
        let init = Init {
            kind: InitType::RESTART,
            flags,
            ..Init::default()
        };
        let message = Message::with_payload(MessageType::RS_INIT, &init);
        let script = who_am_i(Script::new()).receive(Endpoint::RS, Endpoint::RS, IpcCall::SENDA, message);
        // As if it were a call that stops a device.
        filters_cleared(script).call(MessageType::SYS_TIMES, |_| {})
    };
    let start = |script: &mut Script| {
        sef::start_with(script, |script| {
            let _ = minix_rt::kernel::times(script);
        })
    };
    failing(InitFlags::CRASH).exit().ends(start);
    told(failing(InitFlags::FAIL), -19, 0)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit()
        .ends(start);
    failing(InitFlags::TIMEOUT)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit()
        .ends(start);
}

#[test]
fn a_live_update_is_refused() {
    let script = filters_cleared(init_arrives(who_am_i(Script::new()), InitType::LU));
    let mut script = told(script, -78, 0)
        .receive_fails(Endpoint::RS, Errno::EDEADSRCDST)
        .exit();
    script.ends(sef::start);
}

#[test]
fn a_start_that_fails_is_told() {
    let script = who_am_i(Script::new());
    let mut script = filters_cleared(init_arrives(script, InitType::FRESH));
    let startup = sef::start(&mut script);
    script.extend(told(Script::new(), -19, 0));
    assert_eq!(startup.finish(&mut script, Err(Errno::ENODEV)), Ok(()));
    script.over();
}

#[test]
fn rs_may_not_want_to_hear_it() {
    let script = who_am_i(Script::new());
    let mut script = filters_cleared(init_arrives(script, InitType::FRESH));
    let startup = sef::start(&mut script);
    script.extend(told(Script::new(), 0, -22));
    assert_eq!(startup.finish(&mut script, Ok(())), Err(Errno::EINVAL));
    script.over();
}

#[test]
fn a_kernel_that_says_nothing_is_no_reason_not_to_start() {
    let script = Script::new().call_fails(MessageType::SYS_GETINFO, Errno::EINVAL);
    let mut script = init_arrives(script, InitType::FRESH).call_fails(MessageType::SYS_STATECTL, Errno::EINVAL);
    assert_eq!(sef::start(&mut script).who.endpoint, Endpoint::NONE);
    script.over();
}
