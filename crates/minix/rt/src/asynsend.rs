//! Asynchronous messages: a table that the kernel delivers from whenever a receiver is ready.

use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use log::warn;
use minix_abi::ipc::{AsyncFlags, AsyncMessage};
use minix_abi::{Endpoint, Errno, Message, MessageType, Pad, Status};

use crate::Ipc;
use crate::ipc::names_no_memory;

/// Memory for `N` asynchronous messages. A [`Fixed`](crate::Fixed) can hold it.
#[derive(Clone, Debug)]
pub struct Table<const N: usize>([AsyncMessage; N]);

impl<const N: usize> Table<N> {
    /// A table without a message.
    pub const fn new() -> Self {
        Self(
            [const {
                AsyncMessage {
                    flags: AsyncFlags::EMPTY,
                    // Zeroes throughout, so that a table takes no room in the file.
                    destination: Endpoint(0),
                    result: Status::OK,
                    pad: Pad::ZERO,
                    message: Message::new(MessageType(0)),
                }
            }; N],
        )
    }
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Messages on their way to receivers that were not ready, at most `N`.
///
/// The kernel looks through the table from its start, so entries are used in order, and a receiver gets its messages in the
/// order they were sent.
///
/// Sending never waits. A message stays until its receiver takes it or dies. When all `N` entries wait, the receiver with the
/// most of them is the one that does not receive: **its oldest message is dropped**, with a line on the console, so
/// that a client that never fetches its replies cannot stop the service from replying to others.
pub struct Outbox<const N: usize> {
    /// `N` entries. While one is pending the kernel may read it, and write its flags and its result, at any time.
    table: NonNull<AsyncMessage>,
    /// The first entry that may be pending. Those before it are free.
    first: usize,
    /// The entry after the last one that may be pending. This one and those after it are free.
    end: usize,
    dropped: u64,
    failed: u64,
    denied: Option<Endpoint>,
}

// SAFETY: the table came as an exclusive reference, which may go to another thread as well.
unsafe impl<const N: usize> Send for Outbox<N> {}

impl<const N: usize> Outbox<N> {
    /// An outbox in `table`.
    pub fn new(table: &'static mut Table<N>) -> Self {
        const { assert!(N > 0 && N <= AsyncMessage::MAX_ENTRIES) };
        *table = Table::new();
        Self {
            table: NonNull::from(&mut table.0).cast(),
            first: 0,
            end: 0,
            dropped: 0,
            failed: 0,
            denied: None,
        }
    }

    /// Sends a message to `to`, now or as soon as it is ready for it. Of `options`, [`NOREPLY`](AsyncFlags::NOREPLY),
    /// [`NOTIFY`](AsyncFlags::NOTIFY) and [`NOTIFY_ERR`](AsyncFlags::NOTIFY_ERR) are used.
    ///
    /// # Errors
    ///
    /// [`EPERM`](Errno::EPERM) if the caller is no service, [`ECALLDENIED`](Errno::ECALLDENIED) for a request that
    /// [names memory](Ipc::sendrec_memory). A receiver that is dead, or may not be sent to, is no
    /// error here; [`failed`](Self::failed) counts it.
    pub fn send(
        &mut self,
        ipc: &mut impl Ipc,
        to: Endpoint,
        message: &Message,
        options: AsyncFlags,
    ) -> Result<(), Errno> {
        if !names_no_memory(to, message.kind) {
            return Err(Errno::ECALLDENIED);
        }
        // Entries with other flags would be skipped, and stay for ever.
        let options = options & (AsyncFlags::NOREPLY | AsyncFlags::NOTIFY | AsyncFlags::NOTIFY_ERR);
        self.reap();
        if self.end == N {
            self.make_room(ipc)?;
        }
        let index = self.end;
        self.fill(index, &AsyncMessage::new(to, *message, options));
        self.end += 1;
        // SAFETY: so many entries are there, and the table, borrowed for ever, stays where it is. Pending ones are not touched.
        let sent = unsafe { ipc.senda(self.entry(self.first), self.end - self.first) };
        if sent.is_err() {
            self.set_flags(index, AsyncFlags::EMPTY);
        }
        // Those that were delivered at once.
        self.reap();
        sent
    }

    /// How many messages wait for their receivers.
    pub fn pending(&self) -> usize {
        self.in_use().filter(|&index| is_pending(self.flags(index))).count()
    }

    /// How many messages were dropped to make room.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many messages were not delivered because the receiver was dead or could not be sent to.
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// The receiver that the kernel last refused to deliver to because this service may not send to it.
    pub const fn denied(&self) -> Option<Endpoint> {
        self.denied
    }

    /// Counts the messages that the kernel is done with by now. [`send`](Self::send) does it by itself.
    pub fn refresh(&mut self) {
        self.reap();
    }

    fn in_use(&self) -> Range<usize> {
        self.first..self.end
    }

