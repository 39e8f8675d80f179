//! Traps and panics: external interrupts are remembered, the timer is silenced, everything else ends the run.

use core::arch::global_asm;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use riscv::register::{sscratch, sstatus};

use super::{console, hart, harts, interrupts, power};

const INTERRUPT: usize = 1 << (usize::BITS - 1);
#[cfg(feature = "defmt")]
const BREAKPOINT: usize = 3;
const SUPERVISOR_TIMER: usize = INTERRUPT | 5;
const SUPERVISOR_EXTERNAL: usize = INTERRUPT | 9;

unsafe extern "C" {
    /// The trap vector, an address for `stvec`. Not a function that can be called.
    #[link_name = "board_trap_vector"]
    pub(super) fn vector();
}

// Runs on the trap stack, whose top `sscratch` holds; meanwhile `sscratch` holds the interrupted stack pointer.
//
// Saved are the integer registers that a called function may change. Floating-point registers are not: the unit is
// switched off for the time of the handler, so that a handler which used it would be caught and not corrupt anything.
// 0x6000 is the field FS of `sstatus`.
global_asm!(
    ".pushsection .text.trap, \"ax\", @progbits",
    ".balign 4",
    ".global board_trap_vector",
    "board_trap_vector:",
    "csrrw sp, sscratch, sp",
    "addi sp, sp, -272",
    ".irp n,1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31",
    "sd x\\n, 8*\\n(sp)",
    ".endr",
    "li t0, 0x6000",
    "csrrc t1, sstatus, t0",
    "sd t1, 256(sp)",
    "csrr a0, scause",
    "csrr a1, sepc",
    "csrr a2, stval",
    "call {handler}",
    "ld t1, 256(sp)",
    "li t0, 0x6000",
    "and t1, t1, t0",
    "csrs sstatus, t1",
    ".irp n,1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31",
    "ld x\\n, 8*\\n(sp)",
    ".endr",
    "addi sp, sp, 272",
    "csrrw sp, sscratch, sp",
    "sret",
    ".popsection",
    handler = sym on_trap,
);

/// Called by the vector with interrupts disabled.
extern "C" fn on_trap(cause: usize, pc: usize, value: usize) {
    // Below the stack of the boot hart comes protected memory; below that of another hart comes memory in use.
    if hart::slot() != 0 && is_stack_overflow(sscratch::read()) {
        fatal(cause, pc, value);
    }
    match cause {
        SUPERVISOR_EXTERNAL => interrupts::on_external(),
        SUPERVISOR_TIMER => interrupts::on_timer(),
        #[cfg(feature = "defmt")]
        BREAKPOINT if super::semihosting::is_refused_request(pc) => {
            // SAFETY: the breakpoint of a request has four bytes, and the code after it does without an answer.
            unsafe { riscv::register::sepc::write(pc + 4) }
        }
        _ => fatal(cause, pc, value),
    }
}

/// The slot of the hart that is reporting the end of the run, plus one; zero if there is none.
static DYING: AtomicUsize = AtomicUsize::new(0);

/// Whether this hart reports the end of the run. A trap or panic of the same hart meanwhile ends the run without words. Another
/// hart waits for the end.
fn is_first_to_die() -> bool {
    let this = hart::slot() + 1;
    match DYING.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => true,
        Err(dying) if dying == this => false,
        Err(_) => loop {
            riscv::asm::wfi();
        },
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    riscv::interrupt::disable();
    if is_first_to_die() {
        console::start_of_line();
        crate::println!("{info}");
    }
    power::off(power::PANIC)
}

fn fatal(cause: usize, pc: usize, value: usize) -> ! {
    // The vector put the interrupted stack pointer there. For a trap inside the handler it is the handler's own, and
    // lies inside the image.
    let stack = sscratch::read();
    let overflow = is_stack_overflow(stack);
    if is_first_to_die() {
        let mode = match sstatus::read().spp() {
            sstatus::SPP::Supervisor => "S",
            sstatus::SPP::User => "U",
        };
        let name = trap_name(cause);
        console::start_of_line();
        crate::println!(
            "trap in {mode}-mode: {name} (scause {cause:#x}), sepc {pc:#x}, stval {value:#x}, sp {stack:#x}"
        );
        if overflow {
            crate::println!("the stack has overflowed");
        }
    }
    power::off(if overflow { power::STACK_OVERFLOW } else { power::TRAP })
}

/// Whether a stack pointer has left the part of the stack an image may count on, in the direction stacks grow.
fn is_stack_overflow(stack_pointer: usize) -> bool {
    /// How far below it still looks like an overflow and not like a stack pointer gone astray.
    const REACH_BYTES: usize = 4 << 20;
    let bottom = harts::stack_bottom();
    stack_pointer < bottom && stack_pointer > bottom.saturating_sub(REACH_BYTES)
}

/// Names after the RISC-V privileged specification, "Supervisor Cause Register".
pub fn trap_name(cause: usize) -> &'static str {
    match cause {
        0 => "instruction address misaligned",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "load address misaligned",
        5 => "load access fault",
        6 => "store address misaligned",
        7 => "store access fault",
        8 | 9 => "environment call",
        12 => "instruction page fault",
        13 => "load page fault",
        15 => "store page fault",
        _ if cause & INTERRUPT != 0 => "unexpected interrupt",
        _ => "unknown cause",
    }
}
