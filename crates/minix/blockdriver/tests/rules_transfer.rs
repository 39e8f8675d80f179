//! Transfers, rule by rule, in the order of the checks.

mod common;

use common::{Element, Placement, Rig, SECTORS, UNTOUCHED, sectors, wire};
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{DeviceError, DriverOptions, Refusal};

const END: u64 = SECTORS * 512;

/// Three elements of a page, the middle one as the caller wants it. Returns the answer and what the three hold.
fn three(rig: &mut Rig, position: u64, middle: impl FnOnce(&mut Rig, Element) -> Element) -> (i32, [Vec<u8>; 3]) {
    let buffers = [(); 3].map(|()| rig.buffer(4096, Placement::Scattered, 0));
    let mut elements = buffers.map(|buffer| Element {
        grant: rig.lend_to_fill(buffer),
        bytes: 4096,
    });
    elements[1] = middle(rig, elements[1]);
    let vector = rig.vector(&elements);
    let status = rig.ask(MessageType::BDEV_GATHER, Rig::transfer_request(0, position, 3, vector));
    (status, buffers.map(|buffer| rig.bytes(buffer)))
}

fn untouched(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == UNTOUCHED)
}

#[test]
fn three_elements_are_filled() {
    let mut rig = Rig::opened();
    let (status, buffers) = three(&mut rig, 0, |_, element| element);
    assert_eq!(status, 12288);
    assert!(buffers.concat() == sectors(0, 24));
}

// What the checks before the driver's own give.

#[test]
fn a_negative_count_of_bytes_is_einval() {
    let mut rig = Rig::opened();
    for count in [-1, i32::MIN, -512] {
        // Even where nothing is.
        for position in [0, END, u64::MAX - 511] {
            let request = Rig::transfer_request(0, position, count, GrantId(1));
            assert_eq!(rig.ask(MessageType::BDEV_READ, request), wire(Errno::EINVAL));
            assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), wire(Errno::EINVAL));
        }
    }
}

#[test]
fn a_count_of_no_bytes_is_einval_on_the_disk_and_0_beyond_it() {
    let mut rig = Rig::opened();
    let request = Rig::transfer_request(0, 0, 0, GrantId(1));
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), wire(Errno::EINVAL));
    let request = Rig::transfer_request(0, END, 0, GrantId(1));
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), 0);
}

#[test]
fn a_vector_of_no_elements_is_einval() {
    let mut rig = Rig::opened();
    let vector = rig.vector(&[]);
    let request = Rig::transfer_request(0, 0, 0, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), wire(Errno::EINVAL));
    assert_eq!(rig.ask(MessageType::BDEV_SCATTER, request), wire(Errno::EINVAL));
}

#[test]
fn a_vector_that_cannot_be_copied_is_einval() {
    let mut rig = Rig::opened();
    let buffer = rig.buffer(512, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let element = Element { grant, bytes: 512 };
    let revoked = rig.vector(&[element]);
    rig.revoke(revoked);
    let short = rig.vector(&[element]);
    for (grant, count) in [
        (GrantId::INVALID, 1),
        (revoked, 1),
        (short, 2),
        (GrantId(9999), 1),
        (grant, 1),
    ] {
        // Before anything else is looked at, such as the position.
        for position in [0, 1, END] {
            let request = Rig::transfer_request(0, position, count, grant);
            assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), wire(Errno::EINVAL));
        }
    }
    assert!(untouched(&rig.bytes(buffer)));
}

#[test]
fn a_count_of_elements_that_is_negative_or_too_large_is_64() {
    let mut rig = Rig::opened();
    let buffer = rig.buffer(64 * 512, Placement::Scattered, 0);
    let space = |rig: &mut Rig, nth: u64| {
        rig.kernel
            .space(common::CLIENT)
            .grant(buffer.address + nth * 512, 512, false, true)
    };
    let elements: Vec<_> = (0..64)
        .map(|nth| Element {
            grant: space(&mut rig, nth),
            bytes: 512,
        })
        .collect();
    let vector = rig.vector(&elements);
    for count in [64, 65, 1000, i32::MAX, -1, -64, i32::MIN] {
        let request = Rig::transfer_request(0, 512, count, vector);
        assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 64 * 512, "{count}");
    }
    assert!(rig.bytes(buffer) == sectors(1, 64));
}

