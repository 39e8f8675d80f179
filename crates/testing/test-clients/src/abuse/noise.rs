//! Random messages.

use core::ops::Range;

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, GrantId, Message, MessageType};
use zerocopy::IntoBytes;

use super::account::is_known;
use crate::random::Random;

/// Bytes of the memory that the grants are about.
pub(super) const DATA_BYTES: u64 = 64 << 10;
/// Elements of each vector.
pub(super) const VECTOR_ELEMENTS: u64 = 64;
/// Minors that DIOCSETP may move about: nothing is written to them.
pub(super) const MOVABLE: Range<i32> = 140..143;

/// Message types that have a meaning elsewhere, but not in a message from a client.
#[rustfmt::skip]
const SPECIAL: &[i32] = &[
    0, -1, 1, i32::MAX, i32::MIN, 0x3FF, 0x401, 0x402, 0x480, 0x4FF, 0x580, 0x581, 0x600, 0x61F, 0x635, 0x700, 0x714, 0x715,
    0x800, 0x806, 0xC0A, 0xE00, 0xE01, 0xE02, 0x1000, 0x1001,
];

/// Grants to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    /// 64 KiB, both ways.
    pub(super) good: GrantId,
    /// The same memory, for the driver to read only.
    pub(super) read_only: GrantId,
    /// The same memory, for the driver to write only.
    pub(super) write_only: GrantId,
    /// A sector of it.
    pub(super) short: GrantId,
    /// A grant that was revoked.
    pub(super) revoked: GrantId,
    /// A grant to another process.
    pub(super) foreign: GrantId,
    /// A vector of 64 elements of a sector each, all good.
    pub(super) good_vector: GrantId,
    /// A vector of 64 elements, none of which the driver can read or write.
    pub(super) bad_vector: GrantId,
    /// A vector of 64 elements of noise.
    pub(super) noisy_vector: GrantId,
    /// The argument of control requests, both ways.
    pub(super) argument: GrantId,
    /// The argument of DIOCTIMEOUT. No other request may write there: a random time-out would be a short one.
    pub(super) timeout: GrantId,
}

/// The minor, and its scratch range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The minor that is tested.
    pub(super) minor: Minor,
    /// How long it is.
    pub(super) bytes: u64,
    /// Where it may be written, in bytes.
    pub(super) scratch: Range<u64>,
}

/// The source of random messages.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    pub(super) random: Random,
    pub(super) bounds: Bounds,
    pub(super) pool: Pool,
}

impl Noise {
    /// Messages that belong to a seed.
    pub(super) const fn new(seed: u64, bounds: Bounds, pool: Pool) -> Self {
        Self {
            random: Random::new(seed),
            bounds,
            pool,
        }
    }

    /// The next message, with an id that a reply has to have.
    pub(super) fn message(&mut self, id: i32) -> Message {
        match self.random.below(100) {
            0..30 => self.read(id),
            30..42 => self.gather(id),
            42..52 => self.write(id),
            52..60 => self.scatter(id),
            60..70 => self.open(id),
            70..78 => self.close(id),
            78..90 => self.control(id),
            90..93 => self.other(MessageType::CDEV_OPEN, id),
            93..96 => self.unknown_block_request(id),
            _ => self.unknown(id),
        }
    }

    /// A request whose fields are noise.
    fn request(&mut self, id: i32) -> BdevRequest {
        BdevRequest {
            position: self.position(),
            minor: self.minor(),
            id,
            access: BdevAccess::from_bits_retain(self.random.next() as u32),
            count: self.random.next() as i32,
            grant: GrantId(self.random.next() as i32),
            flags: BdevFlags::from_bits_retain(self.random.next() as u32),
            user: Endpoint(self.random.next() as i32),
            request: IoctlCode(self.random.next()),
            ..Default::default()
        }
    }

