//! The trace of the requests to one device: the three control requests, and the recording.
//!
//! A client gives the trace a buffer, starts it, lets others work, stops it and fetches what was recorded. Nothing is
//! copied here and no memory is allocated: the caller does that between the steps, which are cut where an error of the copy
//! has its place in the order of checks.

use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::trace::{TRACE_ENTRIES_AT_ONCE, TraceControl, TraceEntry, TraceRequest};
use minix_abi::{Errno, Instant, Status};

/// A buffer has fewer entries than this: its bytes have to fit into a signed number of 32 bits.
pub(crate) const BUFFER_ENTRIES_LIMIT: u64 = (i32::MAX as u64) / (size_of::<TraceEntry>() as u64);

/// What to do about the buffer of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferChange<M> {
    /// Nothing; the request succeeds.
    Nothing,
    /// Give this memory back; the request succeeds.
    Release(M),
    /// Allocate so many entries and hand them to [`Trace::install`]; without memory the request fails.
    Allocate(usize),
}

/// An entry that is being recorded. It is worth nothing any more when the trace was stopped meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceTicket {
    index: usize,
    run: u32,
}

#[derive(Clone, Debug)]
struct Buffer<M> {
    minor: Minor,
    memory: M,
    /// Entries that are recorded.
    used: usize,
    /// Entries of these that were fetched.
    fetched: usize,
}

/// The trace of one service. `M` is the memory it records to.
#[derive(Clone, Debug)]
pub(crate) struct Trace<M> {
    buffer: Option<Buffer<M>>,
    /// When it was started, while it records.
    since: Option<Instant>,
    /// Counts the starts, so that a ticket of a former run is not taken for one of this.
    run: u32,
}

impl<M> Trace<M> {
    /// No buffer, no trace.
    pub(crate) const fn new() -> Self {
        Self {
            buffer: None,
            since: None,
            run: 0,
        }
    }

    /// First step of `BIOCTRACEBUF`, before the number of entries is copied in.
    ///
    /// # Errors
    ///
    /// [`EBUSY`](Errno::EBUSY) while a trace runs.
    pub(crate) const fn check_buffer(&self) -> Result<(), Errno> {
        match self.since {
            Some(_) => Err(Errno::EBUSY),
            None => Ok(()),
        }
    }

    /// Second step of `BIOCTRACEBUF`: `minor` asks for a buffer of so many entries, or for its end by zero.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) for [too many](BUFFER_ENTRIES_LIMIT), and when the buffer belongs to another minor;
    /// [`EBUSY`](Errno::EBUSY) while a trace runs, and when there is a buffer already.
    pub(crate) fn change_buffer(&mut self, minor: Minor, entries: u64) -> Result<BufferChange<M>, Errno> {
        self.check_buffer()?;
        if entries >= BUFFER_ENTRIES_LIMIT {
            return Err(Errno::EINVAL);
        }
        match &self.buffer {
            Some(_) if entries > 0 => Err(Errno::EBUSY),
            Some(buffer) if buffer.minor != minor => Err(Errno::EINVAL),
            Some(_) => Ok(match self.buffer.take() {
                Some(buffer) => BufferChange::Release(buffer.memory),
                None => BufferChange::Nothing,
            }),
            None if entries == 0 => Ok(BufferChange::Nothing),
            None => usize::try_from(entries)
                .map(BufferChange::Allocate)
                .map_err(|_| Errno::ENOMEM),
        }
    }

    /// Last step of `BIOCTRACEBUF`, if that asked for memory: here it is, and it belongs to `minor`. Returns memory that
    /// had to make way, which is none in that order of steps.
    pub(crate) fn install(&mut self, minor: Minor, memory: M) -> Option<M> {
        self.since = None;
        let former = self.buffer.replace(Buffer {
            minor,
            memory,
            used: 0,
            fetched: 0,
        });
        former.map(|buffer| buffer.memory)
    }

    /// First step of `BIOCTRACECTL`, before the code is copied in.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if the minor has no buffer.
    pub(crate) fn check_control(&self, minor: Minor) -> Result<(), Errno> {
        self.buffer_of(minor).map(|_| ())
    }

