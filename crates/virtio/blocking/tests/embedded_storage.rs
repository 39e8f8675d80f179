//! `embedded-storage`, used by `esp-partition-table`, which writes and reads a table through the trait.

mod common;

use common::{finish, pattern, serving};
use embedded_storage::{ReadStorage, Storage};
use esp_partition_table::{AppPartitionType, DataPartitionType, PartitionEntry, PartitionTable, StorageOpError};
use virtio_blk::{Limits, SubmitError};
use virtio_blk_blocking::{BlockIo, ByteRange, Error, Sector, SectorRange};
use virtio_blk_model::{ModelConfig, feature};

fn entries() -> [PartitionEntry; 2] {
    [
        PartitionEntry::new(DataPartitionType::Fat, 0x9000, 0x4000, "files", false).unwrap(),
        PartitionEntry::new(AppPartitionType::Factory, 0x10000, 0x10_0000, "program", true).unwrap(),
    ]
}

#[test]
fn a_partition_table_is_written_and_read() {
    let (model, mut disk) = serving(ModelConfig::modern());
    // Neither the range nor the table starts with a block.
    let mut range = ByteRange::whole(&mut disk).part(1000..20_000).unwrap();
    let table = PartitionTable::new(500, 0xC00);
    table
        .write_storage(&mut range, entries(), false)
        .expect("the table is written");
    range.flush().unwrap();
    // What ends a table.
    Storage::write(&mut range, 564, &[0xFF; 32]).unwrap();
    let read: Vec<PartitionEntry> = table.read_storage(&mut range, None).expect("the table is read");
    assert_eq!(read, entries());
    // As the format is described: magic, type, subtype, offset, size, name.
    let mut expected = vec![0xAA, 0x50, 1, 0x81];
    expected.extend(0x9000u32.to_le_bytes());
    expected.extend(0x4000u32.to_le_bytes());
    expected.extend(*b"files");
    let on_disk = model.read_disk(0, 4);
    assert_eq!(on_disk[1500..1500 + expected.len()], expected);
    assert_eq!(on_disk[..1500], [0; 1500]);
    finish(&model, disk);
}

#[test]
fn any_bytes_are_read_and_written() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let content = pattern(1, 1700);
    let mut range = ByteRange::whole(&mut disk);
    Storage::write(&mut range, 777, &content).unwrap();
    let mut memory = [0; 1700];
    ReadStorage::read(&mut range, 777, &mut memory).unwrap();
    assert_eq!(memory[..], content);
    assert_eq!(model.read_disk(1, 4)[265..265 + 1700], content);
    finish(&model, disk);
}

#[test]
fn an_error_of_the_disk_arrives_as_it_is() {
    let (model, mut disk) = serving(ModelConfig::modern().offer(feature::RO));
    let mut range = ByteRange::whole(&mut disk);
    let written = PartitionTable::new(0, 0xC00).write_storage(&mut range, entries(), false);
    let Err(StorageOpError::StorageError(error)) = written else {
        panic!("{:?}", written.is_ok());
    };
    assert_eq!(error, Error::Refused(SubmitError::ReadOnly));
    finish(&model, disk);
}

#[test]
fn what_ends_after_the_capacity_is_refused() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let mut range = ByteRange::whole(&mut disk).part(512..1536).unwrap();
    assert_eq!(range.capacity(), 1024);
    let beyond = Err(Error::OutOfRange { end: 1024 });
    assert_eq!(ReadStorage::read(&mut range, 1024, &mut [0]), beyond);
    assert_eq!(Storage::write(&mut range, 1000, &[1; 25]), beyond);
    assert_eq!(ReadStorage::read(&mut range, u32::MAX, &mut [0; 2]), beyond);
    assert_eq!(ReadStorage::read(&mut range, 1024, &mut []), Ok(()));
    assert_eq!(model.read_disk(0, 4), [0; 2048]);
    finish(&model, disk);
}

/// A disk without content that notes where it is read and written.
struct Huge {
    limits: Limits,
    reads: Vec<u64>,
}

impl BlockIo for Huge {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&mut self, _: Sector, _: &mut [u8]) -> Result<(), Error> {
        unreachable!()
    }

    fn write(&mut self, _: Sector, _: &[u8]) -> Result<(), Error> {
        unreachable!()
    }

    fn read_bytes(&mut self, offset: u64, _: &mut [u8]) -> Result<(), Error> {
        self.reads.push(offset);
        Ok(())
    }

    fn write_bytes(&mut self, _: u64, _: &[u8]) -> Result<(), Error> {
        unreachable!()
    }

    fn flush(&mut self) -> Result<(), Error> {
        unreachable!()
    }

    fn discard(&mut self, _: SectorRange) -> Result<(), Error> {
        unreachable!()
    }

    fn write_zeroes(&mut self, _: SectorRange, _: bool) -> Result<(), Error> {
        unreachable!()
    }
}

#[test]
fn of_a_huge_disk_the_capacity_is_what_offsets_reach() {
    let limits = Limits {
        capacity: Sector(1 << 30),
        block_bytes: 4096,
        ..Limits::default()
    };
    let mut disk = Huge {
        limits,
        reads: Vec::new(),
    };
    let mut range = ByteRange::whole(&mut disk);
    assert_eq!(range.len(), 1 << 39);
    // An offset of 32 bits can be made of it, and it is whole blocks.
    assert_eq!(range.capacity(), 0xFFFF_F000);
    assert_eq!(ReadStorage::read(&mut range, 0xFFFF_EFFE, &mut [0; 2]), Ok(()));
    let beyond = Err(Error::OutOfRange { end: 0xFFFF_F000 });
    assert_eq!(ReadStorage::read(&mut range, 0xFFFF_EFFF, &mut [0; 2]), beyond);
    // The rest is a part of its own.
    let mut rest = range.part(1 << 32..1 << 33).map_err(|_| ()).unwrap();
    assert_eq!(ReadStorage::read(&mut rest, 5, &mut [0; 2]), Ok(()));
    assert_eq!(disk.reads, [0xFFFF_EFFE, (1 << 32) + 5]);
}
