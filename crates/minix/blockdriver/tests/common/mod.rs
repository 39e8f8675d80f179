//! What the tests have in common: a scripted kernel, a scripted disk, and a rig with a driver between the two.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevRequest, VectorElement};
use minix_abi::ioctl::{IoctlCode, PartGeom};
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType};
use minix_blockdriver::{BlockDriver, DriverOptions, Instant};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

pub use fake_minix::{Buffer, FakeDisk, FakeKernel, Op, Placement, Sent, SharedMemory};

pub const JOBS: usize = 16;
pub const CLIENT: Endpoint = Endpoint(100);
pub const OTHER: Endpoint = Endpoint(32768 + 101);
/// Sectors of the disk that most tests use.
pub const SECTORS: u64 = 2048;
/// What a client's memory is filled with, so that a touched byte shows.
pub const UNTOUCHED: u8 = 0xA5;

/// A driver, its disk and its system. `N` is how many requests it works on at a time.
pub struct Rig<const N: usize = JOBS> {
    pub driver: BlockDriver<FakeDisk, FakeKernel, N>,
    pub kernel: FakeKernel,
    pub now: Instant,
    pub memory: SharedMemory,
    next_id: i32,
}

/// Where a piece of a vector is.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub grant: GrantId,
    pub bytes: u64,
}

impl Rig {
    /// A disk of [`SECTORS`], each byte of which tells its sector; nothing is open.
    pub fn new() -> Self {
        Self::with(DriverOptions::default(), |_| {})
    }

    pub fn with(options: DriverOptions, change: impl FnOnce(&mut FakeDisk)) -> Self {
        Self::with_jobs(options, change)
    }

    /// As [`new`](Self::new), with minor 0 open.
    pub fn opened() -> Self {
        Self::opened_with(DriverOptions::default(), |_| {})
    }

    pub fn opened_with(options: DriverOptions, change: impl FnOnce(&mut FakeDisk)) -> Self {
        let mut rig = Self::with(options, change);
        assert_eq!(rig.open(0), 0);
        rig.disk().log.clear();
        rig
    }

    pub fn transfer_request(minor: i32, position: u64, count: i32, grant: GrantId) -> BdevRequest {
        BdevRequest {
            minor: Minor(minor),
            position,
            count,
            grant,
            flags: BdevFlags::empty(),
            ..BdevRequest::default()
        }
    }
}

impl<const N: usize> Rig<N> {
    pub fn with_jobs(options: DriverOptions, change: impl FnOnce(&mut FakeDisk)) -> Self {
        let memory: SharedMemory = Rc::new(RefCell::default());
        let mut disk = FakeDisk::new(memory.clone(), SECTORS);
        for (nth, byte) in disk.content.iter_mut().enumerate() {
            *byte = sector_byte((nth / 512) as u64);
        }
        change(&mut disk);
        let kernel = FakeKernel::new(memory.clone());
        Self {
            driver: BlockDriver::new(disk, options),
            kernel,
            now: Instant::from_micros(1_000_000),
            memory,
            next_id: 1000,
        }
    }

    pub fn disk(&mut self) -> &mut FakeDisk {
        self.driver.device_mut()
    }

    // Memory of clients.

    pub fn buffer(&mut self, bytes: u64, placement: Placement, skew: u64) -> Buffer {
        let memory = self.memory.clone();
        let buffer = self.kernel.space(CLIENT).allocate(&memory, bytes, placement, skew);
        if placement != Placement::Untouched {
            self.fill(buffer, &vec![UNTOUCHED; bytes as usize]);
        }
        buffer
    }

    pub fn fill(&mut self, buffer: Buffer, bytes: &[u8]) {
        let memory = self.memory.clone();
        self.kernel
            .space(CLIENT)
            .copy_in(&memory, buffer.address, bytes)
            .unwrap();
    }

    pub fn bytes(&mut self, buffer: Buffer) -> Vec<u8> {
        let memory = self.memory.clone();
        let mut bytes = vec![0; buffer.bytes as usize];
        self.kernel
            .space(CLIENT)
            .copy_out(&memory, buffer.address, &mut bytes)
            .unwrap();
        bytes
    }

    /// A grant for the driver to fill the buffer.
    pub fn lend_to_fill(&mut self, buffer: Buffer) -> GrantId {
        self.kernel
            .space(CLIENT)
            .grant(buffer.address, buffer.bytes, false, true)
    }

