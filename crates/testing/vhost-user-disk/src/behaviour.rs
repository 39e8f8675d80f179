//! The features of the device, and its departures from the specification.

use clap::{Args, ValueEnum};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

/// The SEG_MAX of the device, unless it takes one data descriptor and offers no SEG_MAX.
const SEG_MAX: u32 = 62;

/// Bytes of the configuration structure up to the fields for secure erase and zones, which are never offered.
const CONFIG_BYTES: usize = 60;
const SEG_MAX_AT: usize = 12;

/// The `len` field of an element of the used ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UsedLength {
    /// The bytes written: the data of a read, and the status byte.
    #[default]
    Exact,
    /// 0 for every request.
    None,
    /// 1 for every request.
    One,
    /// The data of a read without the status byte; 0 for requests that only write a status.
    DataOnly,
    /// 1024 more than the writable part of the chain holds.
    TooMuch,
}

impl UsedLength {
    /// The length of a request of which the device wrote `data` bytes of data and the status byte. `writable` is the size of
    /// the writable part of the chain.
    pub fn of(self, data: u32, writable: u32) -> u32 {
        match self {
            UsedLength::Exact => data + 1,
            UsedLength::None => 0,
            UsedLength::One => 1,
            UsedLength::DataOnly => data,
            UsedLength::TooMuch => writable.saturating_add(1024),
        }
    }
}

/// How the device behaves. The default is a device that keeps to the specification.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Take one data descriptor, and offer no SEG_MAX: the third descriptor of a read or write is the
    /// status, the rest is ignored.
    #[arg(long)]
    pub one_segment: bool,

    /// The length of a request in the used ring.
    #[arg(long, value_enum, default_value = "exact", value_name = "KIND")]
    pub used_length: UsedLength,

    /// Do not offer EVENT_IDX.
    #[arg(long)]
    pub no_event_idx: bool,

    /// Offer indirect descriptors.
    #[arg(long)]
    pub indirect: bool,

    /// Refuse writes.
    #[arg(long)]
    pub read_only: bool,

    /// The answer to a request for the identification string: 20 bytes at most.
    #[arg(long, default_value = "", value_name = "TEXT", value_parser = id)]
    pub id: String,
}

impl Behaviour {
    /// The arguments of the program that make it behave like this.
    pub fn arguments(&self) -> Vec<String> {
        let switches = [
            ("--one-segment", self.one_segment),
            ("--no-event-idx", self.no_event_idx),
            ("--indirect", self.indirect),
            ("--read-only", self.read_only),
        ];
        let mut arguments: Vec<String> = switches
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(switch, _)| switch.to_owned())
            .collect();
        if let Some(kind) = self.used_length.to_possible_value()
            && self.used_length != UsedLength::Exact
        {
            arguments.extend(["--used-length".to_owned(), kind.get_name().to_owned()]);
        }
        if !self.id.is_empty() {
            arguments.extend(["--id".to_owned(), self.id.clone()]);
        }
        arguments
    }

    /// The feature bits that are offered to the driver.
    pub fn features(&self) -> u64 {
        let offered = [
            (VIRTIO_F_VERSION_1, true),
            (VIRTIO_BLK_F_FLUSH, true),
            (VIRTIO_BLK_F_SEG_MAX, !self.one_segment),
            (VIRTIO_BLK_F_RO, self.read_only),
            (VIRTIO_RING_F_EVENT_IDX, !self.no_event_idx),
            (VIRTIO_RING_F_INDIRECT_DESC, self.indirect),
        ];
        offered
            .into_iter()
            .filter(|(_, on)| *on)
            .fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    /// The configuration structure of a disk of so many sectors.
    pub fn config(&self, sectors: u64) -> Vec<u8> {
        let mut bytes = vec![0; CONFIG_BYTES];
        bytes[..8].copy_from_slice(&sectors.to_le_bytes());
        if !self.one_segment {
            bytes[SEG_MAX_AT..SEG_MAX_AT + 4].copy_from_slice(&SEG_MAX.to_le_bytes());
        }
        bytes
    }
}

fn id(text: &str) -> Result<String, String> {
    if text.len() > 20 {
        return Err("an id has 20 bytes at most".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        behaviour: Behaviour,
    }

    #[test]
    fn arguments_read_back() {
        let all = Behaviour {
            one_segment: true,
            used_length: UsedLength::DataOnly,
            no_event_idx: true,
            indirect: true,
            read_only: true,
            id: "an id".into(),
        };
        for behaviour in [Behaviour::default(), all] {
            let words = std::iter::once("program".to_owned()).chain(behaviour.arguments());
            assert_eq!(<Line as clap::Parser>::parse_from(words).behaviour, behaviour);
        }
        assert_eq!(Behaviour::default().arguments(), Vec::<String>::new());
    }

    #[test]
    fn one_segment_offers_no_seg_max() {
        let plain = Behaviour::default();
        let one = Behaviour {
            one_segment: true,
            ..Behaviour::default()
        };
        assert_eq!(plain.features() ^ one.features(), 1 << VIRTIO_BLK_F_SEG_MAX);
        assert_eq!(plain.config(9)[..16], [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 62, 0, 0, 0]);
        assert_eq!(one.config(9)[8..], [0; 52]);
    }
}
