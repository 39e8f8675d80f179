//! `block-device-driver`, used by the stream of `block-device-adapters`, whose blocks are larger than, as large as and smaller than the disk's.

mod common;

use aligned::{A1, Aligned};
use block_device_adapters::BufStream;
use block_device_driver::BlockDevice;
use common::{TestDisk, block_on, finish, pattern, rig, small};
use embedded_io_async_06::{Read, Seek, SeekFrom, Write};
use virtio_blk::SubmitError;
use virtio_blk_async::{ByteRange, Error};
use virtio_blk_model::{Model, ModelConfig, feature};

fn range(disk: &TestDisk, bytes: std::ops::Range<u64>) -> ByteRange<&TestDisk> {
    ByteRange::whole(disk).part(bytes).expect("a part of it")
}

/// Writes and reads bytes through the stream, as a partition would be.
fn stream<const SIZE: usize>(model: &Model, disk: &TestDisk) {
    let content = pattern(SIZE as u64, 9000);
    block_on(model, disk, async {
        let mut stream = BufStream::<_, SIZE>::new(range(disk, 4096..36_864));
        stream.seek(SeekFrom::Start(1234)).await.unwrap();
        stream.write_all(&content).await.unwrap();
        stream.flush().await.unwrap();
        stream.seek(SeekFrom::Start(1234)).await.unwrap();
        let mut read = vec![0; content.len()];
        stream.read_exact(&mut read).await.unwrap();
        assert!(read == content, "blocks of {SIZE}");
    });
    assert!(model.read_disk(8, 32)[1234..][..9000] == content, "blocks of {SIZE}");
}

#[test]
fn a_stream_of_blocks_of_any_size_is_written_and_read() {
    for block_size in [512, 4096] {
        let (model, disk) = rig(ModelConfig { block_size, ..small() });
        stream::<512>(&model, &disk);
        stream::<4096>(&model, &disk);
        if !cfg!(miri) {
            stream::<1024>(&model, &disk);
        }
        finish(&model, disk);
    }
}

#[test]
fn several_blocks_are_one_transfer() {
    let (model, disk) = rig(small());
    let content = pattern(1, 1024);
    let mut blocks = [Aligned::<A1, _>([0; 512]); 2];
    for (block, bytes) in blocks.iter_mut().zip(content.chunks(512)) {
        block.copy_from_slice(bytes);
    }
    let mut device = range(&disk, 512..8192);
    let before = model.counters().chains;
    block_on(&model, &disk, device.write(3, &blocks)).unwrap();
    assert_eq!(model.counters().chains, before + 1);
    assert_eq!(model.read_disk(4, 2), content);
    let mut read = [Aligned::<A1, _>([0; 512]); 2];
    block_on(&model, &disk, device.read(3, &mut read)).unwrap();
    assert!(read.iter().zip(&blocks).all(|(read, block)| **read == **block));
    assert_eq!(block_on(&model, &disk, BlockDevice::<512>::size(&mut device)), Ok(7680));
    finish(&model, disk);
}

#[test]
fn an_error_of_the_disk_arrives_as_it_is() {
    let (model, disk) = rig(small().offer(feature::RO));
    let mut device = range(&disk, 512..8192);
    let blocks = [Aligned::<A1, _>([0; 512]); 2];
    let refused = block_on(&model, &disk, device.write(0, &blocks));
    assert_eq!(refused, Err(Error::Refused(SubmitError::ReadOnly)));
    let beyond = Err(Error::OutOfRange { end: 7680 });
    assert_eq!(block_on(&model, &disk, device.write(14, &blocks)), beyond);
    assert_eq!(block_on(&model, &disk, device.write(u32::MAX, &blocks)), beyond);
    finish(&model, disk);
}
