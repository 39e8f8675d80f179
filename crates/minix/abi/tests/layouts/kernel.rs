//! Kernel calls and grants.

use minix_abi::grant::{DirectGrant, GrantEntry, GrantFlags, IndirectGrant, MagicGrant};
use minix_abi::kernel_call::*;
use minix_abi::rs::InitFlags;
use minix_abi::signal::{SigSet, Signal};
use minix_abi::{Endpoint, GrantId};

use crate::{A, B, C, at32, at64, check, check_payload};

#[test]
fn irqctl() {
    check_payload(
        IrqCtl::set_policy(8, IrqPolicy::REENABLE, 3),
        16,
        &[at32(0, 1), at32(4, 8), at32(8, 1), at32(12, 3)],
    );
    let hook = IrqHook { hook_id: 5 };
    check_payload(
        IrqCtl::for_hook(IrqRequest::ENABLE, hook),
        16,
        &[at32(0, 3), at32(12, 5)],
    );
    check_payload(hook, 4, &[at32(0, 5)]);
}

#[test]
fn copies() {
    check_payload(
        SafeCopy {
            granter: Endpoint(10),
            grant: GrantId(0x0050_0003),
            offset: A,
            address: B,
            bytes: C,
        },
        32,
        &[at32(0, 10), at32(4, 0x0050_0003), at64(8, A), at64(16, B), at64(24, C)],
    );
    check_payload(
        VectorCopy {
            vector: A,
            elements: 64,
            ..Default::default()
        },
        16,
        &[at64(0, A), at32(8, 64)],
    );
    check(
        VectorCopyElement {
            from: Endpoint::SELF,
            to: Endpoint::VFS,
            grant: GrantId(9),
            offset: A,
            address: B,
            bytes: C,
            ..Default::default()
        },
        40,
        &[
            at32(0, 31742),
            at32(4, 1),
            at32(8, 9),
            at64(16, A),
            at64(24, B),
            at64(32, C),
        ],
    );
    check_payload(
        VirCopy {
            from: Endpoint(1),
            from_address: A,
            to: Endpoint(2),
            to_address: B,
            bytes: C,
            flags: 3,
            ..Default::default()
        },
        48,
        &[
            at32(0, 1),
            at64(8, A),
            at32(16, 2),
            at64(24, B),
            at64(32, C),
            at32(40, 3),
        ],
    );
}

#[test]
fn physical_addresses() {
    check_payload(
        Umap {
            owner: Endpoint(1),
            segment: Segment::GRANT,
            address: A,
            grantee: Endpoint(2),
            bytes: 3,
        },
        24,
        &[at32(0, 1), at32(4, 0x1003), at64(8, A), at32(16, 2), at32(20, 3)],
    );
    let own = Umap::own(A, 4096);
    assert_eq!((own.owner.0, own.segment.0, own.bytes), (31742, 0x1001, 4096));
    check_payload(UmapReply { physical: A }, 8, &[at64(0, A)]);
    check_payload(
        Vumap {
            owner: Endpoint(10),
            input: A,
            input_count: 64,
            output: B,
            output_max: 63,
            access: MapAccess::READ | MapAccess::WRITE,
            offset: C,
            ..Default::default()
        },
        48,
        &[
            at32(0, 10),
            at64(8, A),
            at32(16, 64),
            at64(24, B),
            at32(32, 63),
            at32(36, 3),
            at64(40, C),
        ],
    );
    check_payload(VumapReply { filled: 7 }, 4, &[at32(0, 7)]);
    check(MapElement::own(A, B), 16, &[at64(0, A), at64(8, B)]);
    check(
        MapElement::granted(GrantId(0x0123_4567), B),
        16,
        &[at32(0, 0x0123_4567), at64(8, B)],
    );
    check(MapElement::granted(GrantId::INVALID, B), 16, &[at32(0, -1), at64(8, B)]);
    check(PhysRange { address: A, bytes: B }, 16, &[at64(0, A), at64(8, B)]);
}

#[test]
fn clock() {
    check_payload(
        SetAlarm {
            time_left: B,
            uptime: C,
            ..SetAlarm::at_uptime(A)
        },
        32,
        &[at64(0, A), at64(8, B), at64(16, C), at32(24, 1)],
    );
    check_payload(SetAlarm::after(5), 32, &[at64(0, 5)]);
    check_payload(SetAlarm::after(0), 32, &[at64(0, 1)]);
    check_payload(SetAlarm::cancel(), 32, &[]);
    let reply = SetAlarm {
        time_left: 0x8000_0000,
        ..SetAlarm::cancel()
    };
    assert_eq!(reply.former(), None);
    assert_eq!(SetAlarm::cancel().former(), Some(0));
    let process = Endpoint::NONE;
    check_payload(Times { process }, 4, &[at32(0, 31743)]);
    check_payload(
        TimesReply {
            real_ticks: A,
            boot_ticks: B,
            user: C,
            system: 4,
            boot_time: -5,
        },
        40,
        &[
            at64(0, A),
            at64(8, B),
            at64(16, C),
            at64(24, 4),
            at64(32, -5_i64 as u64),
        ],
    );
}

