//! Blobs that are cut off, mutated or made up. Every one gets an answer: no panic, no endless loop, no wild read.

mod common;

use common::{APLIC, IMSIC_NUMA, ONE_HART, QEMU_VIRT, map_tree, tinyemu};
use fuzz_targets::ask_everything;
use proptest::prelude::*;
use virtio_fdt::{Block, Defect, DeviceTree, FdtError};

/// A small generator of random numbers (SplitMix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Numbers that sit on edges, and the tokens of the format.
const INTERESTING: [u32; 16] = [
    0,
    1,
    2,
    3,
    4,
    9,
    5,
    8,
    40,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0xffff_fffc,
    0xd00d_feed,
    0x100,
    0x1_0000,
];

fn mutate(blob: &mut [u8], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let word = random.below(blob.len() / 4) * 4;
        match random.below(5) {
            0 => blob[word + random.below(4)] ^= 1 << random.below(8),
            1 => blob[word + random.below(4)] = random.next() as u8,
            2 => blob[word..word + 4].copy_from_slice(&INTERESTING[random.below(16)].to_be_bytes()),
            3 => {
                let from = random.below(blob.len() / 4) * 4;
                blob.copy_within(from..from + 4, word);
            }
            // The header most often, since the places of all blocks are in it.
            _ => blob[random.below(40)] = random.next() as u8,
        }
    }
}

#[test]
fn the_blob_cut_off_at_every_length_is_refused() {
    for length in 0..QEMU_VIRT.len() {
        let cut = &QEMU_VIRT[..length];
        assert!(
            matches!(DeviceTree::parse(cut), Err(FdtError::Truncated { .. })),
            "{length} bytes"
        );
        // The same with the shorter size in the header.
        if length >= DeviceTree::HEADER_BYTES {
            let mut lying = cut.to_vec();
            lying[4..8].copy_from_slice(&(length as u32).to_be_bytes());
            assert!(!ask_everything(&lying), "{length} bytes");
        }
    }
    assert!(ask_everything(QEMU_VIRT));
}

#[test]
fn sixty_thousand_mutated_blobs_get_an_answer() {
    let mut random = Random(0x0bad_cafe);
    let mut blob = ONE_HART.to_vec();
    let mut accepted = 0;
    for _ in 0..60_000 {
        blob.copy_from_slice(ONE_HART);
        mutate(&mut blob, &mut random);
        accepted += u32::from(ask_everything(&blob));
    }
    // Were all refused or all accepted, the mutations would test nothing.
    assert!((6_000..54_000).contains(&accepted), "{accepted} accepted");
}

#[test]
fn mutated_blobs_of_other_shapes_get_an_answer() {
    let mut random = Random(0x0dd_5eed);
    let shapes = [
        (tinyemu(), 10_000),
        (map_tree(), 10_000),
        (APLIC.to_vec(), 1_000),
        (IMSIC_NUMA.to_vec(), 1_000),
    ];
    for (original, rounds) in shapes {
        let mut accepted = 0;
        for _ in 0..rounds {
            let mut blob = original.clone();
            mutate(&mut blob, &mut random);
            accepted += u32::from(ask_everything(&blob));
        }
        assert!(
            (rounds / 10..rounds / 10 * 9).contains(&accepted),
            "{accepted} accepted"
        );
    }
}

/// The check of this crate replaces `dtoolkit`'s own. If `dtoolkit` takes the order of the blocks, each blob that
/// passes here must pass there; only names may be freer.
#[test]
fn accepted_blobs_are_sound_for_dtoolkit() {
    use dtoolkit::error::FdtErrorKind;
    let mut random = Random(0x7ea_5e1f);
    let mut compared = 0;
    for original in [ONE_HART.to_vec(), map_tree()] {
        for _ in 0..15_000 {
            let mut blob = original.clone();
            mutate(&mut blob, &mut random);
            let field = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap());
            let (structure, strings, reservations) = (field(8), field(12), field(16));
            if DeviceTree::parse(&blob).is_err() || !(reservations < structure && structure < strings) {
                continue;
            }
            compared += 1;
            let exact = &blob[..field(4) as usize];
            let theirs = dtoolkit::fdt::Fdt::new(exact).map_err(|error| error.kind);
            assert!(
                matches!(
                    theirs,
                    Ok(_) | Err(FdtErrorKind::InvalidNodeName | FdtErrorKind::InvalidPropertyName)
                ),
                "{theirs:?}"
            );
        }
    }
    assert!(compared > 3_000, "{compared} compared");
}

