//! Messages: of a device to each hart, and of harts to each other.

use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use board_qemu_virt::{Board, Interrupts, Message, counters, println};
use critical_section::Mutex;

use super::edu::Edu;
use super::{deadline, fail};

/// The most harts that take part.
const HARTS: usize = 16;

/// What a hart waits for.
struct Wait {
    interrupts: Interrupts,
    message: Message,
}

static WAITS: Mutex<RefCell<[Option<Wait>; HARTS]>> = Mutex::new(RefCell::new([const { None }; HARTS]));

/// Harts that are ready for a message.
static READY: AtomicUsize = AtomicUsize::new(0);

/// How many messages each hart gets.
const ROUNDS: usize = 20;

/// Messages a hart has seen, by its place.
static SEEN: [AtomicUsize; HARTS] = [const { AtomicUsize::new(0) }; HARTS];

/// Waits for messages. A count of those seen tells the sender when to send the next.
fn wait_for_messages(place: usize) {
    let wait = critical_section::with(|section| WAITS.borrow(section).borrow_mut()[place].take());
    let Some(Wait { interrupts, message }) = wait else {
        fail!("nothing to wait for");
    };
    if !interrupts.enable(message.source) {
        fail!("hart {}: no {:?}", message.hart_id, message.source);
    }
    READY.fetch_add(1, Ordering::Release);
    for round in 0..ROUNDS {
        let end = deadline();
        // By turns it sleeps, and is interrupted in the middle of something else.
        let has_come = match round % 2 {
            0 => interrupts.wait(message.source, end),
            _ => loop {
                if interrupts.take(message.source) {
                    break true;
                }
                if counters::now() >= end {
                    break false;
                }
            },
        };
        if !has_come {
            fail!("hart {}: message {round} was lost", message.hart_id);
        }
        interrupts.unmask(message.source);
        SEEN[place].fetch_add(1, Ordering::Release);
    }
    interrupts.disable(message.source);
    interrupts.free_message(message);
}

/// Has a hart wait, sends the messages one by one, and waits for its end.
fn interrupt_hart(board: &Board, hart_id: usize, place: usize, prepare: impl Fn(&Message), send: impl Fn(u64, u32)) {
    let Some(message) = board.interrupts.allocate_message(hart_id) else {
        fail!("no message for hart {hart_id}");
    };
    prepare(&message);
    let (address, data) = (message.address, message.data);
    let interrupts = board.interrupts;
    READY.store(0, Ordering::Relaxed);
    SEEN[place].store(0, Ordering::Relaxed);
    critical_section::with(|section| {
        WAITS.borrow(section).borrow_mut()[place] = Some(Wait { interrupts, message });
    });
    let hart = match board.harts.start(hart_id, wait_for_messages, place) {
        Ok(hart) => hart,
        Err(error) => fail!("hart {hart_id}: {error}"),
    };
    let end = deadline();
    let wait_until = |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            if counters::now() >= end {
                fail!("hart {hart_id} does not go on");
            }
            core::hint::spin_loop();
        }
    };
    // The first one is sent before the hart is ready, and must not be lost.
    for round in 0..ROUNDS {
        wait_until(&|| SEEN[place].load(Ordering::Acquire) == round);
        send(address, data);
    }
    if !hart.wait(deadline()) {
        fail!("hart {hart_id} does not end");
    }
}

/// A device interrupts each hart but the boot hart.
pub(crate) fn from_device(board: &Board, device: &Edu) {
    if board
        .interrupts
        .allocate_message(board.hart_id)
        .map(|message| board.interrupts.free_message(message))
        .is_none()
    {
        return;
    }
    for (place, hart) in board.harts.iter().enumerate().skip(1) {
        interrupt_hart(
            board,
            hart.hart_id,
            place,
            |message| device.send_messages(Some(message)),
            |_, _| {
                device.acknowledge();
                device.raise();
            },
        );
    }
    device.acknowledge();
    device.send_messages(None);
    println!("{}: messages to {} harts", device.address, board.harts.count() - 1);
}

/// The boot hart interrupts each of the others, and itself.
pub(crate) fn between_harts(board: &Board) {
    let Some(own) = board.interrupts.allocate_message(board.hart_id) else {
        return;
    };
    let send = |address: u64, data: u32| {
        let file = core::ptr::with_exposed_provenance_mut::<u32>(address as usize);
        // SAFETY: the word of an interrupt file that raises interrupts.
        unsafe { file.write_volatile(data) };
    };
    // Before it is enabled, and after.
    send(own.address, own.data);
    board.interrupts.enable(own.source);
    for _ in 0..2 {
        if !board.interrupts.wait(own.source, deadline()) {
            fail!("a message of this hart to itself was lost");
        }
        // While it is masked.
        send(own.address, own.data);
        board.interrupts.unmask(own.source);
    }
    board.interrupts.disable(own.source);
    board.interrupts.free_message(own);
    for (place, hart) in board.harts.iter().enumerate().skip(1) {
        interrupt_hart(board, hart.hart_id, place, |_| (), send);
    }
    println!("messages between {} harts", board.harts.count());
}
