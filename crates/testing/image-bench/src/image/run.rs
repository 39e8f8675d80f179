//! The course of a run.

use alloc::boxed::Box;
use bare_image::memory;
use bare_image::report::{leave, record, stop};
use bare_image::windows::{Found, find_disks};
use board_qemu_virt::{Board, Boot, println};
use guest_protocol::Record;
use image_bench::disks;
use image_bench::options::Pass;

use super::rates::Effort;
use super::{counts, rates};

/// Runs the image.
pub(crate) fn main(boot: Boot) -> ! {
    let board = match Board::take(boot) {
        Ok(board) => board,
        Err(error) => stop("boot", "bad-board", &error),
    };
    // SAFETY: nothing else uses the free memory of the board. There is one board in a run, and this is the only call.
    unsafe { memory::start_heap(board.free_memory) };
    let Some(pass) = Pass::parse(board.boot_args) else {
        stop("boot", "bad-option", &"the command line makes no sense");
    };
    println!("image-bench {}", env!("CARGO_PKG_VERSION"));
    let found: Result<Box<[Found; disks::COUNT]>, _> = find_disks(&board, disks::COUNT).try_into();
    let Ok(found) = found else {
        stop("probe", "no-block-device", &"there is not one disk for each contender");
    };
    match pass {
        Pass::Counts => counts::run(found, board.interrupts, None),
        Pass::Profile(choice) => counts::run(found, board.interrupts, Some(choice)),
        Pass::Rates { rounds, slice_micros } => {
            let effort = Effort { rounds, slice_micros };
            rates::run(found, board.interrupts, board.timebase, effort);
        }
    }
    record(Record::Done { passed: 1, failed: 0 });
    leave(0)
}