    /// Frees the entries that the kernel is done with.
    fn reap(&mut self) {
        for index in self.in_use() {
            if !self.flags(index).contains(AsyncFlags::DONE) {
                continue;
            }
            // The result was written before the flags said so.
            fence(Ordering::SeqCst);
            // SAFETY: the entry is in the table, and the kernel is done with it.
            let result = unsafe { (*self.entry(index)).result };
            if let Err(errno) = result.result() {
                self.failed += 1;
                if errno == Errno::ECALLDENIED {
                    self.denied = Some(self.destination(index));
                }
                warn!("an asynchronous message failed: {:?}", result);
            }
            self.set_flags(index, AsyncFlags::EMPTY);
        }
        while self.first < self.end && self.flags(self.first).is_empty() {
            self.first += 1;
        }
        while self.first < self.end && self.flags(self.end - 1).is_empty() {
            self.end -= 1;
        }
        if self.first == self.end {
            (self.first, self.end) = (0, 0);
        }
    }

    /// Moves everything to the front of the table, and drops a message if that is not enough.
    fn make_room(&mut self, ipc: &mut impl Ipc) -> Result<(), Errno> {
        // As long as the kernel knows the table it may be delivering any of the messages. Now it forgets the table; the
        // next call shows it again.
        // SAFETY: with no entries there is no table.
        unsafe { ipc.senda(self.entry(0), 0) }?;
        // Some may have left meanwhile.
        self.reap();
        if self.in_use().len() == N && self.in_use().all(|index| !self.flags(index).is_empty()) {
            let slowest = self.slowest_receiver();
            if let Some(oldest) = self.in_use().find(|&index| self.destination(index) == slowest) {
                self.set_flags(oldest, AsyncFlags::EMPTY);
                self.dropped += 1;
                warn!(
                    "outbox full: the oldest message to {}, which fetches none, is dropped",
                    slowest.0
                );
            }
        }
        self.compact();
        Ok(())
    }

    /// The receiver that most messages wait for.
    fn slowest_receiver(&self) -> Endpoint {
        let waiting = |to: Endpoint| self.in_use().filter(|&index| self.destination(index) == to).count();
        let index = self.in_use().max_by_key(|&index| waiting(self.destination(index)));
        index.map_or(Endpoint::NONE, |index| self.destination(index))
    }

    /// Closes the gaps, in order. The kernel does not know the table.
    fn compact(&mut self) {
        let mut next = 0;
        for index in self.in_use() {
            if self.flags(index).is_empty() {
                continue;
            }
            if index != next {
                // SAFETY: the entry is in the table, and the kernel does not know of it.
                let entry = unsafe { self.entry(index).read() };
                self.set_flags(index, AsyncFlags::EMPTY);
                self.fill(next, &entry);
            }
            next += 1;
        }
        (self.first, self.end) = (0, next);
    }

    /// Writes an entry that is free.
    fn fill(&mut self, index: usize, entry: &AsyncMessage) {
        let place = self.entry(index);
        // The kernel knows the table from former calls and may look at it between any two instructions of ours. The flags
        // make the entry count, so they are last.
        // SAFETY: the entry is in the table; without flags the kernel does not look at it.
        unsafe {
            (&raw mut (*place).destination).write(entry.destination);
            (&raw mut (*place).result).write(entry.result);
            (&raw mut (*place).message).write(entry.message);
        }
        self.set_flags(index, entry.flags);
    }

    fn entry(&self, index: usize) -> *mut AsyncMessage {
        debug_assert!(index < N);
        // SAFETY: callers only have indices of entries; the table has `N` of them.
        unsafe { self.table.as_ptr().add(index) }
    }

    fn destination(&self, index: usize) -> Endpoint {
        // SAFETY: the entry is in the table; the kernel does not change the receiver.
        unsafe { (*self.entry(index)).destination }
    }

    fn flags(&self, index: usize) -> AsyncFlags {
        // SAFETY: the entry is in the table. Volatile, as the kernel may have changed them.
        unsafe { (&raw const (*self.entry(index)).flags).read_volatile() }
    }

    /// A reader that sees the flags sees everything that was written before.
    fn set_flags(&mut self, index: usize, flags: AsyncFlags) {
        fence(Ordering::SeqCst);
        // SAFETY: the entry is in the table. Volatile, as the kernel may look at any time.
        unsafe { (&raw mut (*self.entry(index)).flags).write_volatile(flags) };
    }
}

const fn is_pending(flags: AsyncFlags) -> bool {
    flags.contains(AsyncFlags::VALID) && !flags.contains(AsyncFlags::DONE)
}

impl<const N: usize> fmt::Debug for Outbox<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("entries", &N)
            .field("pending", &self.pending())
            .field("dropped", &self.dropped)
            .field("failed", &self.failed)
            .finish()
    }
}
