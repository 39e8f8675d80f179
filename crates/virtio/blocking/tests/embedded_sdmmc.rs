//! `embedded-sdmmc`, whose file system is mounted on a disk, and compared with that of `fatfs`.

mod common;

use std::cell::RefCell;
use std::io::{Cursor, Read as _, Write as _};

use common::{fat, finish, pattern, serving};
use embedded_sdmmc::{
    Block, BlockCount, BlockDevice, BlockIdx, Error as FatError, Mode, TimeSource, Timestamp, VolumeIdx, VolumeManager,
};
use virtio_blk::{Limits, SubmitError};
use virtio_blk_blocking::{BlockIo, ByteRange, Error, Sector, SectorRange, SharedRange};
use virtio_blk_model::{Model, ModelConfig, feature};

/// A clock that stands still.
struct Noon;

impl TimeSource for Noon {
    fn get_timestamp(&self) -> Timestamp {
        Timestamp::from_calendar(2026, 1, 1, 12, 0, 0).expect("it is a time")
    }
}

/// Makes a FAT file system on the disk, with this file.
fn write_fat(model: &Model, name: &str, content: &[u8]) {
    let mut volume = vec![0; (fat::PARTITION.end - fat::PARTITION.start) as usize];
    fat::format(Cursor::new(&mut volume)).unwrap();
    let system = fat::mount(Cursor::new(&mut volume)).unwrap();
    system.root_dir().create_file(name).unwrap().write_all(content).unwrap();
    system.unmount().unwrap();
    model.write_disk(0, &fat::partition_table());
    model.write_disk(fat::PARTITION.start / 512, &volume);
}

/// Reads a file of the file system on the disk.
fn read_fat(model: &Model, name: &str) -> Vec<u8> {
    let volume = model.read_disk(
        fat::PARTITION.start / 512,
        (fat::PARTITION.end - fat::PARTITION.start) / 512,
    );
    let system = fat::mount(Cursor::new(volume)).unwrap();
    let mut content = Vec::new();
    system
        .root_dir()
        .open_file(name)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    content
}

#[test]
#[cfg_attr(miri, ignore = "it takes an hour, and handles no memory in another way")]
fn a_fat_file_system_is_read_and_written() {
    for block_size in [512, 4096] {
        let (model, mut disk) = serving(ModelConfig {
            block_size,
            ..ModelConfig::modern()
        });
        let (old, new) = (pattern(1, 30_000), pattern(2, 20_001));
        write_fat(&model, "OLD.BIN", &old);
        let files = VolumeManager::new(SharedRange::new(ByteRange::whole(&mut disk)), Noon);
        {
            let volume = files.open_volume(VolumeIdx(0)).unwrap();
            let root = volume.open_root_dir().unwrap();
            let file = root.open_file_in_dir("OLD.BIN", Mode::ReadOnly).unwrap();
            let mut read = vec![0; old.len()];
            assert_eq!(file.read(&mut read).unwrap(), old.len());
            assert!(read == old, "blocks of {block_size}");
            let file = root.open_file_in_dir("NEW.BIN", Mode::ReadWriteCreate).unwrap();
            file.write(&new).unwrap();
        }
        files.device(|shared| shared.with(ByteRange::flush)).unwrap();
        drop(files);
        assert!(read_fat(&model, "NEW.BIN") == new, "blocks of {block_size}");
        assert!(read_fat(&model, "OLD.BIN") == old, "blocks of {block_size}");
        finish(&model, disk);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes an hour, and handles no memory in another way")]
fn an_error_of_the_disk_arrives_as_it_is() {
    let (model, mut disk) = serving(ModelConfig::modern().offer(feature::RO));
    write_fat(&model, "OLD.BIN", b"old");
    let files = VolumeManager::new(SharedRange::new(ByteRange::whole(&mut disk)), Noon);
    let make = || {
        let root = files.open_volume(VolumeIdx(0))?;
        let root = root.open_root_dir()?;
        let made = root.open_file_in_dir("NEW.BIN", Mode::ReadWriteCreate);
        made.map(drop)
    };
    let Err(FatError::DeviceError(error)) = make() else {
        panic!("the disk cannot be written");
    };
    assert_eq!(error, Error::Refused(SubmitError::ReadOnly));
    drop(files);
    finish(&model, disk);
}

#[test]
fn several_blocks_are_read_and_written_at_once() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let content = pattern(4, 3 * 512);
    let shared = SharedRange::new(ByteRange::whole(&mut disk).part(512..16 * 512).unwrap());
    let mut blocks = vec![Block::new(); 3];
    for (block, bytes) in blocks.iter_mut().zip(content.chunks(512)) {
        block.contents.copy_from_slice(bytes);
    }
    shared.write(&blocks, BlockIdx(4)).unwrap();
    assert_eq!(model.read_disk(5, 3), content);
    blocks.fill(Block::new());
    shared.read(&mut blocks, BlockIdx(4)).unwrap();
    assert_eq!(
        blocks.iter().flat_map(|block| block.contents).collect::<Vec<u8>>(),
        content
    );
    finish(&model, disk);
}

#[test]
fn blocks_after_the_end_are_refused_before_any_is_written() {
    let (model, mut disk) = serving(ModelConfig::modern());
    // A rest of 100 bytes is no block.
    let shared = SharedRange::new(ByteRange::whole(&mut disk).part(0..4 * 512 + 100).unwrap());
    assert_eq!(shared.num_blocks(), Ok(BlockCount(4)));
    let beyond = Err(Error::OutOfRange { end: 4 * 512 + 100 });
    let mut ones = vec![Block { contents: [1; 512] }; 2];
    assert_eq!(shared.write(&ones, BlockIdx(3)), beyond);
    assert_eq!(model.read_disk(0, 5), [0; 5 * 512]);
    assert_eq!(shared.read(&mut ones, BlockIdx(u32::MAX)), beyond);
    assert_eq!(shared.write(&ones, BlockIdx(2)), Ok(()));
    assert_eq!(model.read_disk(0, 5).iter().filter(|&&byte| byte == 1).count(), 1024);
    finish(&model, disk);
}

#[test]
fn a_range_in_use_says_so() {
    let (model, mut disk) = serving(ModelConfig::modern());
    let shared = SharedRange::new(ByteRange::whole(&mut disk));
    let inner = shared.with(|_| shared.num_blocks());
    assert_eq!(inner, Err(Error::InUse));
    assert_eq!(shared.num_blocks(), Ok(BlockCount(16384)));
    assert_eq!(shared.into_range().len(), 16384 * 512);
    finish(&model, disk);
}

/// A disk behind a lock of the caller, taken for each operation.
struct Locked<'d, D> {
    limits: Limits,
    disk: &'d RefCell<D>,
}

