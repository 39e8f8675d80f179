//! Groups B, C and D: vectors that are wrong in one place, and the right ones in between that still have to work.

use minix_abi::bdev::BdevRequest;
use minix_abi::grant::GrantFlags;
use minix_abi::{Errno, GrantId, Status};
use minix_rt::Ipc;

use super::tester::{Content, Form, MARGIN, SECTOR, Tester, flat};
use super::verdict::{Expect, Fault};
use crate::bdev::{Direction, Trouble};

/// Bytes of a buffer.
const BUFFER: usize = 4096;
/// Bytes from the start of a buffer to that of the next: there is noise in between.
const STRIDE: usize = 2 * BUFFER;
/// Where the first buffer is, with noise before it.
const FIRST: usize = BUFFER;
/// Memory that is looked at.
const STRETCH: usize = FIRST + 3 * STRIDE;
/// Bytes of a right vector.
const FULL: i32 = 3 * BUFFER as i32;

/// The flaw of a vector of three elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Nothing.
    None,
    /// The middle element has another length.
    MiddleBytes(u64),
    /// The last two elements have another length.
    LastTwoBytes(u64),
    /// The middle element starts one byte further on, and is two bytes shorter.
    MiddleOdd,
    /// The grant of the middle element is none.
    MiddleNoGrant,
    /// The grant of the middle element has been taken back.
    MiddleRevoked,
    /// The grant of the middle element allows the other direction.
    MiddleWrongAccess,
    /// The position is not that of a sector.
    Position(u64),
}

/// Which buffers have to be left alone if the request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untouched {
    /// All three.
    All,
    /// The wrong one and the one after it.
    FromTheMiddle,
}

