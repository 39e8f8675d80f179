//! `log`: the last events, the oldest first.

use core::fmt;

use minix_abi::disk_control::{Event, EventKind, FaultCode, Kind, LogReport, ResetReason};

use super::queue::kind_name;
use crate::calls::Calls;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::output::{print, text};
use crate::units::{Seconds, sectors};

pub(super) fn run<C: Calls>(calls: &mut C, device: &str) -> Result<(), Failure> {
    let report: LogReport = Disk::open(calls, device)?.report()?;
    print(calls, format_args!("{}", text(|out| write(out, &report))))
}

fn write(out: &mut dyn fmt::Write, report: &LogReport) -> fmt::Result {
    if report.lost > 0 {
        writeln!(out, "{} earlier events are lost", report.lost)?;
    }
    if report.count == 0 {
        return out.write_str("no events\n");
    }
    for event in report.events.iter().take(report.count as usize) {
        let age = report.now_us.saturating_sub(event.time_us);
        write!(out, "{:>14} s ago  ", Seconds(age))?;
        write_event(out, event)?;
        out.write_char('\n')?;
    }
    Ok(())
}

/// One event in words. An event of a kind that is not known here is its numbers.
fn write_event(out: &mut dyn fmt::Write, event: &Event) -> fmt::Result {
    let &Event { first, second, .. } = event;
    // All numbers are printed by one function.
    let (count, code) = (u64::from(event.count), u64::from(event.code));
    match event.kind {
        EventKind::TIMED_OUT => {
            write!(out, "time-out: ")?;
            write_request(out, event)?;
            match count {
                0 => Ok(()),
                count => write!(out, ", tried {count} times before"),
            }
        }
        EventKind::MORE_TIMED_OUT => write!(out, "time-out: {count} more requests at the same time"),
        EventKind::RESET => write!(
            out,
            "reset: the device {}, with {count} requests in it",
            reset_reason(ResetReason(event.code))
        ),
        EventKind::RESET_WORKED => write!(out, "reset worked: {count} requests were lost and go again"),
        EventKind::RESET_FAILED => write!(out, "reset failed, {count} in a row"),
        EventKind::GIVEN_UP => write!(
            out,
            "device given up: {first} resets came to nothing, {second} of the last failed in a row"
        ),
        EventKind::REQUEST_GIVEN_UP => {
            write!(out, "request given up: ")?;
            write_request(out, event)?;
            write!(out, ", lost {count} times")
        }
        EventKind::FLUSH_FAILED => write!(out, "flush failed: writes of the last {first} ms may not be durable"),
        EventKind::FAULT => write!(out, "fault: {} ({first})", fault(FaultCode(event.code))),
        EventKind::RESIZED => write!(
            out,
            "resize: {first} sectors ({}), before {second} ({})",
            sectors(first),
            sectors(second)
        ),
        EventKind::REFUSED => write!(
            out,
            "message refused: type {:#x} from endpoint {}",
            first & u64::from(u32::MAX),
            event.count as i32
        ),
        EventKind::INTERRUPT_LOST => out.write_str("interrupt lost: the device is looked at every tick"),
        EventKind::INTERRUPTS_AGAIN => write!(out, "interrupts come again: {first} requests were found without one"),
        EventKind::NOT_STARTED => out.write_str("the device does not start again after a reset"),
        kind => write!(
            out,
            "event {}: {first}, {second}, {count}, code {code}",
            u64::from(kind.0)
        ),
    }
}

fn write_request(out: &mut dyn fmt::Write, event: &Event) -> fmt::Result {
    let name = kind_name(Kind(event.code.into()));
    match event.second {
        0 => out.write_str(name),
        count => write!(out, "{name} of {count} sectors from {} on", event.first),
    }
}

fn reset_reason(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::QUIET => "completes nothing",
        ResetReason::LOST_REQUEST => "has lost a request",
        ResetReason::BROKEN => "broke the rules or asked for it",
        ResetReason::NOT_ALIVE => "stopped without an interrupt, or is gone",
        ResetReason::TAKES_NOTHING => "takes no requests although it has room",
        ResetReason::TAKES_NO_FLUSH => "takes no flush",
        _ => "needs one for another reason",
    }
}

fn fault(code: FaultCode) -> &'static str {
    match code {
        FaultCode::INDEX_JUMP => "the used index jumped",
        FaultCode::ID_OUT_OF_RANGE => "a used id is no descriptor",
        FaultCode::NOT_IN_FLIGHT => "a used id is not in flight",
        FaultCode::GONE => "the device is gone",
        FaultCode::NEEDS_RESET => "the device asks for a reset",
        _ => "another",
    }
}
