//! What the driver refuses by itself: exact errors, the request back whole, nothing for the device to see.
//!
//! `Rig::refused` looks after the last two.

mod common;

use common::{Rig, TestRequest, every_ring, pattern, range};
use virtio_blk::proto::Sector;
use virtio_blk::{Disk, DiskOptions, Request, SubmitError};
use virtio_blk_model::{Limits, Model, ModelConfig, feature};
use virtio_core::{DeviceAddr, Features, PollLimit, RawSegments, Segment};

const OUTSIDE: SubmitError = SubmitError::OutOfRange { capacity: Sector(1000) };
const OFF_BLOCK: SubmitError = SubmitError::Misaligned { block_bytes: 512 };

fn small(config: ModelConfig) -> ModelConfig {
    ModelConfig {
        capacity: 1000,
        ..config
    }
}

fn everything() -> ModelConfig {
    small(ModelConfig::modern()).offer(feature::SECURE_ERASE | feature::LIFETIME)
}

/// All operations on one range.
fn range_requests(first: u64, sectors: u64) -> [Box<dyn FnOnce(u32) -> TestRequest>; 4] {
    [
        Box::new(move |token| Request::discard(range(first, sectors), token)),
        Box::new(move |token| Request::write_zeroes(range(first, sectors), false, token)),
        Box::new(move |token| Request::write_zeroes(range(first, sectors), true, token)),
        Box::new(move |token| Request::secure_erase(range(first, sectors), token)),
    ]
}

// Shows BLK-D-12.
#[test]
fn nothing_reaches_past_the_end_of_the_disk() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(small(config));
        for (first, bytes) in [
            (1000, 512),
            (999, 1024),
            (998, 1536),
            (0, 1001 * 512),
            (1001, 512),
            (1 << 32, 512),
            (u64::MAX, 512),
            (u64::MAX, 1024),
            (u64::MAX - 1, 1024),
            (u64::MAX - 999, 512 * 1000),
            (1 << 55, 512),
        ] {
            rig.refuses_transfers(first, &[bytes], OUTSIDE);
        }
        // Up to the last sector, everything.
        for (first, bytes) in [(999, 512), (998, 1024), (0, 512_000)] {
            rig.write(first, &pattern(first, bytes));
            assert_eq!(rig.read(first, bytes), pattern(first, bytes));
        }
        rig.finish();
    });
}

// Shows BLK-D-12.
#[test]
fn no_range_reaches_past_the_end_of_the_disk() {
    let mut rig = Rig::<16>::new(everything());
    for (first, sectors) in [
        (1000, 1),
        (999, 2),
        (0, 1001),
        (u64::MAX, 1),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (2, u64::MAX - 1),
        (500, 501),
        (0, (1 << 32) + 5),
    ] {
        for request in range_requests(first, sectors) {
            assert_eq!(rig.refused(request), OUTSIDE, "{sectors} sectors at {first}");
        }
    }
    for request in range_requests(0, 1000).into_iter().chain(range_requests(999, 1)) {
        rig.good(request);
    }
    rig.finish();
}

// Shows BLK-D-16.
#[test]
fn transfers_are_whole_sectors() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(small(config));
        for lengths in [&[511][..], &[1], &[513], &[512, 1], &[300, 211], &[512, 512, 100]] {
            rig.refuses_transfers(0, lengths, OFF_BLOCK);
        }
        rig.finish();
    });
}

#[test]
fn positions_and_lengths_are_whole_blocks() {
    let config = ModelConfig {
        block_size: 4096,
        ..everything()
    };
    let mut rig = Rig::<16>::new(config);
    let off_block = SubmitError::Misaligned { block_bytes: 4096 };
    for (first, bytes) in [
        (0, 512),
        (0, 2048),
        (0, 4096 + 512),
        (1, 4096),
        (4, 4096),
        (7, 4096),
        (9, 512),
    ] {
        rig.refuses_transfers(first, &[bytes], off_block);
        for request in range_requests(first, bytes as u64 / 512) {
            assert_eq!(rig.refused(request), off_block, "{bytes} bytes at {first}");
        }
    }
    rig.write(8, &pattern(1, 4096));
    for request in range_requests(16, 8) {
        rig.good(request);
    }
    rig.finish();
}

// Shows BLK-D-13.
#[test]
fn a_read_only_disk_is_only_read() {
    for config in [everything(), small(ModelConfig::legacy())] {
        let mut rig = Rig::<16>::new(config.offer(feature::RO));
        assert!(rig.disk.limits().read_only);
        assert_eq!(rig.refused_write(0, &pattern(1, 512), &[512]), SubmitError::ReadOnly);
        for request in range_requests(0, 8) {
            assert_eq!(rig.refused(request), SubmitError::ReadOnly);
        }
        rig.model.write_disk(5, &pattern(2, 512));
        assert_eq!(rig.read(5, 512), pattern(2, 512));
        rig.finish();
    }
}

#[test]
fn unsupported_operations_are_refused() {
    let bare = ModelConfig {
        offered: Features::VERSION_1,
        ..small(ModelConfig::modern())
    };
    let mut rig = Rig::<16>::new(bare);
    for request in range_requests(0, 8) {
        assert_eq!(rig.refused(request), SubmitError::Unsupported);
    }
    assert_eq!(rig.refused(Request::flush), SubmitError::Unsupported);
    assert_eq!(rig.refused(Request::lifetime), SubmitError::Unsupported);
    rig.finish();

    // Offered, but with limits that leave no room for any request.
    let limits = Limits {
        max_sectors: 7,
        ..Limits::default()
    };
    let mut rig = Rig::<16>::new(ModelConfig {
        discard: limits,
        write_zeroes: limits,
        secure_erase: limits,
        block_size: 4096,
        ..everything()
    });
    for request in range_requests(0, 8) {
        assert_eq!(rig.refused(request), SubmitError::Unsupported);
    }
    rig.finish();
}

