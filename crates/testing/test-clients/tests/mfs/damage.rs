//! File systems that are broken: each gives the error with the right name, and none a panic or a walk without end.

use proptest::prelude::*;
use test_clients::mfs::layout::{INODE_BYTES, MAGIC, ROOT_INODE, SUPER_POSITION};
use test_clients::mfs::{Damage, MAX_DEPTH, Mfs, MfsError};

use crate::image::Image;
use crate::{contents, walk};

const SUPER: usize = SUPER_POSITION as usize;
const INODE_SIZE: usize = 8;
const INODE_ZONES: usize = 24;

/// A small file system with a bit of everything: inode 2 is a file, 3 a directory, 4 a file in it.
fn sample() -> Image {
    let mut image = Image::new(1024, 0, 64, 400);
    image.file(ROOT_INODE, "file", &contents(300 * 1024, 1));
    let sub = image.directory(ROOT_INODE, "sub");
    image.file(sub, "inner", &contents(5000, 2));
    image.finish()
}

fn damage(image: &Image) -> Damage {
    match walk(&image.bytes) {
        Err(MfsError::Damaged(damage)) => damage,
        Err(MfsError::Read(_)) => panic!("a read outside of the volume"),
        Ok(_) => panic!("nobody noticed"),
    }
}

fn damaged(at: usize, bytes: &[u8]) -> Damage {
    let mut image = sample();
    image.put(at, bytes);
    damage(&image)
}

#[test]
fn superblocks_that_make_no_sense() {
    assert_eq!(damaged(SUPER + 24, &0x2468u16.to_le_bytes()), Damage::Magic(0x2468));
    for bytes in [0u16, 64, 512, 1023, 1536, 16384, 65535] {
        assert_eq!(damaged(SUPER + 28, &bytes.to_le_bytes()), Damage::BlockBytes(bytes));
    }
    assert_eq!(damaged(SUPER + 12, &9u16.to_le_bytes()), Damage::ZoneSize(9));
    assert_eq!(damaged(SUPER + 12, &0xFFFFu16.to_le_bytes()), Damage::ZoneSize(0xFFFF));
    // No inodes; more than the bitmap has; bitmaps over everything; contents in the inodes; more zones than there are,
    // none with contents.
    for (at, bytes) in [
        (0, 0u32),
        (0, 1 << 14),
        (0, u32::MAX),
        (20, 401),
        (20, u32::MAX),
        (20, 8),
        (20, 0),
    ] {
        assert_eq!(
            damaged(SUPER + at, &bytes.to_le_bytes()),
            Damage::Geometry,
            "{bytes} at {at}"
        );
    }
    for (at, bytes) in [
        (6, 0u16),
        (6, 0xFFFF),
        (8, 0),
        (8, 0xFFFF),
        (10, 4),
        (10, 0xFFFF),
        (12, 8),
    ] {
        assert_eq!(
            damaged(SUPER + at, &bytes.to_le_bytes()),
            Damage::Geometry,
            "{bytes} at {at}"
        );
    }
    for bytes in [0, 1024, 4095] {
        assert!(matches!(
            walk(&sample().bytes[..bytes]),
            Err(MfsError::Damaged(Damage::TooShort))
        ));
    }
    assert!(matches!(
        walk(&sample().bytes[..4096]),
        Err(MfsError::Damaged(Damage::Geometry))
    ));
    assert_eq!(MAGIC, 0x4D5A);
}

#[test]
fn inodes_that_make_no_sense() {
    let image = sample();
    let (root, file, sub) = (image.inode_at(1), image.inode_at(2), image.inode_at(3));
    assert_eq!(damaged(root, &0o100644u16.to_le_bytes()), Damage::Root);
    assert_eq!(damaged(file, &[0, 0]), Damage::InodeKind(2));
    assert_eq!(
        damaged(file + INODE_SIZE, &0x8000_0000u32.to_le_bytes()),
        Damage::FileBytes(2)
    );
    assert_eq!(damaged(root + INODE_SIZE, &63u32.to_le_bytes()), Damage::Directory(1));
    assert_eq!(
        damaged(sub + INODE_SIZE, &(100 * 1024u32).to_le_bytes()),
        Damage::Directory(3)
    );
    assert_eq!(damaged(sub + INODE_ZONES, &[0; 4]), Damage::Directory(3));
    for zone in [1, 7, 400, u32::MAX] {
        assert_eq!(damaged(file + INODE_ZONES, &zone.to_le_bytes()), Damage::Zone(zone));
        assert_eq!(
            damaged(file + INODE_ZONES + 4 * 8, &zone.to_le_bytes()),
            Damage::Zone(zone)
        );
        assert_eq!(damaged(root + INODE_ZONES, &zone.to_le_bytes()), Damage::Zone(zone));
    }
}

#[test]
fn a_bad_zone_in_an_indirect_block_is_seen() {
    let mut image = sample();
    let single = u32::from_le_bytes(
        image.bytes[image.inode_at(2) + INODE_ZONES + 28..][..4]
            .try_into()
            .unwrap(),
    );
    image.put(image.zone_at(single) + 40, &3u32.to_le_bytes());
    assert_eq!(damage(&image), Damage::Zone(3));
}

