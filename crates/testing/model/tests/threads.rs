//! The device in a thread of its own.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;

#[test]
fn driver_and_device_run_side_by_side() {
    let mut driver = Driver::usual();
    let stop = Arc::new(AtomicBool::new(false));
    let device = std::thread::spawn({
        let (model, stop) = (driver.model.clone(), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Acquire) {
                if model.wait_for_request(Duration::from_millis(10)) {
                    model.process(usize::MAX);
                }
            }
        }
    });
    let (data, status) = driver.chain(0, IN, 0, &[], 512);
    for i in 0..200u8 {
        driver.model.write_disk(0, &content(1, i));
        driver.publish(0);
        driver.notify();
        while driver.used().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(driver.get(status, 1), [0]);
        assert_eq!(driver.get(data, 512), content(1, i));
    }
    stop.store(true, Ordering::Release);
    device.join().unwrap();
    driver.model.assert_clean();
}
