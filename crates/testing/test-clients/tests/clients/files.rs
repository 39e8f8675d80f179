//! The reader of MINIX file systems: what is in them, and what is wrong with them.

use std::collections::BTreeSet;

use fake_minix::mfs::{KnownFile, sample};
use guest_protocol::Record;
use minix_abi::Errno;
use minix_abi::partition::SystemId;
use test_clients::mfs;
use test_clients::random::Random;

use crate::served::{Bug, Minix, SMALL};

const FIRST: u64 = 64;
/// Where the superblock is.
const SUPER: usize = 1024;

fn minix(image: &[u8], bug: Bug) -> Minix {
    let minix = Minix::new(SMALL, bug);
    minix.put_table(0, &[(SystemId::MINIX, FIRST as u32, (image.len() / 512) as u32)]);
    minix.prepare(FIRST, image);
    minix
}

fn walk(minix: &Minix) -> Result<(), Errno> {
    minix.run(mfs::main, "label=disk minor=1").expect("it ends")
}

#[test]
fn every_file_is_found_and_read_also_across_restarts() {
    for (block, bug) in [
        (1024, Bug::None),
        (2048, Bug::None),
        (4096, Bug::None),
        (4096, Bug::DiesEvery(7)),
    ] {
        let (image, known) = sample((8 << 20) / block, block);
        let minix = minix(&image, bug);
        assert_eq!(walk(&minix), Ok(()), "{:?}", minix.failures());
        let files = minix.records().into_iter();
        let found: BTreeSet<_> = files
            .filter_map(|record| match record {
                Record::File { path, bytes, crc64 } => Some((path.to_owned(), bytes, crc64)),
                _ => None,
            })
            .collect();
        let known = known
            .into_iter()
            .map(|KnownFile { path, bytes, crc64 }| (path, bytes, crc64));
        assert_eq!(found, known.collect());
    }
}

/// A file system of 1024 blocks of 1024 bytes: inode 1 is the root, 2 a short file, 3 a directory, 12 a file with a single and a
/// double indirect block. Returns where the inodes are, too.
fn small() -> (Vec<u8>, impl Fn(usize) -> usize) {
    let (image, _) = sample(1024, 1024);
    let blocks = |at: usize| usize::from(u16::from_le_bytes([image[SUPER + at], image[SUPER + at + 1]]));
    let inodes = (2 + blocks(6) + blocks(8)) * 1024;
    (image, move |number| inodes + (number - 1) * 64)
}

#[test]
fn damage_is_told() {
    let (image, inode) = small();
    let zone = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize * 1024;
    let (root, file, sub) = (inode(1), inode(2), inode(3));
    let entries = zone(root + 24);
    let single = zone(inode(11) + 24 + 28);
    let geometry = "bitmaps, inodes and zones";
    let cases: [(usize, &[u8], &str); 26] = [
        (SUPER + 24, &[0x68, 0x24], "no superblock"),
        (SUPER + 28, &[0, 2], "blocks of bytes"),
        (SUPER + 28, &[0, 6], "blocks of bytes"),
        (SUPER + 28, &[0, 64], "blocks of bytes"),
        (SUPER + 12, &[9, 0], "zones of blocks"),
        // No inodes, more than the bitmap has, none of the blocks, more zones than there are, bitmaps over everything.
        (SUPER, &[0; 4], geometry),
        (SUPER, &[0, 0, 1, 0], geometry),
        (SUPER + 20, &[8, 0, 0, 0], geometry),
        (SUPER + 20, &[0, 0, 1, 0], geometry),
        (SUPER + 6, &[0, 0], geometry),
        (SUPER + 8, &[0xFF, 0xFF], geometry),
        (SUPER + 10, &[4, 0], geometry),
        (SUPER + 10, &[0xFF, 0xFF], geometry),
        (root, &[0, 0x81], "no directory is the root"),
        (root + 8, &[63, 0, 0, 0], "half an entry"),
        (root + 24, &[0; 4], "a hole in directory"),
        (file, &[0, 0], "no file is inode 2"),
        (file + 8, &[0, 0, 0, 0x80], "too long is inode 2"),
        (file + 24, &[1, 0, 0, 0], "no zone with contents: 1"),
        (file + 24, &[0xFF; 4], "no zone with contents"),
        (sub + 24, &[0xFF; 4], "no zone with contents"),
        (single + 4, &[3, 0, 0, 0], "no zone with contents: 3"),
        (entries + 2 * 64, &[0xFF, 0xFF, 0, 0], "no inode 65535"),
        (entries + 2 * 64 + 4, &[0], "a bad name"),
        (entries + 2 * 64 + 4, b"a/b", "a bad name"),
        // A directory that contains the root.
        (entries + 3 * 64, &[1, 0, 0, 0], "too deep"),
    ];
    for (at, bytes, what) in cases {
        let mut damaged = image.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        let minix = minix(&damaged, Bug::None);
        assert_eq!(walk(&minix), Err(Errno::EIO), "{what}: {bytes:?} at {at}");
        let failures = minix.failures();
        assert!(
            failures.len() == 1 && failures[0].contains(what),
            "{what}: {failures:?}"
        );
    }
    assert_eq!(walk(&minix(&image[..2048], Bug::None)), Err(Errno::EIO));
}

#[test]
fn any_damage_comes_to_an_end() {
    let (image, inode) = small();
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut damaged = image.clone();
        for _ in 0..1 + random.below(12) {
            let (from, until) = match random.below(12) {
                0..2 => (SUPER, SUPER + 32),
                2..8 => (inode(1), inode(13)),
                _ => (inode(257), image.len()),
            };
            // Rather small numbers: large ones are found out at once.
            let at = from + random.below((until - from) as u64 / 4) as usize * 4;
            damaged[at..at + 4].copy_from_slice(&(random.below(1 << 16) as u32).to_le_bytes());
        }
        let minix = minix(&damaged, Bug::None);
        let result = walk(&minix);
        // A read outside of the partition would be answered with fewer bytes.
        let outside = minix.failures().iter().any(|failure| failure.contains("cannot read"));
        assert!(!outside, "{seed}: {result:?} {:?}", minix.failures());
    }
}