#[test]
fn sizes_with_a_negative_sum_are_einval_at_every_position() {
    let mut rig = Rig::opened();
    let big = 1_u64 << 63;
    for sizes in [
        &[4096, big, 4096][..],
        &[(1 << 62) - 2, (1 << 62) - 2, 8],
        &[big - 2, big - 2],
        &[big - 512, 512],
    ] {
        let buffer = rig.buffer(4096, Placement::Scattered, 0);
        let grant = rig.lend_to_fill(buffer);
        let elements: Vec<_> = sizes.iter().map(|&bytes| Element { grant, bytes }).collect();
        let vector = rig.vector(&elements);
        for position in [0, END] {
            let negative = sizes.iter().fold(0_u64, |sum, size| sum.wrapping_add(*size)) > i64::MAX as u64;
            let expected = if position == END && !negative && sizes[1] != big {
                0
            } else {
                wire(Errno::EINVAL)
            };
            let request = Rig::transfer_request(0, position, sizes.len() as i32, vector);
            assert_eq!(
                rig.ask(MessageType::BDEV_GATHER, request),
                expected,
                "{sizes:?} at {position}"
            );
        }
        assert!(untouched(&rig.bytes(buffer)));
    }
}

// The driver's checks, in their order.

#[test]
fn check_2_beyond_the_disk_is_0_even_in_a_bad_request() {
    let mut rig = Rig::opened();
    assert_eq!((rig.open(1), rig.open(128)), (0, 0));
    assert_eq!(rig.open(7), wire(Errno::ENXIO));
    for position in [END, END + 1, 1 << 60, u64::MAX - 511, u64::MAX] {
        for minor in [0, 1, 128, 7] {
            let request = Rig::transfer_request(minor, position, 100, GrantId::INVALID);
            assert_eq!(rig.ask(MessageType::BDEV_READ, request), 0, "{minor} {position:#x}");
            assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), 0, "{minor} {position:#x}");
        }
    }
}

#[test]
fn check_3_an_unknown_minor_is_enxio_even_at_a_bad_position() {
    let mut rig = Rig::opened();
    for minor in [5, -1, 112, 144] {
        assert_eq!(rig.open(minor), wire(Errno::ENXIO));
        let request = Rig::transfer_request(minor, 1, 100, GrantId::INVALID);
        assert_eq!(rig.ask(MessageType::BDEV_READ, request), wire(Errno::ENXIO));
    }
}

#[test]
fn check_4_a_position_that_is_no_sector_is_einval() {
    let mut rig = Rig::opened();
    for position in [1, 2, 511, 513, END - 1] {
        let (status, bytes) = rig.read(0, position, 512);
        assert_eq!(status, wire(Errno::EINVAL));
        assert!(untouched(&bytes));
        assert_eq!(rig.write(0, position, &[1; 512]), wire(Errno::EINVAL));
    }
    // The base counts too: half a sector and half a sector is one.
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 256, 4096);
    assert_eq!(rig.read(1, 0, 512).0, wire(Errno::EINVAL));
    assert_eq!(rig.read(1, 256, 512), (512, sectors(1, 1)));
}

#[test]
fn check_5_elements_of_bad_sizes_are_einval_without_effect() {
    for bytes in [0, 1, 511, 513, 4094, 4095, 1 << 63, u64::MAX, (1 << 63) - 512] {
        let mut rig = Rig::opened();
        let (status, buffers) = three(&mut rig, 0, |_, element| Element { bytes, ..element });
        assert_eq!(status, wire(Errno::EINVAL), "{bytes}");
        assert!(buffers.iter().all(|buffer| untouched(buffer)));
        // Before the end of the partition is looked at.
        assert_eq!(rig.open(1), 0);
        let grant = GrantId(1);
        let vector = rig.vector(&[Element { grant, bytes: 512 }, Element { grant, bytes }]);
        let request = Rig::transfer_request(1, 0, 2, vector);
        assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), wire(Errno::EINVAL));
        assert!(rig.disk().log.is_empty());
    }
}

#[test]
fn check_6_at_and_beyond_the_end_of_a_partition_is_0() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 10 * 512, 9 * 512);
    for position in [9 * 512, 10 * 512, 100 * 512] {
        for count in [1, 3] {
            let (status, bytes) = rig.read(1, position, count * 512);
            assert_eq!(status, 0);
            assert!(untouched(&bytes));
            assert_eq!(rig.write(1, position, &vec![9; count as usize * 512]), 0);
        }
    }
    assert!(rig.disk().log.is_empty());
    // Before the grant is looked at.
    let request = Rig::transfer_request(1, 9 * 512, 512, GrantId::INVALID);
    assert_eq!(rig.ask(MessageType::BDEV_READ, request), 0);
}

