//! Configuration space of arbitrary bytes: no panic, no walk without an end.

use fuzz_targets::pci_bus;
use proptest::collection::vec;
use proptest::prelude::*;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 })
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_bytes_are_borne(input in vec(any::<u8>(), 0..560)) {
        pci_bus(&input);
    }

    #[test]
    fn a_device_with_arbitrary_capabilities_is_borne(
        flavour in 0u8..8,
        capabilities in vec((0u8..4, any::<u8>(), 0u8..24, 0u8..8, 0u8..8, any::<u32>(), any::<u32>(), any::<u32>()), 1..12),
        bars in vec((any::<u32>(), any::<u32>()), 6),
    ) {
        let mut input = vec![0; 560];
        input[0] = flavour | 1;
        let (bytes, writable) = input[1..513].split_at_mut(256);
        bytes[0x34] = 0x40;
        writable[4] = 7;
        for (index, (value, size)) in bars.into_iter().enumerate() {
            let at = 0x10 + 4 * index;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            // Mostly as hardware does: a power of two.
            let mask = if size % 4 == 0 { size } else { u32::MAX << (size % 28 + 4) };
            writable[at..at + 4].copy_from_slice(&mask.to_le_bytes());
        }
        for (number, (id, next, length, kind, bar, offset, size, last)) in capabilities.into_iter().enumerate() {
            let at = 0x40 + 20 * number;
            if at + 20 > 256 {
                break;
            }
            let id = [9, 9, 0x11, next][usize::from(id)];
            let follows = if next % 8 == 0 { next } else { (at + 20) as u8 };
            bytes[at..at + 5].copy_from_slice(&[id, follows, length, kind, bar]);
            let small = |n: u32| if n.is_multiple_of(8) { n } else { (n % 0x4000) & !3 };
            bytes[at + 8..at + 12].copy_from_slice(&small(offset).to_le_bytes());
            bytes[at + 12..at + 16].copy_from_slice(&small(size).to_le_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&small(last).to_le_bytes());
        }
        pci_bus(&input);
    }
}

#[test]
fn inputs_at_the_edges_are_borne() {
    // A walk over a whole bus takes Miri long.
    let (bytes, flavours): (&[u8], _) = if cfg!(miri) {
        (&[9], 1..2)
    } else {
        (&[0, 1, 7, 9, 0x40, 0xFC, 0xFF], 0..8)
    };
    for &byte in bytes {
        for flavour in flavours.clone() {
            let mut input = vec![byte; 560];
            input[0] = flavour;
            pci_bus(&input);
        }
    }
    pci_bus(&[]);
}
