//! Alarms and clock: `SYS_SETALARM`, `SYS_TIMES`.
//!
//! The kernel counts time in ticks. A process that traps more often than once per tick can hold the tick back, and
//! then neither the clock goes on nor does an alarm go off.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Endpoint, Pad, Payload};

/// Ticks per second unless configured otherwise; [`ClockInfo`](crate::kerninfo::ClockInfo) tells.
pub const DEFAULT_HZ: u32 = 1000;

/// What [`SetAlarm::time_left`] says if no alarm was pending.
pub const NO_ALARM: u64 = 0x8000_0000;

/// Sets the one alarm of the process, which comes as a notification from [`CLOCK`](Endpoint::CLOCK), or cancels it.
///
/// Processes that are no services get [`EPERM`](crate::Errno::EPERM). The reply has the same layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetAlarm {
    /// When it goes off, in ticks. Relative zero cancels.
    pub expires: u64,
    /// Reply: ticks that the former alarm had left, or [`NO_ALARM`].
    pub time_left: u64,
    /// Reply: ticks since the system started.
    pub uptime: u64,
    /// 1: the time is since the system started; 0: from now on.
    pub absolute: i32,
    /// Padding.
    pub pad: Pad<4>,
}

layout!(SetAlarm, 32 {
    expires: u64 = 0,
    time_left: u64 = 8,
    uptime: u64 = 16,
    absolute: i32 = 24,
});

impl Payload for SetAlarm {}

impl SetAlarm {
    /// An alarm `ticks` from now. Zero is taken as one, since the kernel takes it as [`cancel`](Self::cancel).
    pub const fn after(ticks: u64) -> Self {
        Self::at(if ticks == 0 { 1 } else { ticks }, 0)
    }

    /// An alarm at a time since the system started, in ticks.
    pub const fn at_uptime(ticks: u64) -> Self {
        Self::at(ticks, 1)
    }

    /// No alarm any more.
    pub const fn cancel() -> Self {
        Self::at(0, 0)
    }

    const fn at(expires: u64, absolute: i32) -> Self {
        Self {
            expires,
            time_left: 0,
            uptime: 0,
            absolute,
            pad: Pad::ZERO,
        }
    }

    /// From a reply: what the former alarm had left, if there was one.
    pub const fn former(&self) -> Option<u64> {
        if self.time_left == NO_ALARM {
            None
        } else {
            Some(self.time_left)
        }
    }
}

/// Asks for times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Times {
    /// Whose times; [`NONE`](Endpoint::NONE) for those of the system alone.
    pub process: Endpoint,
}

layout!(Times, 4 {
    process: Endpoint = 0,
});

impl Payload for Times {}

/// The reply to [`Times`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TimesReply {
    /// Ticks of the wall clock.
    pub real_ticks: u64,
    /// Ticks since the system started.
    pub boot_ticks: u64,
    /// Ticks that the process used.
    pub user: u64,
    /// Ticks that the system used for the process.
    pub system: u64,
    /// When the system started, in seconds.
    pub boot_time: i64,
}

layout!(TimesReply, 40 {
    real_ticks: u64 = 0,
    boot_ticks: u64 = 8,
    user: u64 = 16,
    system: u64 = 24,
    boot_time: i64 = 32,
});

impl Payload for TimesReply {}
