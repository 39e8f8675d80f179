//! Which transfer the device gets next.
//!
//! Transfers run in any order, as long as no client can tell: two that overlap, one of which writes, keep the order in which
//! they came. Reads go ahead of writes, because clients wait for them; after some of them a write has its turn. A write that
//! has to be durable waits for all writes ahead of it, and those after it wait for it.
//!
//! Transfers that the device is to be given wait in lines, each in order of arrival, so that the next one is found without
//! a walk. Whether a transfer may start is looked up once, when it is admitted. One that may not is blocked until the
//! transfers in its way are answered.

use super::intake::Intake;
use super::job::JobId;
use super::list::{Links, List};
use super::regions::Regions;
use crate::device::Direction;
use crate::transfer::Transfer;

/// Where a transfer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The device has a part of it, or has all of it written and gets the flush.
    UnderWay,
    /// It reads, and may start.
    Read,
    /// It writes, and may start.
    Write,
    /// A transfer ahead of it is in its way.
    Blocked,
}

const LINES: usize = Line::Blocked as usize + 1;

// In this order, so that what every request uses lies together, ahead of the tables.
#[repr(C)]
pub(crate) struct Scheduler<const N: usize> {
    /// Transfers that wait and are not blocked.
    ready: u16,
    /// Writes that have to be durable and are not answered yet.
    forced: u16,
    /// Transfers that write and are not answered yet; the barrier aside, nothing else makes order matter.
    writes: u16,
    /// Reads that may go ahead of a waiting write.
    reads_before_write: u8,
    /// Reads that went ahead of a write since the last one had its turn.
    reads_in_a_row: u8,
    /// Something may be there to give to the device.
    busy: bool,
    /// The device has no room until it completes something.
    device_full: bool,
    /// There is more to give to the device, and it was left for the next call.
    unfinished: bool,
    /// A request was submitted without a notification.
    unnotified: bool,
    /// The transfer that waits and is not blocked, if it came while there was no other one of these. It is in no line before
    /// another one comes.
    single: Option<JobId>,
    lines: [List; LINES],
    links: Links<N>,
    /// The line of each job, if it waits in one.
    line_of: [Option<Line>; N],
    regions: Regions<N>,
}

impl<const N: usize> Scheduler<N> {
    pub(crate) const fn new(reads_before_write: u8) -> Self {
        Self {
            links: Links::new(),
            single: None,
            lines: [List::EMPTY; LINES],
            line_of: [None; N],
            regions: Regions::new(),
            ready: 0,
            forced: 0,
            reads_before_write,
            writes: 0,
            reads_in_a_row: 0,
            busy: false,
            device_full: false,
            unfinished: false,
            unnotified: false,
        }
    }

    /// Something may be there to give to the device.
    pub(crate) const fn wake(&mut self) {
        self.busy = true;
    }

