//! What programs ask of VFS and PM. The offsets are those of the C library's messages.

use core::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::pm::Exit;
use minix_abi::terminal::Settings;
use minix_abi::vfs::{Close, Control, Descriptor, OpenMode, OpenPath, Select, TimeValue, Transfer};

use crate::{A, B, C, at32, at64, check, check_payload};

#[test]
fn requests_to_vfs() {
    check_payload(
        Close {
            descriptor: Descriptor(3),
            no_wait: 1,
        },
        8,
        &[at32(0, 3), at32(4, 1)],
    );
    check_payload(
        Transfer {
            descriptor: Descriptor::STDERR,
            buffer: A,
            bytes: B,
            done: C,
            ..Default::default()
        },
        32,
        &[at32(0, 2), at64(8, A), at64(16, B), at64(24, C)],
    );
    check_payload(
        Control {
            descriptor: Descriptor(4),
            code: IoctlCode::DIOCGETP,
            argument: A,
            ..Default::default()
        },
        24,
        &[at32(0, 4), at64(8, 0x4020_6404), at64(16, A)],
    );
    check_payload(
        Select {
            end: 5,
            readable: A,
            writable: B,
            failed: C,
            timeout: 0x1234,
            ..Default::default()
        },
        40,
        &[at32(0, 5), at64(8, A), at64(16, B), at64(24, C), at64(32, 0x1234)],
    );
}

#[test]
fn a_short_name_travels_in_the_message() {
    let mut text = b"/dev/c0d0".to_vec();
    text.resize(40, 0);
    check_payload(
        OpenPath::new(c"/dev/c0d0", A, OpenMode::O_RDWR),
        64,
        &[at64(0, A), at64(8, 10), at32(16, 2), at32(20, 0), (24, text)],
    );
}

#[test]
fn a_long_name_is_only_pointed_at() {
    // With its NUL the first has 40 bytes, the second 41.
    let longest = c"/dev/and-so-on-until-there-are-39-letter";
    assert_eq!(longest.to_bytes().len(), 40);
    let open = OpenPath::new(longest, A, OpenMode::O_RDONLY);
    assert_eq!((open.name, open.name_bytes, open.text), (A, 41, [0; 40]));
    let fits = c"/dev/and-so-on-until-there-are-39-lette";
    let open = OpenPath::new(fits, A, OpenMode::O_RDONLY);
    assert_eq!(open.name_bytes, 40);
    assert_eq!(open.text[..], *fits.to_bytes_with_nul());
}

#[test]
fn spans_of_programs_are_rounded_up() {
    let value = TimeValue::from(Duration::new(7, 1_001));
    check(value, 16, &[at64(0, 7), at32(8, 2)]);
    assert_eq!(TimeValue::from(Duration::ZERO), TimeValue::default());
    let next_second = TimeValue::from(Duration::new(7, 999_999_001));
    assert_eq!((next_second.seconds, next_second.micros), (8, 0));
    assert_eq!(TimeValue::from(Duration::MAX).seconds, i64::MAX);
}

#[test]
fn the_rest_of_a_program() {
    check_payload(Exit { status: -1 }, 4, &[at32(0, -1)]);
    check(Settings([7; 44]), 44, &[(0, vec![7; 44])]);
}
