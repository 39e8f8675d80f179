//! Makes a MINIX file system, version 3, in memory, with files whose content the host knows.
//!
//! It shares no code with the reader in the guest, so that one mistake is not made on both sides.
//!
//! | block | what |
//! |---|---|
//! | 0 | boot block; the superblock is at byte 1024 with blocks of any size |
//! | 2 | bitmap of inodes, bitmap of zones, inodes, one after the other |
//! | first data zone | contents; a zone is a block |

use guest_protocol::pattern::{self, Digest};

const SUPER_AT: usize = 1024;
pub const MAGIC: u16 = 0x4d5a;
/// Set while the file system is not mounted: nothing was left undone.
const CLEAN: u16 = 1;
const INODES: usize = 256;
const INODE_BYTES: usize = 64;
const ENTRY_BYTES: usize = 64;
const DIRECT: usize = 7;
const DIRECTORY: u16 = 0o040_755;
const REGULAR: u16 = 0o100_644;
/// Some time in 2025: nothing that is made depends on when it is made.
const TIME: u32 = 1_750_000_000;

/// A file in it, as the guest must find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// From the root, with a slash in front.
    pub path: String,
    pub bytes: u64,
    /// CRC-64/XZ.
    pub crc64: u64,
}

/// A file system with files of every shape that takes another path through it: sizes around a block, indirect and double
/// indirect blocks, holes, deep directories and long ones, long names. `blocks` of `block` bytes.
pub fn sample(blocks: usize, block: usize) -> (Vec<u8>, Vec<KnownFile>) {
    let pointers = block / 4;
    let file = |name: &str, bytes: usize| (name.to_owned(), Node::File { bytes, hole: 0..0 });
    let directory = |name: &str, entries: Vec<(String, Node)>| (name.to_owned(), Node::Directory(entries));
    let sparse = Node::File {
        bytes: (DIRECT + pointers + 3) * block,
        // From the direct zones over the whole of the indirect block into the double indirect one.
        hole: 1..DIRECT + pointers + 1,
    };
    let sizes = vec![
        file("empty", 0),
        file("one", 1),
        file("block-1", block - 1),
        file("block", block),
        file("block+1", block + 1),
        file("direct", DIRECT * block),
        file("indirect", (DIRECT + 3) * block + 100),
        file("double", (DIRECT + pointers + 5) * block + 1),
        ("sparse".to_owned(), sparse),
    ];
    let deep = ["e", "d", "c", "b"]
        .into_iter()
        .fold(vec![file("deep", 1000)], |inner, name| vec![directory(name, inner)]);
    let many = (0..100)
        .map(|number| file(&format!("file-{number:03}"), number * 7))
        .collect();
    let root = Node::Directory(vec![
        file("readme", 123),
        directory("sizes", sizes),
        directory("a", deep),
        directory("many", many),
        directory("none", Vec::new()),
        file(&"long-name-".repeat(6), 60),
    ]);
    Writer::new(blocks, block).write(&root)
}

/// A file or a directory to be made.
enum Node {
    /// A file of so many bytes of pattern. Blocks in `hole` are zeros and not stored.
    File {
        bytes: usize,
        hole: std::ops::Range<usize>,
    },
    Directory(Vec<(String, Node)>),
}

/// A file system in the making.
struct Writer {
    image: Vec<u8>,
    block: usize,
    blocks: usize,
    inode_map: usize,
    zone_map: usize,
    inodes: usize,
    first_zone: usize,
    /// The next inode and the next zone to give out.
    next_inode: usize,
    next_zone: usize,
    files: Vec<KnownFile>,
}

impl Writer {
    fn new(blocks: usize, block: usize) -> Writer {
        let bits = block * 8;
        let inode_map = 2;
        let zone_map = inode_map + (INODES + 1).div_ceil(bits);
        let inodes = zone_map + (blocks + 1).div_ceil(bits);
        let first_zone = inodes + (INODES * INODE_BYTES).div_ceil(block);
        Writer {
            image: vec![0; blocks * block],
            block,
            blocks,
            inode_map,
            zone_map,
            inodes,
            first_zone,
            next_inode: 1,
            next_zone: first_zone,
            files: Vec::new(),
        }
    }

    fn write(mut self, root: &Node) -> (Vec<u8>, Vec<KnownFile>) {
        let number = self.node(root, "", None);
        debug_assert_eq!(number, 1, "the root is the first");
        self.super_block();
        // In a bitmap, bit 0 stands for nothing and is taken, as are the bits after the last one that stands for something.
        let zones = self.blocks - self.first_zone;
        self.bitmap(self.inode_map, self.zone_map, self.next_inode, INODES + 1);
        self.bitmap(
            self.zone_map,
            self.inodes,
            self.next_zone - self.first_zone + 1,
            zones + 1,
        );
        (self.image, self.files)
    }

