//! Asynchronous messages.

use minix_abi::ipc::{AsyncFlags, AsyncMessage};
use minix_abi::vm::Mmap;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::asynsend::{Outbox, Table};

use fake_minix::Script;

const SLOWEST: Endpoint = Endpoint(0x8_0033);
const BUSY: Endpoint = Endpoint(0x8_0034);

fn outbox<const N: usize>() -> Outbox<N> {
    Outbox::new(Box::leak(Box::new(Table::new())))
}

fn numbered(number: i32) -> Message {
    Message::new(MessageType(number))
}

/// Marks an entry as the kernel does.
fn deliver(entry: &mut AsyncMessage, result: Status) {
    assert!(entry.is_pending());
    entry.result = result;
    entry.flags |= AsyncFlags::DONE;
}

/// Number, receiver and state of each entry.
fn content(table: &[AsyncMessage]) -> Vec<(i32, Endpoint, bool)> {
    table
        .iter()
        .map(|entry| (entry.message.kind.0, entry.destination, entry.is_pending()))
        .collect()
}

fn send<const N: usize>(outbox: &mut Outbox<N>, script: Script, to: Endpoint, number: i32) {
    let mut script = script;
    outbox
        .send(&mut script, to, &numbered(number), AsyncFlags::NOREPLY)
        .expect("the kernel takes it");
    script.over();
}

#[test]
fn a_message_that_is_delivered_at_once_leaves_its_place() {
    let mut outbox = outbox::<4>();
    for number in 0..20 {
        let script = Script::new().senda(move |table| {
            assert_eq!(content(table), [(number, BUSY, true)]);
            assert_eq!(table[0].flags, AsyncFlags::VALID | AsyncFlags::NOREPLY);
            deliver(&mut table[0], Status::OK);
        });
        send(&mut outbox, script, BUSY, number);
        assert_eq!(outbox.pending(), 0);
    }
    assert_eq!((outbox.failed(), outbox.dropped()), (0, 0));
}

#[test]
fn a_message_stays_until_it_is_done() {
    let mut outbox = outbox::<8>();
    send(
        &mut outbox,
        Script::new().senda(|table| assert_eq!(table.len(), 1)),
        SLOWEST,
        1,
    );
    assert_eq!(outbox.pending(), 1);
    let second = Script::new().senda(|table| {
        assert_eq!(content(table), [(1, SLOWEST, true), (2, BUSY, true)]);
        deliver(&mut table[1], Status::OK);
    });
    send(&mut outbox, second, BUSY, 2);
    // The first is still there, as it was; the second has made room for the third.
    let third = Script::new().senda(|table| {
        assert_eq!(content(table), [(1, SLOWEST, true), (3, BUSY, true)]);
        deliver(&mut table[0], Status::OK);
    });
    send(&mut outbox, third, BUSY, 3);
    assert_eq!(outbox.pending(), 1);
    // The place of the first is in front of the third, so it is not used.
    let fourth = Script::new().senda(|table| {
        assert_eq!(content(table), [(3, BUSY, true), (4, BUSY, true)]);
    });
    send(&mut outbox, fourth, BUSY, 4);
    assert_eq!(outbox.pending(), 2);
}

#[test]
fn messages_to_one_receiver_stay_in_order() {
    let mut outbox = outbox::<4>();
    // One receiver is slow: of every two messages that wait, the older one leaves with the next call.
    let mut received = Vec::new();
    send(&mut outbox, Script::new().senda(|_| {}), BUSY, 0);
    for number in 1..50 {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut script = Script::new();
        // The end of the table has been reached: everything moves to the front.
        if number % 3 == 1 && number > 3 {
            script = script.senda(|table| assert_eq!(table.len(), 0));
        }
        let script = script.senda(move |table| {
            let oldest = table.iter_mut().find(|entry| entry.is_pending()).expect("one waits");
            sender.send(oldest.message.kind.0).expect("the test waits");
            deliver(oldest, Status::OK);
        });
        send(&mut outbox, script, BUSY, number);
        received.extend(receiver.try_iter());
    }
    assert_eq!(received, (0..49).collect::<Vec<i32>>());
    assert_eq!(outbox.dropped(), 0);
}

#[test]
fn a_receiver_that_is_gone_is_counted() {
    let mut outbox = outbox::<2>();
    for errno in [Errno::EDEADSRCDST, Errno::ECALLDENIED] {
        let script = Script::new().senda(move |table| deliver(&mut table[0], errno.into()));
        send(&mut outbox, script, SLOWEST, 1);
    }
    assert_eq!((outbox.failed(), outbox.pending()), (2, 0));
}

