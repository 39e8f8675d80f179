//! Short runs on every device, and runs that have to fail.

mod devices;

use std::time::Duration;

use devices::{DAEMON, MMIO, MODEL, PCI, is_wanted};

use foreign_devices::device::{Daemon, Device, QemuMmio, QemuPci, Software};
use foreign_devices::{Plan, Totals, run};
use virtio_blk_model::faults::{FaultKind, FaultScript};

fn plan(operations: u64, kills: u64) -> Plan {
    Plan {
        operations,
        kills,
        seed: 5,
        patience: Duration::from_secs(60),
    }
}

fn passes(device: &mut impl Device, plan: &Plan) -> Totals {
    let totals = run(device, plan).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(totals.operations >= plan.operations);
    assert_eq!(totals.kills, plan.kills);
    assert!(totals.sectors_compared > plan.operations, "{totals:?}");
    totals
}

#[test]
fn nothing_is_lost_on_the_storage_daemon_however_often_it_is_killed() {
    if is_wanted(DAEMON) {
        let totals = passes(&mut Daemon::start().unwrap(), &plan(20_000, 8));
        assert!(totals.aborted > 0 && totals.interrupts > 0, "{totals:?}");
    }
}

#[test]
fn nothing_is_lost_on_a_disk_of_qemu_over_mmio() {
    for (name, legacy) in MMIO.into_iter().zip([false, true]) {
        if is_wanted(name) {
            passes(&mut QemuMmio::start(legacy).unwrap(), &plan(1_500, 2));
        }
    }
}

#[test]
fn nothing_is_lost_on_a_disk_of_qemu_over_pci() {
    for (name, legacy) in PCI.into_iter().zip([false, true]) {
        if is_wanted(name) {
            passes(&mut QemuPci::start(legacy).unwrap(), &plan(1_500, 2));
        }
    }
}

#[test]
fn nothing_is_lost_on_the_model() {
    if is_wanted(MODEL) {
        passes(&mut Software::new(FaultScript::new()), &plan(10_000, 4));
    }
}

/// The error of a run in which request 1000 of the device has this fault.
fn error_of(fault: FaultKind) -> String {
    let plan = Plan {
        patience: Duration::from_millis(500),
        ..plan(5_000, 0)
    };
    let mut device = Software::new(FaultScript::new().at(1000, fault));
    format!("{:#}", run(&mut device, &plan).unwrap_err())
}

#[test]
fn an_answer_that_is_lost_is_found() {
    for fault in [FaultKind::Lost, FaultKind::Swallowed] {
        let error = error_of(fault);
        assert!(error.contains("are lost"), "{error}");
    }
}

#[test]
fn an_answer_that_comes_twice_is_found() {
    let error = error_of(FaultKind::Twice);
    assert!(error.contains("breaks the rules"), "{error}");
}

#[test]
fn a_write_that_was_answered_and_not_done_is_found() {
    // Some of them are writes. A read that is not done fills nothing, which is seen as well.
    for request in 1000..1040 {
        let plan = plan(3_000, 0);
        let mut device = Software::new(FaultScript::new().at(request, FaultKind::Status(0)));
        if let Err(error) = run(&mut device, &plan) {
            let error = format!("{error:#}");
            assert!(error.contains("holds"), "{error}");
            return;
        }
    }
    panic!("no run has failed");
}
