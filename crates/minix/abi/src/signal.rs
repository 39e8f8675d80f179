//! Signals and sets of them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

codes! {
    /// A signal.
    ///
    /// 1 to 70 can reach a service, as messages from RS; 71 to 74 are the kernel's, and come as notifications from
    /// [`SYSTEM`](crate::Endpoint::SYSTEM). [`KILL`](Self::KILL) and fatal exceptions are handled by RS and reach no
    /// service.
    pub struct Signal(i32) {
        /// Hang-up.
        HUP = 1,
        /// Interrupt from the keyboard.
        INT = 2,
        /// Abort. RS takes a voluntary exit for this one.
        ABRT = 6,
        /// Kill.
        KILL = 9,
        /// Access to memory that is not there.
        SEGV = 11,
        /// Alarm.
        ALRM = 14,
        /// Please stop.
        TERM = 15,
        /// For the user.
        USR1 = 30,
        /// For the user.
        USR2 = 31,
        /// The last one that comes through RS: a process has sent the message that held signals back.
        SNDELAY = 70,
        /// Kernel: new text in its message ring.
        KMESS = 72,
        /// Kernel: signals wait at a signal manager.
        KSIGSM = 73,
        /// Kernel: signals wait.
        KSIG = 74,
    }
}

impl Signal {
    /// The last signal that comes through RS.
    pub const LAST_THROUGH_RS: Self = Self::SNDELAY;
    /// The first signal of the kernel.
    pub const FIRST_OF_KERNEL: Self = Self(71);
}

/// A set of the signals 1 to 128: signal n is bit (n - 1) % 32 of word (n - 1) / 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SigSet {
    /// The bits.
    pub words: [u32; 4],
}

layout!(SigSet, 16 {
    words: [u32; 4] = 0,
});

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self { words: [0; 4] };

    /// Word and bit of a signal, if a set has room for it.
    fn place(signal: Signal) -> Option<(usize, u32)> {
        let index = usize::try_from(signal.0.checked_sub(1)?).ok()?;
        (index < 128).then_some((index / 32, 1 << (index % 32)))
    }

    /// Whether the signal is in the set.
    pub fn contains(&self, signal: Signal) -> bool {
        Self::place(signal).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }

    /// The set with a signal more. A number outside of 1 to 128 changes nothing.
    #[must_use]
    pub fn with(mut self, signal: Signal) -> Self {
        if let Some((word, bit)) = Self::place(signal) {
            self.words[word] |= bit;
        }
        self
    }

    /// The set with a signal less.
    #[must_use]
    pub fn without(mut self, signal: Signal) -> Self {
        if let Some((word, bit)) = Self::place(signal) {
            self.words[word] &= !bit;
        }
        self
    }

    /// Whether no signal is in the set.
    pub fn is_empty(&self) -> bool {
        self.words == [0; 4]
    }

    /// The signals of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=128).map(Signal).filter(move |&signal| self.contains(signal))
    }
}