#[test]
fn a_full_outbox_drops_the_oldest_of_the_slowest_receiver() {
    let mut outbox = outbox::<4>();
    for (to, number) in [(BUSY, 1), (SLOWEST, 2), (SLOWEST, 3), (SLOWEST, 4)] {
        send(&mut outbox, Script::new().senda(|_| {}), to, number);
        assert_eq!(outbox.dropped(), 0);
    }
    let script = Script::new()
        // While the kernel knows the table, no entry may be touched.
        .senda(|table| assert_eq!(table.len(), 0))
        .senda(|table| {
            let left = [(1, BUSY, true), (3, SLOWEST, true), (4, SLOWEST, true), (5, BUSY, true)];
            assert_eq!(content(table), left);
        });
    send(&mut outbox, script, BUSY, 5);
    assert_eq!(outbox.dropped(), 1);
}

#[test]
fn an_entry_that_is_delivered_in_time_makes_room() {
    let mut outbox = outbox::<2>();
    let mut address = None;
    for number in [1, 2] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let script = Script::new().senda(move |table| {
            sender
                .send(table.as_mut_ptr().expose_provenance())
                .expect("the test waits");
        });
        send(&mut outbox, script, SLOWEST, number);
        address = receiver.recv().ok();
    }
    let address = address.expect("SENDA has been seen");
    let script = Script::new()
        .senda(move |empty| {
            assert_eq!(empty.len(), 0);
            let first: *mut AsyncMessage = std::ptr::with_exposed_provenance_mut(address);
            // SAFETY: the table is leaked, and the runtime traps.
            deliver(unsafe { &mut *first }, Status::OK);
        })
        .senda(|table| assert_eq!(content(table), [(2, SLOWEST, true), (3, BUSY, true)]));
    send(&mut outbox, script, BUSY, 3);
    assert_eq!(outbox.dropped(), 0);
}

#[test]
fn flags_that_the_kernel_refuses_are_left_out() {
    let mut outbox = outbox::<2>();
    let mut script = Script::new().senda(|table| {
        assert_eq!(table[0].flags, AsyncFlags::VALID | AsyncFlags::NOTIFY_ERR);
    });
    let options = AsyncFlags::NOTIFY_ERR | AsyncFlags::DONE | AsyncFlags::from_bits_retain(0x40);
    outbox
        .send(&mut script, BUSY, &numbered(1), options)
        .expect("the kernel takes it");
    script.over();
}

#[test]
fn a_message_that_the_kernel_refuses_is_not_kept() {
    let mut outbox = outbox::<2>();
    let mut script = Script::new().senda_fails(Errno::EPERM);
    let refused = outbox.send(&mut script, BUSY, &numbered(1), AsyncFlags::empty());
    assert_eq!(refused, Err(Errno::EPERM));
    assert_eq!(outbox.pending(), 0);
    script.extend(Script::new().senda(|table| assert_eq!(content(table), [(2, BUSY, true)])));
    outbox
        .send(&mut script, BUSY, &numbered(2), AsyncFlags::empty())
        .expect("now it does");
    script.over();
}

#[test]
fn a_receiver_that_is_denied_is_known() {
    let mut outbox = outbox::<4>();
    let dead = Script::new().senda(|table| deliver(&mut table[0], Errno::EDEADSRCDST.into()));
    send(&mut outbox, dead, SLOWEST, 1);
    assert_eq!((outbox.failed(), outbox.denied()), (1, None));
    let denied = Script::new().senda(|table| deliver(&mut table[0], Errno::ECALLDENIED.into()));
    send(&mut outbox, denied, BUSY, 2);
    assert_eq!((outbox.failed(), outbox.denied()), (2, Some(BUSY)));
}

#[test]
fn messages_that_failed_since_the_last_send_are_counted() {
    let mut outbox = outbox::<2>();
    let (sender, receiver) = std::sync::mpsc::channel();
    let script = Script::new().senda(move |table| {
        sender
            .send(table.as_mut_ptr().expose_provenance())
            .expect("the test waits");
    });
    send(&mut outbox, script, SLOWEST, 1);
    let first = receiver.recv().expect("SENDA has been seen");
    let first: *mut AsyncMessage = std::ptr::with_exposed_provenance_mut(first);
    // SAFETY: the table is leaked; the outbox reads it as one that the kernel changes, and not now.
    deliver(unsafe { &mut *first }, Errno::EDEADSRCDST.into());
    assert_eq!((outbox.pending(), outbox.failed()), (0, 0));
    outbox.refresh();
    assert_eq!((outbox.pending(), outbox.failed()), (0, 1));
}

#[test]
fn a_request_to_unmap_memory_is_not_sent() {
    let mut outbox = outbox::<2>();
    let live = [0_u8; 16];
    let unmap = Mmap::unmap(live.as_ptr().addr() as u64 & !4095, 4096);
    let message = Message::with_payload(MessageType::VM_MUNMAP, &unmap);
    // The script has no step for it.
    let result = outbox.send(&mut Script::new(), Endpoint::VM, &message, AsyncFlags::NOREPLY);
    assert_eq!((result, outbox.pending()), (Err(Errno::ECALLDENIED), 0));
}