#[test]
fn an_empty_request_is_refused() {
    let mut rig = Rig::<16>::new(everything());
    for lengths in [&[][..], &[0], &[0, 0, 0]] {
        rig.refuses_transfers(0, lengths, SubmitError::Empty);
    }
    for request in range_requests(0, 0).into_iter().chain(range_requests(u64::MAX, 0)) {
        assert_eq!(rig.refused(request), SubmitError::Empty);
    }
    rig.finish();
}

#[test]
fn a_block_in_too_many_pieces_is_too_scattered() {
    every_ring(|config| {
        let config = ModelConfig {
            seg_max: 4,
            size_max: 200,
            ..small(config).offer(feature::SIZE_MAX)
        };
        let mut rig = Rig::<16>::new(config);
        // Pieces of the caller's, pieces of size_max, and a block that is fine before one that is not.
        let good: [&[usize]; 3] = [&[128; 4], &[512], &[200, 200, 112]];
        let bad: [&[usize]; 3] = [
            &[100, 100, 100, 100, 112],
            &[201, 201, 110],
            &[512, 100, 100, 100, 100, 112],
        ];
        for lengths in bad {
            rig.refuses_transfers(0, lengths, SubmitError::TooScattered);
        }
        for lengths in good {
            let content = pattern(2, 512);
            rig.write_from(0, &content, lengths);
            assert_eq!(rig.read_into(0, lengths), content);
        }
        rig.finish();
    });
}

#[test]
fn a_segment_around_the_end_of_the_address_space_is_refused() {
    let model = Model::new(small(ModelConfig::modern()));
    let transport = virtio_mmio::probe(model.registers()).device().unwrap();
    let mut dma = model.dma();
    let mut disk = Disk::<_, RawSegments<Vec<Segment>>, u8, 16>::start(
        transport,
        &mut dma,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap();
    for segments in [
        vec![Segment::new(DeviceAddr(u64::MAX), 512)],
        vec![Segment::new(DeviceAddr(u64::MAX - 510), 512)],
        vec![
            Segment::new(DeviceAddr(0x1000), 512),
            Segment::new(DeviceAddr(u64::MAX - 5), 512),
        ],
    ] {
        // SAFETY: such a request is refused, so the device never gets to see the segments.
        let raw = unsafe { RawSegments::new(segments.clone()) };
        let rejected = disk.submit(Request::read(Sector(0), raw, 9)).unwrap_err();
        assert_eq!(rejected.error, SubmitError::BadSegment);
        let (buffer, token) = rejected.request.into_parts();
        assert_eq!((buffer.unwrap().into_inner(), token), (segments, 9));
    }
    // Lengths that add up to more than any disk has.
    let endless = vec![Segment::new(DeviceAddr(0), 0xFFFF_FE00); 5000];
    // SAFETY: as above.
    let raw = unsafe { RawSegments::new(endless) };
    let rejected = disk.submit(Request::write(Sector(0), raw, 9)).unwrap_err();
    assert_eq!(rejected.error, OUTSIDE);
    assert!(!disk.notify());
    assert_eq!(disk.counters().queue.device_requests, 0);
    disk.shut_down(&mut dma, &mut PollLimit::default(), |_| unreachable!())
        .unwrap();
    assert_eq!((model.allocations(), model.counters().chains), (0, 0));
    model.assert_clean();
}

#[test]
fn permanent_errors_come_before_a_full_queue() {
    let config = ModelConfig {
        queue_size_max: 4,
        ..everything().withdraw(feature::INDIRECT_DESC)
    };
    let mut rig = Rig::<4>::new(config);
    rig.submit_read(0, &[512]);
    rig.disk.notify();
    assert_eq!(rig.try_submit_read(1, &[512]), Err(SubmitError::QueueFull));
    assert_eq!(rig.try_submit_read(1000, &[512]), Err(OUTSIDE));
    assert_eq!(rig.try_submit_read(0, &[100]), Err(OFF_BLOCK));
    rig.settle();
    let counters = rig.finish();
    assert_eq!(counters.queue.queue_full, 1);
}

#[test]
fn a_rejected_request_is_an_error_that_converts_to_its_cause() {
    fn flush(rig: &mut Rig<8>) -> Result<u32, SubmitError> {
        rig.disk.submit(Request::flush(1))?;
        Ok(rig.disk.submit_all([Request::flush(2)])?)
    }
    // Neither needs to be printable.
    fn shown<B, K>(error: &virtio_blk::Rejected<B, K>) -> String {
        let error: &dyn core::error::Error = error;
        format!("{error} / {error:?}")
    }
    let mut rig = Rig::<8>::new(ModelConfig::modern().withdraw(feature::FLUSH | feature::CONFIG_WCE));
    assert_eq!(flush(&mut rig), Err(SubmitError::Unsupported));
    let stopped = rig.disk.submit_all([Request::flush(1)]).unwrap_err();
    assert_eq!(stopped.to_string(), "after 0 requests: not supported by the device");
    let source = core::error::Error::source(&stopped).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("not supported by the device"));
    assert_eq!(
        shown(&stopped.rejected),
        "not supported by the device / Rejected { error: Unsupported, operation: Flush, .. }"
    );
    assert_eq!(SubmitError::from(stopped), SubmitError::Unsupported);
    rig.finish();
}
