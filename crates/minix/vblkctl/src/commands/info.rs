//! `info`: what the device is, can do and how it is divided.

use core::fmt;

use minix_abi::disk_control::{
    DiskFlags, DiskHead, DiskReport, Lifetime, MinorExtent, RangeLimit, SECTOR_BYTES, name_in,
};
use minix_abi::minor::{Minor, Place};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use virtio_blk_proto::{DeviceIdString, Lifetime as DeviceLifetime, ReservedBlocks, Wear};

use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::features;
use crate::json;
use crate::output::{print, text};
use crate::units::{Bytes, sectors};

/// Columns of the words in front of a line.
const MARGIN: usize = 16;

pub(super) fn run<C: Calls>(calls: &mut C, device: &str, json: bool) -> Result<(), Failure> {
    let report: DiskReport = Disk::open(calls, device)?.report()?;
    if json {
        json::print_object(calls, &Object::of(&report))
    } else {
        print(calls, format_args!("{}", text(|out| write(out, &report))))
    }
}

fn write(out: &mut dyn fmt::Write, report: &DiskReport) -> fmt::Result {
    let disk = &report.disk;
    let has = |flag| disk.flags.contains(flag);
    let legacy = if has(DiskFlags::LEGACY) { ", legacy" } else { "" };
    let version = u64::from(disk.transport_version);
    writeln!(
        out,
        "{:MARGIN$}virtio-mmio at {:#x}, interrupt {}",
        "device", disk.address, disk.irq
    )?;
    if has(DiskFlags::GIVEN_UP) {
        writeln!(out, "{:MARGIN$}given up: every request fails; see vblkctl log", "state")?;
    } else if !has(DiskFlags::LIVE) {
        writeln!(out, "{:MARGIN$}does not work now: it is reset", "state")?;
    }
    if has(DiskFlags::LIVE) {
        write_live(out, disk, version, legacy)?;
    }
    writeln!(
        out,
        "{:MARGIN$}{} ms without a completion",
        "time-out",
        u64::from(disk.timeout_ms)
    )?;
    writeln!(out, "{:MARGIN$}{}", "open", Times(disk.opens))?;
    writeln!(
        out,
        "{:MARGIN$}{:>14} {:>14} {:>12}  open",
        "minors", "first sector", "sectors", "size"
    )?;
    let there = report
        .minors
        .iter()
        .filter(|extent| extent.bytes > 0 || extent.opens > 0);
    for extent in there {
        let (first, count) = (extent.base / SECTOR_BYTES, extent.bytes / SECTOR_BYTES);
        let name = Name(extent.minor);
        let size = Bytes(extent.bytes);
        let after_name = (MARGIN - 2).saturating_sub(length(&name));
        let before_size = 12_usize.saturating_sub(length(&size));
        write!(out, "  {name}{:after_name$}{first:>14} {count:>14} ", "")?;
        writeln!(out, "{:before_size$}{size}  {}", "", Times(extent.opens))?;
    }
    Ok(())
}

