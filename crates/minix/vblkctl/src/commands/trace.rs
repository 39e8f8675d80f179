//! `trace`: the requests of a while, in the words of `btrace`.

use core::fmt;
use core::time::Duration;

use minix_abi::ioctl::IoctlCode;
use minix_abi::trace::{TRACE_ENTRIES_AT_ONCE, TraceControl, TraceEntry, TraceRequest};
use minix_abi::{Errno, Status};
use zerocopy::FromZeros;

use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::{print, text};

/// Starts a trace, waits, stops it, and prints what was recorded. Whatever fails, no trace is left behind.
pub(super) fn run<C: Calls>(calls: &mut C, device: &str, span: Duration, entries: u64) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    match disk.exchange(IoctlCode::BIOCTRACEBUF, &mut { entries }) {
        Ok(_) => {}
        Err(Errno::EBUSY) => return Err(Failure::TraceBusy),
        Err(Errno::ENOMEM | Errno::EINVAL) => return Err(Failure::TraceMemory),
        Err(errno) => return Err(disk.unless_unknown(errno, "make room for a trace")),
    }
    let result = record(&mut disk, span).and_then(|()| fetch(&mut disk));
    let released = release(&mut disk);
    result.and(released)
}

/// Ends a trace that was left behind, say by a program that was killed. Without one there is nothing to do.
pub(super) fn reset<C: Calls>(calls: &mut C, device: &str) -> Result<(), Failure> {
    let mut disk = Disk::open(calls, device)?;
    match control(&mut disk, TraceControl::STOP) {
        // Nothing is recorded.
        Ok(()) | Err(Errno::EINVAL) => release(&mut disk),
        Err(errno) => Err(disk.unless_unknown(errno, "stop the trace")),
    }
}

fn control<C: Calls>(disk: &mut Disk<'_, C>, what: TraceControl) -> Result<(), Errno> {
    disk.exchange(IoctlCode::BIOCTRACECTL, &mut { what }).map(drop)
}

fn release<C: Calls>(disk: &mut Disk<'_, C>) -> Result<(), Failure> {
    match disk.exchange(IoctlCode::BIOCTRACEBUF, &mut 0_u64) {
        Ok(_) => Ok(()),
        Err(errno) => Err(disk.unless_unknown(errno, "end the trace")),
    }
}

fn record<C: Calls>(disk: &mut Disk<'_, C>, span: Duration) -> Result<(), Failure> {
    control(disk, TraceControl::START).map_err(|errno| Failure::Request {
        what: "start the trace",
        errno,
    })?;
    let slept = disk.calls.sleep(span);
    control(disk, TraceControl::STOP).map_err(|errno| Failure::Request {
        what: "stop the trace",
        errno,
    })?;
    slept.map_err(|errno| Failure::Request { what: "wait", errno })
}

fn fetch<C: Calls>(disk: &mut Disk<'_, C>) -> Result<(), Failure> {
    let mut entries = [TraceEntry::new_zeroed(); TRACE_ENTRIES_AT_ONCE];
    loop {
        let fetched = disk.exchange(IoctlCode::BIOCTRACEGET, &mut entries);
        let count = fetched.map_err(|errno| Failure::Request {
            what: "fetch the trace",
            errno,
        })?;
        let fetched = &entries[..entries.len().min(count as usize)];
        if fetched.is_empty() {
            return Ok(());
        }
        let all = text(|out| fetched.iter().try_for_each(|entry| write_entry(out, entry)));
        print(disk.calls, format_args!("{all}"))?;
    }
}

fn write_entry(out: &mut dyn fmt::Write, entry: &TraceEntry) -> fmt::Result {
    match entry.request.name() {
        Some(name) => writeln!(out, "{name} request")?,
        None => writeln!(out, "{} request", u64::from(entry.request.0))?,
    }
    match entry.request {
        TraceRequest::OPEN => writeln!(out, "- access:\t{:x}", u64::from(entry.size))?,
        TraceRequest::READ | TraceRequest::WRITE | TraceRequest::GATHER | TraceRequest::SCATTER => {
            writeln!(out, "- position:\t{:016x}", entry.position)?;
            writeln!(out, "- size:\t\t{}", u64::from(entry.size))?;
            writeln!(out, "- flags:\t{:x}", u64::from(entry.flags))?;
        }
        TraceRequest::IOCTL => writeln!(out, "- request:\t{:08x}", u64::from(entry.size))?,
        _ => {}
    }
    writeln!(out, "- start:\t{} us", u64::from(entry.start_us))?;
    writeln!(out, "- finish:\t{} us", u64::from(entry.finish_us))?;
    if entry.result == Status::IN_PROGRESS {
        out.write_str("- result:\t(in progress)\n\n")
    } else {
        write!(out, "- result:\t{}\n\n", entry.result.0)
    }
}
