//! `queue`: the virtqueue and the requests in flight, in the words of the bare monitor.

use core::fmt;

use minix_abi::Endpoint;
use minix_abi::disk_control::{InFlightFlags, InFlightRequest, Kind, QueueFlags, QueueReport};

use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::{print, text};

pub(super) fn run<C: Calls>(calls: &mut C, device: &str) -> Result<(), Failure> {
    let report: QueueReport = Disk::open(calls, device)?.report()?;
    print(calls, format_args!("{}", text(|out| write(out, &report))))
}

fn write(out: &mut dyn fmt::Write, report: &QueueReport) -> fmt::Result {
    let ring = &report.ring;
    if ring.flags.contains(QueueFlags::LIVE) {
        writeln!(
            out,
            "queue of {}: {} free, {} chains with the device, {} not published, {} requests",
            u64::from(ring.size),
            u64::from(ring.free),
            u64::from(ring.chains),
            u64::from(ring.unpublished),
            u64::from(report.count)
        )?;
        writeln!(
            out,
            "available index {}, used index {} (taken up to {}), used flags {:#x}",
            u64::from(ring.available_index),
            u64::from(ring.used_index),
            u64::from(ring.used_seen),
            u64::from(ring.used_flags)
        )?;
        let event_index = if ring.flags.contains(QueueFlags::EVENT_INDEX) {
            "on"
        } else {
            "off"
        };
        write!(
            out,
            "event index {event_index}, avail_event {}, ",
            u64::from(ring.avail_event)
        )?;
        if ring.flags.contains(QueueFlags::INDIRECT) {
            writeln!(out, "indirect tables of {}", u64::from(ring.table_entries))?;
        } else {
            out.write_str("direct chains\n")?;
        }
    } else {
        out.write_str("the device does not work: there is no queue\n")?;
    }
    if ring.flags.contains(QueueFlags::FAULT) {
        out.write_str("stopped: the device broke the rules of the ring\n")?;
    }
    if ring.flags.contains(QueueFlags::STOPPED) {
        out.write_str("stopped: the device is to be reset, or is given up\n")?;
    }
    writeln!(
        out,
        "requests of clients without an answer: {}",
        u64::from(report.unanswered)
    )?;
    let shown = &report.in_flight[..report.in_flight.len().min(report.count as usize)];
    if shown.is_empty() {
        return out.write_str("nothing in flight\n");
    }
    out.write_str("  tag what           first sector    sectors       age us minor    client notes\n")?;
    for request in shown {
        write_request(out, request)?;
    }
    match report.count as usize - shown.len() {
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}

fn write_request(out: &mut dyn fmt::Write, request: &InFlightRequest) -> fmt::Result {
    write!(out, "{:>5} ", u64::from(request.tag))?;
    write!(out, "{:<11} ", kind_name(request.kind))?;
    if request.sectors == 0 {
        write!(out, "{:>15} {:>10}", "-", "-")?;
    } else {
        write!(out, "{:>15} {:>10}", request.first, request.sectors)?;
    }
    write!(out, " {:>12}", request.age_us)?;
    if request.client == Endpoint::NONE {
        write!(out, " {:>5} {:>9}", "-", "service")?;
    } else {
        write!(out, " {:>5} {:>9}", request.minor.0, request.client.0)?;
    }
    if request.clients > 1 {
        write!(out, " shared by {}", u64::from(request.clients))?;
    }
    if request.replays > 0 {
        write!(out, " tried {} times before", u64::from(request.replays))?;
    }
    for (flag, note) in [
        (InFlightFlags::BARRIER, " barrier"),
        (InFlightFlags::BACKGROUND, " background"),
        (InFlightFlags::BOUNCE, " bounced"),
        (InFlightFlags::COMPLETED, " completed"),
    ] {
        if request.flags.contains(flag) {
            out.write_str(note)?;
        }
    }
    out.write_char('\n')
}

/// What a device request does.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::READ => "read",
        Kind::WRITE => "write",
        Kind::FLUSH => "flush",
        Kind::DISCARD => "discard",
        Kind::ZERO => "zero",
        Kind::ERASE => "erase",
        Kind::SCAN => "table read",
        Kind::IDENTIFY => "identify",
        Kind::SWITCH => "cache",
        _ => "another",
    }
}
