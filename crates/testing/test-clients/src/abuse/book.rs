//! The rules: the possible answers to a message, by the state of disk, memory and grants.
//!
//! The checks come in the order in which clients rely on them, so of several things that are wrong only one is answered.

use minix_abi::bdev::{BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Message, MessageType, Status};

use super::account::{Expected, MINORS, index, is_known};
use super::noise::{DATA_BYTES, Pool, VECTOR_ELEMENTS};
use crate::bdev::Direction;

const SECTOR: u64 = 512;
/// A vector as the driver sees it.
pub(super) type Elements = [(GrantId, u64); MAX_ELEMENTS];

/// Disk, memory and grants as the driver finds them.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pool: Pool,
    /// Bytes of the disk.
    capacity: u64,
    places: [Option<PartGeom>; MINORS],
    /// Those of the pool, in its order: good, bad, noisy.
    vectors: [Elements; 3],
}

impl Book {
    /// The minors follow with [`set_place`](Self::set_place).
    pub(super) const fn new(pool: Pool, capacity: u64) -> Self {
        Self {
            pool,
            capacity,
            places: [None; MINORS],
            vectors: [[(GrantId::INVALID, 0); MAX_ELEMENTS]; 3],
        }
    }

    /// Where a minor lies: it does not move from now on.
    pub(super) fn set_place(&mut self, minor: Minor, place: PartGeom) {
        if let Some(index) = index(minor) {
            self.places[index] = Some(place);
        }
    }

    /// An element of one of the vectors.
    pub(super) fn set_element(&mut self, vector: usize, nth: usize, element: &VectorElement) {
        self.vectors[vector][nth] = (element.grant, element.bytes);
    }

    /// The possible answers to a message.
    pub(super) fn expect(&self, message: &Message) -> Expected {
        let request: BdevRequest = message.payload();
        let minor = request.minor;
        let exactly = |status, direction| Expected::Exactly {
            minor,
            status,
            direction,
        };
        let is_unknown = !IoctlCode::NAMED.iter().any(|(_, named)| *named == request.request);
        match message.kind {
            MessageType::BDEV_OPEN => Expected::Open(minor),
            MessageType::BDEV_CLOSE => Expected::Close(minor),
            MessageType::BDEV_IOCTL if is_unknown && is_known(minor) => exactly(Errno::ENOTTY.into(), None),
            MessageType::BDEV_IOCTL => Expected::Control(minor),
            MessageType::CDEV_OPEN => Expected::CdevRefusal,
            kind => {
                let directions = [Direction::Read, Direction::Write];
                if let Some(direction) = directions.into_iter().find(|way| kind == way.simple()) {
                    let most = Expected::Transfer(minor, request.count.max(0) as u64);
                    let status = match u64::try_from(request.count) {
                        Ok(bytes) => self.transfer(direction, &request, &[(request.grant, bytes)]),
                        Err(_) => Some(Errno::EINVAL.into()),
                    };
                    status.map_or(most, |status| exactly(status, Some(direction)))
                } else if let Some(direction) = directions.into_iter().find(|way| kind == way.vector()) {
                    let most = Expected::Transfer(minor, VECTOR_ELEMENTS * DATA_BYTES);
                    let status = self.vector(direction, &request);
                    status.map_or(most, |status| exactly(status, Some(direction)))
                } else if kind.is_bdev_request() {
                    Expected::NothingOrRestart
                } else {
                    Expected::Nothing
                }
            }
        }
    }

    fn vector(&self, direction: Direction, request: &BdevRequest) -> Option<Status> {
        let invalid = Some(Errno::EINVAL.into());
        // Taken as a number without sign, and cut.
        let count = (request.count as u32 as usize).min(MAX_ELEMENTS);
        let bytes = (count * size_of::<VectorElement>()) as u64;
        let pool = self.pool;
        let known = [pool.good_vector, pool.bad_vector, pool.noisy_vector];
        let elements = match known.iter().position(|&vector| vector == request.grant) {
            _ if count == 0 => return invalid,
            Some(nth) => &self.vectors[nth][..count],
            // The driver has to read it, or it knows no vector.
            None if self.check_grant(request.grant, bytes, Direction::Write).is_err() => return invalid,
            // It is data.
            None => return None,
        };
        let mut sum = 0_u64;
        for (_, bytes) in elements {
            sum = sum.wrapping_add(*bytes);
            if sum > i64::MAX as u64 {
                // Some add up while they fetch, others when they have looked at the position.
                let is_there = request.position < self.capacity && is_known(request.minor);
                return invalid.filter(|_| is_there);
            }
        }
        self.transfer(direction, request, elements)
    }

    fn transfer(&self, direction: Direction, request: &BdevRequest, elements: &[(GrantId, u64)]) -> Option<Status> {
        let invalid = Some(Errno::EINVAL.into());
        if request.position >= self.capacity {
            return Some(Status::OK);
        }
        if !is_known(request.minor) {
            return Some(Errno::ENXIO.into());
        }
        let PartGeom { base, bytes, .. } = index(request.minor).and_then(|index| self.places[index])?;
        if !base.wrapping_add(request.position).is_multiple_of(SECTOR) {
            return invalid;
        }
        let mut total = 0_u64;
        for (_, bytes) in elements {
            total = total.saturating_add(*bytes);
            if *bytes == 0 || !bytes.is_multiple_of(SECTOR) || total > i64::MAX as u64 {
                return invalid;
            }
        }
        let end = bytes.min(self.capacity.saturating_sub(base));
        let moved = total.min(end.saturating_sub(request.position));
        let mut left = moved;
        for (grant, bytes) in elements {
            let part = left.min(*bytes);
            if part == 0 {
                break;
            }
            if let Err(errno) = self.check_grant(*grant, part, direction) {
                return Some(errno.into());
            }
            left -= part;
        }
        Status::count(moved)
    }

    /// The kernel's answer for so many bytes of a grant.
    fn check_grant(&self, grant: GrantId, bytes: u64, direction: Direction) -> Result<(), Errno> {
        let pool = self.pool;
        let granted = match direction {
            _ if !grant.is_valid() || grant.0 < 0 => return Err(Errno::EINVAL),
            _ if grant == pool.good => DATA_BYTES,
            _ if grant == pool.short => SECTOR,
            Direction::Read if grant == pool.write_only => DATA_BYTES,
            Direction::Write if grant == pool.read_only => DATA_BYTES,
            _ => 0,
        };
        if bytes <= granted { Ok(()) } else { Err(Errno::EPERM) }
    }
}
