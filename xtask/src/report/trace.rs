//! The requests that reached the block devices, from the trace file of QEMU.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

/// The requests that the devices saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Most requests that were in the devices at one time.
    pub(crate) most_at_once: u64,
    /// Requests that were neither reads nor writes and were done after the last write had reached a device. Identification is
    /// asked for when a driver starts, so where that is long ago these are flushes.
    pub(crate) flushes_after_writes: u64,
}

/// The requests. None: the trace is empty.
pub(crate) fn read(file: &Path) -> Result<Option<Seen>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(count(&text))
}

/// From lines such as `virtio_blk_handle_write vdev 0x1 req 0x2 sector 5 nsectors 8` and
/// `virtio_blk_req_complete vdev 0x1 req 0x2 status 0`, with any text before them. Every request has the second, only reads and
/// writes have the first.
fn count(text: &str) -> Option<Seen> {
    let mut open = HashSet::new();
    let mut seen = None;
    for line in text.lines() {
        let Some((_, event)) = line.split_once("virtio_blk_") else {
            continue;
        };
        let mut words = event.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let Some(request) = words.skip_while(|word| *word != "req").nth(1) else {
            continue;
        };
        let seen = seen.get_or_insert_with(Seen::default);
        if name.starts_with("handle_") {
            open.insert(request);
            if name == "handle_write" {
                seen.flushes_after_writes = 0;
            }
        } else if name.starts_with("req_complete") && !open.remove(request) {
            seen.flushes_after_writes += 1;
        }
        seen.most_at_once = seen.most_at_once.max(open.len() as u64);
    }
    seen
}
