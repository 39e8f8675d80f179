//! What the adapter asks of the system, by calls to MINIX's kernel and servers.

use core::mem;
use core::ptr::NonNull;
use core::slice;
use core::time::Duration;
use minix_blockdriver::log_line;

use log::Log as _;
use minix_abi::ipc::{AsyncFlags, IpcStatus};
use minix_abi::kernel_call::{MapAccess, MapElement};
use minix_abi::notify::NotificationKind;
use minix_abi::signal::Signal;
use minix_abi::trace::TraceEntry;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Message};
use minix_blockdriver::{Event, Kernel, System, Wait};
use minix_rt::asynsend::{self, Outbox};
use minix_rt::kernel::{IrqLine, LentRange};
use minix_rt::logger::Logger;
use minix_rt::sef::{self, Event as SefEvent};
use minix_rt::{Ipc, kernel, memory};

/// Replies that can wait for their receivers at a time.
const REPLIES: usize = 256;

/// Entries of a trace at most, which are 2 MiB: a client must not talk the service into taking all memory there is.
pub const MAX_TRACE_ENTRIES: usize = 1 << 16;

/// Memory for those replies.
pub type ReplyTable = asynsend::Table<REPLIES>;

/// The system, as far as the adapter needs it. `C` is its clock.
pub struct MinixSystem<I, C = fn() -> Instant> {
    ipc: I,
    outbox: Outbox<REPLIES>,
    clock: C,
    line: IrqLine,
    /// Ticks of the system's clock in a second.
    hz: u32,
    /// When the alarm that is set goes off.
    alarm: Option<Instant>,
    logger: &'static Logger,
    /// It was logged that some client may not be answered.
    complained: bool,
}

impl<I: Ipc, C> MinixSystem<I, C> {
    /// The system that `ipc` calls. `clock` never goes back, `line` is that of the device, and `hz` is how many ticks of the
    /// system's clock make a second.
    pub fn new(
        ipc: I,
        replies: &'static mut ReplyTable,
        clock: C,
        line: IrqLine,
        hz: u32,
        logger: &'static Logger,
    ) -> Self {
        Self {
            ipc,
            outbox: Outbox::new(replies),
            clock,
            line,
            hz,
            alarm: None,
            logger,
            complained: false,
        }
    }

    /// Gives the interrupt line back. The system may take its time to remove the hook of a process that has ended, and the next
    /// instance needs the line.
    pub fn remove_line(&mut self) {
        let _ = self.line.remove(&mut self.ipc);
    }

    /// Replies that wait for their receivers, that were dropped, and that failed.
    pub fn reply_counts(&mut self) -> (usize, u64, u64) {
        self.outbox.refresh();
        (self.outbox.pending(), self.outbox.dropped(), self.outbox.failed())
    }

    /// Prints what is left to print, and ends the process.
    pub fn exit(&mut self) -> ! {
        self.logger.flush();
        kernel::exit(&mut self.ipc)
    }

    /// A client that may call this service but not be answered by it can only come of the configuration, so there is a line
    /// about it. One: such a client calls again.
    fn complain(&mut self, client: Endpoint) {
        if !mem::replace(&mut self.complained, true) {
            log_line!(
                Error,
                "the system does not let replies through to {client}: it is missing in the ipc list of this service"
            );
        }
    }

    /// Sees to it that an alarm goes off by that time. One that is set and goes off earlier is left alone, since setting it
    /// takes a call.
    fn set_alarm(&mut self, now: Instant, until: Instant) {
        let ticks = ticks_until(now, until, self.hz);
        let at = now.after(span_of(ticks, self.hz));
        if self.alarm.is_some_and(|set| set <= at) {
            return;
        }
        self.alarm = match kernel::set_alarm(&mut self.ipc, ticks) {
            Ok(()) => Some(at),
            Err(errno) => {
                log_line!(Error, "cannot set an alarm: {errno}");
                None
            }
        };
    }
}

impl<I: Ipc, C: Fn() -> Instant> System for MinixSystem<I, C> {
    fn now(&self) -> Instant {
        (self.clock)()
    }

    fn receive(&mut self, wait: Wait, until: Option<Instant>, message: &mut Message) -> Result<Event, Errno> {
        self.logger.catch_up();
        if let Some(until) = Instant::earliest(&[until, self.logger.deadline()]) {
            self.set_alarm(self.now(), until);
        }
        let source = match wait {
            Wait::ForAll => Endpoint::ANY,
            Wait::ForAlarm => Endpoint::CLOCK,
        };
        let status = match self.ipc.receive(source, message) {
            Ok(status) => status,
            Err(Errno::EINTR) => return Ok(Event::Other),
            Err(errno) => return Err(errno),
        };
        let event = match sef::handle(&mut self.ipc, status, message) {
            SefEvent::Handled => return Ok(Event::Other),
            SefEvent::Signal(Signal::TERM) => return Ok(Event::Terminate),
            SefEvent::Signal(signal) => {
                log_line!(Debug, "signal {signal:?} ignored");
                return Ok(Event::Other);
            }
            SefEvent::NotForUs if !status.is_notification() => return Ok(Event::Message(status)),
            SefEvent::NotForUs => NotificationKind::of(message),
        };
        Ok(match event {
            NotificationKind::Interrupts(lines) if self.line.is_in(lines) => Event::Interrupt,
            NotificationKind::Alarm(_) => {
                self.alarm = None;
                Event::Alarm
            }
            _ => Event::Other,
        })
    }