#[test]
fn check_7_a_transfer_over_the_end_is_cut() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 10 * 512, 9 * 512);
    for (position, count, expected) in [(8, 1, 1), (6, 3, 3), (7, 3, 2), (8, 3, 1), (0, 2000, 9)] {
        let (status, bytes) = rig.read(1, position * 512, count * 512);
        assert_eq!(status, expected * 512);
        let expected = expected as usize * 512;
        assert!(bytes[..expected] == sectors(10 + position, expected as u64 / 512));
        assert!(untouched(&bytes[expected..]));
    }
    assert_eq!(rig.write(1, 7 * 512, &[0xEE; 3 * 512]), 2 * 512);
    assert_eq!(rig.write(1, 8 * 512, &[0xDD; 3 * 512]), 512);
    let content = &rig.disk().content;
    assert!(content[17 * 512..18 * 512].iter().all(|&byte| byte == 0xEE));
    assert!(content[18 * 512..19 * 512].iter().all(|&byte| byte == 0xDD));
    assert_eq!(content[19 * 512..20 * 512], sectors(19, 1));
}

#[test]
fn check_7_elements_and_grants_beyond_the_end_are_ignored() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 0, 9 * 512);
    let buffers = [(); 2].map(|()| rig.buffer(8 * 512, Placement::Scattered, 0));
    let grants = buffers.map(|buffer| rig.lend_to_fill(buffer));
    let vector = rig.vector(&[
        Element {
            grant: grants[0],
            bytes: 8 * 512,
        },
        Element {
            grant: grants[1],
            bytes: 8 * 512,
        },
        Element {
            grant: GrantId::INVALID,
            bytes: 512,
        },
    ]);
    let request = Rig::transfer_request(1, 0, 3, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 9 * 512);
    assert!(rig.bytes(buffers[0]) == sectors(0, 8));
    let second = rig.bytes(buffers[1]);
    assert_eq!(second[..512], sectors(8, 1));
    assert!(untouched(&second[512..]));
}

#[test]
fn check_7_a_partition_loses_a_partial_last_sector() {
    let mut rig = Rig::opened();
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 512, 1000);
    assert_eq!(rig.read(1, 0, 1024).0, 512);
    assert_eq!(rig.read(1, 512, 512).0, 0);
}

#[test]
fn a_partition_set_beyond_the_disk_is_cut_at_the_disk_end() {
    let mut rig = Rig::opened();
    for minor in 1..=4 {
        assert_eq!(rig.open(minor), 0);
    }
    rig.set_partition(1, END - 1024, 1 << 40);
    assert_eq!(rig.read(1, 0, 4096).0, 1024);
    rig.set_partition(2, u64::MAX - 511, 4096);
    assert_eq!(rig.read(2, 0, 512).0, 0);
    assert_eq!(rig.read(2, 512, 512).0, 0);
    assert_eq!(rig.write(2, 1024, &[1; 512]), 0);
    rig.set_partition(3, 512, u64::MAX);
    assert_eq!(rig.read(3, END - 1024, 4096).0, 512);
    rig.set_partition(4, END, 512);
    assert_eq!(rig.read(4, 0, 512).0, 0);
    let content = rig.disk().content.clone();
    assert!(content == sectors(0, SECTORS));
}

#[test]
fn a_position_of_2_to_the_64_minus_512_is_0_on_any_minor() {
    let mut rig = Rig::opened();
    assert_eq!((rig.open(1), rig.open(2)), (0, 0));
    rig.set_partition(1, 0, 512);
    rig.set_partition(2, 512, 512);
    for minor in [0, 2] {
        let (status, bytes) = rig.read(minor, u64::MAX - 511, 512);
        assert_eq!(status, 0);
        assert!(untouched(&bytes));
        assert_eq!(rig.write(minor, u64::MAX - 511, &[7; 512]), 0);
    }
    assert!(rig.disk().content == sectors(0, SECTORS));
}

