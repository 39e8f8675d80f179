//! The reader of MINIX file systems: it finds every file, and damage.

use std::collections::BTreeSet;

use fake_minix::mfs::{KnownFile, sample};
use guest_protocol::Record;
use minix_abi::Errno;
use minix_abi::partition::SystemId;
use test_clients::mfs;

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

#[test]
fn damage_is_an_error() {
    // A root with a short file, inode 2, and a directory, inode 3; inode 11 has an indirect block.
    let (image, _) = sample(1024, 1024);
    let map_blocks = |at: usize| usize::from(u16::from_le_bytes([image[SUPER + at], image[SUPER + at + 1]]));
    let inode = |number: usize| (2 + map_blocks(6) + map_blocks(8)) * 1024 + (number - 1) * 64;
    let zone = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize * 1024;
    let (root, file, sub) = (inode(1), inode(2), inode(3));
    let entries = zone(root + 24);
    let single = zone(inode(11) + 24 + 28);
    let cases: [(usize, &[u8], &str); 15] = [
        (SUPER + 24, &[0x68, 0x24], "no superblock"),
        (SUPER + 28, &[0, 2], "blocks of bytes"),
        (SUPER + 28, &[0, 6], "blocks of bytes"),
        (SUPER + 28, &[0, 64], "blocks of bytes"),
        (SUPER + 12, &[9, 0], "zones of blocks"),
        (SUPER, &[0; 4], "no inode 1"),
        (root, &[0, 0x81], "no directory is the root"),
        (root + 24, &[0; 4], "a hole in directory"),
        (file, &[0, 0], "no file is inode 2"),
        (file + 24, &[1, 0, 0, 0], "no zone with contents: 1"),
        (sub + 24, &[0xFF; 4], "no zone with contents"),
        (single + 4, &[3, 0, 0, 0], "no zone with contents: 3"),
        (entries + 2 * 64, &[0xFF, 0xFF, 0, 0], "no inode 65535"),
        // A directory that contains the root.
        (entries + 3 * 64, &[1, 0, 0, 0], "a loop"),
        // More zones than the partition has.
        (file + 24, &[0xFF, 0x0F, 0, 0], "no zone with contents"),
    ];
    for (at, bytes, what) in cases {
        let mut damaged = image.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        let minix = minix(&damaged, Bug::None);
        assert_eq!(walk(&minix), Err(Errno::EIO), "{what}: {bytes:?} at {at}");
        let failures = minix.failures();
        let is_told = failures.len() == 1 && failures[0].contains(what);
        assert!(is_told, "{what}: {failures:?}");
    }
    assert_eq!(walk(&minix(&image[..1024], Bug::None)), Err(Errno::EIO));
}