#[test]
fn each_word_replaced_by_a_special_number_gets_an_answer() {
    let mut blob = ONE_HART.to_vec();
    for word in (0..blob.len() - 3).step_by(4) {
        for number in [0, 1, 2, 3, 9, 0x8000_0000, 0xffff_ffff] {
            blob[word..word + 4].copy_from_slice(&u32::to_be_bytes(number));
            ask_everything(&blob);
        }
        blob[word..word + 4].copy_from_slice(&ONE_HART[word..word + 4]);
    }
}

#[test]
fn a_wrong_header_is_named() {
    let with = |at: usize, word: u32| {
        let mut blob = QEMU_VIRT.to_vec();
        blob[at..at + 4].copy_from_slice(&word.to_be_bytes());
        DeviceTree::parse(&blob).map(|_| ()).unwrap_err()
    };
    let size = QEMU_VIRT.len();
    assert_eq!(with(0, 0xfeed_d00d), FdtError::NotADeviceTree);
    let corrupt = |block, offset_bytes, defect| FdtError::Corrupt {
        block,
        offset_bytes,
        defect,
    };
    assert_eq!(with(4, 39), corrupt(Block::Header, 4, Defect::TooSmall));
    assert_eq!(with(4, 40), corrupt(Block::Structure, 0x38, Defect::Outside));
    assert_eq!(
        with(4, size as u32 + 1),
        FdtError::Truncated {
            have_bytes: size,
            need_bytes: size + 1
        }
    );
    assert_eq!(with(20, 16), FdtError::UnsupportedVersion(16));
    let far = u32::MAX as usize;
    assert_eq!(with(8, u32::MAX), corrupt(Block::Structure, far, Defect::Misaligned));
    assert_eq!(
        with(8, u32::MAX - 3),
        corrupt(Block::Structure, far - 3, Defect::Outside)
    );
    assert_eq!(with(12, u32::MAX), corrupt(Block::Strings, far, Defect::Outside));
    assert_eq!(
        with(16, u32::MAX - 7),
        corrupt(Block::Reservations, far - 7, Defect::Outside)
    );
    assert_eq!(with(36, 8), corrupt(Block::Structure, 0x40, Defect::Unterminated));
    assert_eq!(with(0x38, 7), corrupt(Block::Structure, 0x38, Defect::UnknownToken(7)));
    assert_eq!(
        with(0x38, 7).to_string(),
        "device tree is corrupt: structure at offset 0x38: unknown token 0x7"
    );
}

#[test]
fn the_size_is_read_from_the_header_alone() {
    assert_eq!(DeviceTree::total_size(&QEMU_VIRT[..40]), Ok(QEMU_VIRT.len()));
    assert!(matches!(
        DeviceTree::total_size(&QEMU_VIRT[..39]),
        Err(FdtError::Truncated { .. })
    ));
}

#[test]
fn neither_trailing_bytes_nor_alignment_matter() {
    let mut padded = vec![0xa5];
    padded.extend(QEMU_VIRT);
    padded.extend([0xff; 100]);
    let tree = DeviceTree::parse(&padded[1..]).unwrap();
    assert_eq!(tree.size_bytes(), QEMU_VIRT.len());
    assert_eq!(tree.virtio_mmio().count(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        ask_everything(&bytes);
    }

    /// A header that is right and a structure made of random tokens.
    #[test]
    fn random_tokens_get_an_answer(tokens in proptest::collection::vec(0u32..12, 0..128)) {
        let mut blob = Vec::new();
        let structure: Vec<u8> = tokens.iter().flat_map(|token| token.to_be_bytes()).collect();
        let strings_at = 56 + structure.len() as u32;
        let names = b"reg\0compatible\0status\0interrupts\0#address-cells\0";
        for word in [0xd00d_feed, strings_at + names.len() as u32, 56, strings_at, 40, 17, 16, 0, names.len() as u32,
                     structure.len() as u32, 0, 0, 0, 0] {
            blob.extend(u32::to_be_bytes(word));
        }
        blob.extend(structure);
        blob.extend(names);
        ask_everything(&blob);
    }
}
