//! One line for each event that a person has to know of, with what is needed to look further; and none in a quiet hour.

mod common;

use std::sync::Mutex;

use common::{Rig, micros, wire};
use log::{LevelFilter, Log, Metadata, Record};
use minix_abi::bdev::BdevRequest;
use minix_abi::ioctl::IoctlCode;
use minix_abi::{Errno, GrantId, MessageType};
use minix_blockdriver::{Broken, DeviceError, DriverOptions};

struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

fn take() -> Vec<String> {
    std::mem::take(&mut *LINES.0.lock().unwrap())
}

/// One test, since there is one logger for all of them.
#[test]
fn each_fault_and_each_recovery_step_has_a_log_line() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let options = DriverOptions {
        request_timeout: micros(1_000_000),
        reset_pause: micros(1000),
        replays: 0,
        flush_after: micros(1000),
        ..DriverOptions::default()
    };
    let mut rig = Rig::opened_with(options, |_| {});
    for nth in 0..100 {
        rig.read(0, nth * 512, 512);
        rig.write(0, nth * 512, &[1; 512]);
    }
    rig.sleep(micros(1000));
    rig.settle();
    assert_eq!(take(), [""; 0], "no line in the fast path");

    rig.disk().automatic = false;
    rig.send_read(100, 8);
    rig.poll();
    rig.sleep(micros(500_000));
    rig.send_read(300, 1);
    rig.poll();
    rig.sleep(micros(500_000));
    assert_eq!(
        take(),
        [
            "WARN timed out: read of 8 sectors from 100 after 1000 ms, attempt 1",
            "WARN the device completes nothing: it is reset, with 2 requests in it",
            "ERROR given up: read of 8 sectors from 100, lost 1 times",
            "WARN 2 device requests were lost: 1 clients get an error, the others are tried again",
        ]
    );
    rig.settle();

    rig.send_ioctl(IoctlCode::DIOCFLUSH, GrantId::default());
    rig.poll();
    rig.sleep(micros(1_000_000));
    assert_eq!(
        take(),
        [
            "WARN timed out: flush after 1000 ms, attempt 1",
            "WARN the device completes nothing: it is reset, with 1 requests in it",
            "ERROR given up: flush, lost 1 times",
            "WARN a flush has failed: writes of the last 0 ms may not be durable",
            "WARN 1 device requests were lost: 1 clients get an error, the others are tried again",
        ]
    );

    assert_eq!(rig.close(0), 0);
    rig.send(MessageType::BDEV_OPEN, BdevRequest::default());
    rig.poll();
    rig.sleep(micros(1_000_000));
    assert_eq!(
        take(),
        [
            "WARN timed out: read of a partition table of 4 sectors from 0 after 1000 ms, attempt 1",
            "WARN the device completes nothing: it is reset, with 1 requests in it",
            "ERROR given up: read of a partition table of 4 sectors from 0, lost 1 times",
            "WARN 1 device requests were lost: 1 clients get an error, the others are tried again",
        ]
    );
    rig.disk().automatic = true;
    assert_eq!(rig.open(0), 0);
    rig.disk().automatic = false;

    rig.send_write(0, 1, 2);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();
    for _ in 0..3 {
        rig.sleep(micros(3000));
        rig.disk().finish(0, Err(DeviceError::Io));
        rig.poll();
    }
    assert_eq!(
        take(),
        ["WARN a flush has failed: writes of the last 3 ms may not be durable"],
        "repeats are counted"
    );
    assert_eq!(rig.driver.counters().failed_flushes, 3);

    rig.disk().automatic = true;
    assert_eq!(rig.close(0), wire(Errno::EIO));
    assert_eq!(rig.open(0), 0);
    rig.disk().automatic = false;
    rig.send_write(0, 1, 2);
    rig.poll();
    rig.disk().finish(0, Ok(()));
    rig.poll();

    rig.send_read(100, 8);
    rig.send_read(200, 8);
    rig.poll();
    rig.disk().broken = true;
    rig.disk().resets = vec![Err(Broken); 3].into();
    rig.poll();
    rig.sleep(micros(1000));
    rig.sleep(micros(1000));
    assert_eq!(
        take(),
        [
            "WARN the device breaks rules or asks for a reset: it is reset, with 2 requests in it",
            "WARN reset 1 of 3 has failed",
            "WARN reset 2 of 3 has failed",
            "ERROR the device is given up after 3 resets without a use, of which the last 3 failed",
            "ERROR completed writes that were not flushed may not be durable",
            "WARN 2 device requests were lost: their clients get an error",
        ]
    );
}
