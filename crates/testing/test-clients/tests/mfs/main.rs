//! The reader of MINIX file systems, against file systems made here and by the tool of another system.

mod damage;
mod image;
mod mkfs;

use std::collections::BTreeMap;

use guest_protocol::pattern::Digest;
use image::Image;
use test_clients::mfs::layout::{BLOCK_DEVICE, CHARACTER_DEVICE, LINK, PIPE, ROOT_INODE};
use test_clients::mfs::{Buffers, Found, Mfs, MfsError, OutOfBounds, Visitor};

/// What a walk came upon: paths in order, and length and digest of each regular file.
#[derive(Default)]
struct Seen {
    paths: Vec<String>,
    files: BTreeMap<String, (u64, u64)>,
}

impl Visitor for Seen {
    fn found(&mut self, found: Found<'_>) {
        self.paths.push(found.path.to_owned());
    }

    fn contents(&mut self, found: Found<'_>, bytes: u64, crc64: u64) {
        self.files.insert(found.path.to_owned(), (bytes, crc64));
    }
}

fn walk(bytes: &[u8]) -> Result<Seen, MfsError<OutOfBounds>> {
    let mut buffers = Box::new(Buffers::new());
    let mut seen = Seen::default();
    Mfs::open(bytes, &mut buffers)?.walk(&mut seen)?;
    Ok(seen)
}

fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = Digest::new();
    digest.update(bytes);
    digest.finish()
}

/// Contents that differ from block to block and from file to file.
fn contents(bytes: usize, seed: u64) -> Vec<u8> {
    let mut contents = vec![0; bytes];
    guest_protocol::pattern::fill(seed, 0, &mut contents);
    contents
}

#[test]
fn everything_is_found_and_read() {
    for (block_bytes, log_zone_size) in [(1024, 0), (2048, 0), (4096, 0), (8192, 0), (1024, 2), (4096, 1)] {
        let mut image = Image::new(block_bytes, log_zone_size, 100, 1200);
        let empty = contents(0, 1);
        let short = contents(13, 2);
        // Direct, single and double indirect zones.
        let long = contents((7 + block_bytes / 4 + 3) * 1024 + 5, 3);
        image.file(ROOT_INODE, "empty", &empty);
        let sub = image.directory(ROOT_INODE, "sub");
        image.file(sub, "short", &short);
        let deep = image.directory(sub, "deep");
        image.file(deep, "long", &long);
        image.file(ROOT_INODE, "last", &short);
        image.special(ROOT_INODE, "c0d0", BLOCK_DEVICE);
        image.special(ROOT_INODE, "tty", CHARACTER_DEVICE);
        image.special(ROOT_INODE, "pipe", PIPE);
        image.special(ROOT_INODE, "link", LINK);
        let seen = walk(&image.finish().bytes).unwrap();
        let paths = [
            "/",
            "/empty",
            "/sub",
            "/sub/short",
            "/sub/deep",
            "/sub/deep/long",
            "/last",
            "/c0d0",
            "/tty",
            "/pipe",
            "/link",
        ];
        assert_eq!(seen.paths, paths, "blocks of {block_bytes}");
        assert_eq!(seen.files["/empty"], (0, crc64(&empty)));
        assert_eq!(seen.files["/sub/short"], (13, crc64(&short)));
        assert_eq!(seen.files["/sub/deep/long"], (long.len() as u64, crc64(&long)));
        assert_eq!(seen.files["/last"], (13, crc64(&short)));
        assert_eq!(seen.files.len(), 4);
    }
}

#[test]
fn a_large_directory_is_read_to_its_end() {
    let mut image = Image::new(1024, 0, 1000, 600);
    // More than the seven zones that an inode names itself: 16 entries are in a block.
    let names: Vec<_> = (0..300).map(|nth| format!("file-{nth:03}")).collect();
    for name in &names {
        image.file(ROOT_INODE, name, name.as_bytes());
    }
    let seen = walk(&image.finish().bytes).unwrap();
    assert_eq!(seen.files.len(), 300);
    for name in &names {
        assert_eq!(seen.files[&format!("/{name}")], (8, crc64(name.as_bytes())));
    }
}

#[test]
fn removed_entries_are_passed_over_and_names_may_fill_their_field() {
    let mut image = Image::new(1024, 0, 100, 100);
    image.link(ROOT_INODE, b"removed", 0);
    let long = "n".repeat(60);
    image.file(ROOT_INODE, &long, b"x");
    let odd = image.file(ROOT_INODE, "odd", b"y");
    image.link(ROOT_INODE, b"not\xFFutf8", odd);
    let seen = walk(&image.finish().bytes).unwrap();
    assert_eq!(seen.paths, ["/", &format!("/{long}"), "/odd", "/not\u{FFFD}utf8"]);
    assert_eq!(seen.files["/not\u{FFFD}utf8"], seen.files["/odd"]);
}

#[test]
fn holes_are_zeroes_at_every_level_of_indirection() {
    let mut image = Image::new(1024, 0, 100, 200);
    let block = contents(1024, 9);
    let per_block = 256;
    let double = 7 + per_block;
    let triple = double + per_block * per_block;
    let places = [
        3,
        7,
        9,
        double,
        double + per_block + 1,
        triple,
        triple + per_block * per_block + 2,
    ];
    let pieces: Vec<_> = places.iter().map(|place| (*place, block.as_slice())).collect();
    let bytes = (places[6] + 4) * 1024 + 77;
    image.sparse_file(ROOT_INODE, "holes", bytes, &pieces);
    let seen = walk(&image.finish().bytes).unwrap();

    let mut wanted = vec![0; bytes];
    for place in places {
        wanted[place * 1024..(place + 1) * 1024].copy_from_slice(&block);
    }
    assert_eq!(seen.files["/holes"], (bytes as u64, crc64(&wanted)));
}

#[test]
fn the_first_zone_is_worked_out_where_it_is_not_told() {
    let mut image = Image::new(1024, 0, 100, 100);
    image.file(ROOT_INODE, "file", b"contents");
    let mut image = image.finish();
    let at = test_clients::mfs::layout::SUPER_POSITION as usize + 10;
    image.put(at, &[0, 0]);
    assert_eq!(walk(&image.bytes).unwrap().files["/file"], (8, crc64(b"contents")));
}
