//! Blobs whose blocks lie in another order than most tools write.

mod common;

use common::{Blob, Part, TINYEMU_ORDER, tinyemu};
use virtio_fdt::{Block, Defect, DeviceTree, FdtError, PhysRange};

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

const ORDERS: [[Part; 3]; 6] = {
    use Part::{Reservations, Strings, Structure};
    [
        [Reservations, Structure, Strings],
        [Reservations, Strings, Structure],
        [Strings, Reservations, Structure],
        [Strings, Structure, Reservations],
        [Structure, Strings, Reservations],
        TINYEMU_ORDER,
    ]
};

/// A tree with a reservation and a window.
fn blob_in(order: [Part; 3]) -> Vec<u8> {
    let mut blob = Blob::new();
    blob.reserve(0x8000_0000, 0x1000);
    blob.begin("window@9000")
        .text("compatible", "virtio,mmio")
        .cells("reg", &[0, 0x9000, 0x200])
        .end();
    blob.finish_in(order)
}

#[test]
fn every_order_of_the_blocks_reads_the_same() {
    for order in ORDERS {
        let blob = blob_in(order);
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

#[test]
fn a_block_that_begins_in_the_last_bytes_of_another_is_refused() {
    // Where the header says where a block begins.
    let field = |part| match part {
        Part::Structure => 8,
        Part::Strings => 12,
        Part::Reservations => 16,
    };
    for [first, second, third] in ORDERS {
        for (ahead, part) in [(first, second), (second, third)] {
            if let Part::Reservations = part {
                // It has no size, and would not end where it did.
                continue;
            }
            let mut blob = blob_in([first, second, third]);
            let start = |blob: &[u8], part| {
                let at = field(part);
                u32::from_be_bytes(blob[at..at + 4].try_into().unwrap())
            };
            // Less than that lies between two blocks.
            let moved = start(&blob, part) - 8;
            blob[field(part)..][..4].copy_from_slice(&moved.to_be_bytes());
            let (block, told) = match ahead {
                Part::Reservations => (Block::Reservations, Part::Reservations),
                _ => (Block::Strings, Part::Strings),
            };
            let error = FdtError::Corrupt {
                block,
                offset_bytes: start(&blob, told) as usize,
                defect: Defect::Overlap,
            };
            assert_eq!(DeviceTree::parse(&blob).err(), Some(error), "{part:?} in {ahead:?}");
        }
    }
}
