//! The blob of a real machine: QEMU's `virt` with four harts and 128 MiB.

mod common;

use common::QEMU_VIRT;
use virtio_fdt::{DeviceTree, Hart, Phandle, PhysRange};

fn tree() -> DeviceTree<'static> {
    DeviceTree::parse(QEMU_VIRT).unwrap()
}

fn range(base_address: u64, size_bytes: u64) -> PhysRange {
    PhysRange::new(base_address, size_bytes).unwrap()
}

#[test]
fn eight_windows_with_their_interrupts() {
    let plic = tree().plic().unwrap().unwrap();
    let sorted = tree().virtio_mmio_sorted::<8>().unwrap();
    assert_eq!((sorted.usable.len(), sorted.unusable.len()), (8, 0));
    for (index, window) in (0u64..).zip(&sorted.usable) {
        assert_eq!(window.registers, range(0x1000_1000 + index * 0x1000, 0x1000));
        let interrupt = window.interrupt.unwrap();
        assert_eq!(u64::from(interrupt.number()), index + 1);
        assert_eq!(interrupt.parent, plic.controller);
    }
    // The blob has them the other way round.
    let unsorted: Vec<_> = tree().virtio_mmio().map(Result::unwrap).collect();
    assert!(unsorted.iter().rev().eq(&sorted.usable));
}

#[test]
fn memory_harts_and_clock() {
    assert_eq!(tree().memory::<2>().unwrap(), [range(0x8000_0000, 128 << 20)]);
    assert!(tree().reserved_memory::<2>().unwrap().is_empty());
    assert_eq!(tree().timebase_hz(), Ok(10_000_000));
    assert_eq!(tree().hart_count(), 4);
    let harts: Vec<Hart> = tree().harts().map(Result::unwrap).collect();
    assert_eq!(harts.iter().map(|hart| hart.id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(harts.iter().all(|hart| hart.interrupt_controller.is_some()));
}

#[test]
fn the_interrupt_controller_and_its_contexts() {
    let plic = tree().plic().unwrap().unwrap();
    assert_eq!(plic.registers, range(0xc00_0000, 0x60_0000));
    assert_eq!(plic.source_count, 95);
    assert_eq!(tree().controller_name(plic.controller), Some("plic@c000000"));
    assert_eq!(tree().plics().count(), 1);
    assert!(matches!(plic.controller.phandle, Some(Phandle(phandle)) if phandle != 0));
    for hart in 0..4 {
        assert_eq!(plic.supervisor_context(hart), Ok(Some(hart as u32 * 2 + 1)));
    }
    assert_eq!(plic.supervisor_context(4), Ok(None));
}

#[test]
fn console_finisher_and_command_line() {
    let uart = tree().console().unwrap().unwrap();
    assert_eq!(uart.registers, range(0x1000_0000, 0x100));
    assert_eq!((uart.register_shift, uart.access_bytes), (0, 1));
    assert_eq!(uart.clock_hz, Some(3_686_400));
    assert_eq!(uart.interrupt.unwrap().number(), 10);
    assert_eq!(tree().finisher(), Ok(Some(range(0x10_0000, 0x1000))));
    assert_eq!(tree().boot_args(), Ok(Some("mode=selftest scratch=2048:64")));
}