    /// A grant for the driver to read the buffer.
    pub fn lend_to_take(&mut self, buffer: Buffer) -> GrantId {
        self.kernel
            .space(CLIENT)
            .grant(buffer.address, buffer.bytes, true, false)
    }

    pub fn revoke(&mut self, grant: GrantId) {
        self.kernel.space(CLIENT).grants.get_mut(&grant.0).unwrap().revoked = true;
    }

    pub fn vector(&mut self, elements: &[Element]) -> GrantId {
        let mut bytes = Vec::new();
        for element in elements {
            let mut wire = VectorElement::new(element.grant, element.bytes).as_bytes().to_vec();
            // Clients do not clear it.
            wire[4..8].copy_from_slice(&[0xDE, 0xAD, 0xBE, 0xEF]);
            bytes.extend(wire);
        }
        let buffer = self.buffer(bytes.len().max(16) as u64, Placement::Contiguous, 8);
        self.fill(buffer, &bytes);
        self.lend_to_take(Buffer {
            bytes: bytes.len() as u64,
            ..buffer
        })
    }

    // Requests.

    pub fn send_as(&mut self, from: Endpoint, call: IpcCall, kind: MessageType, mut request: BdevRequest) -> i32 {
        if request.id == 0 {
            self.next_id += 1;
            request.id = self.next_id;
        }
        *self.kernel.open.entry((from.0, request.id)).or_default() += 1;
        let mut message = Message::with_payload(kind, &request);
        message.source = from;
        let status = IpcStatus::new(call, false);
        assert!(self.driver.on_message(&mut self.kernel, self.now, status, &message));
        request.id
    }

    /// Sends a request with an id of its own, and returns that.
    pub fn send(&mut self, kind: MessageType, request: BdevRequest) -> i32 {
        self.send_as(CLIENT, IpcCall::SENDA, kind, request)
    }

    /// The answer to a request, if it came.
    pub fn answer(&mut self, id: i32) -> Option<i32> {
        let at = self
            .kernel
            .replies
            .iter()
            .position(|sent| sent.message.kind == MessageType::BDEV_REPLY && sent.id() == id)?;
        self.kernel.replies.remove(at).map(|sent| sent.status())
    }

    pub fn poll(&mut self) -> u32 {
        self.driver.poll(&mut self.kernel, self.now)
    }

    /// Lets the device complete its requests, until nothing is left.
    pub fn settle(&mut self) {
        for _ in 0..1000 {
            self.disk().finish_all();
            if self.poll() == 0 && self.driver.in_flight() == 0 {
                return;
            }
        }
        panic!("no end");
    }

    /// The device completes the oldest request.
    pub fn settle_one(&mut self) {
        self.disk().finish(0, Ok(()));
        self.poll();
    }

    /// Sends a request and waits for the answer.
    pub fn ask(&mut self, kind: MessageType, request: BdevRequest) -> i32 {
        let id = self.send(kind, request);
        for round in 0..1000 {
            if let Some(status) = self.answer(id) {
                return status;
            }
            self.poll();
            if round > 50
                && let Some(at) = self.driver.deadline()
            {
                // It waits for a time.
                self.sleep(at.since(self.now));
            }
        }
        panic!("no answer to {kind:?} {request:?}");
    }

    pub fn open(&mut self, minor: i32) -> i32 {
        self.open_for(minor, BdevAccess::READ | BdevAccess::WRITE)
    }

    pub fn open_for(&mut self, minor: i32, access: BdevAccess) -> i32 {
        self.ask(
            MessageType::BDEV_OPEN,
            BdevRequest {
                minor: Minor(minor),
                access,
                ..BdevRequest::default()
            },
        )
    }

    pub fn close(&mut self, minor: i32) -> i32 {
        self.ask(
            MessageType::BDEV_CLOSE,
            BdevRequest {
                minor: Minor(minor),
                ..BdevRequest::default()
            },
        )
    }

    /// Reads to a fresh buffer, scattered and skewed: the answer and what the buffer holds then.
    pub fn read(&mut self, minor: i32, position: u64, bytes: u64) -> (i32, Vec<u8>) {
        let buffer = self.buffer(bytes, Placement::Scattered, 4);
        let grant = self.lend_to_fill(buffer);
        let request = Rig::transfer_request(minor, position, bytes as i32, grant);
        (self.ask(MessageType::BDEV_READ, request), self.bytes(buffer))
    }

