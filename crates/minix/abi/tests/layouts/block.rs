//! Block requests, control requests, traces, partition tables.

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevReply, BdevRequest, VectorElement};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::kernel_call::MapElement;
use minix_abi::minor::Minor;
use minix_abi::partition::{PartitionEntry, SystemId, read_table, write_table};
use minix_abi::trace::{TraceEntry, TraceRequest};
use minix_abi::{Endpoint, GrantId, Status};
use zerocopy::FromBytes;

use crate::{A, B, at32, at64, check, check_payload};

#[test]
fn block_requests() {
    check_payload(
        BdevRequest {
            position: u64::MAX - 511,
            minor: Minor(128),
            id: 2,
            access: BdevAccess::WRITE,
            count: -3,
            grant: GrantId(4),
            flags: BdevFlags::FORCEWRITE,
            user: Endpoint(5),
            request: IoctlCode::DIOCSETP,
            ..Default::default()
        },
        48,
        &[
            at64(0, 0xFFFF_FFFF_FFFF_FE00),
            at32(8, 128),
            at32(12, 2),
            at32(16, 2),
            at32(20, -3),
            at32(24, 4),
            at32(28, 1),
            at32(32, 5),
            at64(40, 0x8020_6403),
        ],
    );
    check_payload(
        BdevReply {
            status: Status(-5),
            id: 2,
        },
        8,
        &[at32(0, -5), at32(4, 2)],
    );
    let open = CdevOpen { id: 9 };
    check_payload(open, 4, &[at32(0, 9)]);
    check_payload(CdevReply::refuse(&open), 8, &[at32(0, -6), at32(4, 9)]);
    check(
        VectorElement::new(GrantId(0x0010_0002), A),
        16,
        &[at32(0, 0x0010_0002), at64(8, A)],
    );
}

#[test]
fn control_and_trace() {
    check(
        PartGeom {
            base: A,
            bytes: B,
            cylinders: 1,
            heads: 2,
            sectors: 3,
            ..Default::default()
        },
        32,
        &[at64(0, A), at64(8, B), at32(16, 1), at32(20, 2), at32(24, 3)],
    );
    // 64 MiB: 131072 sectors are 64 cylinders.
    check(
        PartGeom::made_up(512, 64 << 20),
        32,
        &[
            at64(0, 512),
            at64(8, 64 << 20),
            at32(16, 64),
            at32(20, 64),
            at32(24, 32),
        ],
    );
    check(
        TraceEntry {
            request: TraceRequest::SCATTER,
            size: 1,
            position: A,
            flags: 2,
            result: Status::IN_PROGRESS,
            start_us: 3,
            finish_us: TraceEntry::UNSET_TIME,
        },
        32,
        &[
            at32(0, 5),
            at32(4, 1),
            at64(8, A),
            at32(16, 2),
            at32(20, -997),
            at32(24, 3),
            at32(28, -1),
        ],
    );
}

#[test]
fn partition_table() {
    let entry = PartitionEntry {
        boot: 0x80,
        first_chs: [1, 2, 3],
        last_chs: [4, 5, 6],
        ..PartitionEntry::new(SystemId::MINIX, 0x0102_0304, 0x0506_0708)
    };
    check(
        entry,
        16,
        &[
            (0, vec![0x80, 1, 2, 3, 0x81, 4, 5, 6]),
            (8, vec![4, 3, 2, 1, 8, 7, 6, 5]),
        ],
    );
    assert_eq!(align_of::<PartitionEntry>(), 1);

    let empty = PartitionEntry::new(SystemId::NONE, 0, 0);
    let table = [empty, entry, empty, PartitionEntry::new(SystemId::EXTENDED, 1, 2)];
    let mut sector = [0xCC; 512];
    write_table(&mut sector, &table);
    assert_eq!(sector[..0x1BE], [0xCC; 0x1BE]);
    assert_eq!(sector[446..462], [0; 16]);
    assert_eq!(sector[462 + 4], 0x81);
    assert_eq!(
        sector[494..],
        [0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0x55, 0xAA]
    );
    assert_eq!(read_table(&sector), Some(table));

    let mut more = sector.to_vec();
    more.resize(2048, 0);
    assert_eq!(read_table(&more), Some(table));
    assert_eq!(read_table(&sector[..511]), None);
    assert_eq!(read_table(&[]), None);
    sector[511] = 0x55;
    assert_eq!(read_table(&sector), None);
}

#[test]
fn what_a_client_leaves_in_padding_does_not_matter() {
    let mut bytes = [0xEE; 16];
    bytes[..4].copy_from_slice(&5_i32.to_le_bytes());
    bytes[8..].copy_from_slice(&4096_u64.to_le_bytes());
    let element = VectorElement::read_from_bytes(&bytes).unwrap();
    assert_eq!(element, VectorElement::new(GrantId(5), 4096));
    // The same memory, handed on to the kernel.
    let element = MapElement::read_from_bytes(&bytes).unwrap();
    assert_eq!(element.grant(), GrantId(5));
    bytes[..4].copy_from_slice(&(-1_i32).to_le_bytes());
    let element = MapElement::read_from_bytes(&bytes).unwrap();
    assert_eq!(element.grant(), GrantId::INVALID);
}
