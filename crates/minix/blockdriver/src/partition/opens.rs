//! Which minor devices are open, and which were ever opened.
//!
//! Two different questions. How often a device is open decides when the disk is scanned and when it is flushed. Whether it
//! was opened since the service announced itself decides whether a client talks to the instance it knows: after a restart
//! nothing is, and a request from before is answered with `ERESTART`, which makes the client open it again. So even an open
//! that failed counts there, and even of a minor number that is no device.

use heapless::Vec;
use minix_abi::minor::Minor;

use super::table::{DEVICES, device_index};

/// Minor numbers that are remembered as opened at most, as in MINIX's own drivers, which stop dead at the next.
pub(crate) const REMEMBERED_MINORS: usize = 256;

/// Why an open is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// No device has this minor number.
    UnknownMinor,
    /// The disk is open 2^31 - 1 times: one more could not be told to anyone who asks.
    TooMany,
}

/// A close of what is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOpen;

/// The opens of all devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opens {
    counts: [u32; DEVICES],
    total: u32,
    opened: [bool; DEVICES],
    /// A flush has failed while it was open, and no request to it was answered with that yet.
    untold: [bool; DEVICES],
    /// Numbers that are no device and were opened all the same.
    unknown_minors: Vec<Minor, { REMEMBERED_MINORS - DEVICES }>,
}

impl Opens {
    /// Nothing is open and nothing ever was.
    pub(crate) const fn new() -> Self {
        Self {
            counts: [0; DEVICES],
            total: 0,
            opened: [false; DEVICES],
            untold: [false; DEVICES],
            unknown_minors: Vec::new(),
        }
    }

    /// Notes that a client tried to open `minor`, before it is known whether that works.
    ///
    /// When too many numbers that are no device are remembered, another one is not. Requests for it are then answered with
    /// `ERESTART` instead of `ENXIO`; a client that tries so many is no worse off.
    pub(crate) fn mark_opened(&mut self, minor: Minor) {
        match device_index(minor) {
            Some(index) => self.opened[index] = true,
            None if self.unknown_minors.contains(&minor) => {}
            None => {
                let _ = self.unknown_minors.push(minor);
            }
        }
    }

    /// Whether a client tried to open `minor` since the start.
    pub(crate) fn was_opened(&self, minor: Minor) -> bool {
        match device_index(minor) {
            Some(index) => self.opened[index],
            None => self.unknown_minors.contains(&minor),
        }
    }

    /// Counts an open. Whether it is the only one of the whole disk now.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing is counted.
    pub(crate) fn open(&mut self, minor: Minor) -> Result<bool, OpenError> {
        let index = device_index(minor).ok_or(OpenError::UnknownMinor)?;
        if self.total >= i32::MAX.unsigned_abs() {
            return Err(OpenError::TooMany);
        }
        self.total += 1;
        if self.counts[index] == 0 {
            self.untold[index] = false;
        }
        self.counts[index] += 1;
        Ok(self.total == 1)
    }

    /// Counts a close. Whether it was the last one of the whole disk.
    ///
    /// # Errors
    ///
    /// [`NotOpen`] if this very minor is not open; nothing is counted.
    pub(crate) fn close(&mut self, minor: Minor) -> Result<bool, NotOpen> {
        let index = device_index(minor).ok_or(NotOpen)?;
        if self.counts[index] == 0 {
            return Err(NotOpen);
        }
        self.counts[index] -= 1;
        self.total -= 1;
        Ok(self.total == 0)
    }

    /// How often all devices are open together. Not more than 2^31 - 1.
    pub(crate) const fn total(&self) -> u32 {
        self.total
    }

    /// How often `minor` is open.
    pub(crate) fn count(&self, minor: Minor) -> u32 {
        device_index(minor).map_or(0, |index| self.counts[index])
    }

    /// A flush has failed. Each minor that is open is to be told once, but for the one that asked for the flush: its answer
    /// tells it. One that is `closing` is counted as closed and can still be told, by the answer to its close.
    ///
    /// All opens of one minor count as one. A request does not say by which of them it comes.
    pub(crate) fn flush_failed(&mut self, asker: Option<Minor>, closing: Option<Minor>) {
        let (asker, closing) = (asker.and_then(device_index), closing.and_then(device_index));
        for (index, untold) in self.untold.iter_mut().enumerate() {
            let is_open = self.counts[index] > 0 || closing == Some(index);
            *untold = asker != Some(index) && (*untold || is_open);
        }
    }