impl<D: BlockIo> BlockIo for Locked<'_, D> {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&mut self, first: Sector, memory: &mut [u8]) -> Result<(), Error> {
        self.disk.borrow_mut().read(first, memory)
    }

    fn write(&mut self, first: Sector, memory: &[u8]) -> Result<(), Error> {
        self.disk.borrow_mut().write(first, memory)
    }

    fn read_bytes(&mut self, offset: u64, memory: &mut [u8]) -> Result<(), Error> {
        self.disk.borrow_mut().read_bytes(offset, memory)
    }

    fn write_bytes(&mut self, offset: u64, memory: &[u8]) -> Result<(), Error> {
        self.disk.borrow_mut().write_bytes(offset, memory)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.disk.borrow_mut().flush()
    }

    fn discard(&mut self, range: SectorRange) -> Result<(), Error> {
        self.disk.borrow_mut().discard(range)
    }

    fn write_zeroes(&mut self, range: SectorRange, may_unmap: bool) -> Result<(), Error> {
        self.disk.borrow_mut().write_zeroes(range, may_unmap)
    }
}

#[test]
fn two_users_share_a_disk_behind_a_lock() {
    let (model, disk) = serving(ModelConfig::modern());
    let disk = RefCell::new(disk);
    let limits = *disk.borrow().limits();
    let share = |bytes| {
        let locked = Locked { limits, disk: &disk };
        SharedRange::new(ByteRange::whole(locked).part(bytes).map_err(|_| ()).unwrap())
    };
    let (one, other) = (share(0..1024), share(1024..2048));
    let [mut ones, mut twos] = [1, 2].map(|byte| [Block { contents: [byte; 512] }]);
    one.write(&ones, BlockIdx(1)).unwrap();
    other.write(&twos, BlockIdx(0)).unwrap();
    one.read(&mut ones, BlockIdx(1)).unwrap();
    other.read(&mut twos, BlockIdx(0)).unwrap();
    assert_eq!((ones[0].contents[511], twos[0].contents[0]), (1, 2));
    finish(&model, disk.into_inner());
}
