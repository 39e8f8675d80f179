//! Messages and grants of any kind to the driver of a MINIX disk, over a disk that has its bad days.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fake_minix::{FakeDisk, FakeKernel, Placement, SharedMemory};
use minix_abi::bdev::MAX_ELEMENTS;
use minix_abi::bdev::{BdevAccess, BdevFlags, BdevRequest, VectorElement};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, GrantId, Message, MessageType};
use minix_blockdriver::{BlockDriver, Broken, DeviceError, DriverOptions, Instant, Refusal};

use crate::choices::Choices;

const JOBS: usize = 8;
const SECTORS: u64 = 256;
const TIMEOUT: Duration = Duration::from_millis(1);
const CLIENTS: [Endpoint; 3] = [Endpoint(100), Endpoint(101), Endpoint(-3)];

/// Events of one run at most, and rounds until every request is answered.
const MOST_EVENTS: usize = 400;
const MOST_ROUNDS: usize = 400;

/// Lets `input` decide which messages come, what their grants lend, and how the disk behaves.
///
/// # Panics
///
/// If the driver panics, if a request is not answered exactly once, or if it sends the disk to memory that was not granted: the
/// fakes look at all of this.
pub fn bdev(input: &[u8]) {
    let mut run = Run::new(Choices::new(input));
    for _ in 0..MOST_EVENTS {
        if run.choices.is_over() {
            break;
        }
        run.event();
    }
    run.finish();
}

struct Run<'a> {
    choices: Choices<'a>,
    driver: BlockDriver<FakeDisk, FakeKernel, JOBS>,
    kernel: FakeKernel,
    memory: SharedMemory,
    now: Instant,
}

impl<'a> Run<'a> {
    fn new(mut choices: Choices<'a>) -> Self {
        let memory: SharedMemory = Rc::new(RefCell::default());
        let mut disk = FakeDisk::new(memory.clone(), SECTORS);
        disk.automatic = false;
        disk.info.max_segments = choices.of(&[64, 1, 2, 5]);
        disk.info.block_bytes = choices.of(&[512, 512, 512, 4096]);
        disk.info.max_segment_bytes = choices.of(&[u32::MAX, 4096, 65536]);
        disk.info.read_only = choices.rarely(16);
        disk.info.can_flush = !choices.rarely(8);
        disk.room = choices.of(&[100, 1, 3]);
        if choices.rarely(8) {
            disk.bounce_buffers.clear();
        }
        put_table(&mut choices, &mut disk.content);
        let options = DriverOptions {
            request_timeout: TIMEOUT,
            replays: 2,
            reset_attempts: 2,
            reset_pause: TIMEOUT / 10,
            flush_after: TIMEOUT * choices.of(&[0, 1, 3]),
            ..DriverOptions::default()
        };
        let mut kernel = FakeKernel::new(memory.clone());
        kernel.ranges_at_once = choices.of(&[64, 1, 3]);
        kernel.trace_memory = !choices.rarely(4);
        let mut run = Self {
            choices,
            driver: BlockDriver::new(disk, options),
            kernel,
            memory,
            now: Instant::from_micros(1_000_000),
        };
        for client in CLIENTS {
            for _ in 0..4 {
                run.lend(client);
            }
        }
        if !run.choices.rarely(8) {
            for minor in [0, 1, 128] {
                let access = BdevAccess::READ | BdevAccess::WRITE;
                run.send(
                    CLIENTS[0],
                    MessageType::BDEV_OPEN,
                    BdevRequest {
                        minor: Minor(minor),
                        access,
                        ..BdevRequest::default()
                    },
                );
                run.driver.device_mut().finish_all();
                run.poll();
            }
        }
        run
    }

