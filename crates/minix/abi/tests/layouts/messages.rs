//! Messages, and what the kernel shows.

use minix_abi::bdev::BdevReply;
use minix_abi::ipc::{AsyncFlags, AsyncMessage};
use minix_abi::kerninfo::{ClockInfo, KernInfo, KernInfoFlags, Machine, UserInfo};
use minix_abi::notify::Notification;
use minix_abi::process::PsStrings;
use minix_abi::signal::{SigSet, Signal};
use minix_abi::{Endpoint, Message, MessageType, Status};
use zerocopy::IntoBytes;

use crate::{A, B, at32, at64, check, check_payload};

#[test]
fn message() {
    assert_eq!((size_of::<Message>(), align_of::<Message>()), (104, 8));
    // A reply with a body: everything in one literal.
    let reply = BdevReply {
        status: Status(4096),
        id: -1,
    };
    let mut message = Message::with_payload(MessageType::BDEV_REPLY, &reply);
    message.source = Endpoint(-2);
    let mut expected = [0; 104];
    expected[..16].copy_from_slice(&[
        0xFE, 0xFF, 0xFF, 0xFF, 0x80, 0x05, 0, 0, 0, 0x10, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF,
    ]);
    assert_eq!(message.as_bytes(), expected);
    // The rest of a longer body is gone.
    message.body.fill(0xEE);
    message.set_payload(&reply);
    assert_eq!(message.as_bytes(), expected);
}

#[test]
fn ipc() {
    let mut inner = Message::new(MessageType(0x580));
    inner.body[95] = 0xAB;
    let mut entry = AsyncMessage::new(Endpoint(0x8001), inner, AsyncFlags::NOREPLY);
    entry.result = Status(-202);
    check(
        entry,
        120,
        &[
            at32(0, 0x09),
            at32(4, 0x8001),
            at32(8, -202),
            at32(20, 0x580),
            (119, vec![0xAB]),
        ],
    );
    assert_eq!(align_of::<AsyncMessage>(), 8);
    assert_eq!(AsyncMessage::MAX_ENTRIES, 4176);
    assert!(entry.is_pending());
    entry.flags |= AsyncFlags::DONE;
    assert!(!entry.is_pending());
    assert!(!AsyncMessage::default().is_pending());

    let signals = SigSet::EMPTY.with(Signal::HUP).with(Signal(33)).with(Signal::KSIG);
    check_payload(
        Notification {
            timestamp: A,
            interrupts: B,
            signals,
        },
        32,
        &[at64(0, A), at64(8, B), at32(16, 1), at32(20, 1), at32(24, 1 << 9)],
    );
}

#[test]
fn shown_by_the_kernel() {
    let info = KernInfo {
        magic: 0xFC3B_84BF,
        features: 1,
        flags: KernInfoFlags::USERINFO,
        kinfo: 0x11,
        machine: 0x12,
        kmessages: 0x13,
        loadinfo: 0x14,
        ipcvecs: 0x15,
        userinfo: 0x16,
        frclock: 0x17,
        clockinfo: 0x18,
        ..Default::default()
    };
    check(
        info,
        88,
        &[
            at32(0, 0xFC3B_84BF_u32 as i32),
            at32(4, 1),
            at32(8, 2),
            at64(24, 0x11),
            at64(32, 0x12),
            at64(40, 0x13),
            at64(48, 0x14),
            at64(56, 0x15),
            at64(64, 0x16),
            at64(72, 0x17),
            at64(80, 0x18),
        ],
    );
    assert_eq!(info.check(), Ok(()));
    let error = KernInfo { magic: 1, ..info }.check().unwrap_err();
    assert!(error.to_string().contains("0xfc3b84bf"), "{error}");
    check(
        ClockInfo {
            boot_time: -1,
            uptime: A,
            realtime: B,
            hz: 1000,
            ..Default::default()
        },
        40,
        &[at64(0, u64::MAX), at64(8, A), at64(24, B), at32(36, 1000)],
    );
    check(
        UserInfo {
            bytes: A,
            initial_sp: B,
        },
        16,
        &[at64(0, A), at64(8, B)],
    );
    check(
        Machine {
            processors: 1,
            boot_processor: 2,
            board: 3,
            ..Default::default()
        },
        28,
        &[at32(0, 1), at32(4, 2), at32(24, 3)],
    );
    check(
        PsStrings {
            arguments: A,
            argument_count: 1,
            environment: B,
            environment_count: 2,
            ..Default::default()
        },
        32,
        &[at64(0, A), at32(8, 1), at64(16, B), at32(24, 2)],
    );
}
