//! Limits that no device has, put into force by the caller of a queue that was separated from its device: nothing
//! panics, every token comes back once, and no memory is lost.

mod common;

use common::{Scatter, TestRequest, narrow, shut_down, start_queue};
use proptest::prelude::*;
use virtio_blk::proto::zoned::{ZoneId, ZonedConfig};
use virtio_blk::proto::{RangeLimits, Sector, ZeroesLimits};
use virtio_blk::{IoError, Limits, Request, SectorRange};
use virtio_blk_model::{Model, ModelConfig, ModelDma, feature};

/// Numbers at the edges of something.
fn odd_u32() -> impl Strategy<Value = u32> {
    prop_oneof![
        prop::sample::select(vec![
            0,
            1,
            2,
            511,
            512,
            513,
            768,
            1024,
            4096,
            1 << 31,
            u32::MAX - 511,
            u32::MAX
        ]),
        any::<u32>(),
    ]
}

fn odd_u64() -> impl Strategy<Value = u64> {
    prop_oneof![
        prop::sample::select(vec![0, 1, 8, 96, 1 << 55, 1 << 63, u64::MAX - 7, u64::MAX]),
        0..100u64,
        any::<u64>(),
    ]
}

fn ranges() -> impl Strategy<Value = Option<RangeLimits>> {
    prop::option::of((odd_u32(), odd_u32(), odd_u32())).prop_map(|ranges| {
        ranges.map(|(max_sectors, max_segments, alignment_sectors)| RangeLimits {
            max_sectors,
            max_segments,
            alignment_sectors,
        })
    })
}

prop_compose! {
    fn absurd()(
        capacity in odd_u64(),
        [block_bytes, max_segment_bytes, max_request_bytes] in [odd_u32(), odd_u32(), odd_u32()],
        max_segments in prop::sample::select(vec![0, 1, 3, u16::MAX]),
        zeroes in prop::option::of((odd_u32(), odd_u32(), any::<bool>())),
        discard in ranges(),
        secure_erase in ranges(),
        zoned in prop::option::of((odd_u32(), odd_u32(), odd_u32(), 0..4u8)),
    ) -> Limits {
        let zeroes = zeroes.map(|(max_sectors, max_segments, may_unmap)| ZeroesLimits {
            max_sectors,
            max_segments,
            may_unmap,
        });
        Limits {
            capacity: Sector(capacity),
            block_bytes,
            read_only: false,
            max_segments,
            max_segment_bytes,
            max_request_bytes,
            flush: true,
            barrier: false,
            lifetime: true,
            discard,
            write_zeroes: zeroes,
            secure_erase,
            zoned: zoned.map(|(zone_sectors, max_append_sectors, write_granularity, model)| ZonedConfig {
                zone_sectors,
                max_open_zones: 1,
                max_active_zones: 1,
                max_append_sectors,
                write_granularity,
                model: model.into(),
            }),
        }
    }
}

fn request(kind: u8, first: u64, sectors: u64, lengths: &[usize], dma: &mut ModelDma) -> TestRequest {
    let range = SectorRange {
        first: Sector(first),
        sectors,
    };
    match kind {
        0 => Request::discard(range, 0),
        1 => Request::write_zeroes(range, true, 0),
        2 => Request::secure_erase(range, 0),
        3 => Request::lifetime(0),
        4 => Request::read(Sector(first), Scatter::new(dma, lengths), 0),
        5 => Request::append(ZoneId::starting_at(Sector(first)), Scatter::new(dma, lengths), 0),
        6 => Request::report_zones(Sector(first), Scatter::new(dma, lengths), 0),
        7 => Request::reset_zone(ZoneId::starting_at(Sector(first)), 0),
        _ => Request::write(Sector(first), Scatter::new(dma, lengths), 0),
    }
}

fn release(buffer: Option<Scatter>, dma: &mut ModelDma) {
    if let Some(buffer) = buffer {
        buffer.release(dma);
    }
}

#[test]
fn a_transfer_whose_rest_fits_no_empty_queue_is_aborted() {
    let model = Model::new(ModelConfig::modern().withdraw(feature::INDIRECT_DESC));
    let mut dma = model.dma();
    let (control, mut queue) = start_queue::<16>(&model);
    let limits = *queue.limits();
    let segments = |max_segments| Limits { max_segments, ..limits };
    queue.set_limits(segments(1));
    let buffer = Scatter::new(&mut dma, &[512; 25]);
    queue.submit(Request::read(Sector(0), buffer, 0)).unwrap();
    queue.set_limits(segments(u16::MAX));
    queue.notify();
    model.process(usize::MAX);
    let mut results = Vec::new();
    let polled = queue.poll(|completion| {
        results.push(completion.result.map(drop));
        release(completion.buffer, &mut dma);
    });
    assert_eq!((polled, results), (Ok(1), vec![Err(IoError::Aborted)]));
    let (aborted, _) = shut_down(&model, control, [queue]);
    assert!(aborted.is_empty());
    assert_eq!(model.allocations(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 1000 }) })]

    #[test]
    fn nothing_panics_and_nothing_is_lost(
        config in prop::sample::select(vec![
            ModelConfig::modern(),
            ModelConfig::legacy(),
            narrow(ModelConfig::modern()),
        ]),
        limits in prop::collection::vec(absurd(), 1..4),
        steps in prop::collection::vec(
            (0..9u8, odd_u64(), odd_u64(), prop::collection::vec(0..1500usize, 1..6)),
            1..8,
        ),
    ) {
        let model = Model::new(config);
        let mut dma = model.dma();
        let (control, mut queue) = start_queue::<16>(&model);
        let (mut taken, mut returned) = (0, 0);
        for (n, (kind, first, sectors, lengths)) in steps.into_iter().enumerate() {
            queue.set_limits(limits[n % limits.len()]);
            match queue.submit(request(kind, first, sectors, &lengths, &mut dma)) {
                Ok(()) => taken += 1,
                Err(rejected) => release(rejected.request.into_parts().0, &mut dma),
            }
            queue.notify();
            for _ in 0..3 {
                model.process(usize::MAX);
                // The device may refuse what is absurd in its own way; the driver answers with an error then.
                let _ = queue.poll(|completion| {
                    returned += 1;
                    release(completion.buffer, &mut dma);
                });
            }
        }
        let (aborted, _) = shut_down(&model, control, [queue]);
        returned += aborted.len();
        aborted.into_iter().for_each(|completion| release(completion.buffer, &mut dma));
        prop_assert_eq!(taken, returned);
        prop_assert_eq!(model.allocations(), 0);
    }
}