#[test]
fn privileges() {
    check_payload(
        PrivCtl {
            physical: B,
            bytes: C,
            ..PrivCtl::add_own_mem(A)
        },
        32,
        &[at32(0, 6), at32(4, 31742), at64(8, A), at64(16, B), at64(24, C)],
    );
    // The windows of the machine: the limit is the last byte.
    check(
        MemRange::new(0x1000_1000, 0x8000).unwrap(),
        16,
        &[at64(0, 0x1000_1000), at64(8, 0x1000_8FFF)],
    );
}

#[test]
fn information() {
    check_payload(
        GetInfo {
            request: InfoRequest::MACHINE,
            process: Endpoint(3),
            address: A,
            bytes: 4,
            address2: B,
            bytes2: 5,
            ..Default::default()
        },
        40,
        &[
            at32(0, 12),
            at32(4, 3),
            at64(8, A),
            at32(16, 4),
            at64(24, B),
            at32(32, 5),
        ],
    );
    check_payload(GetInfo::who_am_i(), 40, &[at32(0, 19)]);
    let answer = WhoAmI::new(
        Endpoint(0x8000),
        PrivFlags::SYS_PROC,
        InitFlags::ST,
        b"virtio_blk_mmio_and_more",
    );
    check_payload(
        answer,
        56,
        &[
            at32(0, 0x8000),
            at32(4, 0x10),
            at32(8, 0x20),
            (12, b"virtio_blk_mmio".to_vec()),
        ],
    );
    assert_eq!(answer.name_bytes(), b"virtio_blk_mmio");
    let unending = WhoAmI {
        name: [b'x'; 44],
        ..answer
    };
    assert_eq!(unending.name_bytes().len(), 44);
}

#[test]
fn output_state_and_signals() {
    check_payload(DiagCtl::print(A, 1999), 24, &[at32(0, 1), at64(8, A), at32(16, 1999)]);
    let process = Endpoint(7);
    let code = DiagCode::STACKTRACE;
    check_payload(
        DiagCtl {
            code,
            process,
            ..Default::default()
        },
        24,
        &[at32(0, 2), at32(20, 7)],
    );
    check_payload(
        StateCtl {
            request: StateRequest::SET_STATE_TABLE,
            address: A,
            length: 3,
            ..Default::default()
        },
        24,
        &[at32(0, 2), at64(8, A), at32(16, 3)],
    );
    check_payload(StateCtl::plain(StateRequest::CLEAR_IPC_FILTERS), 24, &[at32(0, 5)]);
    check_payload(
        SetGrant {
            table: A,
            entries: 9,
            ..Default::default()
        },
        16,
        &[at64(0, A), at32(8, 9)],
    );
    check_payload(
        KernelSignal {
            signals: SigSet::EMPTY.with(Signal::TERM),
            process,
            signal: Signal::KILL,
            context: A,
        },
        32,
        &[at32(0, 1 << 14), at32(16, 7), at32(20, 9), at64(24, A)],
    );
}

#[test]
fn grants() {
    let direct = DirectGrant {
        grantee: Endpoint(6),
        start: A,
        bytes: B,
        ..Default::default()
    };
    check(direct, 24, &[at32(0, 6), at64(8, A), at64(16, B)]);
    // USED, VALID, DIRECT, READ: what an entry for a key looks like to the kernel.
    let entry = GrantEntry::direct(5, GrantFlags::READ, direct);
    check(
        entry,
        40,
        &[at32(0, 0x1301), at32(4, 5), at32(8, 6), at64(16, A), at64(24, B)],
    );

    let indirect = IndirectGrant {
        grantee: Endpoint(6),
        granter: Endpoint(7),
        grant: GrantId(8),
        ..Default::default()
    };
    let entry = GrantEntry::indirect(2048, GrantFlags::WRITE | GrantFlags::TRY, indirect);
    check(entry, 40, &[at32(0, 0x1512), at32(8, 6), at32(12, 7), at32(16, 8)]);

    let magic = MagicGrant {
        owner: Endpoint(6),
        grantee: Endpoint(7),
        start: A,
        bytes: B,
    };
    // Kinds do not come in by way of the access.
    let access = GrantFlags::READ | GrantFlags::WRITE | GrantFlags::DIRECT;
    let mut entry = GrantEntry::magic(1, access, magic);
    entry.faulted = GrantId(0x77);
    check(
        entry,
        40,
        &[
            at32(0, 0x1903),
            at32(4, 1),
            at32(8, 6),
            at32(12, 7),
            at64(16, A),
            at64(24, B),
            at32(32, 0x77),
        ],
    );
}
