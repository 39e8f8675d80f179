//! The course of a run.

mod edu;
mod harts;
mod messages;
mod slot;

use board_qemu_virt::{Board, Boot, Ticks, counters, power, println};

use edu::Edu;
use image_board::{OVERFLOW, PANIC, SLOT};

/// The exit status of a run in which something was wrong.
const FAILED: u8 = 1;

/// How long anything may take.
const LIMIT_MILLIS: u64 = 20_000;

/// Ends the run with the reason.
macro_rules! fail {
    ($($arg:tt)*) => {{
        board_qemu_virt::println!("failed: {}", format_args!($($arg)*));
        board_qemu_virt::power::off($crate::image::FAILED)
    }};
}
use fail;

/// Runs the image.
pub(crate) fn main(boot: Boot) -> ! {
    let mut board = match Board::take(boot) {
        Ok(board) => board,
        Err(error) => fail!("{error}"),
    };
    println!(
        "hart {} of {}, interrupts by {}",
        board.harts.this(),
        board.harts.count(),
        board.tree.controller_name(board.interrupt_parent).unwrap_or("?")
    );
    let Some(pci) = board.pci.take() else { fail!("no PCI") };
    let (mut pci, assigned) = pci.assign();
    println!("{assigned:?}");
    if assigned.left_out != 0 || assigned.closed_bridges != 0 {
        fail!("not everything has an address");
    }
    let mut devices = 0;
    for address in edu::find(&pci) {
        devices += 1;
        let device = Edu::new(&pci, address);
        println!("{address}: edu");
        device.try_registers();
        device.try_pin(&board, &pci);
        messages::from_device(&board, &device);
    }
    println!("{devices} devices");
    harts::run(&board);
    messages::between_harts(&board);
    match board.boot_args {
        "" => {}
        SLOT => slot::run(&board, &mut pci),
        PANIC => harts::die(&board, harts::panic),
        OVERFLOW => harts::die(&board, harts::overflow),
        word => fail!("what is `{word}`?"),
    }
    println!("interrupts claimed: {}", board.interrupts.claimed());
    power::off(0)
}

/// The moment until which something has to happen.
fn deadline() -> Ticks {
    let Some(timebase) = counters::timebase() else {
        fail!("no clock")
    };
    counters::now().after(timebase.ticks_from_millis(LIMIT_MILLIS))
}

/// The moment so many milliseconds from now.
fn in_millis(millis: u64) -> Ticks {
    let Some(timebase) = counters::timebase() else {
        fail!("no clock")
    };
    counters::now().after(timebase.ticks_from_millis(millis))
}