    /// Memory of a client, with a vector in it, and a grant for it.
    fn lend(&mut self, client: Endpoint) {
        let choices = &mut self.choices;
        let bytes = match choices.below(4) {
            0 => u64::from(choices.any::<u8>()) + 1,
            1 => 512 * (1 + choices.below(8) as u64),
            _ => 4096 * (1 + choices.below(4) as u64),
        };
        let placement = choices.of(&[Placement::Contiguous, Placement::Scattered, Placement::Untouched]);
        let skew = choices.of(&[0, 0, 2, 8, 1, 4094]);
        let (read, write) = (!choices.rarely(4), !choices.rarely(4));
        let mut content = Vec::new();
        for _ in 0..choices.below(6) {
            let (grant, bytes) = (self.grant(), self.length());
            let element = VectorElement::new(grant, bytes);
            content.extend(zerocopy::IntoBytes::as_bytes(&element));
        }
        content.truncate(bytes as usize);
        let (memory, space) = (self.memory.clone(), self.kernel.space(client));
        let buffer = space.allocate(&memory, bytes, placement, skew);
        space.grant(buffer.address, bytes, read, write);
        space
            .copy_in(&memory, buffer.address, &content)
            .expect("memory of its own");
    }

    fn grant(&mut self) -> GrantId {
        GrantId(if self.choices.rarely(32) {
            self.choices.any()
        } else {
            self.choices.below(10) as i32
        })
    }

    fn length(&mut self) -> u64 {
        match self.choices.below(16) {
            15 => self.choices.any(),
            14 => u64::from(self.choices.any::<u16>()),
            nth => 512 * nth as u64,
        }
    }

    fn event(&mut self) {
        let choices = &mut self.choices;
        let kind = choices.below(32);
        let number = usize::from(choices.any::<u8>());
        let disk = self.driver.device_mut();
        match kind {
            0..=9 => self.message(),
            10 => self.raw_message(),
            11 => self.lend(CLIENTS[number % CLIENTS.len()]),
            12..=16 => self.poll(),
            17..=22 if disk.notified > 0 && !disk.broken => {
                let result = match number {
                    0..=239 => Ok(()),
                    240..=247 => Err(DeviceError::Io),
                    _ => Err(DeviceError::Unsupported),
                };
                disk.finish(number % disk.notified, result);
            }
            23 if disk.notified > 0 => disk.lose(number % disk.notified),
            24 => self.sleep(TIMEOUT * number as u32 / 100),
            25 => {
                let refusals = [
                    Refusal::Full,
                    Refusal::Unreachable,
                    Refusal::Invalid,
                    Refusal::Unsupported,
                    Refusal::Broken,
                ];
                disk.refusals.push_back(Some(refusals[number % refusals.len()]));
            }
            26 => (disk.broken, disk.poll_finds_nothing) = (true, number % 2 == 1),
            27 => disk.silently_dead = true,
            28 => {
                disk.stuck = number % 2 == 1;
                disk.resets.push_back(Err(Broken));
            }
            29 => {
                let space = self.kernel.space(CLIENTS[number % CLIENTS.len()]);
                if let Some(grant) = space.grants.get_mut(&(number as i32 / 16)) {
                    grant.revoked = true;
                }
            }
            30 => disk.bad_sectors.push(number as u64),
            31 if number == 255 => self.driver.terminate(),
            _ => {}
        }
    }

    /// A request, most of whose fields make sense.
    fn message(&mut self) {
        let codes: Vec<IoctlCode> = IoctlCode::NAMED.iter().map(|&(_, code)| code).collect();
        let kinds = [
            MessageType::BDEV_READ,
            MessageType::BDEV_WRITE,
            MessageType::BDEV_GATHER,
            MessageType::BDEV_SCATTER,
            MessageType::BDEV_IOCTL,
            MessageType::BDEV_OPEN,
            MessageType::BDEV_CLOSE,
        ];
        let minor = self.choices.of(&[0, 0, 0, 1, 2, 128, 129, 5, -1, i32::MAX]);
        let position = match self.choices.below(16) {
            15 => self.choices.any(),
            14 => u64::from(self.choices.any::<u16>()),
            _ => 512 * u64::from(self.choices.any::<u8>()),
        };
        let (grant, length) = (self.grant(), self.length());
        let choices = &mut self.choices;
        let kind = choices.of(&kinds);
        let has_vector = matches!(kind, MessageType::BDEV_GATHER | MessageType::BDEV_SCATTER);
        let count = if has_vector {
            length % (MAX_ELEMENTS as u64 + 3)
        } else {
            length
        };
        let request = BdevRequest {
            position,
            minor: Minor(minor),
            id: choices.any::<u8>().into(),
            access: BdevAccess::from_bits_retain(choices.of(&[3, 3, 1, 2, 0, 0xFFFF_FFFF])),
            count: count as i32,
            grant,
            flags: BdevFlags::from_bits_retain(choices.of(&[0, 0, 1, 0xFFFF_FFFF])),
            user: choices.of(&CLIENTS),
            request: if choices.rarely(8) {
                IoctlCode(choices.any())
            } else {
                choices.of(&codes)
            },
            ..BdevRequest::default()
        };
        let client = choices.of(&CLIENTS);
        self.send(client, kind, request);
    }

