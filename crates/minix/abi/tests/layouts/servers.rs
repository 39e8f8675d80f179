//! VM, RS, DS, VFS.

use minix_abi::ds::{DsFlags, DsReply, DsRequest};
use minix_abi::rs::{
    FaultInjection, FaultKind, Init, InitFlags, InitType, LuPrepare, LuState, RsStart, SignalReceived, Up,
};
use minix_abi::signal::Signal;
use minix_abi::vfs::MapDriver;
use minix_abi::vm::{Brk, MapFlags, MapPhys, Mmap, Protection, UnmapPhys, VmInfo};
use minix_abi::{Endpoint, Errno, GrantId, Status};

use crate::{A, B, C, at32, at64, check, check_payload};

#[test]
fn vm() {
    check_payload(Brk { end: A }, 8, &[at64(0, A)]);
    check_payload(
        Mmap {
            offset: -1,
            address: A,
            bytes: B,
            protection: Protection::READ | Protection::EXEC,
            flags: MapFlags::SHARED | MapFlags::FIXED,
            file: 3,
            for_whom: Endpoint(4),
            mapped_at: C,
        },
        48,
        &[
            at64(0, u64::MAX),
            at64(8, A),
            at64(16, B),
            at32(24, 5),
            at32(28, 0x11),
            at32(32, 3),
            at32(36, 4),
            at64(40, C),
        ],
    );
    check_payload(
        Mmap::contiguous(65536),
        48,
        &[
            at64(16, 65536),
            at32(24, 3),
            at32(28, 0x18_1000),
            at32(32, -1),
            at32(36, 31742),
        ],
    );
    check_payload(
        Mmap::anonymous(4096),
        48,
        &[
            at64(16, 4096),
            at32(24, 3),
            at32(28, 0x1000),
            at32(32, -1),
            at32(36, 31742),
        ],
    );
    check_payload(
        Mmap::unmap(A, 4096),
        48,
        &[at64(8, A), at64(16, 4096), at32(32, -1), at32(36, 31742)],
    );
    let process = Endpoint::SELF;
    check_payload(
        MapPhys {
            process,
            physical: A,
            bytes: B,
            mapped_at: C,
            ..Default::default()
        },
        32,
        &[at32(0, 31742), at64(8, A), at64(16, B), at64(24, C)],
    );
    check_payload(
        UnmapPhys {
            process,
            address: A,
            ..Default::default()
        },
        16,
        &[at32(0, 31742), at64(8, A)],
    );
    check_payload(
        VmInfo {
            what: 1,
            process: Endpoint(2),
            count: 3,
            address: A,
            next: B,
            ..Default::default()
        },
        32,
        &[at32(0, 1), at32(4, 2), at32(8, 3), at64(16, A), at64(24, B)],
    );
}

#[test]
fn rs() {
    check_payload(
        Init {
            result: Status(-19),
            kind: InitType::RESTART,
            process_table: GrantId(3),
            old_endpoint: Endpoint(0x8005),
            restarts: 4,
            flags: InitFlags::DETACHED | InitFlags::CRASH,
            buffer: A,
            buffer_bytes: B,
            prepare_state: LuState::PREPARE_CRASH,
            ..Default::default()
        },
        48,
        &[
            at32(0, -19),
            at32(4, 2),
            at32(8, 3),
            at32(12, 0x8005),
            at32(16, 4),
            at32(20, 0x8001),
            at64(24, A),
            at64(32, B),
            at32(40, 6),
        ],
    );
    check_payload(Init::answer(Errno::ERESTART.into()), 48, &[at32(0, -200)]);
    let prepare = LuPrepare {
        result: Status(1),
        state: LuState::REQUEST_FREE,
        max_time: 3,
        flags: InitFlags::SELF,
        state_data: GrantId(5),
    };
    check_payload(
        prepare,
        20,
        &[at32(0, 1), at32(4, 2), at32(8, 3), at32(12, 0x100), at32(16, 5)],
    );
    check_payload(prepare.answer(Errno::ENOSYS.into()), 20, &[at32(0, -78), at32(4, 2)]);
    let signal = Signal::TERM;
    check_payload(SignalReceived { signal }, 4, &[at32(0, 15)]);
    check_payload(
        FaultInjection {
            grant: GrantId(1),
            bytes: A,
            kind: FaultKind::CRASH,
            ..Default::default()
        },
        24,
        &[at32(0, 1), at64(8, A), at32(16, 1)],
    );
    check_payload(
        Up {
            length: 1,
            address: A,
            ..Default::default()
        },
        24,
        &[at32(0, 1), at64(16, A)],
    );
    check(
        RsStart {
            flags: 1,
            command: A,
            command_bytes: B,
            uid: 2,
            major: 3,
            period: 4,
            script: C,
            irq_count: 5,
            irqs: core::array::from_fn(|nth| 0x100 + nth as i32),
            io_count: 6,
            kernel_calls: [7, 8],
            ipc: A,
            program: B,
            ..Default::default()
        },
        920,
        &[
            at32(0, 1),
            at64(8, A),
            at64(16, B),
            at32(24, 2),
            at32(44, 3),
            at64(48, 4),
            at64(56, C),
            at32(104, 5),
            (108, (0x100..0x110_i32).flat_map(i32::to_le_bytes).collect()),
            at32(172, 6),
            at32(600, 7),
            at32(604, 8),
            at64(640, A),
            at64(864, B),
        ],
    );
    assert_eq!(
        (
            RsStart::IO_TABLE_OFFSET,
            RsStart::LABEL_OFFSET,
            RsStart::VM_CALLS_OFFSET
        ),
        (176, 608, 656)
    );
}

#[test]
fn ds_and_vfs() {
    check_payload(
        DsRequest {
            key: GrantId(1),
            key_bytes: 2,
            flags: DsFlags::STR,
            value: 3,
            value_bytes: 4,
            owner: Endpoint(5),
        },
        24,
        &[
            at32(0, 1),
            at32(4, 2),
            at32(8, 0x20),
            at32(12, 3),
            at32(16, 4),
            at32(20, 5),
        ],
    );
    check_payload(
        DsRequest::publish_u32(GrantId(1), 24, 1),
        24,
        &[at32(0, 1), at32(4, 24), at32(8, 0x1010), at32(12, 1)],
    );
    check_payload(
        DsRequest::retrieve_label(GrantId(1), Endpoint(0x8007)),
        24,
        &[at32(0, 1), at32(4, 80), at32(12, 0x8007)],
    );
    check_payload(
        DsReply {
            value: 1,
            value_bytes: 2,
        },
        8,
        &[at32(0, 1), at32(4, 2)],
    );
    check_payload(
        MapDriver {
            major: 3,
            label_bytes: A,
            label: B,
            domain_count: 8,
            domains: core::array::from_fn(|nth| nth as i32 + 1),
            ..Default::default()
        },
        64,
        &[
            at32(0, 3),
            at64(8, A),
            at64(16, B),
            at32(24, 8),
            (28, (1..=8_i32).flat_map(i32::to_le_bytes).collect()),
        ],
    );
}
