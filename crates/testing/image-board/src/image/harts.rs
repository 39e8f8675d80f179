//! All harts at once.

use core::cell::Cell;

use board_qemu_virt::{Board, Interrupts, RunningHart, StartError, println};
use critical_section::Mutex;

use super::{deadline, fail, in_millis};

/// How often each hart counts, and how many lines it prints.
const COUNTS: u64 = 20_000;
const LINES: usize = 100;

/// How often all harts are started.
const ROUNDS: usize = 2;

const HARTS: usize = 16;

static COUNT: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));
static INTERRUPTS: Mutex<Cell<Option<Interrupts>>> = Mutex::new(Cell::new(None));

/// What each hart does.
fn work(place: usize) {
    for _ in 0..COUNTS {
        critical_section::with(|section| {
            let count = COUNT.borrow(section);
            let before = count.get();
            // A section inside another one does not end it.
            critical_section::with(|_| core::hint::spin_loop());
            count.set(before + 1);
        });
    }
    for line in 0..LINES {
        println!("line {line:03} of place {place:02}: {:.3}", 0.5 * place as f64);
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
