//! The border between kernel and user mode.
//!
//! The kernel enters a process as one calls a function: [`Context::run`] returns when the process traps, with the registers
//! of the process in its [`Context`]. So the kernel has one stack and no state but its own variables. While it runs
//! itself, `stvec` is the board's, which reports any trap as the end of the run.

use core::arch::naked_asm;
use core::mem::offset_of;

use riscv::register::{scause, sepc, sstatus, stval};

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
}

/// Why a process has trapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trap {
    /// `scause` and `stval`.
    pub(super) cause: u64,
    pub(super) value: u64,
    /// The instructions it has executed since it was entered.
    pub(super) instructions: u64,
}

const SP: usize = 2;
const A0: usize = 10;

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
        }
    }

    /// The program counter. At a call it is after the `ecall` already.
    pub(crate) const fn pc(&self) -> u64 {
        self.registers[0]
    }

    /// Goes on after an instruction of so many bytes.
    pub(super) const fn skip(&mut self, bytes: u64) {
        self.registers[0] += bytes;
    }

    /// A register by its number.
    pub(super) const fn register(&self, number: usize) -> u64 {
        if number == 0 { 0 } else { self.registers[number] }
    }

    /// Sets a register by its number. Register 0 stays zero.
    pub(super) const fn set_register(&mut self, number: usize, value: u64) {
        if number != 0 {
            self.registers[number] = value;
        }
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

    /// Runs the process until it traps.
    ///
    /// # Safety
    ///
    /// `satp` is that of the process.
    pub(super) unsafe fn run(&mut self) -> Trap {
        // SAFETY: no floating-point register of the kernel can be lost, it uses none; the rest of the fields only matter to
        // `sret`, which goes to user mode with interrupts on.
        unsafe {
            sstatus::set_spp(sstatus::SPP::User);
            sstatus::set_spie();
            sstatus::set_fs(sstatus::FS::Clean);
            sepc::write(self.pc() as usize);
        }
        // SAFETY: the caller has activated the space, and the registers were set just now.
        unsafe { run_user(self) };
        Trap {
            cause: scause::read().bits() as u64,
            value: stval::read() as u64,
            instructions: (self.counter_out)
                .wrapping_sub(self.counter_in)
                .saturating_sub(BORDER_INSTRUCTIONS),
        }
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
        // The assembler is not told what the target has.
        ".option push",
        ".option arch, +d",
        // What a called function has to keep, and the board's two trap registers.
        "addi sp, sp, -128",
        "sd ra, 0(sp)",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11",
        "sd s\\n, 8+8*\\n(sp)",
        ".endr",
        "csrr t0, stvec",
        "sd t0, 104(sp)",
        "csrr t0, sscratch",
        "sd t0, 112(sp)",
        "sd sp, {kernel_stack}(a0)",
        "la t0, 2f",
        "csrw stvec, t0",
        "csrw sscratch, a0",
        "ld t0, {float_control}(a0)",
        "fscsr t0",
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fld f\\n, {floats}+8*\\n(a0)",
        ".endr",
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
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
        "fsd f\\n, {floats}+8*\\n(a0)",
        ".endr",
        "frcsr t0",
        "sd t0, {float_control}(a0)",
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
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11",
        "ld s\\n, 8+8*\\n(sp)",
        ".endr",
        "addi sp, sp, 128",
        ".option pop",
        "ret",
        kernel_stack = const offset_of!(Context, kernel_stack),
        counter_in = const offset_of!(Context, counter_in),
        counter_out = const offset_of!(Context, counter_out),
        floats = const offset_of!(Context, floats),
        float_control = const offset_of!(Context, float_control),
    )
}
