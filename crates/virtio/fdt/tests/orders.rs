//! Blobs whose blocks lie in another order than most tools write.

mod common;

use common::{Blob, Part, TINYEMU_ORDER, tinyemu};
use virtio_fdt::{DeviceTree, PhysRange};

#[test]
fn a_tree_of_tinyemu_is_read() {
    let blob = tinyemu();
    let tree = DeviceTree::parse(&blob).unwrap();
    let plic = tree.plic().unwrap().unwrap();
    assert_eq!(plic.supervisor_context(0), Ok(Some(0)));
    let windows: Vec<_> = tree.virtio_mmio().map(Result::unwrap).collect();
    let bases: Vec<_> = windows.iter().map(|window| window.registers.base_address).collect();
    assert_eq!(bases, [0x4001_0000, 0x4001_1000]);
    for (number, window) in (1..).zip(&windows) {
        let interrupt = window.interrupt.unwrap();
        assert_eq!((interrupt.parent, interrupt.number()), (plic.controller, number));
    }
    assert_eq!(tree.timebase_hz(), Ok(10_000_000));
    assert_eq!(tree.boot_args(), Ok(Some("console=hvc0")));
}

#[test]
fn every_order_of_the_blocks_reads_the_same() {
    use Part::{Reservations, Strings, Structure};
    for order in [
        [Reservations, Structure, Strings],
        [Reservations, Strings, Structure],
        [Strings, Reservations, Structure],
        [Strings, Structure, Reservations],
        [Structure, Strings, Reservations],
        TINYEMU_ORDER,
    ] {
        let mut blob = Blob::new();
        blob.reserve(0x8000_0000, 0x1000);
        blob.begin("window@9000")
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, 0x9000, 0x200])
            .end();
        let blob = blob.finish_in(order);
        let tree = DeviceTree::parse(&blob).unwrap_or_else(|error| panic!("{order:?}: {error}"));
        assert_eq!(
            tree.reserved_memory::<2>().unwrap(),
            [PhysRange::new(0x8000_0000, 0x1000).unwrap()],
            "{order:?}"
        );
        let window = tree.virtio_mmio().next().unwrap().unwrap();
        assert_eq!(window.registers.base_address, 0x9000, "{order:?}");
    }
}
