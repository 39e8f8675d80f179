//! The course of a run.

use board_qemu_virt::{Board, Boot, defmt_channel, println};
use image_blk::options::{Completion, Mode, Options};
use virtio_blk::InitError;
use virtio_core::QueueSize;

use super::buffer::vector_place;
use super::describe::{self, Partitions};
use super::report::{FAILED, leave, stop, text};
use super::scratch::Scratch;
use super::selftest::{self, Context, Tally};
use super::session::{CAPACITY, Session, Waiting};
use super::{bench, ending, shell, windows};

/// Runs the image.
pub(crate) fn main(boot: Boot) -> ! {
    let board = match Board::take(boot) {
        Ok(board) => board,
        Err(error) => stop("boot", "bad-board", &error),
    };
    let options = match Options::parse(board.boot_args) {
        Ok(options) => options,
        Err(error) => stop("boot", "bad-option", &error),
    };
    let defmt = options.defmt && defmt_channel::enable();
    println!(
        "image-blk {} on hart {} of {}, {}",
        env!("CARGO_PKG_VERSION"),
        board.hart_id,
        board.tree.hart_count(),
        match (options.defmt, defmt) {
            (false, _) => "defmt off",
            (true, true) => "defmt on",
            (true, false) => "defmt refused by the host",
        }
    );
    defmt::info!(
        "image-blk {=str} on hart {=usize}",
        env!("CARGO_PKG_VERSION"),
        board.hart_id
    );
    let Some(found) = windows::find_disk(&board) else {
        stop("probe", "no-block-device", &"no VirtIO block device was found");
    };
    let source = match (options.completion, found.source) {
        (Completion::Polled, _) => None,
        (Completion::Interrupts, Some(source)) => Some(source),
        (Completion::Interrupts, None) => no_interrupt(&board, found.foreign_controller),
    };
    let waiting = Waiting {
        timebase: board.timebase,
        interrupts: board.interrupts,
        source,
    };
    let console_source = board.console_source;

    let Some(vector) = vector_place() else {
        stop("init", "no-vector", &"the place of the scattered buffer is in use");
    };
    let session = Session::start(found.transport, board.dma, driver_options(&options), waiting, vector);
    let mut session = match session {
        Ok(session) => session,
        Err(error) => stop("init", kind(&error), &text!("the disk does not come up: {error}")),
    };
    describe::device(&mut session);
    let limits = *session.disk().limits();
    if limits.capacity.get() < limits.block_sectors() {
        stop(
            "init",
            "no-block",
            &text!(
                "the disk has {} sectors, which is no whole block of {} bytes",
                limits.capacity,
                limits.block_bytes
            ),
        );
    }
    let partitions = describe::partitions(&mut session).unwrap_or_else(|failure| {
        println!("partitions: the first block cannot be read: {failure}");
        Partitions::new()
    });
    session.recover();
    let mut scratch = {
        let limits = *session.disk().limits();
        Scratch::new(options.scratch, limits.block_sectors(), limits.capacity.get())
    };
    match options.mode {
        Mode::SelfTest => self_test(&mut session, &options, &partitions, &mut scratch),
        Mode::Shell => shell::monitor::run(&mut session, &mut scratch, console_source),
    }
}

/// Ends the run, since no interrupt of the disk will come here.
fn no_interrupt(board: &Board, foreign_controller: Option<&str>) -> ! {
    const KIND: &str = "no-interrupt";
    let hart = board.hart_id;
    match foreign_controller {
        Some(name) => stop(
            "init",
            KIND,
            &format_args!(
                "the interrupt of the disk goes to {name}, which does not deliver to hart {hart}; --poll works"
            ),
        ),
        None => stop(
            "init",
            KIND,
            &"the device tree gives the disk no interrupt; --poll works",
        ),
    }
}

fn self_test(session: &mut Session, options: &Options, partitions: &Partitions, scratch: &mut Scratch) -> ! {
    // The measurements write too; what they need is set aside before the tests take the rest.
    let area = options.bench.then(|| bench::area(session, scratch)).flatten();
    let seed = scratch.seed();
    let mut tally = Tally::default();
    let mut context = Context {
        session: &mut *session,
        options,
        partitions,
        scratch,
    };
    selftest::run(&mut context, &mut tally);
    if options.bench
        && let Err(failure) = bench::run(session, area, seed)
    {
        selftest::measurement_failed(&mut tally, &failure);
        session.recover();
    }
    let counters = session.counters();
    selftest::shut_down(session, &mut tally);
    println!("{counters}");
    ending::done(tally);
    leave(if tally.failed == 0 { 0 } else { FAILED })
}

fn driver_options(options: &Options) -> virtio_blk::DiskOptions {
    let mut driver = virtio_blk::DiskOptions::default();
    if let Some(limit) = options.queue {
        match QueueSize::at_most(u32::from(limit).min(CAPACITY as u32)) {
            Some(size) => {
                if size.get() != limit {
                    println!(
                        "queue={limit}: a power of two up to {CAPACITY}, so {} at most",
                        size.get()
                    );
                }
                driver.max_queue_size = size;
            }
            None => stop("init", "queue-too-small", &"queue=0 leaves no queue"),
        }
    }
    driver
}

/// The error as one word for the host.
fn kind(error: &InitError) -> &'static str {
    match error {
        InitError::NotBlock(_) => "not-a-block-device",
        InitError::Handshake(_) => "handshake-failed",
        InitError::ConfigUnstable(_) => "config-unstable",
        InitError::BadCapacity { .. } => "bad-capacity",
        InitError::NoQueue => "no-queue",
        InitError::QueueTooSmall { .. } => "queue-too-small",
        InitError::Dma(_) => "no-memory",
        InitError::Ring(_) => "bad-ring",
        InitError::Queue(_) => "queue-refused",
        InitError::NotLive { .. } => "not-live",
        InitError::Stuck { .. } => "stuck",
        _ => "other",
    }
}
