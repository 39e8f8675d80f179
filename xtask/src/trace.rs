//! What QEMU wrote down of the requests that reached its block devices.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

/// Most requests that were in the devices at one time. None: QEMU wrote nothing down.
pub(crate) fn most_at_once(file: &Path) -> Result<Option<u64>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(count(&text))
}

/// From lines such as `virtio_blk_handle_write vdev 0x1 req 0x2 sector 5 nsectors 8` and
/// `virtio_blk_req_complete vdev 0x1 req 0x2 status 0`, whatever stands before them.
fn count(text: &str) -> Option<u64> {
    let mut open = HashSet::new();
    let mut most = None;
    for line in text.lines() {
        let Some((_, event)) = line.split_once("virtio_blk_") else {
            continue;
        };
        let mut words = event.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let Some(request) = words.skip_while(|word| *word != "req").nth(1) else {
            continue;
        };
        if name.starts_with("handle_") {
            open.insert(request);
        } else if name.starts_with("req_complete") {
            open.remove(request);
        }
        most = most.max(Some(open.len() as u64));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_at_once_is_counted() {
        let text = "virtio_blk_handle_write vdev 0x1 req 0xa sector 5 nsectors 8\n\
                    12@34:virtio_blk_handle_read vdev 0x1 req 0xb sector 5 nsectors 8\n\
                    virtio_blk_req_complete vdev 0x1 req 0xa status 0\n\
                    virtio_blk_handle_read vdev 0x1 req 0xc sector 5 nsectors 8\n\
                    virtio_blk_handle_read vdev 0x1 req 0xd sector 5 nsectors 8\n\
                    virtio_blk_req_complete vdev 0x1 req 0xd status 0\n\
                    virtio_blk_rw_complete vdev 0x1 req 0xc ret 0\n";
        assert_eq!(count(text), Some(3));
        assert_eq!(count("nothing of that kind\n"), None);
    }
}
