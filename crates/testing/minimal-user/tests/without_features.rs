//! A driver that is built for reads, writes and flushes alone: the rest is refused with its error, and not negotiated.
//!
//! Cargo builds a dependency once with all features that anything in the same build asks for. Alone, this crate has the driver
//! without features; in a build of the whole workspace it has one with all, and the expectations are those of that one.

use virtio_blk::proto::{BlkFeatures, Sector};
use virtio_blk::{Answer, Disk, DiskOptions, Request, SUPPORTED_BLK, SectorRange, SubmitError};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters, feature};
use virtio_core::{Dma, DmaBuffer, Features, PollLimit};
use virtio_mmio::MmioTransport;

type TestDisk = Disk<MmioTransport<ModelRegisters>, DmaBuffer, u32, 16>;

/// Features that only the parts of the driver use that were left out.
const LEFT_OUT: u64 = feature::DISCARD | feature::WRITE_ZEROES | feature::SECURE_ERASE | feature::LIFETIME;

/// Whether the whole driver is there.
fn is_whole() -> bool {
    SUPPORTED_BLK.contains(BlkFeatures::DISCARD)
}

fn start(config: ModelConfig) -> (Model, ModelDma, TestDisk) {
    let model = Model::new(config);
    let transport = virtio_mmio::probe(model.registers()).device().unwrap();
    let mut dma = model.dma();
    let disk = TestDisk::start(transport, &mut dma, &DiskOptions::default(), &mut PollLimit::default()).unwrap();
    (model, dma, disk)
}

/// The error with which a request is refused.
fn refused(disk: &mut TestDisk, request: Request<DmaBuffer, u32>) -> Option<SubmitError> {
    disk.submit(request).err().map(|rejected| rejected.error)
}

fn finish(model: &Model, mut dma: ModelDma, disk: TestDisk) {
    disk.shut_down(&mut dma, &mut PollLimit::default(), |_| {}).unwrap();
    model.assert_clean();
}

#[test]
fn what_was_left_out_is_not_negotiated_and_refused() {
    let (model, dma, mut disk) = start(ModelConfig::modern().offer(LEFT_OUT));
    let accepted = disk.accepted_features() & Features::from_low(LEFT_OUT);
    assert_eq!(accepted.is_empty(), !is_whole());
    let range = SectorRange {
        first: Sector(0),
        sectors: 8,
    };
    let expected = (!is_whole()).then_some(SubmitError::Unsupported);
    for request in [
        Request::discard(range, 1),
        Request::write_zeroes(range, false, 2),
        Request::secure_erase(range, 3),
        Request::identify(4),
        Request::lifetime(5),
    ] {
        let operation = request.operation();
        assert_eq!(refused(&mut disk, request), expected, "{operation:?}");
    }
    finish(&model, dma, disk);
}

#[test]
fn a_transfer_of_several_device_requests_is_too_large() {
    let config = ModelConfig {
        size_max: 4096,
        seg_max: 2,
        ..ModelConfig::modern().offer(feature::SIZE_MAX)
    };
    let (model, mut dma, mut disk) = start(config);
    let buffer = DmaBuffer::allocate(&mut dma, 4096, 4096).unwrap();
    assert_eq!(refused(&mut disk, Request::write(Sector(0), buffer, 1)), None);
    let buffer = DmaBuffer::allocate(&mut dma, 4096 + 512, 4096).unwrap();
    let expected = (!is_whole()).then_some(SubmitError::TooLarge);
    assert_eq!(refused(&mut disk, Request::write(Sector(0), buffer, 2)), expected);
    // What is wrong in any case has its own error.
    let buffer = DmaBuffer::allocate(&mut dma, 4096 + 100, 4096).unwrap();
    let misaligned = SubmitError::Misaligned { block_bytes: 512 };
    assert_eq!(
        refused(&mut disk, Request::write(Sector(0), buffer, 3)),
        Some(misaligned)
    );
    finish(&model, dma, disk);
}

#[test]
fn reads_writes_and_flushes_go_through() {
    let (model, mut dma, mut disk) = start(ModelConfig::modern());
    let finish_one = |disk: &mut TestDisk, request| {
        disk.submit(request).unwrap();
        disk.notify();
        model.process(usize::MAX);
        let mut finished = None;
        disk.poll(|done| finished = Some(done)).unwrap();
        let done = finished.unwrap();
        assert_eq!(done.result, Ok(Answer::Done));
        (done.buffer, done.bytes)
    };
    let mut buffer = DmaBuffer::allocate(&mut dma, 1024, 512).unwrap();
    buffer.fill(0x5A);
    let (buffer, bytes) = finish_one(&mut disk, Request::write(Sector(5), buffer, 1));
    assert_eq!(bytes, 1024);
    finish_one(&mut disk, Request::flush(2));
    let mut buffer = buffer.unwrap();
    buffer.fill(0);
    let (buffer, bytes) = finish_one(&mut disk, Request::read(Sector(5), buffer, 3));
    assert_eq!(bytes, 1024);
    let buffer = buffer.unwrap();
    assert!(buffer.iter().all(|&byte| byte == 0x5A));
    dma.release(buffer.into_region());
    finish(&model, dma, disk);
}
