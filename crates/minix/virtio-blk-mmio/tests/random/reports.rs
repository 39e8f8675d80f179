//! What the service tells of itself, at any moment: whether its numbers can be.

use minix_abi::disk_control::{
    DiskFlags, DiskReport, EVENTS, IN_FLIGHT, LogReport, QueueFlags, QueueReport, REGISTERS, RegisterReport,
    ReportHeader, StatReport, VERSION,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::plan::{MOST_SECTORS, Report};

/// A report that is as long as its memory, and begins with its header.
fn read<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8], header: fn(&T) -> &ReportHeader) -> Result<T, String> {
    let report = T::read_from_bytes(bytes).map_err(|_| "the memory has another length".to_string())?;
    if header(&report).is_of::<T>() {
        Ok(report)
    } else {
        Err(format!("its header is {:?}", header(&report)))
    }
}

/// Whether a report is one that can be.
pub(crate) fn check(report: Report, bytes: &[u8]) -> Result<(), String> {
    let problem = match report {
        Report::Info => info(&read::<DiskReport>(bytes, |report| &report.disk.header)?),
        Report::Stat => stat(&read::<StatReport>(bytes, |report| &report.header)?),
        Report::Regs => regs(&read::<RegisterReport>(bytes, |report| &report.header)?),
        Report::Queue => queue(&read::<QueueReport>(bytes, |report| &report.header)?),
        Report::Log => log(&read::<LogReport>(bytes, |report| &report.header)?),
        Report::Version if bytes != VERSION.to_le_bytes() => Some("the version"),
        Report::Version => None,
    };
    problem.map_or(Ok(()), |problem| Err(format!("{problem} of {report:?} cannot be")))
}

fn info(report: &DiskReport) -> Option<&'static str> {
    let disk = &report.disk;
    let is_live = disk.flags.contains(DiskFlags::LIVE);
    let opens: u32 = report.minors.iter().map(|extent| extent.opens).sum();
    if is_live != (disk.sectors > 0) || disk.sectors > MOST_SECTORS {
        return Some("the size");
    }
    if is_live && disk.offered & disk.accepted != disk.accepted || !is_live && disk.accepted != 0 {
        return Some("the features");
    }
    (opens != disk.opens).then_some("the sum of opens")
}

fn stat(report: &StatReport) -> Option<&'static str> {
    let counts = &report.counts;
    if counts.in_flight > counts.most_in_flight || counts.unanswered > counts.most_unanswered {
        return Some("what is most");
    }
    // The one that asks is not among those without an answer.
    if counts.requests != counts.replies + counts.unanswered + 1 || counts.errors > counts.replies {
        return Some("the sum of requests");
    }
    let failed = report.kinds.iter().any(|kind| kind.errors > kind.operations);
    if failed || report.since_us > report.now_us {
        return Some("a kind, or the time");
    }
    (counts.replays > counts.device_requests).then_some("the number of replays")
}

fn regs(report: &RegisterReport) -> Option<&'static str> {
    let (told, rest) = report.registers.split_at(REGISTERS.min(report.count as usize));
    let named = told.iter().all(|register| !register.name().is_empty());
    let empty = rest.iter().all(|register| *register == Default::default());
    (!named || !empty).then_some("a register")
}

fn queue(report: &QueueReport) -> Option<&'static str> {
    let ring = &report.ring;
    if ring.flags.contains(QueueFlags::LIVE)
        && (ring.size == 0 || ring.free > ring.size || ring.unpublished > ring.chains)
    {
        return Some("the ring");
    }
    let (told, rest) = report.in_flight.split_at(IN_FLIGHT.min(report.count as usize));
    let named = told.iter().all(|request| request.kind.name().is_some());
    let empty = rest.iter().all(|request| *request == Default::default());
    (!named || !empty).then_some("a request in flight")
}

fn log(report: &LogReport) -> Option<&'static str> {
    let (told, rest) = report.events.split_at(EVENTS.min(report.count as usize));
    let named = told.iter().all(|event| event.kind.name().is_some());
    let ordered =
        told.is_sorted_by_key(|event| event.time_us) && told.iter().all(|event| event.time_us <= report.now_us);
    let empty = rest.iter().all(|event| *event == Default::default());
    if !named || !ordered || !empty {
        return Some("an event");
    }
    (report.lost > 0 && told.len() < EVENTS).then_some("the number of lost events")
}