    fn minor(&mut self) -> Minor {
        match self.random.below(8) {
            0 => Minor(self.random.below(5) as i32),
            1 => Minor(128 + self.random.below(16) as i32),
            2 => Minor(self.random.next() as i32),
            3 => Minor(self.random.below(256) as i32),
            _ => self.bounds.minor,
        }
    }

    fn position(&mut self) -> u64 {
        match self.random.below(6) {
            0 => self.random.next(),
            1 => (self.random.next() % 4096).wrapping_neg() & !511,
            2 => self.random.below(self.bounds.bytes),
            3 => (self.bounds.bytes + 4096).saturating_sub(self.random.below(20) * 512),
            _ => self.random.below(self.bounds.bytes / 512) * 512,
        }
    }

    /// A count of bytes: from sensible to not at all.
    fn count(&mut self) -> i32 {
        match self.random.below(6) {
            0 => self.random.next() as i32,
            1 => -(self.random.below(1 << 17) as i32),
            2 => self.random.below(DATA_BYTES + 2) as i32,
            _ => (self.random.below(DATA_BYTES / 512 + 2) * 512) as i32,
        }
    }

    /// A count of elements.
    fn elements(&mut self) -> i32 {
        match self.random.below(4) {
            0 => self.random.next() as i32,
            1 => VECTOR_ELEMENTS as i32 + self.random.below(3) as i32 - 1,
            _ => self.random.below(VECTOR_ELEMENTS + 1) as i32,
        }
    }

    /// A grant that no data can be read from: for writes that must not happen.
    fn unreadable(&mut self) -> GrantId {
        let negative = GrantId(self.random.next() as i32 | i32::MIN);
        let pool = self.pool;
        self.random
            .one_of(&[GrantId::INVALID, negative, pool.write_only, pool.revoked, pool.foreign])
    }

    /// Any grant.
    fn any(&mut self) -> GrantId {
        let noise = GrantId(self.random.next() as i32);
        let unreadable = self.unreadable();
        let pool = self.pool;
        self.random.one_of(&[
            pool.good,
            pool.good,
            pool.good,
            pool.read_only,
            pool.short,
            noise,
            unreadable,
        ])
    }

    fn read(&mut self, id: i32) -> Message {
        let mut request = BdevRequest {
            count: self.count(),
            grant: self.any(),
            ..self.request(id)
        };
        if self.random.one_in(3) {
            // One that has to succeed.
            request.minor = self.bounds.minor;
            request.position = self.random.below(self.bounds.bytes / 512) * 512;
            request.count = (1 + self.random.below(DATA_BYTES / 512)) as i32 * 512;
            let pool = self.pool;
            request.grant = self.random.one_of(&[pool.good, pool.write_only]);
        }
        self.block_message(MessageType::BDEV_READ, &request)
    }

    fn gather(&mut self, id: i32) -> Message {
        let pool = self.pool;
        let any = self.any();
        let request = BdevRequest {
            count: self.elements(),
            grant: self.random.one_of(&[
                pool.good_vector,
                pool.good_vector,
                pool.bad_vector,
                pool.noisy_vector,
                any,
            ]),
            ..self.request(id)
        };
        self.block_message(MessageType::BDEV_GATHER, &request)
    }

    fn write(&mut self, id: i32) -> Message {
        let mut request = BdevRequest {
            count: self.count(),
            grant: self.unreadable(),
            ..self.request(id)
        };
        let room = self.bounds.scratch.end - self.bounds.scratch.start;
        if room > 0 && self.random.one_in(2) {
            let offset = self.random.below(room / 512) * 512;
            let most = (room - offset).min(DATA_BYTES);
            request.minor = self.bounds.minor;
            request.position = self.bounds.scratch.start + offset;
            request.count = (1 + self.random.below(most / 512)) as i32 * 512;
            let pool = self.pool;
            request.grant = self.random.one_of(&[pool.good, pool.read_only]);
        }
        self.block_message(MessageType::BDEV_WRITE, &request)
    }

