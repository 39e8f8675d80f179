//! One measurement.

use core::time::Duration;

use guest_protocol::Record;
use guest_protocol::histogram::{self, BUCKETS};
use heapless::Vec;
use minix_abi::bdev::{BdevReply, BdevRequest, MAX_ELEMENTS, VectorElement};
use minix_abi::grant::GrantFlags;
use minix_abi::minor::Minor;
use minix_abi::{Errno, GrantId, Instant, Message, MessageType, Status};
use minix_rt::Ipc;
use zerocopy::IntoBytes;

use super::plan::{MAX_BYTES, MAX_DEPTH, MAX_OPS, Measurement};
use crate::bdev::{Arrival, Session, Trouble};
use crate::buffer::Memory;
use crate::report;

/// Room for the data of all requests, which share it, and a page for the vector.
pub(super) const MEMORY_BYTES: usize = MAX_BYTES + 4096;
/// How much of the disk is used at most.
const SPAN_BYTES: u64 = 512 << 20;

/// Latencies in microseconds, one for each request.
pub(super) type Samples = [u32; MAX_OPS];

/// When the request of each slot was sent, if it is in flight.
type Sent = [Option<Instant>; MAX_DEPTH];

/// A client that measures.
pub(super) struct Meter<'c, 's, I: Ipc, C> {
    pub(super) session: Session<'c, I>,
    pub(super) memory: Memory,
    pub(super) samples: &'s mut Samples,
    pub(super) clock: C,
    pub(super) minor: Minor,
    /// Bytes of the minor.
    pub(super) disk_bytes: u64,
}

/// The requests of a measurement: the one that is sent again and again, and where.
struct Requests {
    kind: MessageType,
    request: BdevRequest,
    bytes: u64,
    places: u64,
    next: u64,
}

impl Requests {
    /// The next one. It begins at least its own length away from the ones before and after it.
    fn next(&mut self, id: i32) -> BdevRequest {
        let place = self.next % self.places;
        self.next += 1;
        BdevRequest {
            position: 2 * place * self.bytes,
            id,
            ..self.request
        }
    }
}

impl<I: Ipc, C: Fn() -> Instant> Meter<'_, '_, I, C> {
    /// Does it and reports it.
    pub(super) fn measure(&mut self, measurement: Measurement) -> Result<(), Trouble> {
        let bytes = measurement.bytes as u64;
        let places = self.disk_bytes.min(SPAN_BYTES) / (2 * bytes);
        if places < measurement.depth as u64 {
            return Err(Trouble::NoRoom);
        }
        let mut grants = Vec::new();
        let asked = self.grant_all(measurement, &mut grants);
        let measured = asked.and_then(|(kind, request)| {
            let requests = Requests {
                kind,
                request,
                bytes,
                places,
                next: 0,
            };
            self.measure_requests(measurement, requests)
        });
        grants.iter().for_each(|grant| self.session.client.revoke(*grant));
        measured
    }

    fn measure_requests(&mut self, measurement: Measurement, mut requests: Requests) -> Result<(), Trouble> {
        self.send_all(measurement, &mut requests, measurement.warm_up())?;
        // What the driver would do later on account of the requests before is done.
        let flushed = self.session.flush(self.minor)?;
        if flushed != Status::OK && flushed != Errno::EOPNOTSUPP.into() {
            return Err(Trouble::Refused(flushed));
        }
        let driver = self.session.driver();
        self.session.client.mark(driver, "");
        let start = (self.clock)();
        self.send_all(measurement, &mut requests, measurement.ops)?;
        let span = (self.clock)().since(start);
        let name = report::text::<40>(&measurement);
        self.session.client.mark(driver, &name);
        let samples = &mut self.samples[..measurement.ops];
        samples.sort_unstable();
        let percentile = |percent: usize| nanos(samples[(samples.len() * percent).div_ceil(100) - 1]);
        let mut buckets = [0; BUCKETS];
        for sample in samples.iter() {
            buckets[histogram::bucket(nanos(*sample))] += 1;
        }
        self.session.client.record(&Record::Requests {
            name: &name,
            operation: measurement.operation(),
            depth: measurement.depth as u32,
            segments: measurement.segments as u32,
            bytes: measurement.bytes as u32,
            ops: measurement.ops as u64,
            micros: micros(span),
            nanos: [50, 90, 99].map(percentile),
            buckets,
        });
        Ok(())
    }