    pub fn write(&mut self, minor: i32, position: u64, data: &[u8]) -> i32 {
        let request = self.write_request(minor, position, data);
        self.ask(MessageType::BDEV_WRITE, request)
    }

    pub fn write_request(&mut self, minor: i32, position: u64, data: &[u8]) -> BdevRequest {
        let buffer = self.buffer(data.len() as u64, Placement::Scattered, 8);
        self.fill(buffer, data);
        let grant = self.lend_to_take(buffer);
        Rig::transfer_request(minor, position, data.len() as i32, grant)
    }

    pub fn read_request(&mut self, minor: i32, position: u64, bytes: u64) -> (BdevRequest, Buffer) {
        let buffer = self.buffer(bytes, Placement::Scattered, 0);
        let grant = self.lend_to_fill(buffer);
        (Rig::transfer_request(minor, position, bytes as i32, grant), buffer)
    }

    /// Sends a read of whole sectors and does not wait.
    pub fn send_read(&mut self, sector: u64, sectors: u64) -> i32 {
        let (request, _) = self.read_request(0, sector * 512, sectors * 512);
        self.send(MessageType::BDEV_READ, request)
    }

    /// Sends a write of whole sectors, filled with `fill`, and does not wait.
    pub fn send_write(&mut self, sector: u64, sectors: u64, fill: u8) -> i32 {
        let request = self.write_request(0, sector * 512, &vec![fill; sectors as usize * 512]);
        self.send(MessageType::BDEV_WRITE, request)
    }

    pub fn ioctl_with(&mut self, minor: i32, code: IoctlCode, grant: GrantId) -> i32 {
        self.ask(
            MessageType::BDEV_IOCTL,
            BdevRequest {
                minor: Minor(minor),
                request: code,
                grant,
                user: Endpoint::NONE,
                ..BdevRequest::default()
            },
        )
    }

    /// Sends a control request to the whole disk. Returns its id.
    pub fn send_ioctl(&mut self, code: IoctlCode, grant: GrantId) -> i32 {
        let request = BdevRequest {
            request: code,
            grant,
            ..BdevRequest::default()
        };
        self.send(MessageType::BDEV_IOCTL, request)
    }

    /// A control request whose argument the driver reads.
    pub fn ioctl_set<T: IntoBytes + Immutable>(&mut self, minor: i32, code: IoctlCode, argument: T) -> i32 {
        let buffer = self.buffer(size_of::<T>() as u64, Placement::Contiguous, 16);
        self.fill(buffer, argument.as_bytes());
        let grant = self.lend_to_take(buffer);
        self.ioctl_with(minor, code, grant)
    }

    /// A control request whose argument the driver writes.
    pub fn ioctl_get<T: FromBytes + FromZeros>(&mut self, minor: i32, code: IoctlCode) -> (i32, T) {
        let buffer = self.buffer(size_of::<T>() as u64, Placement::Contiguous, 16);
        let grant = self.lend_to_fill(buffer);
        let status = self.ioctl_with(minor, code, grant);
        (status, T::read_from_bytes(&self.bytes(buffer)).unwrap())
    }

    pub fn partition(&mut self, minor: i32) -> (u64, u64) {
        let (status, geom) = self.ioctl_get::<PartGeom>(minor, IoctlCode::DIOCGETP);
        assert_eq!(status, 0);
        (geom.base, geom.bytes)
    }

    /// Puts a partition somewhere.
    pub fn set_partition(&mut self, minor: i32, base: u64, bytes: u64) {
        let geom = PartGeom {
            base,
            bytes,
            ..PartGeom::default()
        };
        assert_eq!(self.ioctl_set(minor, IoctlCode::DIOCSETP, geom), 0);
    }

    pub fn open_count(&mut self) -> i32 {
        let (status, count) = self.ioctl_get::<i32>(0, IoctlCode::DIOCOPENCT);
        assert_eq!(status, 0);
        count
    }

    pub fn sleep(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.driver.on_time(&mut self.kernel, self.now);
    }
}

pub const fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// An error as it stands in a reply.
pub fn wire(errno: Errno) -> i32 {
    errno.to_wire()
}

/// What a disk holds at first.
pub fn sector_byte(sector: u64) -> u8 {
    (sector % 251) as u8
}

/// The first bytes of a disk, as it is at first.
pub fn sectors(first: u64, count: u64) -> Vec<u8> {
    (first..first + count)
        .flat_map(|sector| [sector_byte(sector); 512])
        .collect()
}
