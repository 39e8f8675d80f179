//! Groups B, C and D: vectors that are wrong in one place, and the right ones in between that still have to work.

use minix_abi::bdev::VectorElement;
use minix_abi::grant::GrantFlags;
use minix_abi::{Errno, GrantId, Status};
use minix_rt::Ipc;

use super::tester::{MARGIN, SECTOR, Tester, changed, touched};
use super::verdict::{Expect, Fault};
use crate::bdev::{Direction, Trouble};
use crate::buffer::Piece;

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

/// What is wrong with a vector of three elements.
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
    /// The wrong one and the one behind it.
    FromTheMiddle,
}

struct Case {
    number: u32,
    name: &'static str,
    flaw: Flaw,
    expect: Expect,
    untouched: Untouched,
}

const EINVAL: Expect = Expect::Error(&[Errno::EINVAL]);
const BAD_GRANT: Expect = Expect::Error(&[Errno::EINVAL, Errno::EPERM]);

const fn case(number: u32, name: &'static str, flaw: Flaw, expect: Expect, untouched: Untouched) -> Case {
    Case {
        number,
        name,
        flaw,
        expect,
        untouched,
    }
}

const BAD_READS: [Case; 12] = {
    use Flaw::*;
    use Untouched::*;
    [
        case(11, "normal_read", None, Expect::Exactly(FULL), All),
        case(12, "empty_element", MiddleBytes(0), EINVAL, All),
        case(13, "huge_element", MiddleBytes(1 << 63), EINVAL, All),
        case(14, "total_too_large", LastTwoBytes((1 << 62) - 2), EINVAL, All),
        case(15, "total_wraps", LastTwoBytes((1 << 63) - 2), EINVAL, All),
        case(
            16,
            "odd_length",
            MiddleBytes(4095),
            Expect::Either(FULL - 1, Errno::EINVAL),
            FromTheMiddle,
        ),
        case(17, "no_grant", MiddleNoGrant, EINVAL, FromTheMiddle),
        case(18, "revoked_grant", MiddleRevoked, BAD_GRANT, FromTheMiddle),
        case(19, "read_only_grant", MiddleWrongAccess, BAD_GRANT, FromTheMiddle),
        case(
            20,
            "odd_address",
            MiddleOdd,
            Expect::Either(FULL - 2, Errno::EINVAL),
            FromTheMiddle,
        ),
        case(21, "odd_position", Position(1), EINVAL, All),
        case(22, "normal_read_again", None, Expect::Exactly(FULL), All),
    ]
};

