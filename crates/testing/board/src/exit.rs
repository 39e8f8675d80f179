//! How a run ended, as the host sees it.

/// The exit status of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ExitStatus {
    /// All is well: QEMU exits with status 0.
    Success,
    /// Something failed: QEMU exits with this status.
    Failure(FailureCode),
}

/// The exit status of a failed run: a number from 1 to 127.
///
/// Larger numbers would look like death by a signal to a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FailureCode(u8);

impl FailureCode {
    /// A panic.
    pub const PANIC: Self = Self(101);
    /// A trap nobody expected.
    pub const TRAP: Self = Self(102);
    /// The stack grew until it hit the memory of the firmware.
    pub const STACK_OVERFLOW: Self = Self(103);

    /// The code of that number; `None` outside 1 to 127.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            1..=127 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl ExitStatus {
    /// The word that makes the SiFive test finisher end the machine with this status.
    pub const fn finisher_word(self) -> u32 {
        match self {
            Self::Success => 0x5555,
            Self::Failure(code) => (code.0 as u32) << 16 | 0x3333,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_in_the_upper_half() {
        assert_eq!(ExitStatus::Success.finisher_word(), 0x5555);
        assert_eq!(ExitStatus::Failure(FailureCode::PANIC).finisher_word(), 0x65_3333);
    }

    #[test]
    fn zero_is_no_failure_and_signals_are_out_of_range() {
        assert_eq!(FailureCode::new(0), None);
        assert_eq!(FailureCode::new(127).map(FailureCode::number), Some(127));
        assert_eq!(FailureCode::new(128), None);
    }
}
