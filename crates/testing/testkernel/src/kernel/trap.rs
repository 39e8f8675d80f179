//! The border between kernel and user mode.
//!
//! The kernel enters a process as one calls a function: [`run_user`] returns when the process traps, with the registers
//! of the process in its [`Context`]. So the kernel has one stack and no state but its own variables. While it runs
//! itself, `stvec` is the board's, which reports any trap as the end of the run.

use core::arch::naked_asm;
use core::mem::offset_of;

use board_qemu_virt::println;
use minix_abi::Errno;
use minix_abi::ipc::TrapVector;
use riscv::register::{scause, sstatus, stval};

use super::Kernel;
use super::hooks::{self, FatalFault};
use super::process::Slot;
use super::space::{Fault, PageUse};

/// Instructions between the two readings of the counter that belong to the kernel.
const BORDER_INSTRUCTIONS: u64 = 65;

/// The registers of a process.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// x0 to x31; the place of x0, which is always zero, holds the program counter.
    registers: [u64; 32],
    /// `instret` when the process was entered and when it trapped.
    counter_in: u64,
    counter_out: u64,
    /// The kernel's stack pointer meanwhile.
    kernel_stack: u64,
    floats: [u64; 32],
    float_control: u64,
    /// Whether the process has used the floating-point unit.
    uses_floats: bool,
}

const RA: usize = 1;
const SP: usize = 2;
const TP: usize = 4;
const A0: usize = 10;
const A7: usize = 17;

impl Context {
    /// A process about to start: everything zero but what is given.
    pub(crate) const fn new(pc: u64, stack_pointer: u64, ps_strings: u64) -> Self {
        let mut registers = [0; 32];
        registers[0] = pc;
        registers[SP] = stack_pointer;
        registers[A0 + 2] = ps_strings;
        Self {
            registers,
            counter_in: 0,
            counter_out: 0,
            kernel_stack: 0,
            floats: [0; 32],
            float_control: 0,
            uses_floats: false,
        }
    }

    /// The program counter. At a call it is behind the `ecall` already.
    pub(crate) const fn pc(&self) -> u64 {
        self.registers[0]
    }

    /// Argument register a0 to a7.
    pub(crate) const fn argument(&self, number: usize) -> u64 {
        self.registers[A0 + number]
    }

    /// Sets a0 or a1, in which results are returned.
    pub(crate) const fn set_result(&mut self, number: usize, value: u64) {
        self.registers[A0 + number] = value;
    }

    /// Sets a0 to a status: zero or a negative error number.
    pub(crate) const fn set_status(&mut self, status: i32) {
        self.set_result(0, status as i64 as u64);
    }
}

/// Runs a process until it traps.
///
/// # Safety
///
/// `satp` is that of the process, `sepc` and `sstatus` are set for a return to user mode, and the context is that of
/// the process.
#[unsafe(naked)]
unsafe extern "C" fn run_user(context: *mut Context) {
    naked_asm!(
        // What a called function has to keep, and the board's two trap registers.
        "addi sp, sp, -128",
        "sd ra, 0(sp)",
        "sd s0, 8(sp)",
        "sd s1, 16(sp)",
        "sd s2, 24(sp)",
        "sd s3, 32(sp)",
        "sd s4, 40(sp)",
        "sd s5, 48(sp)",
        "sd s6, 56(sp)",
        "sd s7, 64(sp)",
        "sd s8, 72(sp)",
        "sd s9, 80(sp)",
        "sd s10, 88(sp)",
        "sd s11, 96(sp)",
        "csrr t0, stvec",
        "sd t0, 104(sp)",
        "csrr t0, sscratch",
        "sd t0, 112(sp)",
        "sd sp, {kernel_stack}(a0)",
        "la t0, 2f",
        "csrw stvec, t0",
        "csrw sscratch, a0",
        "csrr t0, instret",
        "sd t0, {counter_in}(a0)",
        ".irp n,1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "ld x\\n, 8*\\n(a0)",
        ".endr",
        "ld a0, 80(a0)",
        "sret",
        // The process has trapped.
        ".balign 4",
        "2:",
        "csrrw a0, sscratch, a0",
        ".irp n,1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "sd x\\n, 8*\\n(a0)",
        ".endr",
        "csrr t0, instret",
        "sd t0, {counter_out}(a0)",
        "csrr t0, sscratch",
        "sd t0, 80(a0)",
        "csrr t0, sepc",
        "sd t0, 0(a0)",
        "ld sp, {kernel_stack}(a0)",
        ".option push",
        ".option norelax",
        "la gp, __global_pointer$",
        ".option pop",
        "mv tp, zero",
        "ld t0, 112(sp)",
        "csrw sscratch, t0",
        "ld t0, 104(sp)",
        "csrw stvec, t0",
        "ld ra, 0(sp)",
        "ld s0, 8(sp)",
        "ld s1, 16(sp)",
        "ld s2, 24(sp)",
        "ld s3, 32(sp)",
        "ld s4, 40(sp)",
        "ld s5, 48(sp)",
        "ld s6, 56(sp)",
        "ld s7, 64(sp)",
        "ld s8, 72(sp)",
        "ld s9, 80(sp)",
        "ld s10, 88(sp)",
        "ld s11, 96(sp)",
        "addi sp, sp, 128",
        "ret",
        kernel_stack = const offset_of!(Context, kernel_stack),
        counter_in = const offset_of!(Context, counter_in),
        counter_out = const offset_of!(Context, counter_out),
    )
}

