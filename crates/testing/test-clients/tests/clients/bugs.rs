//! The driver, or its disk, does one thing wrong, and a client finds it. For the block test the numbers that fail are written
//! down, and no others may: a check that fails for the bug of another check leads astray.

use fake_minix::Transfer;
use guest_protocol::Outcome;
use minix_abi::bdev::{BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::partition::SystemId;
use minix_abi::{Errno, GrantId, MessageType, Status as Code};
use test_clients::{abuse, blocktest, load, mfs, shell};

use crate::right::measure;
use crate::served::Bug::{self, *};
use crate::served::{Asked, LARGE, Minix, SMALL, Wrong};

const OPEN: MessageType = MessageType::BDEV_OPEN;
const CLOSE: MessageType = MessageType::BDEV_CLOSE;
const GATHER: MessageType = MessageType::BDEV_GATHER;

const OK: Code = Code::OK;
const EPERM: Code = Code(-1);
const EIO: Code = Code(-5);
const ENXIO: Code = Code(-6);
const EINVAL: Code = Code(-22);

/// All numbers of checks that read and look at the data.
const READS: &[u32] = &[
    6, 10, 11, 22, 23, 24, 25, 27, 29, 30, 33, 37, 38, 39, 40, 43, 47, 48, 50,
];
/// The same, when the table of partitions cannot be read either.
const DISK_READS: &[u32] = &[
    6, 10, 11, 22, 23, 24, 25, 27, 29, 30, 33, 37, 38, 39, 40, 42, 47, 48, 50,
];
/// All numbers of checks that write.
const WRITES: &[u32] = &[26, 28, 30, 37, 43, 47, 48, 50];

fn is_read(asked: &Asked, status: Code) -> bool {
    asked.reads() && status.0 > 0
}

fn is_clipped(asked: &Asked, status: Code) -> bool {
    asked.elements.is_empty() && status.0 > 0 && status.0 < asked.request.count
}

/// Where the 32-bit number of a position in bytes, or a number of 24 or 28 bits of a sector, ends.
const fn bits(sector: u64, bits: u32) -> u64 {
    sector & ((1 << bits) - 1)
}

/// A bug, and the numbers of the block test that fail for it.
#[rustfmt::skip]
const BLOCK_TEST: &[(&str, Bug, &[u32])] = &[
    ("wrong id", Reply(10, Wrong::Id), &[8]),
    ("wrong type", Reply(10, Wrong::Type), &[8]),
    ("open fails", Answers(EIO, |asked, _| asked.kind == OPEN), &[1]),
    ("no place", Answers(EIO, |asked, _| asked.is(IoctlCode::DIOCGETP)), &[2]),
    ("opens do not count", Ignores(|asked| asked.kind == OPEN && asked.nth > 1), &[4, 5, 31, 41, 51]),
    ("closes do not count", Ignores(|asked| asked.kind == CLOSE), &[5, 41, 42]),
    ("close fails", Answers(EIO, |asked, _| asked.kind == CLOSE), &[5, 32, 41, 51]),
    // Vectors and their elements.
    ("half a sector", Status(|asked, got| got.0 - if is_read(asked, got) { 256 } else { 0 }), READS),
    ("no elements", Answers(OK, |asked, _| asked.kind == GATHER && asked.request.count == 0), &[7]),
    ("no vector", Answers(OK, |asked, _| asked.kind == GATHER && asked.request.grant == GrantId::INVALID), &[8]),
    ("revoked vector", Answers(OK, |asked, _| is_revoked_vector(asked)), &[9]),
    ("empty element", Answers(Code(8192), |asked, _| asked.has(|bytes| bytes == 0)), &[12]),
    ("lengths of 32 bits", Answers(Code(4096), |asked, _| asked.has(|bytes| bytes >> 32 > 0)), &[13, 14, 15]),
    ("total wraps", Answers(Code(4092), |asked, _| asked.has(|bytes| bytes == (1 << 63) - 2)), &[15]),
    ("odd length", Answers(EIO, |asked, _| asked.has(|bytes| bytes % 2 == 1)), &[16]),
    ("bad element", Answers(Code(8192), |asked, _| has_bad_grant(asked)), &[17]),
    ("bad grant is an I/O error", Answers(EIO, |_, got| got == EPERM), &[18, 19, 25]),
    ("grants are not checked", Answers(Code(12288), |_, got| got == EPERM), &[18, 19, 25]),
    ("odd address", Answers(Code(12288), |asked, _| asked.has(|bytes| bytes == 4094)), &[20, 24]),
    ("odd position", Request(|asked| asked.request.position &= !511), &[21, 23]),
    ("memory changes too early", Before(0, |asked| asked.elements.len() == 3), &[12, 13, 14, 15, 21, 23, 24, 25]),
    ("memory of a write changes", After(0, |asked, got| asked.writes() && got.0 > 0), WRITES),
    ("a byte before the memory", After(-1, is_read), READS),
    // Sizes.
    ("at most 64 KiB", Status(|_, got| got.0.min(64 << 10)), &[26, 27, 28, 29, 30]),
    ("reads nothing", Disk(|transfer| transfer.data.truncate(if transfer.write { usize::MAX } else { 0 })), DISK_READS),
    ("half of a large transfer", Disk(|transfer| transfer.data.truncate(64 << 10)), &[27, 29, 30]),
    ("elements swapped", Disk(swap_elements), &[27, 29, 30]),
    // Partitions.
    ("empty is none", Answers(ENXIO, |asked, _| asked.kind == OPEN && asked.request.minor.0 > 0), &[31, 41]),
    ("place is not set", Ignores(|asked| asked.is(IoctlCode::DIOCSETP)), &[32]),
    ("table is relative", Disk(shift_partition), &[42]),
    ("base is ignored", Request(use_whole_disk), &[33, 34, 37, 38, 43]),
    ("end is an error", Answers(EIO, is_clipped), &[33, 37, 43]),
    ("beyond the end is an error", Answers(EINVAL, |asked, got| is_transfer(asked) && got == OK), &[34, 36, 38, 40, 43]),
    ("negative is an error", Answers(EINVAL, |asked, _| asked.request.position >> 63 == 1), &[36, 40, 43]),
    // Positions.
    ("three sectors are four", Disk(lengthen), &[47, 48, 50]),
    ("positions of 32 bits", Misplace(|transfer| transfer.first = bits(transfer.first, 23)), &[48, 50]),
    ("sectors of 24 bits", Misplace(|transfer| transfer.first = bits(transfer.first, 24)), &[50]),
    ("sectors of 28 bits", Misplace(|transfer| transfer.first = bits(transfer.first, 28)), &[50]),
];

fn is_transfer(asked: &Asked) -> bool {
    asked.reads() || asked.writes()
}

fn is_revoked_vector(asked: &Asked) -> bool {
    let BdevRequest { grant, count, .. } = asked.request;
    asked.kind == GATHER && grant.is_valid() && count == 1 && asked.elements.is_empty()
}

fn has_bad_grant(asked: &Asked) -> bool {
    asked.elements.iter().any(|element| element.grant == GrantId::INVALID)
}

fn swap_elements(transfer: &mut Transfer) {
    if transfer.write && transfer.data.len() > 32 << 10 {
        transfer.data[..8192].rotate_left(4096);
    }
}

fn shift_partition(transfer: &mut Transfer) {
    if !transfer.write && transfer.first == 0 && transfer.data[510..512] == [0x55, 0xAA] {
        transfer.data[454] += 1;
    }
}

fn use_whole_disk(asked: &mut Asked) {
    if is_transfer(asked) {
        asked.request.minor = Minor(0);
    }
}

fn lengthen(transfer: &mut Transfer) {
    if transfer.write && transfer.data.len() == 3 * 512 {
        transfer.data.extend_from_within(1024..);
    }
}

#[test]
fn block_test_finds_each_bug_under_its_number() {
    for (name, bug, expected) in BLOCK_TEST {
        let minix = Minix::new(LARGE, *bug);
        let result = minix.run(blocktest::main, "label=disk minor=0 rw");
        let expected = expected.iter().copied().collect();
        assert_eq!(
            minix.numbers(Outcome::Fail),
            expected,
            "{name}: {:#?}",
            minix.failures()
        );
        assert_eq!(result, Some(Err(Errno::EINVAL)), "{name}");
    }
}

#[test]
fn block_test_finds_short_positions_of_a_partition() {
    let minix = Minix::new(LARGE, Request(|asked| asked.request.position &= u64::from(u32::MAX)));
    minix.put_table(0, &[(SystemId::MINIX, 64, 1 << 24)]);
    let result = minix.run(blocktest::main, "label=disk minor=1 rw");
    assert_eq!(result, Some(Err(Errno::EINVAL)));
    let failures = minix.failures();
    assert!(
        failures.iter().any(|failure| failure.starts_with("49 ")),
        "{failures:#?}"
    );
}

#[test]
fn block_test_goes_on_with_the_successor_of_a_driver() {
    for nth in (3..130).step_by(9) {
        let minix = Minix::new(LARGE, DiesAt(nth));
        let result = minix.run(blocktest::main, "label=disk minor=0 rw");
        assert_eq!(result, Some(Err(Errno::EINVAL)));
        let failures = minix.failures();
        let died = failures.iter().filter(|failure| failure.ends_with("driver died"));
        // Later failures are checks of the same group that depend on the failed one.
        assert!(died.count() == 1 && failures.len() <= 12, "{nth}: {failures:#?}");
        minix.verify_disk();
    }
}

type Client = fn(&mut test_clients::client::Client<fake_minix::Process>, minix_rt::Args) -> Result<(), Errno>;

const LOAD: &str = "label=disk first=1000 count=500 seed=0x123400000000 depth=5 ops=1000";
/// As in the scenario that makes faults.
const FAULTS: &str = "label=disk first=1000 count=500 seed=0x123400000000 depth=4 errors told ops=1000";
const OVERLAP: &str = "label=disk first=0 count=500 depth=3 ops=100";
const MEASURE: &str = "label=disk write=8:1:4096:200";
const MFS: &str = "label=disk minor=0";
const SHELL: &str = "label=disk open write=0:8:0x700000000 verify=0:8:0x700000000";

/// A client and its words, a bug, and a text of one of its failures; without one the client waits for ever.
#[rustfmt::skip]
const OTHERS: &[(Client, &str, Bug, &str)] = &[
    (load::main, LOAD, Request(lose_write), "holds something else"),
    (load::main, LOAD, Disk(lose_sector), "holds something else"),
    (load::main, LOAD, Disk(damage), "holds something else"),
    (load::main, LOAD, Disk(zero_nothing), "holds something else"),
    (load::main, LOAD, Disk(zero_too_much), "holds something else"),
    (load::main, LOAD, Ignores(|asked| asked.is(IoctlCode::VBLKZERO)), "Zero of"),
    (load::main, LOAD, Misplace(|transfer| misplace(transfer, true)), "holds something else"),
    (load::main, LOAD, Misplace(|transfer| misplace(transfer, false)), "holds something else"),
    (load::main, LOAD, Status(|asked, got| got.0 - if asked.nth == 99 { 512 } else { 0 }), ": Ok("),
    (load::main, LOAD, Answers(EIO, |asked, _| asked.nth == 99), "EIO"),
    (load::main, LOAD, Reply(99, Wrong::Twice), "answered twice"),
    (load::main, LOAD, Reply(99, Wrong::Id), "never sent"),
    (load::main, LOAD, Reply(99, Wrong::Type), "a reply of type"),
    (load::main, LOAD, Reply(99, Wrong::Missing), ""),
    (load::main, FAULTS, Request(lose_write), "holds something else"),
    (load::main, FAULTS, Reply(99, Wrong::Twice), "answered twice"),
    (load::main, FAULTS, Reply(99, Wrong::Missing), ""),
    (load::overlap, OVERLAP, DiesAt(50), "requests, 3 at a time"),
    (mfs::main, MFS, Bug::None, "no superblock"),
    (measure, MEASURE, Answers(EIO, |asked, _| asked.nth == 99), "EIO"),
    (measure, MEASURE, Status(|asked, got| got.0 - if asked.nth == 99 { 512 } else { 0 }), "the driver says"),
    (measure, MEASURE, Reply(120, Wrong::Twice), "which is not in flight"),
    (measure, MEASURE, Reply(99, Wrong::Id), "which is not in flight"),
    (measure, MEASURE, Reply(99, Wrong::Type), "reply of type"),
    (measure, MEASURE, Reply(99, Wrong::Missing), ""),
    (measure, MEASURE, DiesAt(99), "driver died"),
    (measure, "label=disk read=1:1:4096:100", Reply(99, Wrong::Id), "reply to"),
    (mfs::main, MFS, Answers(EIO, |asked, _| asked.reads()), "cannot read: the driver says Err(EIO)"),
    (shell::main, SHELL, Answers(EIO, |_, _| true), "the driver says"),
    (shell::main, SHELL, Disk(|transfer| transfer.data.clear()), "sector 0 holds"),
];

/// A bug, and the name of a test of the abuse that fails for it, or another text of a failure.
#[rustfmt::skip]
const ABUSE: &[(Bug, &str)] = &[
    (Answers(OK, |asked, _| asked.kind == GATHER && asked.request.count == 0), "elements-0-gather"),
    (Answers(OK, |asked, _| asked.kind == GATHER && asked.elements.is_empty()), "no-grant-gather"),
    (Answers(Code(8192), |asked, _| asked.has(|bytes| bytes == 0)), "empty-element-gather"),
    (Answers(Code(4096), |asked, _| asked.has(|bytes| bytes >> 32 > 0)), "element-of-2-to-the-63-gather"),
    (Answers(Code(4096), |_, got| got == EPERM), "wrong-access-read"),
    (Answers(EIO, |_, got| got == EPERM), "revoked-grant-read"),
    (Answers(EINVAL, |asked, _| asked.request.position >> 63 == 1), "minus-512-read"),
    (Answers(EIO, is_clipped), "clipped-read"),
    (Request(|asked| asked.request.position &= !511), "at-1-read"),
    (Request(|asked| asked.request.count &= !511), "of-513-read"),
    (After(0, |asked, got| asked.reads() && got == EINVAL), "memory was written"),
    (Ignores(|asked| asked.kind == CLOSE), "random-messages"),
    (Answers(EINVAL, |asked, got| asked.nth > 900 && got.0 > 0), "random-messages"),
    (Answers(EINVAL, |asked, _| asked.request.flags.intersects(!BdevFlags::FORCEWRITE)), "random-messages"),
    (Reply(1000, Wrong::Twice), "answered twice"),
    (Reply(1000, Wrong::Id), "never sent"),
    (Reply(1000, Wrong::Type), "a reply of type"),
    (Reply(1000, Wrong::Missing), "no reply where"),
    (DiesAt(1200), "driver died"),
];

fn lose_write(asked: &mut Asked) {
    if asked.writes() && asked.nth % 50 == 49 {
        asked.request.position ^= 1 << 20;
    }
}

fn lose_sector(transfer: &mut Transfer) {
    if transfer.write {
        transfer.data.truncate(transfer.data.len() - 512);
    }
}

fn is_zeroed(transfer: &Transfer) -> bool {
    transfer.write && transfer.data.iter().all(|&byte| byte == 0)
}

fn zero_nothing(transfer: &mut Transfer) {
    if is_zeroed(transfer) {
        transfer.data.clear();
    }
}

fn zero_too_much(transfer: &mut Transfer) {
    if is_zeroed(transfer) {
        transfer.data.extend([0; 512]);
    }
}

fn damage(transfer: &mut Transfer) {
    if !transfer.write && transfer.first % 8 == 5 {
        transfer.data[77] ^= 1;
    }
}

fn misplace(transfer: &mut Transfer, write: bool) {
    if transfer.write == write && transfer.first % 8 == 5 {
        transfer.first -= 1;
    }
}

/// Runs a client, which has to fail in a certain way.
fn finds(client: Client, words: &str, bug: Bug, text: &str) {
    let minix = Minix::new(SMALL, bug);
    assert_ne!(minix.run(client, words), Some(Ok(())), "{text}");
    let failures = minix.failures();
    let is_seen = text.is_empty() || failures.iter().any(|failure| failure.contains(text));
    assert!(is_seen, "{text}: {failures:#?}");
}

#[test]
fn load_overlap_measure_mfs_and_shell_find_each_bug() {
    for (client, words, bug, text) in OTHERS {
        finds(*client, words, *bug, text);
    }
}

#[test]
fn abuse_finds_each_bug() {
    for (bug, text) in ABUSE {
        finds(
            abuse::main,
            "label=disk minor=0 seed=5 count=1000 scratch=2000:2048",
            *bug,
            text,
        );
    }
}
