//! All harts at once.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};

use board_qemu_virt::{Board, Interrupts, RunningHart, StartError, println};
use critical_section::Mutex;
use image_board::{LINES, Line, ROUNDS};

use super::{deadline, fail, in_millis};

/// How often each hart counts.
const COUNTS: u64 = 20_000;

const HARTS: usize = 16;

static COUNT: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));
static INTERRUPTS: Mutex<Cell<Option<Interrupts>>> = Mutex::new(Cell::new(None));

/// Whether all harts have been started.
static GO: AtomicBool = AtomicBool::new(false);

/// What each hart does.
fn work(place: usize) {
    while !GO.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    for _ in 0..COUNTS {
        critical_section::with(|section| {
            let count = COUNT.borrow(section);
            let before = count.get();
            // A section inside another one does not end it.
            critical_section::with(|_| core::hint::spin_loop());
            count.set(before + 1);
        });
    }
    for number in 0..LINES {
        println!("{}", Line { place, number });
    }
    let interrupts = critical_section::with(|section| INTERRUPTS.borrow(section).get());
    let Some(interrupts) = interrupts else {
        fail!("no interrupts")
    };
    // Each hart has a timer of its own.
    for millis in [1, 3] {
        let end = in_millis(millis);
        interrupts.sleep_until(end);
        if board_qemu_virt::counters::now() < end {
            fail!("place {place} woke up too early");
        }
    }
}

/// Starts all harts, takes part, and waits for their end.
pub(crate) fn run(board: &Board) {
    critical_section::with(|section| INTERRUPTS.borrow(section).set(Some(board.interrupts)));
    for round in 0..ROUNDS {
        critical_section::with(|section| COUNT.borrow(section).set(0));
        GO.store(false, Ordering::Release);
        let mut running: [Option<RunningHart>; HARTS] = [const { None }; HARTS];
        for (place, hart) in board.harts.iter().enumerate().skip(1) {
            match board.harts.start(hart.hart_id, work, place) {
                Ok(hart) => running[place] = Some(hart),
                Err(error) => fail!("hart {} in round {round}: {error}", hart.hart_id),
            }
            if board.harts.start(hart.hart_id, work, place) != Err(StartError::Running) {
                fail!("hart {} was started twice", hart.hart_id);
            }
        }
        GO.store(true, Ordering::Release);
        work(0);
        for hart in running.iter().flatten() {
            if !hart.wait(deadline()) {
                fail!("hart {} does not end", hart.hart_id());
            }
        }
        let harts = running.iter().flatten().count() as u64 + 1;
        let count = critical_section::with(|section| COUNT.borrow(section).get());
        if count != harts * COUNTS {
            fail!("{harts} harts have counted to {count}");
        }
        println!("{harts} harts have counted");
    }
    let own = board.harts.start(board.hart_id, work, 0);
    let none = board.harts.start(999, work, 0);
    if own != Err(StartError::Running) || none != Err(StartError::NoSuchHart) {
        fail!("{own:?}, {none:?}");
    }
}

/// Has the second hart end the run.
pub(crate) fn die(board: &Board, how: fn(usize)) {
    let Some(hart) = board.harts.iter().nth(1) else {
        fail!("one hart")
    };
    let hart = match board.harts.start(hart.hart_id, how, 1) {
        Ok(hart) => hart,
        Err(error) => fail!("{error}"),
    };
    hart.wait(deadline());
    fail!("the hart has ended without a word");
}

/// Panics.
pub(crate) fn panic(place: usize) {
    panic!("place {place} gives up");
}

/// Uses more stack than there is, and returns.
pub(crate) fn overflow(place: usize) {
    fn descend(depth: usize) -> u8 {
        let mut frame = [depth as u8; 1024];
        if depth > 0 {
            frame[0] = descend(depth - 1);
        }
        core::hint::black_box(&frame)[depth % 2]
    }
    core::hint::black_box(descend(300 + place));
}
