//! The block protocol, rule by rule: requests, vectors, replies, minor numbers.

mod common;

use common::{CLIENT, Element, OTHER, Placement, Rig, UNTOUCHED, sectors, wire};
use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};

#[test]
fn each_request_gets_a_bdev_reply_with_its_id() {
    let mut rig = Rig::new();
    let mut request = BdevRequest {
        id: -1,
        access: BdevAccess::READ,
        ..BdevRequest::default()
    };
    rig.send(MessageType::BDEV_OPEN, request);
    rig.settle();
    let sent = rig.kernel.replies.pop_front().unwrap();
    assert_eq!(sent.message.kind, MessageType::BDEV_REPLY);
    assert_eq!(sent.message.payload::<BdevReply>().id, -1);
    assert_eq!(sent.status(), 0);
    assert_eq!(sent.to, CLIENT);

    let (read, buffer) = rig.read_request(0, 512, 1024);
    request = BdevRequest { id: 77, ..read };
    rig.send(MessageType::BDEV_READ, request);
    rig.settle();
    let sent = rig.kernel.replies.pop_front().unwrap();
    assert_eq!((sent.id(), sent.status()), (77, 1024));
    assert_eq!(rig.bytes(buffer), sectors(1, 2));
    assert_eq!(rig.close(0), 0);
}

#[test]
fn requests_with_equal_ids_are_each_answered() {
    let mut rig = Rig::opened();
    for client in [CLIENT, OTHER, CLIENT] {
        let request = BdevRequest {
            id: 5,
            minor: Minor(3),
            ..BdevRequest::default()
        };
        rig.send_as(client, IpcCall::SENDA, MessageType::BDEV_CLOSE, request);
    }
    rig.settle();
    let to: Vec<_> = rig.kernel.replies.iter().map(|sent| sent.to).collect();
    assert_eq!(to, [CLIENT, OTHER, CLIENT]);
}

#[test]
fn the_reply_says_how_the_request_came() {
    let mut rig = Rig::opened();
    for call in [IpcCall::SENDREC, IpcCall::SENDA, IpcCall::SEND, IpcCall::SENDNB] {
        let (request, _) = rig.read_request(0, 0, 512);
        rig.send_as(OTHER, call, MessageType::BDEV_READ, request);
        rig.settle();
        let sent = rig.kernel.replies.pop_front().unwrap();
        assert_eq!(sent.how.call(), call);
        assert_eq!(sent.to, OTHER);
    }
}

#[test]
fn cdev_open_gets_a_cdev_reply_enxio_with_the_payload_id() {
    let mut rig = Rig::new();
    let mut message = Message::with_payload(MessageType::CDEV_OPEN, &CdevOpen { id: 0x1234_5678 });
    message.source = CLIENT;
    let status = IpcStatus::new(IpcCall::SENDREC, false);
    assert!(rig.driver.on_message(&mut rig.kernel, rig.now, status, &message));
    let sent = rig.kernel.replies.pop_front().unwrap();
    assert_eq!(sent.message.kind, MessageType::CDEV_REPLY);
    let reply = sent.message.payload::<CdevReply>();
    assert_eq!((reply.status.0, reply.id), (wire(Errno::ENXIO), 0x1234_5678));
    assert_eq!(sent.how, status);
}

#[test]
fn unknown_message_types_are_ignored_without_a_reply() {
    let mut rig = Rig::opened();
    let kinds = (0x507..0x580).chain([
        0,
        -1,
        0x401,
        0x480,
        0x580,
        0x600,
        0x700,
        0x714,
        0x1000,
        i32::MAX,
        i32::MIN,
    ]);
    for kind in kinds {
        let mut message = Message::new(MessageType(kind));
        message.source = CLIENT;
        let status = IpcStatus::new(IpcCall::SENDREC, false);
        assert!(
            !rig.driver.on_message(&mut rig.kernel, rig.now, status, &message),
            "{kind:#x}"
        );
    }
    assert_eq!(rig.kernel.unanswered(), 0);
    assert!(rig.kernel.replies.is_empty());
}

#[test]
fn notifications_are_never_requests() {
    let mut rig = Rig::opened();
    for kind in [
        MessageType::BDEV_READ,
        MessageType::BDEV_OPEN,
        MessageType::CDEV_OPEN,
        MessageType(0x1000),
    ] {
        for source in [Endpoint::HARDWARE, Endpoint::CLOCK, CLIENT] {
            let mut message = Message::new(kind);
            message.source = source;
            let status = IpcStatus::new(IpcCall::NOTIFY, true);
            assert!(!rig.driver.on_message(&mut rig.kernel, rig.now, status, &message));
        }
    }
    assert!(rig.kernel.replies.is_empty());
}

#[test]
fn the_reincarnation_server_is_never_answered() {
    let mut rig = Rig::opened();
    for kind in [MessageType::BDEV_OPEN, MessageType::BDEV_READ, MessageType::CDEV_OPEN] {
        let mut message = Message::new(kind);
        message.source = Endpoint::RS;
        let status = IpcStatus::new(IpcCall::SENDREC, false);
        assert!(!rig.driver.on_message(&mut rig.kernel, rig.now, status, &message));
    }
    assert!(rig.kernel.replies.is_empty());
}

