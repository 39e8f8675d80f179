//! The main loop: a step of the scenario, then the process of the highest priority that has been ready for the longest
//! time, until it traps, and the answer to that trap.

use board_qemu_virt::{println, trap_name};
use guest_protocol::End;
use minix_abi::Errno;
use minix_abi::ipc::TrapVector;
use riscv::register::sie;

use super::context::Trap;
use super::frames::MemoryError;
use super::process::Slot;
use super::scenario::Scenario;
use super::servers::rs;
use super::servers::serve::serve;
use super::servers::system::System;
use super::space::PageUse;
use super::{calls, device, interrupts, ipc};

const RA: usize = 1;
const SP: usize = 2;
const TP: usize = 4;
const A7: usize = 17;

const INTERRUPT: u64 = 1 << 63;
const TIMER: u64 = INTERRUPT | 5;
const EXTERNAL: u64 = INTERRUPT | 9;
const CALL: u64 = 8;
const CALL_BYTES: u64 = 4;
const FETCH_FAULT: u64 = 12;
const LOAD_FAULT: u64 = 13;
const STORE_FAULT: u64 = 15;

/// Runs the machine until the scenario switches it off.
pub(super) fn run(mut system: System) -> ! {
    // SAFETY: interrupts only come through in user mode, where the vector of `context` is installed, and are looked for in
    // the idle loop.
    unsafe {
        sie::set_stimer();
        sie::set_sext();
    }
    let mut scenario = Scenario::new(&mut system.kernel);
    loop {
        scenario.step(&mut system);
        interrupts::late(&mut system.kernel);
        serve(&mut system);
        match system.kernel.next() {
            Some(slot) => enter(&mut system, slot),
            None => interrupts::idle(&mut system.kernel),
        }
    }
}

/// Runs a process until it traps, and does what the trap asks for.
fn enter(system: &mut System, slot: Slot) {
    let kernel = &mut system.kernel;
    kernel.processes[slot].space.activate(&mut kernel.active_space);
    kernel.clock.arm();
    let process = &mut kernel.processes[slot];
    // SAFETY: the space was activated just now.
    let trap = unsafe { process.context.run() };
    process.user_instructions += trap.instructions;
    let endpoint = process.endpoint;
    kernel.account.ran(endpoint, trap.instructions);
    let process = &mut kernel.processes[slot];
    if process.context.register(TP) != 0 {
        panic!(
            "{} ({}) trapped at {:#x} with tp {:#x}, not 0: MINIX riscv64 would be dead now, it takes its stack from there",
            process.label,
            process.endpoint,
            process.context.pc(),
            process.context.register(TP),
        );
    }
    if let Some(end) = handle(system, slot, trap) {
        rs::died(system, slot, end);
    }
}

/// How the process has ended, if it has.
fn handle(system: &mut System, slot: Slot, trap: Trap) -> Option<End> {
    let kernel = &mut system.kernel;
    match trap.cause {
        TIMER => {
            if interrupts::timer(kernel) {
                kernel.preempt(slot);
            }
        }
        EXTERNAL => interrupts::external(kernel),
        CALL => {
            let process = &mut kernel.processes[slot];
            process.context.skip(CALL_BYTES);
            match TrapVector(process.context.register(A7)) {
                TrapVector::IPC => {
                    ipc::trap(kernel, slot);
                    serve(system);
                }
                TrapVector::KERNEL_CALL => return calls::trap(kernel, slot),
                _ => process.context.set_status(Errno::EBADCALL.to_wire()),
            }
        }
        LOAD_FAULT | STORE_FAULT if device::access(kernel, slot, trap.value) => {}
        FETCH_FAULT | LOAD_FAULT | STORE_FAULT => {
            let needs = match trap.cause {
                FETCH_FAULT => PageUse::Execute,
                LOAD_FAULT => PageUse::Read,
                _ => PageUse::Write,
            };
            let space = &mut kernel.processes[slot].space;
            match space.demand(&mut kernel.frames, trap.value, needs) {
                Ok(()) => {}
                Err(MemoryError::OutOfMemory) => panic!("no memory left for a page that a process has reserved"),
                Err(_) => return Some(fatal(system, slot, trap)),
            }
        }
        _ => return Some(fatal(system, slot, trap)),
    }
    None
}

/// Tells about a fault that a process does not survive. Page and access faults are about memory, the rest about instructions.
fn fatal(system: &System, slot: Slot, Trap { cause, value, .. }: Trap) -> End {
    let process = &system.kernel.processes[slot];
    println!(
        "{} ({}): {} at pc {:#x}, stval {value:#x}, ra {:#x}, sp {:#x}",
        process.label,
        process.endpoint,
        trap_name(cause as usize),
        process.context.pc(),
        process.context.register(RA),
        process.context.register(SP),
    );
    match cause {
        1 | 4..=7 | FETCH_FAULT | LOAD_FAULT | STORE_FAULT => End::Segv,
        _ => End::Panic,
    }
}
