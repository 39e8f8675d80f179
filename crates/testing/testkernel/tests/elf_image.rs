//! Rules of the loader that `cargo xtask test minix/refused` does not break with a real program, and the limits that are still
//! accepted.

use proptest::prelude::*;
use testkernel::elf_image::{Image, Segment};

const LOAD: u32 = 1;
const NOTE: u32 = 4;
const EXECUTABLE: u32 = 5;
const DATA: u32 = 6;

/// Type, flags, offset, address, bytes in the file and in memory.
type Header = (u32, u32, u64, u64, u64, u64);

const TEXT: Header = (LOAD, EXECUTABLE, 0, 0x80_0000, 0x800, 0x800);

fn data(offset: u64, address: u64, file_bytes: u64, memory_bytes: u64) -> Header {
    (LOAD, DATA, offset, address, file_bytes, memory_bytes)
}

/// A file with these program headers directly after the ELF header, and 0x2000 bytes in all.
fn file(entry: u64, headers: &[Header]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC for a machine that does not exist.
    file.extend([2, 0, 0xCD, 0xAB, 1, 0, 0, 0]);
    file.extend([entry, 64, 0].map(u64::to_le_bytes).concat());
    file.extend([0xFF; 4]);
    let counts = [64, 56, headers.len() as u16, 0, 0, 0];
    file.extend(counts.map(u16::to_le_bytes).concat());
    for &(kind, flags, offset, address, file_bytes, memory_bytes) in headers {
        file.extend([kind, flags].map(u32::to_le_bytes).concat());
        let words = [offset, address, 0, file_bytes, memory_bytes, 0x1000];
        file.extend(words.map(u64::to_le_bytes).concat());
    }
    file.resize(0x2000, 0x77);
    file
}

fn error_of(file: &[u8]) -> String {
    Image::parse(file)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// The error of a file with a second segment.
fn error_with(second: Header) -> String {
    error_of(&file(0x80_0000, &[TEXT, second]))
}

#[test]
fn the_first_broken_rule_is_named() {
    let with = |at: usize, byte: u8| {
        let mut file = file(0x80_0000, &[TEXT]);
        file[at] = byte;
        error_of(&file)
    };
    assert_eq!(error_of(&[]), "not an ELF file");
    assert_eq!(with(4, 3), "not a 64-bit ELF file");
    assert_eq!(
        (with(6, 2), with(20, 2)),
        ("not of ELF version 1".into(), "not of ELF version 1".into())
    );
    for bytes in [63, 100] {
        assert_eq!(error_of(&file(0x80_0000, &[TEXT])[..bytes]), "ends within its headers");
    }
    assert_eq!(with(56, 0), "no program headers");
    let outside = "segment at 0x900000 is not all in the file";
    assert_eq!(error_with(data(0x1800, 0x90_0000, 0x801, 0x801)), outside);
    assert_eq!(error_with(data(u64::MAX, 0x90_0000, 0x10, 0x10)), outside);
    let larger = "segment at 0x900000 is larger in the file than in memory";
    assert_eq!(error_with(data(0, 0x90_0000, 0x11, 0x10)), larger);
    let high = format!("segment at {:#x} does not end below 4 GiB", u64::MAX);
    assert_eq!(error_with(data(0, u64::MAX, 0, 2)), high);
    for entry in [0x7F_FFFF, 0x80_0800] {
        assert_eq!(
            error_of(&file(entry, &[TEXT])),
            "the entry point is not in an executable segment"
        );
    }
}

#[test]
fn places_that_are_taken_are_refused() {
    for (at, bytes) in [
        (0x0200_0000, 1),
        (0x01FF_F000, 0x1001),
        (0x0FFF_F000, 1),
        (0x1000_1FFF, 1),
        (0x8020_0000, 1),
        (0xEFBF_F000, 0x1001),
        (0xF000_0000, 1),
    ] {
        assert!(
            error_with(data(0, at, 0, bytes)).ends_with("is where kernel or stack are"),
            "{at:#x}"
        );
    }
    for (at, bytes) in [(0x80_0FF8, 8), (0x7F_F000, 0x1001)] {
        assert!(error_with(data(0, at, 8, bytes)).contains("shares a page"), "{at:#x}");
    }
}

#[test]
fn limits_are_accepted() {
    for second in [
        (NOTE, 0, u64::MAX, u64::MAX, u64::MAX, 0),
        data(0x1800, 0x90_0000, 0x800, 0x800),
        data(0, 0, 0, 0x1000),
        data(0, 0x01FF_F000, 0, 0x1000),
        data(0, 0x1000_2000, 0, 1),
        data(0, 0x4000_0000, 0, 1),
        data(0, 0x7F_F000, 8, 0x1000),
        data(0, 0xEFBF_F000, 0, 0x1000),
    ] {
        assert_eq!(error_with(second), "", "{second:x?}");
    }
    let mut position_independent = file(0x80_07FF, &[TEXT]);
    position_independent[16] = 3;
    assert_eq!(error_of(&position_independent), "");
    let segments: Vec<_> = (0..9)
        .map(|index| data(0, 0x81_0000 + index * 0x1000, 0x800, 0x800))
        .collect();
    assert_eq!(error_of(&file(0x80_0000, &[&[TEXT], &segments[..7]].concat())), "");
    let nine = file(0x80_0000, &[&[TEXT], &segments[..8]].concat());
    assert!(error_of(&nine).contains("first 512 bytes"));
}

proptest! {
    #[test]
    fn any_file_is_refused_or_sound(
        changes in proptest::collection::vec((0usize..64 + 3 * 56, any::<u8>()), 0..6),
        length in 0usize..0x2000,
    ) {
        let mut bytes = file(0x80_0000, &[TEXT, data(0x800, 0x80_1000, 0x800, 0x900), data(0, 0x80_2000, 0, 0x5000)]);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length.max(0x1000));
        if let Ok(image) = Image::parse(&bytes) {
            let mut pages: Vec<_> = image.segments.iter().map(Segment::pages).collect();
            pages.sort_by_key(|pages| pages.start);
            prop_assert!(pages.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(pages.iter().all(|pages| pages.end <= 0xEFC0_0000));
            prop_assert!(pages.iter().any(|pages| pages.contains(&image.entry)));
        }
    }
}