    /// A message of any bytes, mostly a request to a block driver.
    fn raw_message(&mut self) {
        let choices = &mut self.choices;
        let kind = if choices.rarely(2) {
            choices.any()
        } else {
            0x500 + choices.below(8) as i32
        };
        let mut message = Message::new(MessageType(kind));
        message.body.fill_with(|| choices.any());
        message.source = if choices.rarely(4) {
            Endpoint(choices.any())
        } else {
            choices.of(&CLIENTS)
        };
        let status = IpcStatus::new(IpcCall(choices.any::<u8>().into()), choices.any());
        self.deliver(status, &message);
    }

    fn send(&mut self, client: Endpoint, kind: MessageType, request: BdevRequest) {
        let mut message = Message::with_payload(kind, &request);
        message.source = client;
        let call = if request.id % 2 == 0 {
            IpcCall::SENDREC
        } else {
            IpcCall::SENDA
        };
        self.deliver(IpcStatus::new(call, false), &message);
    }

    /// Hands a message over. One that is a request has to be answered from now on.
    fn deliver(&mut self, status: IpcStatus, message: &Message) {
        let is_request = message.kind.is_bdev_request() && !status.is_notification() && message.source != Endpoint::RS;
        let key = (message.source.0, message.payload::<BdevRequest>().id);
        if is_request {
            *self.kernel.open.entry(key).or_default() += 1;
        }
        let is_taken = self.driver.on_message(&mut self.kernel, self.now, status, message);
        if is_request && !is_taken {
            *self.kernel.open.entry(key).or_default() -= 1;
        }
    }

    fn poll(&mut self) {
        self.driver.poll(&mut self.kernel, self.now);
    }

    fn sleep(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.driver.on_time(&mut self.kernel, self.now);
    }

    /// From now on the disk works: every request is answered.
    fn finish(&mut self) {
        let disk = self.driver.device_mut();
        disk.automatic = true;
        disk.broken = false;
        disk.poll_finds_nothing = false;
        disk.refusals.clear();
        disk.resets.clear();
        for _ in 0..MOST_ROUNDS {
            self.poll();
            // A client may have set a time-out of weeks.
            let due = self.driver.deadline().map_or(TIMEOUT, |at| at.since(self.now));
            self.sleep(due.max(TIMEOUT));
            if self.kernel.unanswered() == 0 && self.driver.is_idle() {
                break;
            }
        }
        assert_eq!(self.kernel.unanswered(), 0, "a client waits for ever");
        assert!(self.driver.is_idle());
        let counters = self.driver.counters();
        assert_eq!(counters.requests, counters.replies);
    }
}

/// Two partitions in the first sector, one of which has partitions of its own.
fn put_table(choices: &mut Choices<'_>, content: &mut [u8]) {
    for (sector, system) in [(0, 0x81), (8, 0x83)] {
        for entry in 0..2 {
            let bytes = &mut content[sector * 512 + 446 + 16 * entry..][..16];
            let first = if entry == 0 { 8 } else { u32::from(choices.any::<u8>()) };
            bytes[4] = system;
            bytes[8..12].copy_from_slice(&first.to_le_bytes());
            bytes[12..].copy_from_slice(&u32::from(choices.any::<u8>()).to_le_bytes());
        }
        content[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xAA]);
    }
}
