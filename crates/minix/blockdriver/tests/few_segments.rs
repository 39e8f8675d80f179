//! A device that takes few and short data segments in a request, down to one of a block: scattered memory of clients is cut
//! at blocks, and a block that lies in more pieces than that goes through a bounce buffer.

mod common;

use common::{Element, Placement, Rig};
use minix_abi::MessageType;
use minix_blockdriver::DriverOptions;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_of_memory_goes_through_few_segments(
        most in 1..4_u16,
        beyond_a_block in prop::sample::select(vec![0_u32, 88, 3000, 1 << 30]),
        block_sectors in prop::sample::select(vec![1_u64, 2, 8]),
        shapes in prop::collection::vec(
            (1..20_u64, (0..2048_u64).prop_map(|half| 2 * half), prop::sample::select(vec![Placement::Contiguous, Placement::Scattered])),
            1..12,
        ),
        room in prop::sample::select(vec![1_usize, 2, 100]),
        bounce in 1..4_usize,
        write in any::<bool>(),
    ) {
        let mut rig = Rig::opened_with(DriverOptions::default(), |disk| {
            disk.info.max_segments = most;
            disk.info.block_bytes = 512 * block_sectors as u32;
            disk.info.max_segment_bytes = disk.info.block_bytes + beyond_a_block;
            disk.room = room;
            disk.bounce_buffers.truncate(bounce);
        });
        // Elements are sectors, and blocks in sum.
        let sum: u64 = shapes.iter().map(|shape| shape.0).sum();
        let last = sum.next_multiple_of(block_sectors) - sum;
        let sizes: Vec<_> = shapes.iter().map(|shape| shape.0).chain((last > 0).then_some(last)).collect();
        let mut buffers = Vec::new();
        let mut elements = Vec::new();
        for (nth, sectors) in sizes.iter().enumerate() {
            let (_, skew, placement) = shapes[nth % shapes.len()];
            let buffer = rig.buffer(sectors * 512, placement, skew);
            let grant = if write { rig.lend_to_take(buffer) } else { rig.lend_to_fill(buffer) };
            elements.push(Element { grant, bytes: buffer.bytes });
            buffers.push(buffer);
        }
        let bytes: usize = sizes.iter().sum::<u64>() as usize * 512;
        let data: Vec<u8> = (0..bytes).map(|nth| (nth / 64) as u8 ^ (nth as u8)).collect();
        let at = 8 * 512;
        if write {
            let mut rest = &data[..];
            for &buffer in &buffers {
                let (part, after) = rest.split_at(buffer.bytes as usize);
                rig.fill(buffer, part);
                rest = after;
            }
        } else {
            rig.disk().content[at..at + bytes].copy_from_slice(&data);
        }
        let vector = rig.vector(&elements);
        let kind = if write { MessageType::BDEV_SCATTER } else { MessageType::BDEV_GATHER };
        let status = rig.ask(kind, Rig::transfer_request(0, at as u64, elements.len() as i32, vector));
        prop_assert_eq!(status, bytes as i32);
        let found: Vec<u8> = if write {
            rig.disk().content[at..at + bytes].to_vec()
        } else {
            buffers.iter().flat_map(|&buffer| rig.bytes(buffer)).collect()
        };
        prop_assert!(found == data);
    }
}