const BAD_WRITES: [Case; 3] = {
    use Flaw::*;
    use Untouched::*;
    [
        case(23, "odd_position", Position(2), EINVAL, All),
        case(24, "odd_length", MiddleBytes(4094), EINVAL, All),
        case(25, "write_only_grant", MiddleWrongAccess, BAD_GRANT, FromTheMiddle),
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
            tester.client.revoke(grant);
            (grant, 1)
        });
        self.check(9, "revoked_grant", result);
        let result = self.one_element_read();
        self.check(10, "normal_read_again", result);
    }

    fn one_element_read(&mut self) -> Result<(), Fault> {
        let noise = self.seed();
        self.flat.fill_noise(0, BUFFER + 2 * MARGIN, noise);
        let at = self.at(0);
        let into = self.flat.piece(MARGIN, BUFFER);
        self.move_pieces(Direction::Read, at, &[into])?;
        self.flat.check_noise(0, MARGIN, noise).map_err(touched)?;
        changed(&self.flat, MARGIN, BUFFER, noise)?;
        self.flat.check_noise(MARGIN + BUFFER, MARGIN, noise).map_err(touched)
    }

    /// Reads with a vector of one right element, whose grant and count are changed first.
    fn bad_vector(&mut self, change: impl FnOnce(&mut Self, GrantId) -> (GrantId, i32)) -> Result<Status, Fault> {
        let buffer = self.flat.piece(MARGIN, BUFFER);
        let inner = self.session.grant(self.client, buffer, GrantFlags::WRITE)?;
        let vector = [self.session.element(inner, buffer.bytes())];
        let address = vector.as_ptr().expose_provenance() as u64;
        // SAFETY: it is granted for reading, and nobody writes it before the grant is revoked.
        let piece = unsafe { Piece::new(address, size_of_val(&vector) as u64) };
        let granted = self.session.grant(self.client, piece, GrantFlags::READ)?;
        let (grant, count) = change(self, granted);
        let minor = self.settings.minor;
        let outcome = self
            .session
            .transfer_granted_vector(self.client, Direction::Read, minor, 0, grant, count);
        // Revoking twice does nothing.
        self.client.revoke(granted);
        self.client.revoke(inner);
        Expect::AnyError.judge(outcome)
    }

    /// Group C: one of three elements is wrong, or where they should go.
    pub(crate) fn bad_reads(&mut self) {
        self.group('C', "bad reads, the elements");
        for case in &BAD_READS {
            let result = self.three(Direction::Read, case);
            self.check(case.number, case.name, result);
        }
    }

    /// Group D: the same for writing.
    pub(crate) fn bad_writes(&mut self) {
        self.group('D', "bad writes");
        for case in &BAD_WRITES {
            if !self.settings.write {
                self.skip(case.number, case.name, &"not to be written");
                continue;
            }
            let result = self.bad_write(case);
            if result.is_err() {
                // What was refused has not been written, or so it should be.
                let first = self.at(0).disk_sector();
                self.client.touched(first, (3 * BUFFER / SECTOR) as u64 + 1);
            }
            self.check(case.number, case.name, result);
        }
    }

    /// A write that is refused, and leaves the disk as it was.
    fn bad_write(&mut self, case: &Case) -> Result<(), Fault> {
        // An odd position goes a bit further.
        let bytes = 3 * BUFFER + SECTOR;
        let at = self.at(0);
        self.read(at, bytes, bytes)?;
        let mut before = [0; 3 * BUFFER / SECTOR + 1];
        self.sums(&mut before);
        self.three(Direction::Write, case)?;
        self.read(at, bytes, bytes)?;
        let mut after = before;
        self.sums(&mut after);
        let first = match case.untouched {
            Untouched::All => 0,
            Untouched::FromTheMiddle => BUFFER / SECTOR,
        };
        match (first..before.len()).find(|sector| before[*sector] != after[*sector]) {
            Some(sector) => Err(Fault::Data { at: sector * SECTOR }),
            None => Ok(()),
        }
    }

    /// Digests of the sectors that were just read.
    fn sums(&self, sums: &mut [u64]) {
        for (nth, sum) in sums.iter_mut().enumerate() {
            let mut sector = [0; SECTOR];
            self.flat.read(MARGIN + nth * SECTOR, &mut sector);
            let mut digest = guest_protocol::pattern::Digest::new();
            digest.update(&sector);
            *sum = digest.finish();
        }
    }

    /// Sends a vector of three buffers with a flaw, and looks at the answer and at the memory.
    fn three(&mut self, direction: Direction, case: &Case) -> Result<(), Fault> {
        let noise = self.seed();
        self.pieces.fill_noise(0, STRETCH, noise);
        let mut ranges = [0, 1, 2].map(|nth| (FIRST + nth * STRIDE, BUFFER));
        if case.flaw == Flaw::MiddleOdd {
            ranges[1] = (ranges[1].0 + 1, BUFFER - 2);
        }
        let access = match case.flaw {
            Flaw::MiddleWrongAccess => [direction.access(), other(direction).access(), direction.access()],
            _ => [direction.access(); 3],
        };
        let grants = self.grant_three(&ranges, access)?;
        let outcome = self.send_three(direction, case.flaw, &ranges, grants);
        for grant in grants {
            self.client.revoke(grant);
        }
        let status = case.expect.judge(outcome)?;
        match (direction, status.result()) {
            (Direction::Read, Ok(_)) => {
                if let Flaw::MiddleBytes(bytes) = case.flaw {
                    ranges[1].1 = bytes as usize;
                }
                self.only_changed(&ranges, noise)
            }
            (Direction::Read, Err(_)) if case.untouched == Untouched::FromTheMiddle => {
                // The first buffer may have been filled before the mistake was seen. What is around it may not.
                self.pieces.check_noise(0, FIRST, noise).map_err(touched)?;
                let rest = FIRST + BUFFER;
                self.pieces.check_noise(rest, STRETCH - rest, noise).map_err(touched)
            }
            // Writing to a disk changes no memory.
            _ => self.pieces.check_noise(0, STRETCH, noise).map_err(touched),
        }
    }

    fn grant_three(&mut self, ranges: &[(usize, usize); 3], access: [GrantFlags; 3]) -> Result<[GrantId; 3], Fault> {
        let mut grants = [GrantId::INVALID; 3];
        for nth in 0..3 {
            let piece = self.pieces.piece(ranges[nth].0, ranges[nth].1);
            grants[nth] = self.session.grant(self.client, piece, access[nth])?;
        }
        Ok(grants)
    }

    fn send_three(
        &mut self,
        direction: Direction,
        flaw: Flaw,
        ranges: &[(usize, usize); 3],
        grants: [GrantId; 3],
    ) -> Result<Status, Trouble> {
        let mut elements = [VectorElement::default(); 3];
        for nth in 0..3 {
            elements[nth] = self.session.element(grants[nth], ranges[nth].1 as u64);
        }
        let mut position = 0;
        match flaw {
            Flaw::None | Flaw::MiddleOdd | Flaw::MiddleWrongAccess => {}
            Flaw::MiddleBytes(bytes) => elements[1].bytes = bytes,
            Flaw::LastTwoBytes(bytes) => {
                elements[1].bytes = bytes;
                elements[2].bytes = bytes;
            }
            Flaw::MiddleNoGrant => elements[1].grant = GrantId::INVALID,
            Flaw::MiddleRevoked => self.client.revoke(grants[1]),
            Flaw::Position(odd) => position = odd,
        }
        let minor = self.settings.minor;
        self.session
            .transfer_vector(self.client, direction, minor, position, &elements)
    }

    /// Whether these ranges of the memory have changed, and nothing else.
    fn only_changed(&self, ranges: &[(usize, usize); 3], noise: u64) -> Result<(), Fault> {
        let mut done = 0;
        for (offset, bytes) in *ranges {
            self.pieces.check_noise(done, offset - done, noise).map_err(touched)?;
            changed(&self.pieces, offset, bytes, noise)?;
            done = offset + bytes;
        }
        self.pieces.check_noise(done, STRETCH - done, noise).map_err(touched)
    }
}

const fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Read => Direction::Write,
        Direction::Write => Direction::Read,
    }
}