    /// Second step of `BIOCTRACECTL`: start or stop.
    ///
    /// A start forgets what was recorded before. A stop leaves the requests that are still under way in progress for ever.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if the minor has no buffer, for a stop of what does not run, and for an unknown code;
    /// [`EBUSY`](Errno::EBUSY) for the start of what runs.
    pub(crate) fn control(&mut self, minor: Minor, control: TraceControl, now: Instant) -> Result<(), Errno> {
        let buffer = self.buffer.as_mut().filter(|buffer| buffer.minor == minor);
        let buffer = buffer.ok_or(Errno::EINVAL)?;
        match (control, self.since) {
            (TraceControl::START, Some(_)) => Err(Errno::EBUSY),
            (TraceControl::START, None) => {
                buffer.used = 0;
                buffer.fetched = 0;
                self.run = self.run.wrapping_add(1);
                self.since = Some(now);
                Ok(())
            }
            (TraceControl::STOP, Some(_)) => {
                self.since = None;
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// Says that `count` of the entries that [`fetch`](Self::fetch) showed were copied out; the next fetch goes on after them.
    pub(crate) fn fetched(&mut self, count: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.fetched = buffer.fetched.saturating_add(count).min(buffer.used);
        }
    }

    /// Whether requests to some minor are being recorded.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.since.is_some()
    }

    fn buffer_of(&self, minor: Minor) -> Result<&Buffer<M>, Errno> {
        let buffer = self.buffer.as_ref().filter(|buffer| buffer.minor == minor);
        buffer.ok_or(Errno::EINVAL)
    }
}

impl<M: AsRef<[TraceEntry]> + AsMut<[TraceEntry]>> Trace<M> {
    /// `BIOCTRACEGET`: the entries to copy out, 1024 at most. Their number is the answer, zero at the end. Call
    /// [`fetched`](Self::fetched) when the copy was made.
    ///
    /// # Errors
    ///
    /// [`EINVAL`](Errno::EINVAL) if the minor has no buffer; [`EBUSY`](Errno::EBUSY) while the trace runs.
    pub(crate) fn fetch(&self, minor: Minor) -> Result<&[TraceEntry], Errno> {
        let buffer = self.buffer_of(minor)?;
        if self.since.is_some() {
            return Err(Errno::EBUSY);
        }
        let entries = buffer.memory.as_ref().get(buffer.fetched..buffer.used).unwrap_or(&[]);
        Ok(&entries[..entries.len().min(TRACE_ENTRIES_AT_ONCE)])
    }

    /// Records that a request begins; `None` if it is not to be recorded, or there is no room.
    ///
    /// `size` is the bytes of a transfer, the elements of a vector, the access bits of an open or a close, the code of a
    /// control request. Control requests of the trace itself are not recorded.
    pub(crate) fn begin(
        &mut self,
        minor: Minor,
        now: Instant,
        request: TraceRequest,
        size: u32,
        position: u64,
        flags: u32,
    ) -> Option<TraceTicket> {
        let start_us = micros_of_trace(self.since?, now);
        let buffer = self.buffer.as_mut().filter(|buffer| buffer.minor == minor)?;
        if request == TraceRequest::IOCTL && is_trace_code(size) {
            return None;
        }
        let index = buffer.used;
        *buffer.memory.as_mut().get_mut(index)? = TraceEntry {
            request,
            size,
            position,
            flags,
            result: Status::IN_PROGRESS,
            start_us,
            finish_us: TraceEntry::UNSET_TIME,
        };
        buffer.used += 1;
        Some(TraceTicket { index, run: self.run })
    }

    /// Records the bytes of a vector, in place of the number of its elements.
    pub(crate) fn set_size(&mut self, ticket: TraceTicket, bytes: u32) {
        if let Some((entry, _)) = self.open_entry(ticket) {
            entry.size = bytes;
        }
    }

    /// Records how a request ended. Nothing happens if the trace was stopped since it began.
    pub(crate) fn end(&mut self, ticket: TraceTicket, now: Instant, result: Status) {
        if let Some((entry, since)) = self.open_entry(ticket) {
            entry.result = result;
            entry.finish_us = micros_of_trace(since, now);
        }
    }

    fn open_entry(&mut self, ticket: TraceTicket) -> Option<(&mut TraceEntry, Instant)> {
        let since = self.since.filter(|_| ticket.run == self.run)?;
        let entry = self.buffer.as_mut()?.memory.as_mut().get_mut(ticket.index)?;
        Some((entry, since))
    }
}

/// The time in an entry. A trace of more than 71 minutes stands still there, below the number that means "no time".
fn micros_of_trace(since: Instant, now: Instant) -> u32 {
    let longest = TraceEntry::UNSET_TIME - 1;
    u32::try_from(now.since(since).as_micros()).map_or(longest, |micros| micros.min(longest))
}

fn is_trace_code(code: u32) -> bool {
    let code = IoctlCode(u64::from(code));
    code == IoctlCode::BIOCTRACEBUF || code == IoctlCode::BIOCTRACECTL || code == IoctlCode::BIOCTRACEGET
}
