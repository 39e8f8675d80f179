//! Devices that other people wrote: what they do differently, and that the driver works on them.

mod common;

use common::{Rig, every_ring, pattern, range};
use virtio_blk::proto::StatusError;
use virtio_blk::{Answer, IoError, Request, SubmitError};
use virtio_blk_model::faults::{FaultKind, FaultScript};
use virtio_blk_model::{Limits, ModelConfig, UsedLength, feature};
use virtio_core::{Features, Interface};

/// A device of every ring that reports lengths like `used_length`.
fn reporting(used_length: UsedLength, mut run: impl FnMut(ModelConfig)) {
    every_ring(|config| {
        let config = ModelConfig { used_length, ..config };
        run(config.offer(feature::LIFETIME | feature::SECURE_ERASE));
    });
}

/// Every operation once, all of them with success. Returns how many there were.
fn every_operation(rig: &mut Rig<16>) -> u64 {
    let content = pattern(3, 3 * 512);
    rig.write_from(4, &content, &[512, 1000, 24]);
    assert_eq!(rig.read_into(4, &[700, 836]), content);
    assert_eq!(rig.good(Request::flush), Answer::Done);
    assert!(matches!(rig.good(Request::identify), Answer::Id(id) if id.as_bytes_trimmed() == b"model-0.1"));
    assert!(matches!(rig.good(Request::lifetime), Answer::Lifetime(_)));
    assert_eq!(
        rig.good(|token| Request::write_zeroes(range(4, 1), false, token)),
        Answer::Done
    );
    assert_eq!(rig.good(|token| Request::discard(range(5, 1), token)), Answer::Done);
    assert_eq!(
        rig.good(|token| Request::secure_erase(range(6, 1), token)),
        Answer::Done
    );
    8
}

#[test]
fn requests_succeed_whatever_used_length_is_reported() {
    for used_length in UsedLength::ALL {
        reporting(used_length, |config| {
            let legacy = config.interface == Interface::Legacy;
            let mut rig = Rig::<16>::new(config);
            let operations = every_operation(&mut rig);
            let odd = match used_length {
                // Lengths of legacy devices are not looked at.
                _ if legacy => 0,
                UsedLength::Exact => 0,
                // Right for what writes nothing but the status: write, flush, and the three kinds of ranges.
                UsedLength::One => 3,
                UsedLength::None | UsedLength::DataOnly | UsedLength::TooMuch => operations,
            };
            assert_eq!(rig.disk.counters().queue.odd_lengths, odd, "{used_length:?}");
            let shown = rig.disk.counters().to_string();
            assert!(shown.contains(&format!("odd lengths {odd}")), "{shown}");
            let dump = rig.disk.dump().to_string();
            assert!(dump.contains(&format!("odd used lengths {odd}")), "{dump}");
            rig.finish();
        });
    }
}

#[test]
fn an_unwritten_status_fails_with_any_used_length() {
    for used_length in UsedLength::ALL {
        reporting(used_length, |config| {
            let mut rig = Rig::<16>::new(config);
            rig.model
                .set_fault(FaultScript::new().at(0, FaultKind::NoStatus).at(1, FaultKind::NoStatus));
            let request = rig.read_request(0, &[512]);
            let not_written = Err(IoError::Device(StatusError::NotWritten));
            assert_eq!(rig.run(request).result, not_written);
            assert_eq!(rig.run(Request::flush).result, not_written);
            rig.works();
            rig.finish();
        });
    }
}

#[test]
fn an_answer_that_was_not_written_reads_as_zeroes() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config);
        // The slot has held the answer of another request before.
        assert!(matches!(rig.good(Request::identify), Answer::Id(id) if !id.as_bytes_trimmed().is_empty()));
        rig.model.set_fault(FaultScript::new().at(1, FaultKind::Status(0)));
        assert!(matches!(rig.good(Request::identify), Answer::Id(id) if id.as_bytes_trimmed().is_empty()));
        rig.finish();
    });
}

#[test]
fn scattered_buffers_work_with_one_data_descriptor() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config.with_one_data_descriptor());
        let content = pattern(4, 6 * 512);
        // Two sectors, then pieces that meet at a sector, then a large one.
        rig.write_from(4, &content, &[1024, 512, 512, 1024]);
        assert_eq!(rig.model.read_disk(4, 6), content);
        assert_eq!(rig.read_into(4, &[512, 2048, 512]), content);
        // One sector in two pieces is for the caller to copy together.
        assert_eq!(rig.refused_read(4, &[500, 12]), SubmitError::TooScattered);
        assert!(matches!(rig.good(Request::identify), Answer::Id(id) if id.as_bytes_trimmed() == b"model-0.1"));
        assert_eq!(rig.good(Request::flush), Answer::Done);
        assert_eq!(
            rig.good(|token| Request::write_zeroes(range(4, 1), false, token)),
            Answer::Done
        );
        rig.finish();
    });
}

#[test]
fn a_device_without_seg_max_gets_one_data_segment() {
    every_ring(|config| {
        let mut rig = Rig::<16>::new(config.clone().withdraw(feature::SEG_MAX));
        assert_eq!(rig.disk.limits().max_segments, 1);
        rig.read_into(0, &[512, 512]);
        assert_eq!(rig.model.counters().chains, 2);
        assert_eq!(rig.model.counters().longest_chain, 3);
        if config.offered.contains(Features::INDIRECT_DESC) {
            let dump = rig.disk.dump().to_string();
            assert!(
                dump.contains("indirect tables of 3"),
                "no memory for what is never used: {dump}"
            );
        }
        rig.finish();
    });
}

#[test]
fn ranges_go_out_where_the_device_states_no_maxima() {
    let none = Limits {
        max_sectors: 0,
        max_segments: 0,
        alignment: 0,
    };
    let mut rig = Rig::<16>::new(ModelConfig {
        discard: none,
        write_zeroes: none,
        secure_erase: none,
        ..ModelConfig::modern().offer(feature::SECURE_ERASE)
    });
    rig.good(|token| Request::discard(range(0, 4096), token));
    rig.good(|token| Request::write_zeroes(range(0, 4096), true, token));
    assert_eq!(rig.model.counters().chains, 2, "nothing to split for");
    // An erase that the device may do only in part is worse than none.
    assert_eq!(
        rig.refused(|token| Request::secure_erase(range(0, 8), token)),
        SubmitError::Unsupported
    );
    assert_eq!(rig.disk.limits().secure_erase, None);
    rig.finish();
}