#[test]
fn entries_that_make_no_sense() {
    for number in [65, u32::MAX] {
        let mut image = Image::new(1024, 0, 64, 100);
        image.link(ROOT_INODE, b"nothing", number);
        assert_eq!(damage(&image.finish()), Damage::InodeNumber(number));
    }
    for name in [&b""[..], b"a/b", b"/"] {
        let mut image = Image::new(1024, 0, 64, 100);
        let file = image.file(ROOT_INODE, "file", b"");
        image.link(ROOT_INODE, name, file);
        assert_eq!(damage(&image.finish()), Damage::Name(ROOT_INODE));
    }
}

#[test]
fn directories_in_a_circle_come_to_an_end() {
    let mut image = Image::new(1024, 0, 64, 100);
    image.link(ROOT_INODE, b"again", ROOT_INODE);
    assert_eq!(damage(&image.finish()), Damage::TooDeep);

    let mut image = Image::new(1024, 0, 64, 100);
    let one = image.directory(ROOT_INODE, "one");
    let two = image.directory(one, "two");
    image.link(two, b"three", one);
    assert_eq!(damage(&image.finish()), Damage::TooDeep);
}

#[test]
fn directories_with_many_parents_come_to_an_end() {
    // Not deep, but four billion paths: every directory is twice in the one above it.
    let mut image = Image::new(1024, 0, 64, 200);
    let mut parent = ROOT_INODE;
    for _ in 0..MAX_DEPTH - 1 {
        let child = image.directory(parent, "a");
        image.link(parent, b"b", child);
        parent = child;
    }
    assert_eq!(damage(&image.finish()), Damage::Loop);
}

#[test]
fn depth_is_bounded_where_it_says() {
    for (depth, ends_well) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false)] {
        let mut image = Image::new(1024, 0, 64, 200);
        let mut parent = ROOT_INODE;
        for _ in 0..depth {
            parent = image.directory(parent, "d");
        }
        assert_eq!(walk(&image.finish().bytes).is_ok(), ends_well, "{depth}");
    }
}

#[test]
fn a_path_too_long_is_an_error() {
    let mut image = Image::new(1024, 0, 64, 200);
    let mut parent = ROOT_INODE;
    for _ in 0..20 {
        parent = image.directory(parent, &"d".repeat(60));
    }
    assert_eq!(damage(&image.finish()), Damage::TooDeep);
}

#[test]
fn what_cannot_be_read_is_told() {
    /// A volume whose every read fails from a certain one on.
    struct Failing<'i>(&'i [u8], u32);

    impl test_clients::mfs::Volume for Failing<'_> {
        type Error = u32;

        fn bytes(&self) -> u64 {
            self.0.bytes()
        }

        fn read(&mut self, position: u64, block: usize, into: &mut [u8]) -> Result<(), u32> {
            self.1 = self.1.checked_sub(1).ok_or(77u32)?;
            self.0.read(position, block, into).map_err(|_| 1)
        }
    }

    let image = sample();
    let mut buffers = Box::new(test_clients::mfs::Buffers::new());
    let mut reads = 0;
    loop {
        let volume = Failing(&image.bytes, reads);
        let walked = Mfs::open(volume, &mut buffers).and_then(|mut mfs| mfs.walk(&mut crate::Seen::default()));
        match walked {
            Ok(()) => break,
            Err(error) => assert_eq!(error, MfsError::Read(77)),
        }
        reads += 1;
    }
    // The superblock, inodes, two directories, and at least three runs of files with an indirect block.
    assert!(reads > 6, "{reads}");
}

proptest! {
    /// Whatever is changed: an answer, and no read outside.
    #[test]
    fn any_damage_is_survived(
        changes in prop::collection::vec((0..12usize, any::<prop::sample::Index>(), any::<[u8; 4]>()), 1..12),
    ) {
        let mut image = sample();
        for (kind, at, mut bytes) in changes {
            // Rather small numbers: large ones are found out at once.
            bytes[2..].copy_from_slice(&[0; 2]);
            let (from, until) = match kind {
                0..2 => (SUPER, SUPER + 32),
                2..8 => (image.inode_at(1), image.inode_at(1) + 5 * INODE_BYTES),
                _ => (image.zone_at(9), image.bytes.len()),
            };
            let at = from + at.index((until - from) / 4 - 1) * 4;
            image.put(at, &bytes);
        }
        if let Err(MfsError::Read(_)) = walk(&image.bytes) {
            prop_assert!(false, "a read outside of the volume");
        }
    }

    /// Noise with a magic number.
    #[test]
    fn noise_is_survived(noise in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let mut noise = noise;
        if noise.len() > SUPER + 32 {
            noise[SUPER + 24..][..2].copy_from_slice(&MAGIC.to_le_bytes());
            noise[SUPER + 28..][..2].copy_from_slice(&1024u16.to_le_bytes());
        }
        let outside = matches!(walk(&noise), Err(MfsError::Read(_)));
        prop_assert!(!outside);
    }
}