    /// There is nothing to give to the device.
    pub(crate) const fn rest(&mut self) {
        self.busy = false;
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// The device has completed something.
    #[inline]
    pub(crate) const fn completed(&mut self) {
        self.device_full = false;
        if self.ready > 0 {
            self.busy = true;
        }
    }

    /// The device has no room until it completes something.
    pub(crate) const fn device_is_full(&mut self) {
        self.device_full = true;
    }

    pub(crate) const fn is_device_full(&self) -> bool {
        self.device_full
    }

    /// The device was reset: it has nothing.
    pub(crate) const fn device_is_empty(&mut self) {
        self.device_full = false;
        self.busy = true;
        self.unnotified = false;
    }

    /// Whether the device is to be given or told something, as far as is known; `false` is certain.
    #[inline]
    pub(crate) const fn has_something_to_do(&self) -> bool {
        self.busy && !self.device_full || self.unfinished || self.unnotified
    }

    /// A call to the driver begins.
    pub(crate) const fn begin_call(&mut self) {
        self.unfinished = false;
    }

    /// Leaves the rest for the next call.
    pub(crate) const fn leave_rest(&mut self) {
        self.unfinished = true;
    }

    pub(crate) const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// The device took a request.
    pub(crate) const fn submitted(&mut self) {
        self.unnotified = true;
    }

    /// Whether the device is to be notified now.
    pub(crate) const fn take_unnotified(&mut self) -> bool {
        core::mem::replace(&mut self.unnotified, false)
    }

    /// A transfer passed its checks.
    #[inline(always)]
    pub(crate) fn admitted(&mut self, intake: &Intake<N>, id: JobId) {
        if !self.regions.is_empty() {
            return self.admitted_beside(intake, id);
        }
        // No other one is unanswered, so none waits and none is in the way.
        let transfer = &intake[id].transfer;
        self.regions.insert_first(id);
        self.writes = u16::from(transfer.direction == Direction::Write);
        self.forced = u16::from(transfer.is_forced());
        self.single = Some(id);
        self.ready = 1;
        self.busy = true;
    }

    /// The same while others are unanswered.
    #[inline(never)]
    fn admitted_beside(&mut self, intake: &Intake<N>, id: JobId) {
        let transfer = &intake[id].transfer;
        let writes = transfer.direction == Direction::Write;
        self.regions.insert(intake, id);
        // Reads alone are never in each other's way.
        let is_blocked = (writes || self.writes > 0) && self.is_blocked(intake, id);
        self.writes += u16::from(writes);
        self.forced += u16::from(transfer.is_forced());
        let line = match transfer.direction {
            _ if is_blocked => Line::Blocked,
            Direction::Read => Line::Read,
            Direction::Write => Line::Write,
        };
        if !is_blocked && self.ready == 0 {
            self.single = Some(id);
            self.ready = 1;
            self.busy = true;
            return;
        }
        self.line_up_single(intake);
        // It is the last to come.
        self.lines[line as usize].push(&mut self.links, id);
        self.entered(id, line);
    }

    /// A transfer is in a line.
    #[inline]
    fn entered(&mut self, id: JobId, line: Line) {
        self.line_of[id.index::<N>()] = Some(line);
        if line != Line::Blocked {
            self.ready += 1;
            self.busy = true;
        }
    }

    /// Puts the transfer that is in no line into one: another one comes.
    #[inline]
    fn line_up_single(&mut self, intake: &Intake<N>) {
        if let Some(id) = self.single.take() {
            // No other one of its line waits.
            let line = match intake[id].transfer.direction {
                Direction::Read => Line::Read,
                Direction::Write => Line::Write,
            };
            self.lines[line as usize].push(&mut self.links, id);
            self.line_of[id.index::<N>()] = Some(line);
        }
    }

    /// Whether a transfer ahead of this one has to be answered before it may start.
    #[inline]
    fn is_blocked(&self, intake: &Intake<N>, id: JobId) -> bool {
        let transfer = &intake[id].transfer;
        let durable = self.forced > 0 || transfer.is_forced();
        self.regions.is_in_the_way(intake, id)
            || durable && transfer.direction == Direction::Write && Self::waits_for_write(intake, id)
    }

    /// Whether a write is held up because it, or a write ahead of it, has to be durable.
    #[cold]
    fn waits_for_write(intake: &Intake<N>, id: JobId) -> bool {
        let forced = intake[id].transfer.is_forced();
        let mut next = intake.first();
        while let Some(ahead) = next.filter(|&ahead| ahead != id) {
            let transfer = &intake[ahead].transfer;
            if transfer.direction == Direction::Write && (forced || transfer.is_forced()) {
                return true;
            }
            next = intake.after(ahead);
        }
        false
    }

    /// The device took all of a transfer, at once or at last, or the flush for it.
    #[inline(always)]
    pub(crate) fn all_submitted(&mut self, id: JobId) {
        if self.single == Some(id) {
            // No other one waits that is not blocked, and no barrier runs beside a transfer.
            self.single = None;
            self.ready = 0;
            self.busy = false;
            return;
        }
        if let Some(line) = self.line_of[id.index::<N>()].take() {
            self.lines[line as usize].remove(&mut self.links, id);
            self.ready -= u16::from(line != Line::Blocked);
        }
    }

    /// Puts a transfer into the line it belongs to, after something unusual has become of it: it is under way, has failed, or
    /// starts over.
    #[cold]
    pub(crate) fn changed(&mut self, intake: &Intake<N>, id: JobId) {
        let was_blocked = self.line_of[id.index::<N>()] == Some(Line::Blocked);
        self.all_submitted(id);
        let transfer = &intake[id].transfer;
        if !transfer.is_ready() {
            return;
        }
        let line = match transfer.direction {
            _ if transfer.submitted() > 0 => Line::UnderWay,
            _ if was_blocked => Line::Blocked,
            Direction::Read => Line::Read,
            Direction::Write => Line::Write,
        };
        self.enter(intake, id, line);
    }

    /// Puts a transfer into a line, in order of arrival.
    fn enter(&mut self, intake: &Intake<N>, id: JobId, line: Line) {
        self.line_up_single(intake);
        let list = &mut self.lines[line as usize];
        let mut ahead = list.last();
        while let Some(other) = ahead.filter(|&other| intake[other].order > intake[id].order) {
            ahead = self.links.before(other);
        }
        list.insert(&mut self.links, ahead, id);
        self.entered(id, line);
    }

    /// A transfer is cut: it has so many bytes and elements left.
    #[cold]
    pub(crate) fn cut(&mut self, intake: &mut Intake<N>, id: JobId, bytes: u32, elements: u8) {
        self.regions.remove(id, &intake[id].transfer);
        intake[id].transfer.cut(bytes, elements);
        self.regions.insert(intake, id);
        self.changed(intake, id);
        self.unblock(intake);
    }

    /// A transfer had its turn.
    #[inline]
    pub(crate) const fn had_turn(&mut self, direction: Direction) {
        if matches!(direction, Direction::Read) && self.writes > 0 {
            self.reads_in_a_row = self.reads_in_a_row.saturating_add(1);
        } else {
            self.reads_in_a_row = 0;
        }
    }

    /// A transfer is about to be answered, and taken out. It waits in no line.
    #[inline(always)]
    pub(crate) fn leaves(&mut self, id: JobId, transfer: &Transfer) {
        self.regions.remove(id, transfer);
        self.writes -= u16::from(transfer.direction == Direction::Write);
        self.forced -= u16::from(transfer.is_forced());
    }

    /// Whether a transfer waits for others to be answered.
    #[inline]
    pub(crate) const fn any_blocked(&self) -> bool {
        !self.lines[Line::Blocked as usize].is_empty()
    }

    /// A request was answered. Others may have waited for it.
    #[inline]
    pub(crate) fn answered(&mut self, intake: &Intake<N>) {
        if self.any_blocked() {
            self.unblock(intake);
        }
        if self.ready > 0 {
            self.busy = true;
        }
    }

    /// Lets those blocked transfers go on that no other is in the way of any more.
    #[cold]
    fn unblock(&mut self, intake: &Intake<N>) {
        let mut next = self.lines[Line::Blocked as usize].first();
        while let Some(id) = next {
            next = self.links.after(id);
            if !self.is_blocked(intake, id) {
                self.all_submitted(id);
                self.changed(intake, id);
            }
        }
    }

    /// The transfer to go on with, if no other one waits that is not blocked. If it needs a bounce buffer, one has to be free.
    #[inline]
    pub(crate) const fn single(&self) -> Option<JobId> {
        self.single
    }

    /// Whether the device may be given something in this call.
    #[inline]
    pub(crate) const fn may_submit(&self) -> bool {
        self.busy && !self.device_full && !self.unfinished
    }

    /// The transfer to go on with.
    #[inline]
    pub(crate) fn pick(&self, intake: &Intake<N>, any_bounce_free: bool) -> Option<JobId> {
        if let Some(id) = self.single {
            // Without a free bounce buffer, one that needs one has to wait.
            return (any_bounce_free || !intake[id].transfer.needs_bounce()).then_some(id);
        }
        if self.ready == 0 {
            return None;
        }
        let first = |line: Line| match self.lines[line as usize].first() {
            Some(_) if !any_bounce_free => self.first_without_bounce(intake, line),
            first => first,
        };
        let write_is_due = self.writes > 0 && self.reads_in_a_row >= self.reads_before_write;
        let (line, other) = if write_is_due {
            (Line::Write, Line::Read)
        } else {
            (Line::Read, Line::Write)
        };
        match (first(Line::UnderWay), first(line)) {
            (None, None) => first(other),
            (Some(under_way), Some(fresh)) if intake[fresh].order < intake[under_way].order => Some(fresh),
            (under_way, fresh) => under_way.or(fresh),
        }
    }

    /// The first in a line that needs no bounce buffer.
    #[cold]
    #[inline(never)]
    fn first_without_bounce(&self, intake: &Intake<N>, line: Line) -> Option<JobId> {
        let mut next = self.lines[line as usize].first();
        while let Some(id) = next
            && intake[id].transfer.needs_bounce()
        {
            next = self.links.after(id);
        }
        next
    }

    /// A transfer that could go in one device request with `head` and starts where `last` ends.
    #[inline(always)]
    pub(crate) fn neighbour(&self, intake: &Intake<N>, head: JobId, last: JobId) -> Option<JobId> {
        // Mostly no other one waits.
        if self.single.is_some() {
            return None;
        }
        self.neighbour_in_line(intake, head, last)
    }

    #[inline(never)]
    fn neighbour_in_line(&self, intake: &Intake<N>, head: JobId, last: JobId) -> Option<JobId> {
        let transfer = &intake[head].transfer;
        let line = match transfer.direction {
            Direction::Read => Line::Read,
            Direction::Write => Line::Write,
        };
        let list = self.lines[line as usize];
        if list.first() == list.last() || !transfer.may_merge() {
            return None;
        }
        self.regions.starting_at(intake, intake[last].transfer.end(), |id| {
            self.line_of[id.index::<N>()] == Some(line) && intake[id].transfer.may_merge()
        })
    }
}

#[cfg(test)]
mod tests;
