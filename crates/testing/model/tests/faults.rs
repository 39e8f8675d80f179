//! Faults do what their names say, to the request they are meant for.

mod common;

use common::*;
use virtio_blk_model::faults::{Completion, Fault, FaultKind, FaultScript, RequestInfo, Verdict};
use virtio_blk_model::{Limits, ModelConfig};
use virtio_mmio::RegisterAccess;

/// A driver whose second request meets a fault; the first has been served.
fn meeting(kind: FaultKind) -> Driver {
    let mut driver = Driver::usual();
    driver.model.set_fault(FaultScript::new().at(1, kind));
    assert_eq!(driver.request(IN, 0, &[], 512), (0, vec![0; 512], 513));
    driver.regs.write_u32(0x064, 1);
    driver
}

/// Sends a read and returns the status byte afterwards.
fn send(driver: &mut Driver) -> u8 {
    let (_, status) = driver.chain(0, IN, 0, &[], 512);
    driver.serve(0);
    driver.get(status, 1)[0]
}

#[test]
fn a_wrong_status() {
    for status in [1, 2, 3, 0xFE] {
        let mut driver = meeting(FaultKind::Status(status));
        assert_eq!(send(&mut driver), status);
        assert_eq!(driver.used(), Some((0, 1)));
    }
}

#[test]
fn no_status() {
    let mut driver = meeting(FaultKind::NoStatus);
    assert_eq!(send(&mut driver), 0xFF);
    assert_eq!(driver.used(), Some((0, 513)));
}

#[test]
fn a_lost_request_can_come_back_late() {
    let mut driver = meeting(FaultKind::Lost);
    assert_eq!(send(&mut driver), 0xFF);
    assert_eq!(driver.used(), None);
    assert_eq!(driver.model.complete_held(), 1);
    assert_eq!(driver.used(), Some((0, 513)));
}

#[test]
fn wrong_used_elements() {
    for (kind, expected) in [
        (FaultKind::UsedId(7), (7, 513)),
        (FaultKind::UsedId(0xFFFF_0000), (0xFFFF_0000, 513)),
        (FaultKind::UsedLen(5), (0, 5)),
        (FaultKind::LenTooLong, (0, 514)),
    ] {
        let mut driver = meeting(kind);
        assert_eq!(send(&mut driver), 0);
        assert_eq!(driver.used(), Some(expected), "{kind:?}");
        assert_eq!(driver.used(), None);
        assert!(driver.model.interrupt_line());
    }
}

#[test]
fn a_completion_that_comes_twice() {
    let mut driver = meeting(FaultKind::Twice);
    send(&mut driver);
    assert_eq!(
        (driver.used(), driver.used(), driver.used()),
        (Some((0, 513)), Some((0, 513)), None)
    );
}

#[test]
fn a_used_index_that_runs_ahead() {
    let mut driver = meeting(FaultKind::IndexJump(3));
    send(&mut driver);
    assert_eq!(driver.get16(driver.used + 2), 5);
}

#[test]
fn interrupts_too_few_and_too_many() {
    let mut driver = meeting(FaultKind::NoInterrupt);
    send(&mut driver);
    assert!(!driver.model.interrupt_line());
    let mut driver = meeting(FaultKind::ForcedInterrupt);
    driver.put16(driver.avail, 1);
    send(&mut driver);
    assert!(driver.model.interrupt_line());
    driver.regs.write_u32(0x064, 1);
    driver.model.spurious_interrupt(3);
    assert_eq!(driver.regs.read_u32(0x060), 3);
}

#[test]
fn a_breakdown() {
    let mut driver = meeting(FaultKind::BreakDown);
    assert_eq!(send(&mut driver), 0xFF);
    assert_eq!(driver.regs.read_u32(0x070), 0x4F);
    assert_eq!(driver.regs.read_u32(0x060), 2);
}

#[test]
fn half_of_the_ranges() {
    let limits = Limits {
        max_segments: 2,
        ..Limits::default()
    };
    let mut driver = Driver::up(
        ModelConfig {
            write_zeroes: limits,
            ..ModelConfig::modern()
        },
        USUAL,
    );
    driver.model.write_disk(0, &content(2, 3));
    driver.model.set_fault(FaultScript::new().at(0, FaultKind::Half(1)));
    let ranges = [range(0, 1, 0), range(1, 1, 0)].concat();
    assert_eq!(driver.request(WRITE_ZEROES, 0, &ranges, 0).0, 1);
    let now = driver.model.read_disk(0, 2);
    assert_eq!(now[..512], [0; 512]);
    assert_eq!(now[512..], content(2, 3)[512..]);
}

#[test]
fn a_fault_of_ones_own() {
    struct EveryWrite;
    impl Fault for EveryWrite {
        fn before_service(&mut self, request: &RequestInfo) -> Verdict {
            if request.kind == OUT {
                Verdict::Answer(1)
            } else {
                Verdict::Serve
            }
        }

        fn before_completion(&mut self, request: &RequestInfo, completion: &mut Completion) {
            assert_eq!(completion.id, u32::from(request.head));
        }
    }
    let mut driver = Driver::usual();
    driver.model.set_fault(EveryWrite);
    assert_eq!(driver.request(OUT, 0, &content(1, 0), 0).0, 1);
    assert_eq!(driver.request(IN, 0, &[], 512), (0, vec![0; 512], 513));
    driver.model.assert_clean();
}