    /// Whether `minor` is to be told that a flush has failed. It counts as told then.
    pub(crate) fn take_failure(&mut self, minor: Minor) -> bool {
        device_index(minor).is_some_and(|index| core::mem::take(&mut self.untold[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Minor = Minor(0);
    const SUB: Minor = Minor(130);

    #[test]
    fn the_total_is_opens_minus_closes_over_all_devices() {
        let mut opens = Opens::new();
        assert_eq!(opens.open(DISK), Ok(true));
        assert_eq!(opens.open(DISK), Ok(false));
        assert_eq!(opens.open(SUB), Ok(false));
        assert_eq!((opens.total(), opens.count(DISK), opens.count(SUB)), (3, 2, 1));
        assert_eq!(opens.close(DISK), Ok(false));
        assert_eq!(opens.close(SUB), Ok(false));
        assert_eq!(opens.total(), 1);
        assert_eq!(opens.close(DISK), Ok(true));
        assert_eq!(opens.total(), 0);
        assert_eq!(opens.open(SUB), Ok(true), "the first one again");
    }

    #[test]
    fn what_is_not_open_cannot_be_closed() {
        let mut opens = Opens::new();
        assert_eq!(opens.close(DISK), Err(NotOpen));
        opens.open(DISK).unwrap();
        assert_eq!(opens.close(SUB), Err(NotOpen));
        assert_eq!(opens.close(Minor(5)), Err(NotOpen));
        assert_eq!(opens.total(), 1);
    }

    #[test]
    fn what_is_no_device_cannot_be_opened() {
        let mut opens = Opens::new();
        assert_eq!(opens.open(Minor(5)), Err(OpenError::UnknownMinor));
        assert_eq!((opens.total(), opens.count(Minor(5))), (0, 0));
    }

    #[test]
    fn the_total_stays_a_positive_int() {
        let mut opens = Opens::new();
        opens.total = i32::MAX.unsigned_abs() - 1;
        assert_eq!(opens.open(DISK), Ok(false));
        assert_eq!(opens.open(DISK), Err(OpenError::TooMany));
        assert_eq!((opens.total(), opens.count(DISK)), (0x7FFF_FFFF, 1));
    }

    #[test]
    fn a_try_to_open_is_remembered_whatever_comes_of_it() {
        let mut opens = Opens::new();
        for minor in [DISK, SUB, Minor(5), Minor(-1), Minor(i32::MAX)] {
            assert!(!opens.was_opened(minor));
            opens.mark_opened(minor);
            opens.mark_opened(minor);
            assert!(opens.was_opened(minor));
        }
        assert!(!opens.was_opened(Minor(1)) && !opens.was_opened(Minor(129)) && !opens.was_opened(Minor(6)));
        assert_eq!(opens.total(), 0);
    }

    #[test]
    fn a_close_does_not_make_forget() {
        let mut opens = Opens::new();
        opens.mark_opened(DISK);
        opens.open(DISK).unwrap();
        opens.close(DISK).unwrap();
        assert!(opens.was_opened(DISK));
    }

    #[test]
    fn a_number_takes_room_once() {
        let mut opens = Opens::new();
        for _ in 0..1000 {
            opens.mark_opened(Minor(-1));
        }
        opens.mark_opened(Minor(-2));
        assert!(opens.was_opened(Minor(-2)));
    }

    #[test]
    fn devices_are_remembered_and_numbers_past_the_room_are_not() {
        let mut opens = Opens::new();
        for number in 0..10_000 {
            opens.mark_opened(Minor(-1 - number));
        }
        let remembered = (0..10_000).filter(|number| opens.was_opened(Minor(-1 - number)));
        assert_eq!(remembered.count(), REMEMBERED_MINORS - DEVICES);
        opens.mark_opened(Minor(143));
        assert!(opens.was_opened(Minor(143)));
    }
}
