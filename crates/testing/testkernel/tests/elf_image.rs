//! Every rule of the loader, by a file that breaks it and one that just keeps it.

use proptest::prelude::*;
use testkernel::elf_image::{ElfError, Image, Segment};

const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const EXECUTABLE: u32 = 5;
const DATA: u32 = 6;

#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

const fn load(flags: u32, offset: u64, address: u64, file_bytes: u64, memory_bytes: u64) -> Header {
    Header {
        kind: LOAD,
        flags,
        offset,
        address,
        file_bytes,
        memory_bytes,
    }
}

/// A file with these program headers right behind the ELF header, and 0x2000 bytes in all.
fn file(entry: u64, headers: &[Header]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes());
    // A machine nobody has.
    file.extend(0xABCDu16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0xFFFF_FFFFu32.to_le_bytes());
    for half in [64, 56, headers.len() as u16, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for header in headers {
        file.extend(header.kind.to_le_bytes());
        file.extend(header.flags.to_le_bytes());
        let Header {
            offset,
            address,
            file_bytes,
            memory_bytes,
            ..
        } = *header;
        for word in [offset, address, 0, file_bytes, memory_bytes, 0x1000] {
            file.extend(word.to_le_bytes());
        }
    }
    file.resize(0x2000, 0x77);
    file
}

fn sound() -> Vec<u8> {
    file(0x80_0010, &[load(EXECUTABLE, 0x1000, 0x80_0000, 0x800, 0x800)])
}

fn error_of(file: &[u8]) -> Option<ElfError> {
    Image::parse(file).err()
}

/// A sound file with a byte changed.
fn with(at: usize, byte: u8) -> Vec<u8> {
    let mut file = sound();
    file[at] = byte;
    file
}

/// A file with a second segment.
fn and(second: Header) -> Option<ElfError> {
    error_of(&file(
        0x80_0000,
        &[load(EXECUTABLE, 0, 0x80_0000, 0x800, 0x800), second],
    ))
}

#[test]
fn a_sound_file_is_taken_apart() {
    let bytes = file(
        0x80_0013,
        &[
            load(EXECUTABLE, 0x1003, 0x80_0003, 0x20, 0x20),
            load(DATA, 0x1100, 0x80_1FFF, 0x10, 0x2000),
            load(DATA, 0, 0x90_0000, 0, 0),
        ],
    );
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.entry, 0x80_0013);
    let expected = [
        Segment {
            address: 0x80_0003,
            file: &[0x77; 0x20],
            memory_bytes: 0x20,
            is_executable: true,
        },
        Segment {
            address: 0x80_1FFF,
            file: &[0x77; 0x10],
            memory_bytes: 0x2000,
            is_executable: false,
        },
    ];
    assert_eq!(image.segments().collect::<Vec<_>>(), expected);
    assert_eq!(expected[1].pages(), 0x80_1000..0x80_4000);
    assert_eq!(image.memory_bytes(), 0x4000);
}

#[test]
fn machine_flags_and_other_headers_are_not_looked_at() {
    let note = Header {
        kind: 4,
        ..load(0, u64::MAX, u64::MAX, u64::MAX, 0)
    };
    assert_eq!(and(note), None);
}

#[test]
fn the_first_bytes_say_that_it_is_elf() {
    assert_eq!(error_of(&[]), Some(ElfError::NotElf));
    assert_eq!(error_of(&with(0, 0x7E)), Some(ElfError::NotElf));
    assert_eq!(error_of(&with(4, 1)), Some(ElfError::Not64Bit));
    assert_eq!(error_of(&with(4, 3)), Some(ElfError::Not64Bit));
    assert_eq!(error_of(&with(5, 2)), Some(ElfError::NotLittleEndian));
    assert_eq!(error_of(&with(6, 2)), Some(ElfError::BadVersion));
    assert_eq!(error_of(&with(20, 2)), Some(ElfError::BadVersion));
    assert_eq!(error_of(&sound()[..63]), Some(ElfError::Truncated));
}

#[test]
fn the_type_is_a_program_or_one_that_could_be_moved() {
    assert_eq!(error_of(&with(16, 2)), None);
    assert_eq!(error_of(&with(16, 3)), None);
    assert_eq!(error_of(&with(16, 1)), Some(ElfError::NotAProgram { kind: 1 }));
}

#[test]
fn program_headers_end_within_512_bytes() {
    let segment = |index: u64| load(EXECUTABLE, 0, 0x80_0000 + index * 0x1000, 0x800, 0x800);
    let eight: Vec<_> = (0..8).map(segment).collect();
    let nine: Vec<_> = (0..9).map(segment).collect();
    assert_eq!(error_of(&file(0x80_0000, &eight)), None);
    assert_eq!(error_of(&file(0x80_0000, &nine)), Some(ElfError::HeadersTooFarBack));
    assert_eq!(error_of(&with(39, 0xFF)), Some(ElfError::HeadersTooFarBack));
    assert_eq!(
        error_of(&with(54, 57)),
        Some(ElfError::BadProgramHeaderSize { bytes: 57 })
    );
    assert_eq!(error_of(&with(56, 0)), Some(ElfError::NoProgramHeaders));
    assert_eq!(error_of(&sound()[..100]), Some(ElfError::Truncated));
}