    /// Writes a file or a directory with all in it, and returns its inode's number.
    fn node(&mut self, node: &Node, path: &str, parent: Option<usize>) -> usize {
        let number = self.next_inode;
        self.next_inode += 1;
        match node {
            Node::File { bytes, hole } => {
                let mut content = vec![0; *bytes];
                // Bits above bit 32 keep the files apart.
                pattern::fill((number as u64) << 40, 0, &mut content);
                for zeros in hole.clone() {
                    content[zeros * self.block..(zeros + 1) * self.block].fill(0);
                }
                let mut digest = Digest::new();
                digest.update(&content);
                self.files.push(KnownFile {
                    path: path.to_owned(),
                    bytes: *bytes as u64,
                    crc64: digest.finish(),
                });
                self.inode(number, REGULAR, 1, &content);
            }
            Node::Directory(entries) => {
                let mut listing = Vec::new();
                let mut entry = |inode: usize, name: &str| {
                    let start = listing.len();
                    listing.extend((inode as u32).to_le_bytes());
                    listing.extend(name.as_bytes());
                    listing.resize(start + ENTRY_BYTES, 0);
                };
                entry(number, ".");
                entry(parent.unwrap_or(number), "..");
                let mut links = 2;
                for (name, node) in entries {
                    let inode = self.node(node, &format!("{path}/{name}"), Some(number));
                    links += u16::from(matches!(node, Node::Directory(_)));
                    entry(inode, name);
                }
                self.inode(number, DIRECTORY, links, &listing);
            }
        }
        number
    }

    /// Stores a content and writes the inode for it.
    fn inode(&mut self, number: usize, mode: u16, links: u16, content: &[u8]) {
        let zones: Vec<u32> = content.chunks(self.block).map(|bytes| self.store(bytes)).collect();
        let pointers = self.block / 4;
        let (direct, rest) = zones.split_at(zones.len().min(DIRECT));
        let (single, rest) = rest.split_at(rest.len().min(pointers));
        let indirect = self.table(single);
        let tables: Vec<u32> = rest.chunks(pointers).map(|table| self.table(table)).collect();
        let double = self.table(&tables);

        let at = self.inodes * self.block + (number - 1) * INODE_BYTES;
        self.put(at, &mode.to_le_bytes());
        self.put(at + 2, &links.to_le_bytes());
        self.put(at + 8, &(content.len() as u32).to_le_bytes());
        for time in [12, 16, 20] {
            self.put(at + time, &TIME.to_le_bytes());
        }
        for (index, zone) in direct.iter().enumerate() {
            self.put(at + 24 + 4 * index, &zone.to_le_bytes());
        }
        self.put(at + 24 + 4 * DIRECT, &indirect.to_le_bytes());
        self.put(at + 28 + 4 * DIRECT, &double.to_le_bytes());
    }

    /// Stores a block of zone numbers.
    fn table(&mut self, zones: &[u32]) -> u32 {
        let bytes: Vec<u8> = zones.iter().flat_map(|zone| zone.to_le_bytes()).collect();
        self.store(&bytes)
    }

    /// Stores up to a block of bytes and returns their zone. Zeros need none.
    fn store(&mut self, bytes: &[u8]) -> u32 {
        if bytes.iter().all(|byte| *byte == 0) {
            return 0;
        }
        let zone = self.next_zone;
        self.next_zone += 1;
        self.put(zone * self.block, bytes);
        zone as u32
    }

    fn super_block(&mut self) {
        let mut put = |at: usize, bytes: &[u8]| self.image[SUPER_AT + at..][..bytes.len()].copy_from_slice(bytes);
        put(0, &(INODES as u32).to_le_bytes());
        put(6, &((self.zone_map - self.inode_map) as u16).to_le_bytes());
        put(8, &((self.inodes - self.zone_map) as u16).to_le_bytes());
        put(10, &(self.first_zone as u16).to_le_bytes());
        put(14, &CLEAN.to_le_bytes());
        put(16, &(i32::MAX as u32).to_le_bytes());
        put(20, &(self.blocks as u32).to_le_bytes());
        put(24, &MAGIC.to_le_bytes());
        put(28, &(self.block as u16).to_le_bytes());
    }

    /// Writes the bitmap in blocks `start..end`: bits below `used` and from `bits` on are set.
    fn bitmap(&mut self, start: usize, end: usize, used: usize, bits: usize) {
        let map = &mut self.image[start * self.block..end * self.block];
        for bit in (0..used).chain(bits..map.len() * 8) {
            map[bit / 8] |= 1 << (bit % 8);
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.image[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Whether a file system begins with these bytes, at least 2048 of them.
pub fn is_one(head: &[u8]) -> bool {
    head.get(SUPER_AT + 24..SUPER_AT + 26) == Some(&MAGIC.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn another_program_finds_no_fault_with_it() {
        // It is not on every machine.
        let places = ["/usr/sbin/fsck.minix", "/sbin/fsck.minix"];
        let Some(program) = places.into_iter().find(|place| std::path::Path::new(place).exists()) else {
            println!("skipped: fsck.minix is not installed");
            return;
        };
        // It knows no other size of a block.
        let (image, files) = sample(16 << 10, 1024);
        assert!(is_one(&image));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fs");
        let check = |image: &[u8]| {
            std::fs::write(&path, image).unwrap();
            let output = Command::new(program).args(["-f", "-l"]).arg(&path).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (output.status.success(), text)
        };
        let (is_good, text) = check(&image);
        assert!(is_good, "{text}");
        for file in &files {
            // It shows long names cut off.
            let shown = file.path.get(..50).unwrap_or(&file.path);
            assert!(text.contains(shown), "{shown} is missing in\n{text}");
        }
        // It does find a fault: a zone that is used and not taken.
        let mut damaged = image;
        damaged[3 * 1024] &= !4;
        assert!(!check(&damaged).0);
    }
}
