//! Groups A and L: the tested minor is opened, counted and, in the end, closed.

use minix_abi::Status;
use minix_rt::Ipc;

use super::tester::Tester;
use super::verdict::{Expect, Fault};

impl<I: Ipc> Tester<'_, I> {
    /// Opens the minor and asks where it is. Without that there is nothing to test.
    pub(crate) fn opening(&mut self) -> bool {
        self.group('A', "opening");
        let minor = self.settings.minor;
        let result = self.open(minor);
        if !self.check(1, "open", result) {
            return false;
        }
        let place = self.partition(minor);
        let size_known = match place {
            Ok(place) => {
                self.place = place;
                self.check(2, "place", Ok(()))
            }
            Err(fault) => self.check(2, "place", Err::<(), _>(fault)),
        };
        if self.place.bytes < 2 * self.settings.max as u64 {
            self.client.say(format_args!(
                "  the partition of {} bytes is small for transfers of {}",
                self.place.bytes, self.settings.max
            ));
        }
        self.counts(3, "open_count", 1);
        let result = self.open(minor);
        self.check(4, "second_open", result);
        self.counts(4, "open_count_after_second_open", 2);
        let result = self.close(minor);
        self.check(5, "close", result);
        self.counts(5, "open_count_after_close", 1);
        size_known
    }

    /// Closes the minor.
    pub(crate) fn closing(&mut self) {
        self.group('L', "closing");
        let result = self.close(self.settings.minor);
        self.check(51, "close", result);
    }

    /// Whether the drive is open so often. It has to be by us alone.
    pub(crate) fn counts(&mut self, number: u32, name: &str, expected: u32) {
        let result = self.open_count(expected);
        self.check(number, name, result);
    }

    fn open_count(&mut self, expected: u32) -> Result<Status, Fault> {
        let (status, count) = self.session.open_count(self.client, self.settings.minor)?;
        let status = Expect::OK.judge(Ok(status))?;
        // A negative count becomes a large one.
        Fault::number("open count", u64::from(count as u32), u64::from(expected))?;
        Ok(status)
    }
}
