//! `embedded-io`, used by `embedded-io-adapters` and, through that, by `fatfs`.

mod common;

use std::io::{self, Cursor, Read as _, Seek as _, Write as _};

use common::{fat, finish, pattern, serving};
use embedded_io::{Error as _, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use embedded_io_adapters::std::ToStd;
use proptest::prelude::*;
use virtio_blk::SubmitError;
use virtio_blk_blocking::{ByteCursor, ByteRange, Error, StreamError};
use virtio_blk_model::{ModelConfig, feature};

#[test]
#[cfg_attr(miri, ignore = "it takes an hour, and handles no memory in another way")]
fn a_file_system_is_made_and_used() {
    for block_size in [512, 4096] {
        let (model, mut disk) = serving(ModelConfig {
            block_size,
            ..ModelConfig::modern()
        });
        let content = pattern(3, 100_000);
        let volume = ByteRange::whole(&mut disk).part(fat::PARTITION).unwrap();
        let mut volume = ToStd::new(ByteCursor::new(volume));
        fat::format(&mut volume).unwrap();
        volume.rewind().unwrap();
        let system = fat::mount(&mut volume).unwrap();
        let folder = system.root_dir().create_dir("folder").unwrap();
        folder.create_file("file.bin").unwrap().write_all(&content).unwrap();
        let mut read = Vec::new();
        let mut file = folder.open_file("file.bin").unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == content, "blocks of {block_size}");
        drop((file, folder));
        system.unmount().unwrap();

        // The same bytes in memory are the same file system.
        let bytes = model.read_disk(
            fat::PARTITION.start / 512,
            (fat::PARTITION.end - fat::PARTITION.start) / 512,
        );
        let system = fat::mount(Cursor::new(bytes)).unwrap();
        let mut read = Vec::new();
        let mut file = system.root_dir().open_file("folder/file.bin").unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == content, "blocks of {block_size}");
        finish(&model, disk);
    }
}

/// One step of the property.
#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Write(usize),
    Seek(io::SeekFrom),
}

fn step() -> impl Strategy<Value = Step> {
    let by = || prop_oneof![9 => -6000i64..6000, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    prop_oneof![
        (0usize..2000).prop_map(Step::Read),
        (0usize..2000).prop_map(Step::Write),
        prop_oneof![9 => 0u64..6000, 1 => Just(u64::MAX)].prop_map(|to| Step::Seek(io::SeekFrom::Start(to))),
        by().prop_map(|by| Step::Seek(io::SeekFrom::Current(by))),
        by().prop_map(|by| Step::Seek(io::SeekFrom::End(by))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }) })]

    #[test]
    fn a_cursor_does_what_one_over_memory_does(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 8 } else { 40 })) {
        let (model, mut disk) = serving(ModelConfig::modern());
        let mut plain = pattern(5, 5120);
        model.write_disk(2, &plain);
        let range = ByteRange::whole(&mut disk).part(1024..6024).unwrap();
        let mut cursor = ToStd::new(ByteCursor::new(range));
        let mut memory = Cursor::new(&mut plain[..5000]);
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Read(len) => {
                    let (mut one, mut other) = (vec![0; len], vec![0; len]);
                    prop_assert_eq!(cursor.read(&mut one).unwrap(), memory.read(&mut other).unwrap());
                    prop_assert_eq!(one, other);
                }
                Step::Write(len) => {
                    let content = pattern(number, len);
                    // That one writes nothing at the end, and for this trait that is an error.
                    let written = memory.write(&content).unwrap();
                    match cursor.write(&content) {
                        Ok(count) => prop_assert_eq!(count, written),
                        Err(error) => prop_assert_eq!((error.kind(), written, len == 0), (io::ErrorKind::WriteZero, 0, false)),
                    }
                }
                Step::Seek(to) => {
                    let (one, other) = (cursor.seek(to), memory.seek(to));
                    prop_assert_eq!(one.as_ref().ok(), other.as_ref().ok());
                    prop_assert_eq!(one.map_err(|error| error.kind()).err(), other.map_err(|error| error.kind()).err());
                }
            }
            prop_assert_eq!(cursor.inner().position(), memory.position());
        }
        prop_assert_eq!(model.read_disk(2, 10), plain);
        finish(&model, disk);
    }
}

#[test]
fn a_flush_reaches_the_device() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let mut cursor = ByteCursor::new(ByteRange::whole(&mut disk));
    cursor.write_all(b"kept").unwrap();
    let before = model.counters().chains;
    cursor.flush().unwrap();
    assert_eq!(model.counters().chains, before + 1);
    finish(&model, disk);
}

#[test]
fn an_error_of_the_disk_leaves_the_position() {
    let (model, mut disk) = serving(ModelConfig::modern().offer(feature::RO));
    let mut cursor = ByteCursor::new(ByteRange::whole(&mut disk));
    cursor.seek(SeekFrom::Start(100)).unwrap();
    let refused = StreamError::Disk(Error::Refused(SubmitError::ReadOnly));
    assert_eq!(cursor.write(&[1; 600]), Err(refused));
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_eq!(cursor.stream_position(), Ok(100));
    let mut memory = [0xEE; 4];
    assert_eq!(cursor.read(&mut memory), Ok(4));
    assert_eq!((memory, cursor.position()), ([0; 4], 104));
    finish(&model, disk);
}
