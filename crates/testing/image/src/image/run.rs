//! The course of a run.

use alloc::format;
use core::num::NonZeroU16;

use bare_image::disks::Found;
use bare_image::report::{FAILED, leave, record, stop};
use bare_image::{disks, memory};
use board_qemu_virt::{Board, Boot, Pci, defmt_channel, println};
use guest_protocol::Record;
use image_blk::options::BootOptions;
use virtio_blk::{DiskOptions, InitError};
use virtio_core::QueueSize;

use super::load::Load;
use super::removal::{Removed, nothing_acknowledged_is_lost};
use super::scratch::Scratch;
use super::session::{CAPACITY, Failure, Session};
use super::{describe, selftest, shell};

/// Runs the image.
pub(crate) fn main(boot: Boot) -> ! {
    let mut board = match Board::take(boot) {
        Ok(board) => board,
        Err(error) => stop("boot", "bad-board", &error),
    };
    // SAFETY: nothing else uses the free memory of the board. There is one board in a run, and this is the only call.
    unsafe { memory::start_heap(board.free_memory) };
    let options = match BootOptions::parse(board.boot_args) {
        Ok(options) => options,
        Err(word) => stop("boot", "bad-option", &format!("boot option `{word}` makes no sense")),
    };
    println!(
        "image-blk {} on hart {} of {}, {}",
        env!("CARGO_PKG_VERSION"),
        board.hart_id,
        board.tree.hart_count(),
        match (options.defmt, options.defmt && defmt_channel::enable()) {
            (false, _) => "defmt off",
            (true, true) => "defmt on",
            (true, false) => "defmt refused by the host",
        }
    );
    defmt::info!("image-blk {=str}", env!("CARGO_PKG_VERSION"));
    let (found, mut pci) = disks::find(&mut board);
    if found.is_empty() {
        stop("probe", "no-block-device", &"no VirtIO block device was found");
    }
    let driver = driver_options(&options);
    let mut tally = selftest::Tally::default();
    for disk in found {
        work_on(&board, pci.as_mut(), &options, driver, disk, &mut tally);
    }
    let selftest::Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("self-test: {passed} passed, {failed} failed, {skipped} skipped");
    record(Record::Done {
        passed: passed.into(),
        failed: failed.into(),
    });
    leave(if failed == 0 { 0 } else { FAILED })
}

/// All that is done with a disk.
fn work_on(
    board: &Board,
    pci: Option<&mut Pci>,
    options: &BootOptions,
    driver: DiskOptions,
    disk: Found,
    tally: &mut selftest::Tally,
) {
    let mut session = start(board, options, driver, disk);
    describe::device(&mut session);
    let mut scratch = Scratch::new(options.scratch, &session.limits());
    test(&mut session, &mut scratch, options, tally);
    let area = scratch.rest();
    let load = |session: Session| Load {
        board,
        disk: match session.into_found(board) {
            Ok(disk) => disk,
            Err(failure) => stop("run", "no-restart", &failure),
        },
        options: driver,
        polls: options.poll,
        queues: options.queues.map_or(1, NonZeroU16::get),
        seconds: options.load.unwrap_or(0),
        area,
    };
    match options.remove {
        None => {
            let load = load(session);
            match options.count {
                true => tally.add("count", load.count()),
                false => tally.add("load", load.run()),
            }
        }
        Some(kind) => {
            let removed = Removed { board, pci, kind }.run(load(session));
            let (outcome, found) = match removed {
                Ok(removed) => removed,
                Err(failure) => return tally.add("removal", Err(failure)),
            };
            tally.add(
                "removal",
                Ok(format!("{} requests were given back", outcome.given_back)),
            );
            if let Some(disk) = found {
                let mut session = start(board, options, driver, disk);
                describe::device(&mut session);
                tally.add("back-again", nothing_acknowledged_is_lost(&mut session, &outcome));
                tally.shut_down(&mut session);
                tally.add("load", load(session).run());
            }
        }
    }
    tally.add("memory", selftest::all_memory_is_back());
}

/// Brings a disk up.
fn start(board: &Board, options: &BootOptions, driver: DiskOptions, disk: Found) -> Session {
    if disk.line.is_none() && disk.table.is_none() && !options.poll {
        let reason = match disk.foreign_controller {
            Some(name) => format!(
                "the interrupt of the disk goes to {name}, which does not deliver to hart {}",
                board.hart_id
            ),
            None => "the disk has no interrupt in the device tree".into(),
        };
        stop("init", "no-interrupt", &format!("{reason}; --poll works"));
    }
    match Session::start(board, disk, driver, options.poll) {
        Ok(session) => session,
        Err(error) => stop("init", kind(&error), &format!("the disk does not come up: {error}")),
    }
}

/// Tests a disk, or hands it to a person, and shuts it down.
fn test(session: &mut Session, scratch: &mut Scratch, options: &BootOptions, tally: &mut selftest::Tally) {
    if options.shell {
        shell::run(session);
    }
    let mut context = selftest::Context {
        session,
        scratch,
        digests: &options.digests,
    };
    selftest::run(&mut context, options.count, tally);
    let counters = session.counters();
    tally.shut_down(session);
    println!("{counters}");
    record(Record::Driver {
        requests: counters.queue.device_requests,
        notifies: counters.queue.notifies,
        interrupts: counters.interrupts.taken,
    });
}

fn driver_options(options: &BootOptions) -> DiskOptions {
    let mut driver = DiskOptions::default();
    if let Some(limit) = options.queue {
        let Some(size) = QueueSize::at_most(u32::from(limit).min(CAPACITY as u32)) else {
            stop("init", "queue-too-small", &"queue=0 leaves no queue");
        };
        if size.get() != limit {
            println!(
                "queue={limit}: a power of two up to {CAPACITY}, so {} at most",
                size.get()
            );
        }
        driver.max_queue_size = size;
    }
    driver
}

/// The error as one word for the host.
fn kind(failure: &Failure) -> &'static str {
    match failure.downcast_ref() {
        Some(InitError::NotBlock(_)) => "not-a-block-device",
        Some(InitError::Handshake(_)) => "handshake-failed",
        Some(InitError::QueueTooSmall { .. }) => "queue-too-small",
        Some(InitError::Dma(_)) => "no-memory",
        _ => "no-disk",
    }
}