/// A check: its number, its name, the flaw, the right answer, and the buffers that are left alone.
type Case = (u32, &'static str, Flaw, Expect, Untouched);

const EINVAL: Expect = Expect::Error(&[Errno::EINVAL]);
const BAD_GRANT: Expect = Expect::Error(&[Errno::EINVAL, Errno::EPERM]);

const BAD_READS: [Case; 12] = {
    use Flaw::*;
    use Untouched::*;
    const OK: Expect = Expect::Exactly(FULL);
    const ODD_LENGTH: Expect = Expect::Either(FULL - 1, Errno::EINVAL);
    const ODD_ADDRESS: Expect = Expect::Either(FULL - 2, Errno::EINVAL);
    [
        (11, "normal_read", None, OK, All),
        (12, "empty_element", MiddleBytes(0), EINVAL, All),
        (13, "huge_element", MiddleBytes(1 << 63), EINVAL, All),
        (14, "total_too_large", LastTwoBytes((1 << 62) - 2), EINVAL, All),
        (15, "total_wraps", LastTwoBytes((1 << 63) - 2), EINVAL, All),
        (16, "odd_length", MiddleBytes(4095), ODD_LENGTH, FromTheMiddle),
        (17, "no_grant", MiddleNoGrant, EINVAL, FromTheMiddle),
        (18, "revoked_grant", MiddleRevoked, BAD_GRANT, FromTheMiddle),
        (19, "read_only_grant", MiddleWrongAccess, BAD_GRANT, FromTheMiddle),
        (20, "odd_address", MiddleOdd, ODD_ADDRESS, FromTheMiddle),
        (21, "odd_position", Position(1), EINVAL, All),
        (22, "normal_read_again", None, OK, All),
    ]
};

const BAD_WRITES: [Case; 3] = {
    use Flaw::*;
    use Untouched::*;
    [
        (23, "odd_position", Position(2), EINVAL, All),
        (24, "odd_length", MiddleBytes(4094), EINVAL, All),
        (25, "write_only_grant", MiddleWrongAccess, BAD_GRANT, FromTheMiddle),
    ]
};

impl<I: Ipc> Tester<'_, I> {
    /// Group B: the vector itself is wrong.
    pub(crate) fn bad_vectors(&mut self) {
        self.group('B', "bad reads, the vector");
        let result = self.one_element_read();
        self.check(6, "normal_read", result);
        let result = self.bad_vector(|_, grant| (grant, 0));
        self.check(7, "no_elements", result);
        let result = self.bad_vector(|_, _| (GrantId::INVALID, 1));
        self.check(8, "no_grant", result);
        let result = self.bad_vector(|tester, grant| {
            tester.session.client.revoke(grant);
            (grant, 1)
        });
        self.check(9, "revoked_grant", result);
        let result = self.one_element_read();
        self.check(10, "normal_read_again", result);
    }

    fn one_element_read(&mut self) -> Result<(), Fault> {
        self.read_to(Form::Vector, self.at(0), &[flat(BUFFER)], BUFFER)
    }

    /// Reads with a vector of one right element, whose grant and count are changed first.
    fn bad_vector(&mut self, change: impl FnOnce(&mut Self, GrantId) -> (GrantId, i32)) -> Result<Status, Fault> {
        let buffer = self.memory.piece(MARGIN, BUFFER);
        let inner = self.session.grant(buffer, GrantFlags::WRITE)?;
        let vector = [self.session.element(inner, buffer.bytes())];
        let granted = self.session.grant_vector(&vector)?;
        let (grant, count) = change(self, granted);
        let request = BdevRequest {
            minor: self.settings.target.minor,
            count,
            grant,
            ..Default::default()
        };
        let outcome = self.session.request(Direction::Read.vector(), &request);
        // Revoking twice does nothing.
        self.session.client.revoke(granted);
        self.session.client.revoke(inner);
        Expect::AnyError.judge(outcome)
    }

    /// Group C: one of three elements is wrong, or where they should go.
    pub(crate) fn bad_reads(&mut self) {
        self.group('C', "bad reads, the elements");
        for case in BAD_READS {
            let result = self.three(Direction::Read, case);
            self.check(case.0, case.1, result);
        }
    }

    /// Group D: the same for writing.
    pub(crate) fn bad_writes(&mut self) {
        self.group('D', "bad writes");
        for case in BAD_WRITES {
            let (number, name, ..) = case;
            if !self.settings.write {
                self.skip(number, name, &"not to be written");
                continue;
            }
            let result = self.bad_write(case);
            if result.is_err() {
                // A refused request should not have written anything.
                let first = self.at(0).disk_sector();
                let sectors = (3 * BUFFER / SECTOR) as u64 + 1;
                self.session.client.touched(first, sectors);
            }
            self.check(number, name, result);
        }
    }

    /// A write that is refused, and leaves the disk as it was.
    fn bad_write(&mut self, case: Case) -> Result<(), Fault> {
        // An odd position goes a bit further.
        const SECTORS: usize = 3 * BUFFER / SECTOR + 1;
        let at = self.at(0);
        self.read(at, SECTORS * SECTOR, SECTORS * SECTOR)?;
        let mut before: [Content; SECTORS] = self.digests();
        if case.4 == Untouched::FromTheMiddle {
            before[..BUFFER / SECTOR].fill(Content::Unknown);
        }
        self.three(Direction::Write, case)?;
        self.read_contents(at, &before)
    }

    /// Sends a vector of three buffers with a flaw, and looks at the answer and at the memory.
    fn three(&mut self, direction: Direction, case: Case) -> Result<(), Fault> {
        let (_, _, flaw, expect, untouched) = case;
        let noise = self.seed();
        self.memory.fill_noise(0, STRETCH, noise);
        let mut ranges = [0, 1, 2].map(|nth| FIRST + nth * STRIDE..FIRST + nth * STRIDE + BUFFER);
        if flaw == Flaw::MiddleOdd {
            ranges[1] = ranges[1].start + 1..ranges[1].end - 1;
        }
        let mut access = [direction.access(); 3];
        if flaw == Flaw::MiddleWrongAccess {
            access[1] = (GrantFlags::READ | GrantFlags::WRITE) - access[1];
        }
        let mut grants = [GrantId::INVALID; 3];
        for nth in 0..3 {
            let piece = self.memory.piece(ranges[nth].start, ranges[nth].len());
            grants[nth] = self.session.grant(piece, access[nth])?;
        }
        let bytes = [0, 1, 2].map(|nth| ranges[nth].len() as u64);
        let outcome = self.send_three(direction, flaw, grants, bytes);
        for grant in grants {
            self.session.client.revoke(grant);
        }
        let status = expect.judge(outcome)?;
        match (direction, status.result()) {
            (Direction::Read, Ok(all)) => {
                if let Flaw::MiddleBytes(bytes) = flaw {
                    ranges[1].end = ranges[1].start + bytes as usize;
                }
                self.only_changed(&ranges, all as usize, noise)
            }
            (Direction::Read, Err(_)) if untouched == Untouched::FromTheMiddle => {
                // The first buffer may have been filled before the mistake was seen. The memory around it may not.
                self.is_noise(0, FIRST, noise)?;
                self.is_noise(FIRST + BUFFER, STRETCH, noise)
            }
            // Writing to a disk changes no memory.
            _ => self.is_noise(0, STRETCH, noise),
        }
    }

    fn send_three(
        &mut self,
        direction: Direction,
        flaw: Flaw,
        grants: [GrantId; 3],
        bytes: [u64; 3],
    ) -> Result<Status, Trouble> {
        let mut elements = [0, 1, 2].map(|nth| self.session.element(grants[nth], bytes[nth]));
        let mut position = 0;
        match flaw {
            Flaw::None | Flaw::MiddleOdd | Flaw::MiddleWrongAccess => {}
            Flaw::MiddleBytes(bytes) => elements[1].bytes = bytes,
            Flaw::LastTwoBytes(bytes) => {
                elements[1].bytes = bytes;
                elements[2].bytes = bytes;
            }
            Flaw::MiddleNoGrant => elements[1].grant = GrantId::INVALID,
            Flaw::MiddleRevoked => self.session.client.revoke(grants[1]),
            Flaw::Position(odd) => position = odd,
        }
        let minor = self.settings.target.minor;
        self.session.transfer_vector(direction, minor, position, &elements)
    }
}