#[test]
fn it_is_static() {
    let interpreter = Header {
        kind: INTERPRETER,
        ..load(0, 0, 0, 0, 0)
    };
    assert_eq!(and(interpreter), Some(ElfError::NeedsInterpreter));
}

#[test]
fn segments_are_in_the_file() {
    let at = 0x90_0000;
    assert_eq!(and(load(DATA, 0x1800, at, 0x800, 0x800)), None);
    assert_eq!(
        and(load(DATA, 0x1800, at, 0x801, 0x801)),
        Some(ElfError::SegmentOutsideFile { at })
    );
    assert_eq!(
        and(load(DATA, u64::MAX, at, 0x10, 0x10)),
        Some(ElfError::SegmentOutsideFile { at })
    );
    assert_eq!(
        and(load(DATA, 0, at, 0x11, 0x10)),
        Some(ElfError::FileLargerThanMemory { at })
    );
}

#[test]
fn segments_keep_their_pages_to_themselves() {
    assert_eq!(and(load(DATA, 0, 0x80_1000, 8, 8)), None);
    assert_eq!(
        and(load(DATA, 0, 0x80_0FF8, 8, 8)),
        Some(ElfError::SharedPage { at: 0x80_0FF8 })
    );
    assert_eq!(and(load(DATA, 0, 0x7F_F000, 8, 0x1000)), None);
    assert_eq!(
        and(load(DATA, 0, 0x7F_F000, 8, 0x1001)),
        Some(ElfError::SharedPage { at: 0x7F_F000 })
    );
}

#[test]
fn what_the_kernel_has_and_the_stack_are_avoided() {
    let reserved = |at, bytes| and(load(DATA, 0, at, 0, bytes)) == Some(ElfError::Reserved { at });
    assert!(reserved(0x0200_0000, 1));
    assert!(reserved(0x01FF_F000, 0x1001));
    assert!(reserved(0x0FFF_F000, 1));
    assert!(reserved(0x1000_1FFF, 1));
    assert!(reserved(0x8020_0000, 1));
    assert!(reserved(0xEFBF_F000, 0x1001));
    assert!(reserved(0xF000_0000, 1));
    for (at, bytes) in [
        (0, 0x1000),
        (0x1_0000, 1),
        (0x01FF_F000, 0x1000),
        (0x1000_2000, 1),
        (0x4000_0000, 1),
        (0xEFBF_F000, 0x1000),
    ] {
        assert_eq!(and(load(DATA, 0, at, 0, bytes)), None, "{at:#x}");
    }
}

#[test]
fn everything_is_below_4_gib() {
    let at = 0x1_0000_0000;
    assert_eq!(and(load(DATA, 0, at, 0, 1)), Some(ElfError::Above4Gib { at }));
    let at = u64::MAX;
    assert_eq!(and(load(DATA, 0, at, 0, 2)), Some(ElfError::Above4Gib { at }));
}

#[test]
fn the_first_instruction_is_in_an_executable_segment() {
    let outside = Some(ElfError::EntryOutside);
    let text = load(EXECUTABLE, 0, 0x80_0000, 0x800, 0x800);
    assert_eq!(error_of(&file(0x80_07FF, &[text])), None);
    assert_eq!(error_of(&file(0x80_0800, &[text])), outside);
    assert_eq!(error_of(&file(0x7F_FFFF, &[text])), outside);
    assert_eq!(error_of(&file(0x80_0000, &[Header { flags: DATA, ..text }])), outside);
}

proptest! {
    /// Whatever is in the file, it is refused or every segment is where a program may be.
    #[test]
    fn any_file_is_refused_or_sound(
        changes in proptest::collection::vec((0usize..64 + 3 * 56, any::<u8>()), 0..6),
        length in 0usize..0x2000,
    ) {
        let text = load(EXECUTABLE, 0, 0x80_0000, 0x800, 0x800);
        let mut bytes = file(0x80_0000, &[text, load(DATA, 0x800, 0x80_1000, 0x800, 0x900), load(DATA, 0, 0x80_2000, 0, 0x5000)]);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length.max(0x1000));
        if let Ok(image) = Image::parse(&bytes) {
            let mut pages: Vec<_> = image.segments().map(|segment| segment.pages()).collect();
            pages.sort_by_key(|pages| pages.start);
            prop_assert!(pages.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(pages.iter().all(|pages| pages.end <= 0xEFC0_0000));
            prop_assert!(pages.iter().any(|pages| pages.contains(&image.entry)));
        }
    }
}