/// Puts the floating-point registers of a process into the unit, which is on.
#[unsafe(naked)]
extern "C" fn load_floats(_context: &Context) {
    naked_asm!(
        // The assembler is not told what the target has.
        ".option push",
        ".option arch, +d",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fld f\\n, {floats}+8*\\n(a0)",
        ".endr",
        "ld t0, {control}(a0)",
        "fscsr t0",
        ".option pop",
        "ret",
        floats = const offset_of!(Context, floats),
        control = const offset_of!(Context, float_control),
    )
}

/// Takes the floating-point registers of a process out of the unit, which is on.
#[unsafe(naked)]
extern "C" fn save_floats(_context: &mut Context) {
    naked_asm!(
        // The assembler is not told what the target has.
        ".option push",
        ".option arch, +d",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fsd f\\n, {floats}+8*\\n(a0)",
        ".endr",
        "frcsr t0",
        "sd t0, {control}(a0)",
        ".option pop",
        "ret",
        floats = const offset_of!(Context, floats),
        control = const offset_of!(Context, float_control),
    )
}

/// Runs a process until it traps, and does what the trap asks for.
pub(super) fn enter(kernel: &mut Kernel, slot: Slot) {
    kernel.processes[slot].space.activate(&mut kernel.active_space);
    kernel.clock.arm();
    let process = &mut kernel.processes[slot];
    let context = &mut process.context;
    // SAFETY: no floating-point register of the kernel can be lost, it uses none; the rest of the fields only matter to
    // `sret`, which goes to user mode with interrupts on.
    unsafe {
        sstatus::set_spp(sstatus::SPP::User);
        sstatus::set_spie();
        if context.uses_floats {
            sstatus::set_fs(sstatus::FS::Clean);
            load_floats(context);
        } else {
            sstatus::set_fs(sstatus::FS::Off);
        }
        riscv::register::sepc::write(context.pc() as usize);
    }
    // SAFETY: the space was activated and the registers set just now.
    unsafe { run_user(context) };
    let (cause, value) = (scause::read().bits(), stval::read() as u64);
    if context.uses_floats {
        save_floats(context);
    }
    process.user_instructions += context
        .counter_out
        .wrapping_sub(context.counter_in)
        .saturating_sub(BORDER_INSTRUCTIONS);
    if context.registers[TP] != 0 {
        panic!(
            "{} ({}) trapped at {:#x} with tp {:#x}, not 0: MINIX riscv64 would be dead now, it takes its stack from there",
            process.label,
            process.endpoint,
            context.pc(),
            context.registers[TP],
        );
    }
    handle(kernel, slot, cause as u64, value);
}

const INTERRUPT: u64 = 1 << 63;
const TIMER: u64 = INTERRUPT | 5;
const EXTERNAL: u64 = INTERRUPT | 9;
const ILLEGAL_INSTRUCTION: u64 = 2;
const CALL: u64 = 8;
const FETCH_FAULT: u64 = 12;
const LOAD_FAULT: u64 = 13;
const STORE_FAULT: u64 = 15;

fn handle(kernel: &mut Kernel, slot: Slot, cause: u64, value: u64) {
    match cause {
        TIMER => {
            if kernel.timer_interrupt() {
                kernel.preempt(slot);
            }
        }
        EXTERNAL => kernel.external_interrupt(),
        CALL => call(kernel, slot),
        FETCH_FAULT | LOAD_FAULT | STORE_FAULT => {
            let needs = match cause {
                FETCH_FAULT => PageUse::Execute,
                LOAD_FAULT => PageUse::Read,
                _ => PageUse::Write,
            };
            let space = &mut kernel.processes[slot].space;
            match space.demand(&mut kernel.frames, value, needs) {
                Ok(()) => {}
                Err(Fault::OutOfMemory) => panic!("no memory left for a page that a process has reserved"),
                Err(_) => fatal(kernel, slot, cause, value),
            }
        }
        // The first floating-point instruction. Anything else that is illegal comes back here with the unit on.
        ILLEGAL_INSTRUCTION if !kernel.processes[slot].context.uses_floats => {
            kernel.processes[slot].context.uses_floats = true;
        }
        _ => fatal(kernel, slot, cause, value),
    }
}

fn call(kernel: &mut Kernel, slot: Slot) {
    let context = &mut kernel.processes[slot].context;
    context.registers[0] += 4;
    match TrapVector(context.registers[A7]) {
        TrapVector::IPC => hooks::ipc_trap(kernel, slot),
        TrapVector::KERNEL_CALL => hooks::kernel_call(kernel, slot),
        _ => context.set_status(Errno::EBADCALL.to_wire()),
    }
}

fn fatal(kernel: &mut Kernel, slot: Slot, cause: u64, value: u64) {
    let process = &kernel.processes[slot];
    let pc = process.context.pc();
    println!(
        "{} ({}): {} at pc {pc:#x}, stval {value:#x}, ra {:#x}, sp {:#x}",
        process.label,
        process.endpoint,
        name_of(cause),
        process.context.registers[RA],
        process.context.registers[SP],
    );
    hooks::fatal_fault(kernel, slot, FatalFault { cause, pc, value });
}

/// Names after the RISC-V privileged specification, "Supervisor Cause Register".
fn name_of(cause: u64) -> &'static str {
    match cause {
        0 => "misaligned instruction",
        1 => "instruction access fault",
        ILLEGAL_INSTRUCTION => "illegal instruction",
        3 => "breakpoint",
        4 | 6 => "misaligned access",
        5 => "load access fault",
        7 => "store access fault",
        FETCH_FAULT => "instruction page fault",
        LOAD_FAULT => "load page fault",
        STORE_FAULT => "store page fault",
        _ => "unknown trap",
    }
}