    /// Grants the memory of all requests, and makes the request.
    fn grant_all(
        &mut self,
        measurement: Measurement,
        grants: &mut Vec<GrantId, { MAX_ELEMENTS + 1 }>,
    ) -> Result<(MessageType, BdevRequest), Trouble> {
        let Measurement {
            direction,
            segments,
            bytes,
            ..
        } = measurement;
        let mut request = BdevRequest {
            minor: self.minor,
            count: bytes as i32,
            ..Default::default()
        };
        let part = bytes / segments;
        for nth in 0..segments {
            let piece = self.memory.piece(nth * part, part);
            request.grant = self.session.grant(piece, direction.access())?;
            // There is room for one per element.
            let _ = grants.push(request.grant);
            let element = self.session.element(request.grant, part as u64);
            let place = MAX_BYTES + nth * size_of_val(&element);
            self.memory.write(place, element.as_bytes());
        }
        if segments == 1 {
            return Ok((direction.simple(), request));
        }
        let vector = self.memory.piece(MAX_BYTES, segments * size_of::<VectorElement>());
        request.grant = self.session.grant(vector, GrantFlags::READ)?;
        let _ = grants.push(request.grant);
        request.count = segments as i32;
        Ok((direction.vector(), request))
    }

    /// Sends so many requests, and notes the latency of each.
    fn send_all(&mut self, measurement: Measurement, requests: &mut Requests, count: usize) -> Result<(), Trouble> {
        if measurement.depth == 1 {
            return self.send_in_turn(measurement, requests, count);
        }
        let mut sent = [None; MAX_DEPTH];
        let (mut posted, mut answered) = (0, 0);
        while posted < count.min(measurement.depth) {
            self.post(requests, posted, &mut sent)?;
            posted += 1;
        }
        while answered < count {
            let message = match self.session.receive() {
                Arrival::Driver(message) => message,
                Arrival::Died => return Err(Trouble::Died),
                Arrival::Failed(errno) => return Err(errno.into()),
                // Nothing is expected of others.
                Arrival::Stray(_) | Arrival::Signal(_) | Arrival::Nothing => continue,
            };
            let (slot, since) = Self::judge(measurement, &message, &mut sent)?;
            self.note(answered, since);
            answered += 1;
            if posted < count {
                self.post(requests, slot, &mut sent)?;
                posted += 1;
            }
        }
        Ok(())
    }

    fn send_in_turn(&mut self, measurement: Measurement, requests: &mut Requests, count: usize) -> Result<(), Trouble> {
        for nth in 0..count {
            let request = requests.next(0);
            let start = (self.clock)();
            let status = self.session.request(requests.kind, &request)?;
            self.note(nth, start);
            Trouble::unless_moved(status, measurement.bytes)?;
        }
        Ok(())
    }

    /// Posts the request of a slot, which is its id as well.
    fn post(&mut self, requests: &mut Requests, slot: usize, sent: &mut Sent) -> Result<(), Trouble> {
        let request = requests.next(slot as i32);
        sent[slot] = Some((self.clock)());
        Ok(self.session.post(requests.kind, &request)?)
    }

    /// The slot of the request that a message answers, and when it was sent.
    fn judge(measurement: Measurement, message: &Message, sent: &mut Sent) -> Result<(usize, Instant), Trouble> {
        let BdevReply { status, id } = message.payload();
        if message.kind != MessageType::BDEV_REPLY {
            return Err(Trouble::WrongType(message.kind));
        }
        Trouble::unless_moved(status, measurement.bytes)?;
        let slot = usize::try_from(id).ok();
        let answered = slot.and_then(|slot| Some((slot, sent.get_mut(slot)?.take()?)));
        answered.ok_or(Trouble::NeverAsked(id))
    }

    fn note(&mut self, nth: usize, since: Instant) {
        self.samples[nth] = micros((self.clock)().since(since)).try_into().unwrap_or(u32::MAX);
    }
}

fn nanos(sample: u32) -> u64 {
    u64::from(sample) * 1000
}

fn micros(span: Duration) -> u64 {
    span.as_micros().try_into().unwrap_or(u64::MAX)
}
