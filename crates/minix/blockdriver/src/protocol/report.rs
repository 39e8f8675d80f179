//! What clients are told of the disk, the device and the service: the private control requests that only ask.
//!
//! A report is longer than a stack frame should be. So it is made and copied in pieces; the client sees it whole, as the service does
//! nothing else meanwhile.

use core::mem::offset_of;

use minix_abi::disk_control::{
    DiskFlags, DiskHead, DiskReport, InFlightFlags, InFlightRequest, KindReport, LogReport, MINORS, MinorExtent,
    QueueFlags, QueueReport, QueueState, REGISTERS, RegisterReport, RegisterValue, ReportHeader, StatCounts,
    StatReport, VERSION,
};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Status};
use zerocopy::{Immutable, IntoBytes};

use crate::device::BlockDevice;
use crate::driver::BlockDriver;
use crate::engine::health::DeviceState;
use crate::engine::in_flight::{Purpose, Request};
use crate::engine::job::JobId;
use crate::kernel::Kernel;
use crate::partition::table::{DEVICES, minor_at};
use crate::statistics;

const _: () = {
    assert!(DEVICES == MINORS);
    assert!(statistics::Kind::ALL.len() == minix_abi::disk_control::KINDS);
};

/// Device requests that are told at a time.
const AT_ONCE: usize = 8;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Whether a control request is answered as soon as it comes. These read the counters, registers, queue and log, and need
    /// nothing of the device.
    pub(crate) fn is_answered_at_once(code: IoctlCode) -> bool {
        matches!(
            code,
            IoctlCode::VBLKSTAT
                | IoctlCode::VBLKREGS
                | IoctlCode::VBLKQUEUE
                | IoctlCode::VBLKLOG
                | IoctlCode::VBLKVERSION
        )
    }

    /// Answers a control request that [needs nothing](Self::is_answered_at_once).
    #[cold]
    #[inline(never)]
    pub(crate) fn answer_at_once(&mut self, kernel: &mut K, now: Instant, id: JobId) {
        let request = self.intake[id].request;
        if !self.partitions.was_opened(request.minor) {
            return self.answer(kernel, now, id, Errno::ERESTART.into());
        }
        self.begin_trace(now, id);
        let mut report = Report {
            kernel,
            to: self.intake[id].caller.endpoint,
            grant: request.grant,
        };
        let result = match request.request {
            _ if !self.partitions.exists(request.minor) => Err(Errno::ENXIO),
            IoctlCode::VBLKSTAT => self.report_counts(now, &mut report),
            IoctlCode::VBLKREGS => self.report_registers(&mut report),
            IoctlCode::VBLKQUEUE => self.report_queue(now, &mut report),
            IoctlCode::VBLKLOG => self.report_log(now, &mut report),
            _ => report.put(0, &VERSION),
        };
        self.answer(kernel, now, id, result.into());
    }

    fn report_counts(&mut self, now: Instant, report: &mut Report<'_, K>) -> Result<(), Errno> {
        let head = StatHead {
            header: ReportHeader::of::<StatReport>(),
            since_us: self.options.started.as_micros(),
            now_us: now.as_micros(),
        };
        report.put(0, &head)?;
        report.put(offset_of!(StatReport, counts), &self.stat_counts())?;
        let mut place = offset_of!(StatReport, kinds);
        for kind in statistics::Kind::ALL {
            let done = self.device.operations(kind);
            let counts = KindReport {
                operations: done.operations,
                bytes: done.bytes,
                errors: done.errors,
                latency: self.latencies.of(kind).counts(),
            };
            report.put(place, &counts)?;
            place += size_of::<KindReport>();
        }
        Ok(())
    }

    fn stat_counts(&self) -> StatCounts {
        let driver = self.counters();
        let mut counts = StatCounts {
            in_flight: self.in_flight.len() as u64,
            most_in_flight: driver.max_in_flight.into(),
            unanswered: self.others_unanswered().into(),
            most_unanswered: driver.max_jobs.into(),
            requests: driver.requests,
            replies: driver.replies,
            errors: driver.errors,
            reads: driver.reads,
            writes: driver.writes,
            bytes_read: driver.bytes_read,
            bytes_written: driver.bytes_written,
            no_room: driver.no_room,
            device_requests: driver.device_requests,
            merged: driver.merged,
            chunks: driver.chunks,
            bounced: driver.bounced,
            device_full: driver.device_full,
            notifies: driver.notifies,
            lost_interrupts: self.lost_interrupts,
            watches_hit: self.watches.hit,
            watches_missed: self.watches.missed,
            flushes: driver.flushes,
            background_flushes: driver.background_flushes,
            failed_flushes: driver.failed_flushes,
            timeouts: driver.timeouts,
            resets: driver.resets,
            failed_resets: driver.failed_resets,
            replays: driver.replayed,
            stray_completions: driver.stray_completions,
            ..StatCounts::default()
        };
        self.device.count(&mut counts);
        counts
    }

    /// Requests of clients that are not answered, besides the one that is being worked on.
    fn others_unanswered(&self) -> u16 {
        self.intake.len().saturating_sub(1)
    }

    fn report_registers(&self, report: &mut Report<'_, K>) -> Result<(), Errno> {
        let mut place = offset_of!(RegisterReport, registers);
        let mut count = 0;
        let mut result = Ok(());
        self.device.visit_registers(&mut |name, value| {
            if count < REGISTERS && result.is_ok() {
                result = report.put(place, &RegisterValue::new(name, value));
                place += size_of::<RegisterValue>();
                count += 1;
            }
        });
        result?;
        for _ in count..REGISTERS {
            report.put(place, &RegisterValue::default())?;
            place += size_of::<RegisterValue>();
        }
        let mut disk = DiskHead::default();
        self.device.describe(&mut disk);
        let head = RegisterHead {
            header: ReportHeader::of::<RegisterReport>(),
            address: disk.address,
            count: count as u32,
            reserved: 0,
        };
        report.put(0, &head)
    }

    fn report_queue(&self, now: Instant, report: &mut Report<'_, K>) -> Result<(), Errno> {
        let mut ring = self.device.ring();
        if !self.health.is_good() {
            ring.flags |= QueueFlags::STOPPED;
        }
        let capacity = minix_abi::disk_control::IN_FLIGHT;
        let head = QueueHead {
            header: ReportHeader::of::<QueueReport>(),
            now_us: now.as_micros(),
            ring,
            unanswered: self.others_unanswered().into(),
            count: self.in_flight.len().min(capacity) as u32,
        };
        report.put(0, &head)?;
        let mut place = offset_of!(QueueReport, in_flight);
        let mut requests = self.in_flight.requests();
        for _ in 0..capacity / AT_ONCE {
            let mut part = [InFlightRequest::default(); AT_ONCE];
            for (entry, request) in part.iter_mut().zip(&mut requests) {
                *entry = self.describe_request(now, request);
            }
            report.put(place, &part)?;
            place += size_of_val(&part);
        }
        Ok(())
    }

    fn describe_request(&self, now: Instant, request: Request) -> InFlightRequest {
        let (what, replays) = self.describe(request.purpose);
        let mut flags = InFlightFlags::empty();
        if request.completed {
            flags |= InFlightFlags::COMPLETED;
        }
        let job = match request.purpose {
            Purpose::BackgroundFlush => {
                flags |= InFlightFlags::BACKGROUND;
                None
            }
            Purpose::Barrier => {
                flags |= InFlightFlags::BARRIER;
                self.intake.running().map(|running| running.job)
            }
            Purpose::ForcedFlush { job } => Some(job),
            Purpose::Transfer { job, bounce, .. } => {
                if bounce.is_some() {
                    flags |= InFlightFlags::BOUNCE;
                }
                Some(job)
            }
        };
        InFlightRequest {
            age_us: now.micros_since(request.since),
            first: what.first,
            sectors: what.sectors,
            kind: what.kind,
            flags,
            client: job.map_or(Endpoint::NONE, |job| self.intake[job].caller.endpoint),
            minor: job.map_or(Minor(-1), |job| self.intake[job].minor),
            tag: request.tag.0,
            clients: job.map_or(0, |job| self.intake.count_merged(job)),
            replays: replays.into(),
        }
    }

    fn report_log(&mut self, now: Instant, report: &mut Report<'_, K>) -> Result<(), Errno> {
        self.take_events(now);
        let (older, newer) = self.events.parts();
        let count = older.len() + newer.len();
        let head = LogHead {
            header: ReportHeader::of::<LogReport>(),
            now_us: now.as_micros(),
            lost: self.events.lost(),
            count: count as u32,
            reserved: 0,
        };
        report.put(0, &head)?;
        let mut place = offset_of!(LogReport, events);
        // Entries that no event was recorded to are zeroes.
        for part in [older, newer, self.events.unused()] {
            if !part.is_empty() {
                report.put(place, part)?;
                place += size_of_val(part);
            }
        }
        Ok(())
    }

    /// Tells a client of the disk and its minors, once the device was asked for what it knows.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_disk(&mut self, kernel: &mut K, to: Endpoint, grant: GrantId) -> Status {
        let mut report = Report { kernel, to, grant };
        report
            .put(0, &self.disk_head())
            .and_then(|()| self.report_minors(&mut report))
            .into()
    }

    fn disk_head(&self) -> DiskHead {
        let known = DiskHead {
            header: ReportHeader::of::<DiskReport>(),
            opens: self.partitions.open_count(),
            timeout_ms: u32::try_from(self.health.told_timeout().as_millis()).unwrap_or(u32::MAX),
            ..DiskHead::default()
        };
        let mut head = known;
        self.device.describe(&mut head);
        let Some(disk) = self.device.info().filter(|_| self.health.is_good()) else {
            // A device that does not work may still have the numbers of before: they are left out.
            let is_dead = self.health.state() == DeviceState::Dead;
            return DiskHead {
                address: head.address,
                irq: head.irq,
                flags: if is_dead {
                    DiskFlags::GIVEN_UP
                } else {
                    DiskFlags::empty()
                },
                ..known
            };
        };
        let has = |flag: DiskFlags, is_so: bool| if is_so { flag } else { DiskFlags::empty() };
        head.flags |= DiskFlags::LIVE
            | has(DiskFlags::READ_ONLY, disk.read_only)
            | has(DiskFlags::CAN_FLUSH, disk.can_flush)
            | has(DiskFlags::WRITE_CACHE, disk.write_cache)
            | has(DiskFlags::CACHE_SWITCH, disk.cache_switch)
            | has(DiskFlags::DISCARD, disk.discard.is_some())
            | has(DiskFlags::WRITE_ZEROES, disk.write_zeroes.is_some())
            | has(DiskFlags::ZEROES_UNMAP, disk.zeroes_unmap)
            | has(DiskFlags::SECURE_ERASE, disk.secure_erase.is_some());
        head.sectors = disk.sectors;
        head.block_bytes = disk.block_bytes;
        head.max_segments = disk.max_segments.into();
        head.max_segment_bytes = disk.max_segment_bytes;
        head.discard = disk.discard.unwrap_or_default();
        head.zero = disk.write_zeroes.unwrap_or_default();
        head.erase = disk.secure_erase.unwrap_or_default();
        head
    }

    fn report_minors(&self, report: &mut Report<'_, K>) -> Result<(), Errno> {
        // What the disk is like is not known if it is given up: its minors are told as they were found.
        let capacity = self.device.limits().map(|limits| limits.capacity);
        let mut place = offset_of!(DiskReport, minors);
        for nth in 0..MINORS {
            let minor = minor_at(nth);
            let extent = match capacity {
                Some(capacity) => self.partitions.extent(minor, capacity),
                None => self.partitions.table().get(minor),
            };
            let extent = extent.unwrap_or_default();
            let told = MinorExtent {
                base: extent.base_bytes,
                bytes: extent.size_bytes,
                minor,
                opens: self.partitions.opens_of(minor),
            };
            report.put(place, &told)?;
            place += size_of::<MinorExtent>();
        }
        Ok(())
    }
}

