//! The start of an example, and the ends of its run: by a result, by a panic, by a trap that it does not expect.

use core::panic::PanicInfo;

use riscv::register::{scause, sepc, stval};
use riscv_rt::TrapFrame;

use crate::{Failure, firmware, harts, println};

/// The register of QEMU's `virt` machine that ends its run, with a status that the host sees.
const FINISHER: *mut u32 = 0x10_0000 as *mut u32;
const SUCCESS: u32 = 0x5555;
/// A failure, with the status in the upper half.
const FAILURE: u32 = 1 << 16 | 0x3333;

/// Runs an example, or on another hart what it was started with.
///
/// # Safety
///
/// On the boot hart `tree` is 0, or the address of a device tree that nothing writes to.
#[doc(hidden)]
pub unsafe fn start(hart: usize, tree: usize, run: fn() -> Result<(), Failure>) -> ! {
    if let Some(entry) = harts::begin(hart) {
        entry(hart);
        loop {
            riscv::asm::wfi();
        }
    }
    // SAFETY: by the contract of this function.
    unsafe { firmware::install(hart, tree) };
    end(run())
}

/// Ends the run. The exit status of QEMU is 0 for success and 1 for a failure, whose reason is printed.
pub fn end(result: Result<(), Failure>) -> ! {
    let word = match result {
        Ok(()) => SUCCESS,
        Err(failure) => {
            println!("failed: {failure}");
            FAILURE
        }
    };
    // SAFETY: the register is there on this machine, and nothing is translated.
    unsafe { FINISHER.write_volatile(word) };
    loop {
        riscv::asm::wfi();
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    end(Err(Failure::new("a panic")))
}

// SAFETY: riscv-rt calls the function of this name on an interrupt that nothing handles.
#[unsafe(export_name = "DefaultHandler")]
extern "C" fn on_unknown_interrupt() -> ! {
    end(Err(Failure::new(format_args!(
        "interrupt {} has no handler",
        scause::read().code()
    ))))
}

// SAFETY: riscv-rt calls the function of this name, with this argument, on a trap that nothing handles.
#[unsafe(export_name = "ExceptionHandler")]
extern "C" fn on_exception(_: &TrapFrame) -> ! {
    let (cause, place, value) = (scause::read().code(), sepc::read(), stval::read());
    end(Err(Failure::new(format_args!(
        "trap, scause {cause}, sepc {place:#x}, stval {value:#x}"
    ))))
}
