//! The account of messages and replies.

use core::fmt;

use minix_abi::bdev::BdevReply;
use minix_abi::cdev::CdevReply;
use minix_abi::minor::{Minor, Place};
use minix_abi::{Errno as E, Message, MessageType, Status};

use crate::bdev::{BadReply, Direction, Outstanding};

/// Most messages between two times that everything is answered.
pub(super) const MAX_AWAITED: usize = 64;
/// Minors of a drive: itself, its partitions, their sub-partitions.
pub(super) const MINORS: usize = 21;

/// The possible outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// No reply.
    Nothing,
    /// No reply, or [`ERESTART`](minix_abi::Errno::ERESTART): an unknown block request, possibly on a minor that is not open.
    NothingOrRestart,
    /// A refusal of an open as a character device.
    CdevRefusal,
    /// An answer to an open.
    Open(Minor),
    /// An answer to a close.
    Close(Minor),
    /// An answer to a transfer of at most so many bytes.
    Transfer(Minor, u64),
    /// Exactly this answer.
    Exactly {
        minor: Minor,
        status: Status,
        /// Which way the data goes, if it is a transfer.
        direction: Option<Direction>,
    },
    /// An answer to a control request.
    Control(Minor),
}

impl Expected {
    /// Whether a reply has to come.
    pub(super) const fn is_due(self) -> bool {
        !matches!(self, Self::Nothing | Self::NothingOrRestart)
    }

    /// Whether a status can be the answer. All minors of the drive were opened, so only the others need to be opened again.
    fn allows(self, status: Status) -> bool {
        const NOTHING: i64 = -1;
        // The largest number that is an answer, and the errors that are.
        let (most, errors): (i64, &[E]) = match self {
            Self::Nothing => return false,
            Self::Exactly {
                minor, status: exact, ..
            } => {
                return status == exact || !is_known(minor) && status == E::ERESTART.into();
            }
            Self::NothingOrRestart => (NOTHING, &[E::ERESTART]),
            Self::CdevRefusal => (NOTHING, &[E::ENXIO]),
            Self::Open(minor) if is_known(minor) => (0, &[E::EACCES]),
            Self::Open(_) => (NOTHING, &[E::ENXIO]),
            Self::Close(minor) if is_known(minor) => (0, &[E::EINVAL]),
            Self::Close(_) => (NOTHING, &[E::ENXIO, E::ERESTART, E::EINVAL]),
            Self::Transfer(minor, most) if is_known(minor) => (most as i64, &[E::EINVAL, E::EPERM]),
            Self::Transfer(..) => (0, &[E::EINVAL, E::ERESTART, E::ENXIO]),
            // The largest: a full trace.
            Self::Control(minor) if is_known(minor) => (
                1024,
                &[E::ENOTTY, E::EINVAL, E::EPERM, E::EBUSY, E::ENOMEM, E::EOPNOTSUPP],
            ),
            Self::Control(_) => (NOTHING, &[E::ERESTART, E::ENOTTY, E::EINVAL, E::EPERM, E::ENXIO]),
        };
        match status.result() {
            Ok(number) => i64::from(number) <= most,
            Err(errno) => errors.contains(&errno),
        }
    }
}

/// Whether a minor is one of the first drive's.
pub(super) fn is_known(minor: Minor) -> bool {
    minor.place().is_some_and(|place| place.drive() == 0)
}

/// The place of a minor of the first drive in tables.
pub(super) fn index(minor: Minor) -> Option<usize> {
    match minor.place()? {
        Place::Drive { drive: 0 } => Some(0),
        Place::Partition { drive: 0, partition } => Some(1 + usize::from(partition)),
        Place::SubPartition {
            drive: 0,
            partition,
            sub,
        } => Some(5 + 4 * usize::from(partition) + usize::from(sub)),
        _ => None,
    }
}

/// A wrong reply, or a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A message of another type.
    Kind(MessageType),
    /// A reply that answers nothing.
    Reply(BadReply),
    /// A wrong status.
    Status { expected: Expected, status: Status },
    /// A reply that did not come.
    Missing(Expected),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "a reply of type {kind:?}"),
            Self::Reply(bad) => bad.fmt(f),
            Self::Status { expected, status } => write!(f, "{status:?} where {expected:?} is to be answered"),
            Self::Missing(expected) => write!(f, "no reply where {expected:?} is to be answered"),
        }
    }
}

/// Messages and replies so far.
#[derive(Debug, Default)]
pub(super) struct Account {
    awaited: Outstanding<Expected, MAX_AWAITED>,
    /// How often each minor is open.
    opens: [i32; MINORS],
    pub(super) replies: u64,
    /// Reads and writes that moved data, as much as they had to.
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl Account {
    /// A message is sent. There is room for a burst of them.
    pub(super) fn sent(&mut self, id: i32, expected: Expected) {
        self.awaited.send(id, expected);
    }

    /// A message has come from the driver.
    pub(super) fn arrived(&mut self, message: &Message) -> Result<(), Wrong> {
        let (status, id) = match message.kind {
            MessageType::BDEV_REPLY => {
                let BdevReply { status, id } = message.payload();
                (status, id)
            }
            MessageType::CDEV_REPLY => {
                let CdevReply { status, id } = message.payload();
                (status, id)
            }
            other => return Err(Wrong::Kind(other)),
        };
        let expected = self.awaited.answer(id).map_err(Wrong::Reply)?;
        self.replies += 1;
        if (message.kind == MessageType::CDEV_REPLY) != (expected == Expected::CdevRefusal) {
            return Err(Wrong::Kind(message.kind));
        }
        if !expected.allows(status) {
            return Err(Wrong::Status { expected, status });
        }
        match expected {
            Expected::Exactly { direction, .. } if status.0 > 0 => match direction {
                Some(Direction::Read) => self.reads += 1,
                Some(Direction::Write) => self.writes += 1,
                None => {}
            },
            Expected::Open(minor) if status == Status::OK => self.count_open(minor, 1),
            Expected::Close(minor) if status == Status::OK => self.count_open(minor, -1),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn awaits(&self, id: i32) -> bool {
        self.awaited.contains(id)
    }

    /// How many replies have to come yet.
    pub(super) fn due(&self) -> usize {
        self.awaited.iter().filter(|expected| expected.is_due()).count()
    }

    /// Forgets all messages, since no more replies come. The error is the first message that has to be answered and is not.
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        let missing = self.awaited.take().find(|expected| expected.is_due());
        missing.map_or(Ok(()), |expected| Err(Wrong::Missing(expected)))
    }

    /// How often the drive is open.
    pub(super) fn total_opens(&self) -> i32 {
        self.opens.iter().sum()
    }

    /// How often a minor is open.
    pub(super) fn opens(&self, minor: Minor) -> i32 {
        index(minor).map_or(0, |index| self.opens[index])
    }

    /// A minor was opened or closed.
    pub(super) fn count_open(&mut self, minor: Minor, step: i32) {
        if let Some(index) = index(minor) {
            self.opens[index] += step;
        }
    }
}
