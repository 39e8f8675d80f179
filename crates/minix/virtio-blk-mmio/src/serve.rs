//! The service put together, and its end.

use minix_abi::Instant;
use minix_blockdriver::Service;
use minix_blockdriver::log_line;
use minix_rt::Ipc;
use virtio_core::{Dma, Transport};

use crate::disk::VirtioDisk;
use crate::system::MinixSystem;

/// Requests of clients that are worked on at a time.
pub const JOBS: usize = 64;

/// A block driver service for a VirtIO disk on MINIX.
pub type DiskService<I, T, D, C = fn() -> Instant> = Service<VirtioDisk<T, D>, MinixSystem<I, C>, JOBS>;

/// Resets the device, which ends its use of memory, and releases the interrupt line.
pub fn stop<I: Ipc, T: Transport, D: Dma, C: Fn() -> Instant>(service: &mut DiskService<I, T, D, C>) {
    let (driver, system) = service.parts_mut();
    if !driver.device_mut().stop() {
        log_line!(Error, "the device does not finish its reset");
    }
    system.remove_line();
}

/// Resets the device, tells what was counted, and ends the process. Replies that wait for their receivers are given
/// a moment.
pub fn leave<I: Ipc, T: Transport, D: Dma, C: Fn() -> Instant>(service: &mut DiskService<I, T, D, C>) -> ! {
    stop(service);
    service.flush_replies();
    let (lost, found_without) = service.lost_interrupts();
    let guesses = service.guesses();
    let (driver, system) = service.parts_mut();
    log_line!(Info, "counters: {}", driver.counters());
    let watches = driver.watches();
    log_line!(
        Info,
        "counters: watches_hit={} watches_missed={} hit_us={} missed_us={} waits_right={} waits_wrong={}",
        watches.hit,
        watches.missed,
        watches.hit_micros,
        watches.missed_micros,
        guesses.right,
        guesses.wrong,
    );
    let totals = driver.device().totals();
    let (waiting, dropped, failed) = system.reply_counts();
    log_line!(
        Info,
        "counters: interrupts={} spurious={} lost={lost} found_without={found_without} doorbells={} odd_lengths={} faults={} \
         replies_waiting={waiting} replies_dropped={dropped} replies_failed={failed}",
        totals.interrupts,
        totals.spurious_interrupts,
        totals.notifies,
        totals.odd_lengths,
        totals.faults,
    );
    system.exit()
}