#[test]
fn check_8_what_the_look_up_of_addresses_says_is_the_answer() {
    let mut rig = Rig::opened();
    type Change = fn(&mut Rig, Element) -> Element;
    let cases: [(Errno, Change); 4] = [
        (Errno::EINVAL, |_, element| Element {
            grant: GrantId::INVALID,
            ..element
        }),
        (Errno::EPERM, |rig, element| {
            rig.revoke(element.grant);
            element
        }),
        (Errno::EPERM, |rig, element| {
            let buffer = rig.buffer(4096, Placement::Scattered, 0);
            Element {
                grant: rig.lend_to_take(buffer),
                ..element
            }
        }),
        (Errno::EPERM, |rig, element| {
            let buffer = rig.buffer(2048, Placement::Scattered, 0);
            Element {
                grant: rig.lend_to_fill(buffer),
                ..element
            }
        }),
    ];
    for (errno, change) in cases {
        let (status, buffers) = three(&mut rig, 0, change);
        assert_eq!(status, wire(errno));
        assert!(buffers.iter().all(|buffer| untouched(buffer)));
    }
    assert!(rig.disk().log.is_empty());
    let buffer = rig.buffer(512, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let request = Rig::transfer_request(0, 0, 512, grant);
    assert_eq!(rig.ask(MessageType::BDEV_WRITE, request), wire(Errno::EPERM));
    // The next one works.
    assert_eq!(three(&mut rig, 0, |_, element| element).0, 12288);
}

#[test]
fn check_9_an_odd_physical_address_is_einval() {
    let mut rig = Rig::opened();
    for skew in [1, 4095] {
        let buffer = rig.buffer(4096, Placement::Contiguous, skew);
        let grant = rig.lend_to_fill(buffer);
        let request = Rig::transfer_request(0, 0, 4096, grant);
        assert_eq!(rig.ask(MessageType::BDEV_READ, request), wire(Errno::EINVAL));
        assert!(untouched(&rig.bytes(buffer)));
    }
    assert!(rig.disk().log.is_empty());
}

#[test]
fn check_10_what_the_device_says_is_the_answer() {
    for (error, errno) in [
        (DeviceError::Io, Errno::EIO),
        (DeviceError::Unsupported, Errno::ENOTSUP),
    ] {
        let mut rig = Rig::opened();
        rig.disk().automatic = false;
        let read = rig.send_read(3, 1);
        let write = rig.send_write(9, 1, 1);
        rig.poll();
        rig.disk().finish(0, Err(error));
        rig.disk().finish(0, Err(error));
        rig.poll();
        assert_eq!(rig.answer(read), Some(wire(errno)));
        assert_eq!(rig.answer(write), Some(wire(errno)));
    }
}

#[test]
fn refusals_are_answered_as_the_device_would() {
    for (refusal, errno) in [(Refusal::Invalid, Errno::EIO), (Refusal::Unsupported, Errno::ENOTSUP)] {
        let mut rig = Rig::opened();
        rig.disk().refusals.push_back(Some(refusal));
        assert_eq!(rig.read(0, 0, 512).0, wire(errno));
        assert_eq!(rig.read(0, 0, 512).0, 512);
    }
    let mut rig = Rig::with(DriverOptions::default(), |disk| disk.info.read_only = true);
    assert_eq!(rig.open_for(0, minix_abi::bdev::BdevAccess::READ), 0);
    assert_eq!(rig.write(0, 0, &[1; 512]), wire(Errno::EIO));
}

#[test]
fn a_disk_that_shrank_is_held_to_what_it_is_now() {
    let mut rig = Rig::opened();
    rig.disk().info.sectors = 100;
    assert_eq!(rig.read(0, 99 * 512, 1024).0, 512);
    assert_eq!(rig.read(0, 100 * 512, 512).0, 0);
}

#[test]
fn larger_blocks_want_whole_blocks_of_position_and_length() {
    let mut rig = Rig::opened_with(DriverOptions::default(), |disk| disk.info.block_bytes = 4096);
    assert_eq!(rig.read(0, 512, 4096).0, wire(Errno::EINVAL));
    assert_eq!(rig.read(0, 4096, 512).0, wire(Errno::EINVAL));
    assert_eq!(rig.read(0, 4096, 8192), (8192, sectors(8, 16)));
    // The elements may be shorter than a block.
    let buffer = rig.buffer(4096, Placement::Scattered, 0);
    let grant = rig.lend_to_fill(buffer);
    let vector = rig.vector(&[Element { grant, bytes: 512 }, Element { grant, bytes: 3584 }]);
    let request = Rig::transfer_request(0, 4096, 2, vector);
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), 4096);
    // A partition that ends within a block loses that block.
    assert_eq!(rig.open(1), 0);
    rig.set_partition(1, 4096, 4096 + 512);
    assert_eq!(rig.read(1, 0, 8192).0, 4096);
    assert_eq!(rig.read(1, 4096, 4096).0, 0);
}

#[test]
fn a_grant_that_is_longer_than_its_memory_is_efault() {
    let mut rig = Rig::opened();
    // As if the disk had 4 GiB.
    rig.disk().info.sectors = 8 << 20;
    assert_eq!(rig.close(0), 0);
    assert_eq!(rig.open(0), 0);
    let buffer = rig.buffer(4096, Placement::Contiguous, 0);
    let grant = rig
        .kernel
        .space(common::CLIENT)
        .grant(buffer.address, u64::MAX, false, true);
    let vector = rig.vector(&[
        Element { grant, bytes: 1 << 31 },
        Element {
            grant: GrantId::INVALID,
            bytes: 1 << 31,
        },
    ]);
    let request = Rig::transfer_request(0, 0, 2, vector);
    // The total is cut below the second grant, and the first one ends early.
    assert_eq!(rig.ask(MessageType::BDEV_GATHER, request), wire(Errno::EFAULT));
}
