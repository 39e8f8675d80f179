//! What kind of disk it is, for people and for the host.

use core::fmt;

use board_qemu_virt::println;
use guest_protocol::{Device, Record};
use heapless::Vec;
use image_blk::SECTOR_BYTES;
use virtio_blk::Answer;
use virtio_blk::WriteCache;
use virtio_blk::proto::{BlkFeatures, DeviceIdString};
use virtio_core::{Features, Transport as _};

use super::mbr::{self, Partition};
use super::report::{Bytes, record, text};
use super::session::{Failure, Request, Session};
use super::windows::version;

/// The partitions in use.
pub(crate) type Partitions = Vec<Partition, { mbr::ENTRIES }>;

/// The names of a set of features.
pub(crate) struct Names(pub(crate) Features);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = BlkFeatures::from_bits_retain(self.0.low());
        let names = device.iter_names().map(|(name, flag)| (name, u128::from(flag.bits())));
        let names = names.chain(self.0.iter_names().map(|(name, flag)| (name, flag.bits())));
        let mut unnamed = self.0.bits();
        let mut between = "";
        for (name, bits) in names {
            unnamed &= !bits;
            write!(f, "{between}{name}")?;
            between = " ";
        }
        for bit in (0..u128::BITS).filter(|bit| unnamed >> bit & 1 == 1) {
            write!(f, "{between}bit-{bit}")?;
            between = " ";
        }
        if between.is_empty() {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

fn words(features: Features) -> [u64; 2] {
    let bits = features.bits();
    [bits as u64, (bits >> 64) as u64]
}

/// Tells everything about the disk that can be known without reading it.
pub(crate) fn device(session: &mut Session) {
    let id = match session.command(Request::identify(0)) {
        Ok(Answer::Id(id)) => id,
        Ok(_) => DeviceIdString::default(),
        Err(failure) => {
            println!("the disk does not tell its id: {failure}");
            DeviceIdString::default()
        }
    };
    let disk = session.disk();
    let (limits, config) = (*disk.limits(), *disk.config());
    let (offered, accepted) = (disk.control().offered(), disk.accepted());
    let interface = disk.control().transport().interface();
    let queue = disk.queue().ring_state();
    let cache = disk.write_cache();

    println!("device version {}", version(interface));
    println!("features offered:  {}", Names(offered));
    println!("features accepted: {}", Names(accepted));
    let capacity = limits.capacity.get();
    println!(
        "capacity: {capacity} sectors, {}, {}",
        Bytes(capacity.saturating_mul(SECTOR_BYTES as u64)),
        if limits.read_only { "read-only" } else { "writable" }
    );
    println!("block size: {} bytes", limits.block_bytes);
    match config.topology {
        Some(topology) => println!(
            "topology: {} logical blocks per physical block, first aligned block {}, transfers best {} to {} blocks",
            1u64.checked_shl(topology.physical_block_exp.into()).unwrap_or(0),
            topology.alignment_offset,
            topology.min_io_blocks,
            topology.opt_io_blocks
        ),
        None => println!("topology: not told"),
    }
    println!(
        "queue: {} descriptors, {}, {}; at most {} segments per device request",
        queue.size,
        if queue.indirect_entries > 0 {
            "indirect tables"
        } else {
            "direct chains"
        },
        if queue.event_idx { "event index" } else { "flags" },
        limits.max_segments
    );
    println!(
        "write cache: {}",
        match cache {
            WriteCache::WriteBack => "write-back",
            WriteCache::WriteThrough => "write-through",
        }
    );
    println!("id: \"{id}\"");
    record(Record::Device(Device {
        version: version(interface),
        offered: words(offered),
        accepted: words(accepted),
        capacity,
        block_bytes: limits.block_bytes,
        queue_size: queue.size.into(),
        read_only: limits.read_only,
        id: &text!("{id}"),
    }));
    defmt::info!(
        "device up: {=u64} sectors in blocks of {=u32} bytes, queue of {=u16}, accepted {}",
        capacity,
        limits.block_bytes,
        queue.size,
        accepted
    );
}

/// Reads the partition table and tells of it.
pub(crate) fn partitions(session: &mut Session) -> Result<Partitions, Failure> {
    let bytes = session.block_bytes();
    let slice = session.allocate(bytes)?;
    let slice = session.read(0, slice)?;
    let capacity = session.capacity();
    let block_sectors = session.disk().limits().block_sectors();
    let found: Option<Partitions> = mbr::parse(&slice[..SECTOR_BYTES], block_sectors).map(Iterator::collect);
    session.release(slice);
    let Some(partitions) = found else {
        println!("partitions: no partition table");
        return Ok(Partitions::new());
    };
    if block_sectors > 1 {
        println!("the partition table counts blocks of {bytes} bytes");
    }
    for partition in &partitions {
        println!(
            "partition {}: type {:#04x} ({}), sectors {} to {}, {}{}",
            partition.index + 1,
            partition.kind,
            partition.kind_name(),
            partition.first,
            partition.end() - 1,
            Bytes(partition.sectors.saturating_mul(SECTOR_BYTES as u64)),
            if partition.end() > capacity {
                ", past the end of the disk"
            } else {
                ""
            }
        );
        record(Record::Partition {
            number: partition.index as i32 + 1,
            kind: Some(partition.kind),
            first_byte: partition.first * SECTOR_BYTES as u64,
            bytes: partition.sectors * SECTOR_BYTES as u64,
        });
    }
    if partitions.is_empty() {
        println!("partitions: none in the table");
    }
    Ok(partitions)
}