/// What a device tells only while it works.
fn write_live(out: &mut dyn fmt::Write, disk: &DiskHead, version: u64, legacy: &str) -> fmt::Result {
    let has = |flag| disk.flags.contains(flag);
    writeln!(out, "{:MARGIN$}version {version}{legacy}", "transport")?;
    if has(DiskFlags::ID) {
        writeln!(out, "{:MARGIN$}{}", "id", DeviceIdString(disk.id))?;
    }
    let access = if has(DiskFlags::READ_ONLY) { ", read-only" } else { "" };
    writeln!(
        out,
        "{:MARGIN$}{}, {} sectors, blocks of {} bytes{access}",
        "size",
        sectors(disk.sectors),
        disk.sectors,
        u64::from(disk.block_bytes)
    )?;
    let cache = match (has(DiskFlags::CAN_FLUSH), has(DiskFlags::WRITE_CACHE)) {
        (false, false) => "none",
        (false, true) => "on, and cannot be flushed",
        (true, false) => "off",
        (true, true) => "on",
    };
    let switch = if has(DiskFlags::CACHE_SWITCH) {
        ", can be switched"
    } else {
        ""
    };
    writeln!(out, "{:MARGIN$}{cache}{switch}", "write cache")?;
    write!(out, "{:MARGIN$}", "offered")?;
    features::write(out, disk.offered, MARGIN)?;
    write!(out, "\n{:MARGIN$}", "accepted")?;
    features::write(out, disk.accepted, MARGIN)?;
    let tables = if has(DiskFlags::INDIRECT) {
        ", a table for each request"
    } else {
        ""
    };
    writeln!(
        out,
        "\n{:MARGIN$}{} descriptors{tables}",
        "virtqueue",
        u64::from(disk.descriptors)
    )?;
    writeln!(
        out,
        "{:MARGIN$}{} segments, of {} at most",
        "request",
        u64::from(disk.max_segments),
        Bytes(disk.max_segment_bytes.into())
    )?;
    write_range(out, "discard", has(DiskFlags::DISCARD), &disk.discard, "")?;
    let unmap = if has(DiskFlags::ZEROES_UNMAP) {
        ", --unmap gives storage back"
    } else {
        ""
    };
    write_range(out, "zero", has(DiskFlags::WRITE_ZEROES), &disk.zero, unmap)?;
    write_range(out, "erase", has(DiskFlags::SECURE_ERASE), &disk.erase, "")?;
    if has(DiskFlags::LIFETIME) {
        let told = decoded(disk.lifetime);
        write!(out, "{:MARGIN$}spare blocks ", "lifetime")?;
        match told.reserved_blocks() {
            ReservedBlocks::Normal => out.write_str("normal")?,
            ReservedBlocks::Warning => out.write_str("used to 80 % and more")?,
            ReservedBlocks::Urgent => out.write_str("used to 90 % and more")?,
            _ => out.write_str("unknown")?,
        }
        out.write_str(", single-level cells ")?;
        write_wear(out, told.single_level_wear())?;
        out.write_str(", multi-level cells ")?;
        write_wear(out, told.multi_level_wear())?;
        out.write_char('\n')?;
    }
    Ok(())
}

fn write_range(out: &mut dyn fmt::Write, what: &str, offered: bool, limit: &RangeLimit, more: &str) -> fmt::Result {
    if !offered {
        return writeln!(out, "{what:MARGIN$}not offered");
    }
    write!(
        out,
        "{what:MARGIN$}{} sectors a range at most",
        u64::from(limit.sectors)
    )?;
    if limit.alignment > 1 {
        write!(out, ", best in multiples of {}", u64::from(limit.alignment))?;
    }
    writeln!(out, "{more}")
}

fn write_wear(out: &mut dyn fmt::Write, wear: Wear) -> fmt::Result {
    match wear {
        Wear::UpToPercent(percent) => write!(out, "worn to {} % at most", u64::from(percent)),
        Wear::Exceeded => out.write_str("beyond their designed life"),
        _ => out.write_str("unknown"),
    }
}

/// The lifetime in the type that decodes it.
fn decoded(lifetime: Lifetime) -> DeviceLifetime {
    DeviceLifetime {
        pre_eol_info: lifetime.pre_eol.into(),
        type_a: lifetime.single_level.into(),
        type_b: lifetime.multi_level.into(),
    }
}

/// Bytes of a text, which pads itself to no width.
fn length(text: &impl fmt::Display) -> usize {
    let mut nowhere = Nowhere(0);
    // It takes everything, so a text that fails is at fault and is only not aligned.
    let _ = fmt::Write::write_fmt(&mut nowhere, format_args!("{text}"));
    nowhere.0
}

/// A writer that counts bytes and prints nothing.
struct Nowhere(usize);

impl fmt::Write for Nowhere {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// How often something is open.
struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no"),
            1 => f.write_str("once"),
            times => write!(f, "{} times", u64::from(times)),
        }
    }
}

/// The end of the name that the node of a minor has by convention: `d0p1s2`.
struct Name(Minor);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (drive, partition, sub) = match self.0.place() {
            Some(Place::Drive { drive }) => (drive, None, None),
            Some(Place::Partition { drive, partition }) => (drive, Some(partition), None),
            Some(Place::SubPartition { drive, partition, sub }) => (drive, Some(partition), Some(sub)),
            None => return write!(f, "minor {}", self.0.0),
        };
        for (letter, number) in [('d', Some(drive)), ('p', partition), ('s', sub)] {
            if let Some(number) = number {
                write!(f, "{letter}{}", u64::from(number))?;
            }
        }
        Ok(())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The report for programs. Each number is as wide as the widest, so that one function prints them all.
