//! A description of the disk, for people and for the host.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use board_qemu_virt::println;
use guest_protocol::{Device, Record};
use virtio_blk::proto::BlkFeatures;
use virtio_blk::{Answer, WriteCache};
use virtio_core::{DeviceGone, Features, Transport as _};

use super::session::{Request, Session};
use bare_image::report::record;
use bare_image::windows::version;

/// The names of a set of features.
fn names(features: Features) -> String {
    let of_block_devices = BlkFeatures::from_bits_retain(features.low());
    let of_block_devices = of_block_devices.iter_names().map(|(name, bit)| (name, bit.bits()));
    let named: Vec<_> = of_block_devices
        .chain(features.iter_names().map(|(name, bit)| (name, bit.bits())))
        .collect();
    let unnamed = named.iter().fold(features.bits(), |left, (_, bits)| left & !bits);
    let unnamed = (0..u64::BITS).filter(|bit| unnamed >> bit & 1 == 1);
    let mut words: Vec<String> = named.iter().map(|(name, _)| (*name).into()).collect();
    words.extend(unnamed.map(|bit| alloc::format!("bit-{bit}")));
    words.join(" ")
}

/// Describes the disk as far as that is possible without reading it.
pub(crate) fn device(session: &mut Session) {
    let id = match session.command(Request::identify(0)) {
        Ok(Answer::Id(id)) => id.to_string(),
        Ok(_) => String::new(),
        Err(failure) => {
            println!("the disk has no id: {failure}");
            String::new()
        }
    };
    let disk = session.disk();
    let limits = *disk.limits();
    let (offered, accepted) = (disk.control().offered_features(), disk.accepted_features());
    let version = version(disk.control().transport().interface());
    let queue = disk.queue().ring_state();
    let capacity = limits.capacity.get();

    println!("device version {version}, id \"{id}\"");
    println!("features offered:  {}", names(offered));
    println!("features accepted: {}", names(accepted));
    println!(
        "capacity: {capacity} sectors, {} KiB, in blocks of {} bytes, {}",
        capacity / 2,
        limits.block_bytes,
        if limits.read_only { "read-only" } else { "writable" }
    );
    if let Some(topology) = disk.config().topology {
        println!("topology: {topology:?}");
    }
    println!(
        "queue: {} descriptors, {}, {}; at most {} segments per device request",
        queue.size,
        match queue.indirect_entries {
            0 => "direct chains",
            _ => "indirect tables",
        },
        if queue.event_idx { "event index" } else { "flags" },
        limits.max_segments
    );
    println!(
        "write cache: {}",
        match disk.write_cache() {
            Ok(WriteCache::WriteBack) => "write-back",
            Ok(WriteCache::WriteThrough) => "write-through",
            Err(DeviceGone) => "gone with the device",
        }
    );
    record(Record::Device(Device {
        version,
        offered: offered.bits(),
        accepted: accepted.bits(),
        capacity,
        block_bytes: limits.block_bytes,
        queue_size: queue.size.into(),
        read_only: limits.read_only,
        id: &id,
    }));
    defmt::info!("device up: {=u64} sectors, accepted {}", capacity, accepted);
}
