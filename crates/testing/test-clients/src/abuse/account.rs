//! Which replies are due, and which are not.

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
    /// An answer to a transfer of at most so many bytes, of which more is not known.
    Transfer(Minor, u64),
    /// Exactly this answer, if the minor was opened.
    Exactly {
        /// Which minor.
        minor: Minor,
        /// What the rules say.
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

    /// The minor that must have been opened for any answer but [`ERESTART`](minix_abi::Errno::ERESTART).
    fn opened_minor(self) -> Option<Minor> {
        match self {
            Self::Close(minor) | Self::Transfer(minor, _) | Self::Control(minor) | Self::Exactly { minor, .. } => {
                Some(minor)
            }
            _ => None,
        }
    }

    /// Whether a status can be the answer, by what is known of opens.
    fn allows_after(self, status: Status, opened: Opened) -> bool {
        let restart = status == E::ERESTART.into();
        match opened {
            Opened::Never => restart,
            Opened::Perhaps => restart || self.allows(status),
            Opened::Surely => !restart && self.allows(status),
        }
    }

    /// Whether a status can be the answer.
    fn allows(self, status: Status) -> bool {
        const NOTHING: i64 = -1;
        // The largest number that is an answer, and the errors that are.
        let (most, errors): (i64, &[E]) = match self {
            Self::Nothing => return false,
            Self::Exactly { status: exact, .. } => return status == exact,
            Self::NothingOrRestart => (NOTHING, &[E::ERESTART]),
            Self::CdevRefusal => (NOTHING, &[E::ENXIO]),
            Self::Open(minor) if is_known(minor) => (0, &[E::EACCES]),
            Self::Open(_) => (NOTHING, &[E::ENXIO]),
            Self::Close(minor) if is_known(minor) => (0, &[E::EINVAL, E::ERESTART]),
            Self::Close(_) => (NOTHING, &[E::ENXIO, E::ERESTART, E::EINVAL]),
            Self::Transfer(minor, most) if is_known(minor) => (most as i64, &[E::EINVAL, E::ERESTART, E::EPERM]),
            Self::Transfer(..) => (0, &[E::EINVAL, E::ERESTART, E::ENXIO]),
            // The largest: a full trace.
            Self::Control(minor) if is_known(minor) => (
                1024,
                &[
                    E::ERESTART,
                    E::ENOTTY,
                    E::EINVAL,
                    E::EPERM,
                    E::EBUSY,
                    E::ENOMEM,
                    E::EOPNOTSUPP,
                ],
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

/// Whether a minor was opened since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opened {
    /// Not even an open was sent.
    Never,
    /// Unknown, or an open is in flight.
    #[default]
    Perhaps,
    /// An open was answered.
    Surely,
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

/// What is wrong with a reply, or with there being none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Its type is that of no reply, or of another one.
    Kind(MessageType),
    /// A reply that answers nothing.
    Reply(BadReply),
    /// A reply that cannot be.
    Status {
        /// What may come.
        expected: Expected,
        /// What came.
        status: Status,
    },
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

/// The account of what was sent and what came back.
#[derive(Debug, Default)]
pub(super) struct Account {
    awaited: Outstanding<Expected, MAX_AWAITED>,
    opens: [i32; MINORS],
    opened: [Opened; MINORS],
    /// Opens that were answered since everything was answered.
    fresh: [bool; MINORS],
    replies: u64,
    reads: u64,
    writes: u64,
}

impl Account {
    /// Nothing sent, and `minor` open once.
    pub(super) fn new(minor: Minor) -> Self {
        let mut account = Self::default();
        account.count_open(minor, 1);
        account.set_opened(minor, Opened::Surely);
        account
    }

    /// What is known of a minor from somewhere else.
    pub(super) fn set_opened(&mut self, minor: Minor, opened: Opened) {
        if let Some(index) = index(minor) {
            self.opened[index] = opened;
        }
    }

    /// What is known of a minor.
    pub(super) fn opened(&self, minor: Minor) -> Opened {
        index(minor).map_or(Opened::Perhaps, |index| self.opened[index])
    }

    /// A message is sent. False if there is no room to keep account of it.
    pub(super) fn sent(&mut self, id: i32, expected: Expected) -> bool {
        if let Expected::Open(minor) = expected
            && self.opened(minor) == Opened::Never
        {
            // Other messages in flight may come before it or after it.
            self.set_opened(minor, Opened::Perhaps);
        }
        self.awaited.send(id, expected)
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
        let is_allowed = match expected.opened_minor() {
            Some(minor) => expected.allows_after(status, self.opened(minor)),
            None => expected.allows(status),
        };
        if !is_allowed {
            return Err(Wrong::Status { expected, status });
        }
        match expected {
            Expected::Exactly { direction, .. } if status.0 > 0 => match direction {
                Some(Direction::Read) => self.reads += 1,
                Some(Direction::Write) => self.writes += 1,
                None => {}
            },
            Expected::Open(minor) if status == Status::OK => {
                self.count_open(minor, 1);
                if let Some(index) = index(minor) {
                    self.fresh[index] = true;
                }
            }
            Expected::Close(minor) if status == Status::OK => self.count_open(minor, -1),
            _ => {}
        }
        Ok(())
    }

    /// How many replies have to come yet.
    pub(super) fn due(&self) -> usize {
        self.awaited.iter().filter(|expected| expected.is_due()).count()
    }

    /// Everything that will come has come: forgets the messages that needed no reply. The error is the first one that should have
    /// been answered.
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        let missing = self.awaited.take().find(|expected| expected.is_due());
        for (opened, fresh) in self.opened.iter_mut().zip(&mut self.fresh) {
            if core::mem::take(fresh) {
                *opened = Opened::Surely;
            }
        }
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

    /// Replies so far.
    pub(super) const fn replies(&self) -> u64 {
        self.replies
    }

    /// Reads and writes that moved exactly what they had to, and that was something.
    pub(super) const fn moved(&self) -> (u64, u64) {
        (self.reads, self.writes)
    }

    /// A minor was opened or closed by other means.
    pub(super) fn count_open(&mut self, minor: Minor, step: i32) {
        if let Some(index) = index(minor) {
            self.opens[index] += step;
        }
    }
}