#[derive(serde::Serialize)]
struct Object<'a> {
    address: u64,
    irq: Option<u64>,
    live: bool,
    given_up: bool,
    transport_version: u64,
    legacy: bool,
    id: Option<&'a str>,
    sectors: u64,
    block_bytes: u64,
    read_only: bool,
    can_flush: bool,
    write_cache: bool,
    cache_switch: bool,
    offered: u64,
    accepted: u64,
    descriptors: u64,
    indirect: bool,
    max_segments: u64,
    max_segment_bytes: u64,
    discard: Option<RangeObject>,
    zero: Option<RangeObject>,
    zero_unmaps: bool,
    erase: Option<RangeObject>,
    lifetime: Option<LifetimeObject>,
    timeout_ms: u64,
    opens: u64,
    minors: Minors<'a>,
}

/// Limits of a command on ranges.
#[derive(serde::Serialize)]
struct RangeObject {
    sectors: u64,
    ranges: u64,
    alignment: u64,
}

/// The numbers that the device tells.
#[derive(serde::Serialize)]
struct LifetimeObject {
    pre_eol: u64,
    single_level: u64,
    multi_level: u64,
}

/// The minors that are there.
struct Minors<'a>(&'a [MinorExtent]);

/// One of them.
#[derive(serde::Serialize)]
struct MinorObject {
    minor: Option<u64>,
    name: Name,
    base: u64,
    bytes: u64,
    opens: u64,
}

impl Serialize for Minors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for extent in self.0.iter().filter(|extent| extent.bytes > 0 || extent.opens > 0) {
            list.serialize_element(&MinorObject {
                minor: u64::try_from(extent.minor.0).ok(),
                name: Name(extent.minor),
                base: extent.base,
                bytes: extent.bytes,
                opens: extent.opens.into(),
            })?;
        }
        list.end()
    }
}

impl<'a> Object<'a> {
    fn of(report: &'a DiskReport) -> Self {
        let disk = &report.disk;
        let has = |flag| disk.flags.contains(flag);
        let range = |flag, limit: &RangeLimit| {
            has(flag).then_some(RangeObject {
                sectors: limit.sectors.into(),
                ranges: limit.ranges.into(),
                alignment: limit.alignment.into(),
            })
        };
        Self {
            address: disk.address,
            irq: u64::try_from(disk.irq).ok(),
            live: has(DiskFlags::LIVE),
            given_up: has(DiskFlags::GIVEN_UP),
            transport_version: disk.transport_version.into(),
            legacy: has(DiskFlags::LEGACY),
            id: has(DiskFlags::ID).then(|| name_in(&disk.id)),
            sectors: disk.sectors,
            block_bytes: disk.block_bytes.into(),
            read_only: has(DiskFlags::READ_ONLY),
            can_flush: has(DiskFlags::CAN_FLUSH),
            write_cache: has(DiskFlags::WRITE_CACHE),
            cache_switch: has(DiskFlags::CACHE_SWITCH),
            offered: disk.offered,
            accepted: disk.accepted,
            descriptors: disk.descriptors.into(),
            indirect: has(DiskFlags::INDIRECT),
            max_segments: disk.max_segments.into(),
            max_segment_bytes: disk.max_segment_bytes.into(),
            discard: range(DiskFlags::DISCARD, &disk.discard),
            zero: range(DiskFlags::WRITE_ZEROES, &disk.zero),
            zero_unmaps: has(DiskFlags::ZEROES_UNMAP),
            erase: range(DiskFlags::SECURE_ERASE, &disk.erase),
            lifetime: has(DiskFlags::LIFETIME).then_some(LifetimeObject {
                pre_eol: disk.lifetime.pre_eol.into(),
                single_level: disk.lifetime.single_level.into(),
                multi_level: disk.lifetime.multi_level.into(),
            }),
            timeout_ms: disk.timeout_ms.into(),
            opens: disk.opens.into(),
            minors: Minors(&report.minors),
        }
    }
}
