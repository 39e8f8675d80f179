//! Takes the machine over from the board.

use core::ptr;

use board_qemu_virt::{Board, Boot, Plic, image_bounds, largest_gap, power, println};
use minix_abi::PAGE_BYTES;
use testkernel::account::Account;
use testkernel::pacing::Pacing;
use testkernel::replies::Requests;
use virtio_fdt::PhysRange;

use super::archive::Archive;
use super::clock::Clock;
use super::dispatch;
use super::frames::FrameAllocator;
use super::irq::Irqs;
use super::paging::{self, PageTable, RAM};
use super::ports::Ports;
use super::process::ProcessTable;
use super::report::{self, Failures};
use super::servers::system::System;
use super::state::Kernel;

/// The first function.
pub(crate) fn main(boot: Boot) -> ! {
    let board = match Board::take(boot) {
        Ok(board) => board,
        Err(error) => give_up(format_args!("{error}")),
    };
    // From here on interrupts are looked for, or come in user mode.
    riscv::interrupt::disable();
    refuse_other_controllers(&board);
    refuse_foreign_interrupts(&board);
    match take_over(&board) {
        Ok(kernel) => dispatch::run(System::new(kernel)),
        Err(reason) => give_up(format_args!("{reason}")),
    }
}

fn give_up(reason: core::fmt::Arguments<'_>) -> ! {
    println!("test kernel: cannot start: {reason}");
    report::error("boot", "cannot-start", reason);
    power::off(power::PANIC)
}

/// The board drives other controllers, too. This kernel knows the PLIC, as MINIX does.
fn refuse_other_controllers(board: &Board) {
    let mut plics = board.tree.plics().flatten();
    if !plics.any(|plic| plic.controller == board.interrupt_parent) {
        let name = board.tree.controller_name(board.interrupt_parent).unwrap_or("another");
        give_up(format_args!("interrupts go to {name}, which is no PLIC"));
    }
}

/// A driver whose interrupts go to a controller of other harts would wait for ever.
fn refuse_foreign_interrupts(board: &Board) {
    for window in board.tree.virtio_mmio() {
        let window = match window {
            Ok(window) => window,
            Err(unusable) => {
                println!("test kernel: {unusable}");
                continue;
            }
        };
        let foreign = window
            .interrupt
            .and_then(|interrupt| board.foreign_controller(&interrupt));
        if let Some(name) = foreign {
            let (base, hart) = (window.registers.base_address, board.hart_id);
            give_up(format_args!(
                "the interrupt of the window at {base:#x} goes to {name}, which does not deliver to hart {hart}"
            ));
        }
    }
}

fn take_over(board: &Board) -> Result<Kernel, &'static str> {
    let initrd = board
        .tree
        .initrd()
        .map_err(|_| "the place of the archive is unreadable")?;
    let initrd = initrd.ok_or("no archive (-initrd)")?;
    let files = ptr::with_exposed_provenance::<u8>(initrd.base_address as usize);
    // SAFETY: the boot loader has put the archive there, and it is kept out of the frames.
    let files = unsafe { core::slice::from_raw_parts(files, initrd.size_bytes as usize) };
    let archive = Archive::new(files).ok_or("what is there is not a tar archive")?;

    let free = free_memory(board, initrd).ok_or("no memory left")?;
    // SAFETY: the range is RAM apart from the kernel's image, its stack, the archive, the device tree and all
    // reservations, and nothing is translated yet. Of the board's own pool for devices nothing is ever taken.
    let mut frames = unsafe { FrameAllocator::new(free) };
    let idle_space = PageTable::new(&mut frames).map_err(|_| "no memory left")?.satp();
    let irqs = Irqs::new(controller(board).ok_or("no interrupt controller")?);
    println!(
        "test kernel (not MINIX): {} KiB for processes",
        frames.free_count() as u64 * PAGE_BYTES / 1024
    );
    paging::activate(idle_space);
    Ok(Kernel {
        archive,
        frames,
        processes: ProcessTable::new(),
        clock: Clock::new(board.timebase),
        irqs,
        ports: Ports::default(),
        requests: Requests::default(),
        failures: Failures::default(),
        account: Account::new(),
        pacing: Pacing::default(),
        lateness: None,
        charges_time: true,
        may_move: false,
        idle_space,
        active_space: idle_space,
        turns: 0,
    })
}

/// The largest unused part of RAM.
fn free_memory(board: &Board, initrd: PhysRange) -> Option<PhysRange> {
    let image_end = image_bounds().1 as u64;
    let ram = board.tree.memory::<8>().ok()?;
    let ram = ram
        .iter()
        .find(|ram| (ram.base_address..ram.end_address()).contains(&image_end))?;
    let space = PhysRange::new(image_end, ram.end_address().min(RAM.end) - image_end)?;
    let mut taken = board.tree.reserved_memory::<32>().ok()?;
    let tree = PhysRange::new(board.tree.address() as u64, board.tree.size_bytes() as u64)?;
    taken.push(tree).ok()?;
    taken.push(initrd).ok()?;
    largest_gap(space, &taken, PAGE_BYTES)
}

fn controller(board: &Board) -> Option<Plic> {
    let mut controllers = board.tree.plics().flatten();
    let found = controllers.find(|found| found.controller == board.interrupt_parent)?;
    let context = found.supervisor_context(board.hart_id as u64).ok()??;
    // SAFETY: the device tree describes this machine and the registers are mapped one to one. The board drives the same
    // context from its own trap handler and from its `Interrupts`: the former is never entered with interrupts on, and
    // the latter is not used.
    unsafe { Plic::new(found.registers, context, found.source_count) }
}