    fn scatter(&mut self, id: i32) -> Message {
        let unreadable = self.unreadable();
        let mut request = BdevRequest {
            count: self.elements(),
            grant: self.random.one_of(&[self.pool.bad_vector, unreadable]),
            ..self.request(id)
        };
        let Range { start, end } = self.bounds.scratch;
        let most = VECTOR_ELEMENTS * 512;
        if end - start >= most && self.random.one_in(2) {
            request.minor = self.bounds.minor;
            request.position = start + self.random.below((end - start - most) / 512 + 1) * 512;
            request.grant = self.pool.good_vector;
        }
        self.block_message(MessageType::BDEV_SCATTER, &request)
    }

    /// A message of noise, but for the request.
    fn block_message(&mut self, kind: MessageType, request: &BdevRequest) -> Message {
        let mut message = Message::new(kind);
        self.random.fill(&mut message.body);
        let request = request.as_bytes();
        message.body[..request.len()].copy_from_slice(request);
        // Its padding is noise again.
        self.random.fill(&mut message.body[36..40]);
        message
    }

    fn open(&mut self, id: i32) -> Message {
        let mut request = self.request(id);
        // Some driver may give a meaning to other bits.
        request.access &= BdevAccess::READ | BdevAccess::WRITE;
        self.block_message(MessageType::BDEV_OPEN, &request)
    }

    fn close(&mut self, id: i32) -> Message {
        let mut request = self.request(id);
        if request.minor == self.bounds.minor {
            // It stays open, or the reads in between would have to open it again.
            request.minor = Minor(128 + self.random.below(16) as i32);
        }
        self.block_message(MessageType::BDEV_CLOSE, &request)
    }

    fn control(&mut self, id: i32) -> Message {
        let codes = IoctlCode::NAMED;
        let mut request = BdevRequest {
            grant: self.any(),
            ..self.request(id)
        };
        if self.random.one_in(4) {
            // Unknown: not one of the named ones even by chance, and not with the upper half set either.
            request.request.0 |= 1 << (32 + self.random.below(32));
        } else {
            request.request = self.random.one_of(codes).1;
            if self.random.one_in(2) {
                request.grant = self.pool.argument;
            }
        }
        match request.request {
            IoctlCode::DIOCTIMEOUT => {
                let unreadable = self.unreadable();
                request.grant = self.random.one_of(&[self.pool.timeout, unreadable]);
            }
            IoctlCode::DIOCSETP if !MOVABLE.contains(&request.minor.0) => request.grant = self.unreadable(),
            // The minor that has the buffer has to return it in the end.
            IoctlCode::BIOCTRACEBUF | IoctlCode::BIOCTRACECTL if is_known(request.minor) => {
                request.minor = self.bounds.minor;
            }
            _ => {}
        }
        self.block_message(MessageType::BDEV_IOCTL, &request)
    }

    fn unknown_block_request(&mut self, id: i32) -> Message {
        let kind = MessageType(0x507 + self.random.below(0x79) as i32);
        let request = self.request(id);
        self.block_message(kind, &request)
    }

    fn unknown(&mut self, id: i32) -> Message {
        let special = self.random.one_of(SPECIAL);
        let mut kind = match self.random.below(3) {
            0 => MessageType(self.random.next() as i32),
            1 => MessageType(self.random.below(0x1200) as i32),
            _ => MessageType(special),
        };
        if kind.is_bdev_request() || kind == MessageType::CDEV_OPEN {
            kind = MessageType(special);
        }
        self.other(kind, id)
    }

    /// A message of noise, with the id in all the places where there are ids.
    fn other(&mut self, kind: MessageType, id: i32) -> Message {
        let mut message = Message::new(kind);
        self.random.fill(&mut message.body);
        for place in [0, 4, 12] {
            message.body[place..place + 4].copy_from_slice(&id.to_le_bytes());
        }
        message
    }
}