/// The part of a [`RegisterReport`] before its table.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RegisterHead {
    header: ReportHeader,
    address: u64,
    count: u32,
    reserved: u32,
}

/// The part of a [`QueueReport`] before its table.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct QueueHead {
    header: ReportHeader,
    now_us: u64,
    ring: QueueState,
    unanswered: u32,
    count: u32,
}

/// The part of a [`LogReport`] before its table.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct LogHead {
    header: ReportHeader,
    now_us: u64,
    lost: u64,
    count: u32,
    reserved: u32,
}

/// The part of a [`StatReport`] before its counts.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct StatHead {
    header: ReportHeader,
    since_us: u64,
    now_us: u64,
}

const _: () = {
    assert!(size_of::<RegisterHead>() == offset_of!(RegisterReport, registers));
    assert!(size_of::<QueueHead>() == offset_of!(QueueReport, in_flight));
    assert!(size_of::<LogHead>() == offset_of!(LogReport, events));
    assert!(size_of::<StatHead>() == offset_of!(StatReport, counts));
};

/// A report on its way into the grant of a client.
struct Report<'k, K> {
    kernel: &'k mut K,
    to: Endpoint,
    grant: GrantId,
}

impl<K: Kernel> Report<'_, K> {
    /// Copies a part of the report to its place.
    fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, place: usize, part: &T) -> Result<(), Errno> {
        self.kernel.copy_to(self.to, self.grant, place as u64, part.as_bytes())
    }
}