#[test]
fn the_padding_of_vector_elements_is_ignored() {
    // The rig puts rubbish there, and its kernel looks for it.
    let mut rig = Rig::opened();
    let buffer = rig.buffer(512, Placement::Contiguous, 0);
    let grant = rig.lend_to_fill(buffer);
    let vector = rig.vector(&[Element { grant, bytes: 512 }]);
    let request = Rig::transfer_request(0, 0, 1, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 512);
    assert_eq!(rig.bytes(buffer), sectors(0, 1));
}

#[test]
fn vectors_are_taken_in_order_both_ways() {
    let mut rig = Rig::opened();
    let lengths = [512, 4096, 1024, 8192, 512];
    let mut elements = Vec::new();
    let mut buffers = Vec::new();
    for bytes in lengths {
        let buffer = rig.buffer(bytes, Placement::Scattered, 6);
        elements.push(Element {
            grant: rig.lend_to_fill(buffer),
            bytes,
        });
        buffers.push(buffer);
    }
    let vector = rig.vector(&elements);
    let total: u64 = lengths.iter().sum();
    let request = Rig::transfer_request(0, 10 * 512, 5, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), total as i32);
    let read: Vec<u8> = buffers.iter().flat_map(|&buffer| rig.bytes(buffer)).collect();
    assert!(read == sectors(10, total / 512));

    let elements: Vec<_> = buffers
        .iter()
        .map(|&buffer| Element {
            grant: rig.lend_to_take(buffer),
            bytes: buffer.bytes,
        })
        .collect();
    let vector = rig.vector(&elements);
    let request = Rig::transfer_request(0, 500 * 512, 5, vector);
    assert_eq!(rig.ask(MessageType::BDEV_SCATTER, request), total as i32);
    assert!(rig.read(0, 500 * 512, total).1 == read);
}

#[test]
fn sixty_four_elements_over_scattered_pages_are_transferred() {
    for (bytes, skew, maps) in [(4096, 0, 1), (4096, 4, 2), (8192, 2, 3)] {
        let mut rig = Rig::opened();
        let mut elements = Vec::new();
        let mut buffers = Vec::new();
        for _ in 0..64 {
            let buffer = rig.buffer(bytes, Placement::Scattered, skew);
            elements.push(Element {
                grant: rig.lend_to_fill(buffer),
                bytes,
            });
            buffers.push(buffer);
        }
        let vector = rig.vector(&elements);
        let before = rig.kernel.calls.maps;
        let request = Rig::transfer_request(0, 512, 64, vector);
        assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 64 * bytes as i32);
        let read: Vec<u8> = buffers.iter().flat_map(|&buffer| rig.bytes(buffer)).collect();
        assert!(read == sectors(1, 64 * bytes / 512));
        assert!(rig.kernel.calls.maps - before >= maps);
    }
}

#[test]
fn a_vector_is_copied_once_and_a_plain_transfer_not_at_all() {
    let mut rig = Rig::opened();
    let buffer = rig.buffer(4096, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let before = rig.kernel.calls;
    rig.ask(MessageType::BDEV_READ, Rig::transfer_request(0, 0, 4096, grant));
    let calls = rig.kernel.calls;
    assert_eq!(
        (calls.copies_from, calls.copies_to),
        (before.copies_from, before.copies_to)
    );
    assert_eq!(calls.maps, before.maps + 1);

    let vector = rig.vector(&[Element { grant, bytes: 512 }; 3]);
    rig.ask(MessageType::BDEV_GATHER, Rig::transfer_request(0, 0, 3, vector));
    assert_eq!(rig.kernel.calls.copies_from, before.copies_from + 1);
}

#[test]
fn flags_that_mean_nothing_to_a_disk_are_ignored() {
    let mut rig = Rig::opened();
    let (request, buffer) = rig.read_request(0, 0, 512);
    let request = BdevRequest {
        flags: BdevFlags::from_bits_retain(0xFFFF_FFFF),
        ..request
    };
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), 512);
    assert_eq!(rig.bytes(buffer), sectors(0, 1));
}

#[test]
fn minors_of_drive_0_exist_and_no_others() {
    let mut rig = Rig::new();
    for minor in -2..260 {
        let known = matches!(minor, 0..=4 | 128..=143);
        let expected = if known { 0 } else { wire(Errno::ENXIO) };
        assert_eq!(rig.open(minor), expected, "{minor}");
    }
    for minor in [i32::MIN, i32::MAX, 5, 112, 144] {
        assert_eq!(rig.open(minor), wire(Errno::ENXIO), "{minor}");
    }
    assert_eq!(rig.open_count(), 21);
}

#[test]
fn a_request_without_memory_of_any_kind_touches_none() {
    let mut rig = Rig::opened();
    let buffer = rig.buffer(512, Placement::Scattered, 0);
    let before = rig.kernel.calls;
    for position in [rig.disk().info.sectors * 512, u64::MAX - 511, 1 << 60, i64::MIN as u64] {
        let request = Rig::transfer_request(0, position, 512, GrantId::INVALID);
        assert_eq!(rig.ask(MessageType::BDEV_READ, request), 0);
        assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), 0);
    }
    assert_eq!(rig.kernel.calls, before);
    assert_eq!(rig.bytes(buffer), [UNTOUCHED; 512]);
}