    fn enable_interrupts(&mut self) {
        if let Err(errno) = self.line.enable(&mut self.ipc) {
            log_line!(Error, "cannot enable the interrupt line: {errno}");
        }
    }

    fn has_replies_waiting(&mut self) -> bool {
        self.outbox.pending() > 0
    }
}

/// Ticks from `now` until a point in time, rounded up, at least one.
fn ticks_until(now: Instant, then: Instant, hz: u32) -> u64 {
    let micros = then.as_micros().saturating_sub(now.as_micros());
    micros.saturating_mul(hz.into()).div_ceil(1_000_000).max(1)
}

/// The time that so many ticks take.
fn span_of(ticks: u64, hz: u32) -> Duration {
    Duration::from_micros(ticks.saturating_mul(1_000_000).div_ceil(u64::from(hz).max(1)))
}

impl<I: Ipc, C> Kernel for MinixSystem<I, C> {
    type Range = LentRange;
    type Trace = TraceMemory;

    fn copy_from(&mut self, granter: Endpoint, grant: GrantId, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        kernel::safecopy_from(&mut self.ipc, granter, grant, offset, into)
    }

    fn copy_to(&mut self, granter: Endpoint, grant: GrantId, offset: u64, from: &[u8]) -> Result<(), Errno> {
        kernel::safecopy_to(&mut self.ipc, granter, grant, offset, from)
    }

    fn map(
        &mut self,
        granter: Endpoint,
        elements: &[MapElement],
        offset: u64,
        access: MapAccess,
        ranges: &mut [LentRange],
    ) -> Result<usize, Errno> {
        kernel::vumap(&mut self.ipc, granter, elements, offset, access, ranges)
    }

    fn reply(&mut self, to: Endpoint, request: IpcStatus, message: &Message) {
        let sent = if request.sender_waits_for_reply() {
            self.ipc.sendnb(to, message)
        } else {
            self.outbox.send(&mut self.ipc, to, message, AsyncFlags::NOREPLY)
        };
        match sent {
            Ok(()) => {}
            Err(Errno::ECALLDENIED) => self.complain(to),
            // It died, most likely.
            Err(errno) => log_line!(Debug, "no reply to {to}: {errno}"),
        }
        if let Some(client) = self.outbox.denied() {
            self.complain(client);
        }
    }

    fn allocate_trace(&mut self, entries: usize) -> Result<TraceMemory, Errno> {
        if entries > MAX_TRACE_ENTRIES {
            return Err(Errno::ENOMEM);
        }
        let bytes = entries * size_of::<TraceEntry>();
        let start = memory::map_anonymous(&mut self.ipc, bytes)?.cast();
        Ok(TraceMemory { start, entries })
    }

    fn release_trace(&mut self, trace: TraceMemory) {
        let bytes = mem::size_of_val(trace.as_ref());
        // SAFETY: the memory was mapped for this trace alone, which ends here. If VM keeps it, nothing is lost but memory.
        let _ = unsafe { memory::unmap(&mut self.ipc, trace.start.cast(), bytes) };
    }
}

/// Memory for a trace, mapped for it alone.
#[derive(Debug)]
pub struct TraceMemory {
    start: NonNull<TraceEntry>,
    entries: usize,
}

// SAFETY: it owns its memory, which is tied to no thread.
unsafe impl Send for TraceMemory {}

impl AsRef<[TraceEntry]> for TraceMemory {
    fn as_ref(&self) -> &[TraceEntry] {
        // SAFETY: VM mapped memory for so many entries, cleared, which makes them valid, from a page on, which aligns them, and for
        // no other use, for which the implementer of `Ipc` answers; they are this value's.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.entries) }
    }
}

impl AsMut<[TraceEntry]> for TraceMemory {
    fn as_mut(&mut self) -> &mut [TraceEntry] {
        // SAFETY: as in `as_ref`, and the exclusive borrow makes this the only view.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.entries) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_rounded_up_to_ticks() {
        let until = |then, hz| ticks_until(Instant::from_micros(1_000), Instant::from_micros(then), hz);
        assert_eq!(until(1_000, 1000), 1);
        assert_eq!(until(0, 1000), 1);
        assert_eq!(until(2_000, 1000), 1);
        assert_eq!(until(2_001, 1000), 2);
        assert_eq!(until(10_001_000, 60), 600);
        assert_eq!(until(10_001_001, 60), 601);
        assert_eq!(until(u64::MAX, 1000), u64::MAX / 1_000_000 + 1);
        assert_eq!(span_of(600, 60), Duration::from_secs(10));
        assert_eq!(span_of(1, 60), Duration::from_micros(16_667));
    }
}
