//! One run: the steps of a plan, then a device that is honest, then a look at everything.

use std::panic::{AssertUnwindSafe, catch_unwind};

use minix_abi::bdev::{BdevAccess, BdevFlags, BdevRequest};
use minix_abi::disk_control::{RangeFlags, RangeRequest};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::{IpcCall, IpcStatus};
use minix_abi::minor::Minor;
use minix_abi::partition::{PartitionEntry, SystemId, write_table};
use minix_abi::{Endpoint, GrantId, MessageType};
use virtio_blk_model::faults::FaultKind;
use virtio_core::DeviceStatus;
use zerocopy::IntoBytes;

use crate::clients::{ClientOperation, Clients};
use crate::history::contents;
use crate::kernel::Access;
use crate::memory::Buffer;
use crate::plan::{Layout, MOST_SECTORS, Pace, PlanStep, Range, RangeKind, Report, TABLE_SECTORS, Transfer, World};
use crate::service::Service;
use crate::totals::Totals;
use crate::weather::TooManyAccesses;

/// Microseconds until everything has to be answered on a device that is honest.
pub(crate) const TIME_LIMIT: u64 = 120_000_000;

/// What a run has found.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, what: String) -> Self {
        Self { kind, what }
    }
}

/// Carries the steps out on the device of `world`. `seed` decides what a power cut at the end leaves.
pub(crate) fn run(world: &World, steps: &[PlanStep], seed: u64) -> Result<Totals, Failure> {
    let result = catch_unwind(AssertUnwindSafe(|| Run::new(world).run(steps, seed)));
    result.unwrap_or_else(|cause| {
        Err(match cause.downcast_ref::<TooManyAccesses>() {
            Some(TooManyAccesses(accesses)) => Failure::new(
                "registers",
                format!("{accesses} register accesses in one call of the driver"),
            ),
            None => {
                let text = cause.downcast_ref::<String>().cloned();
                let text = text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
                Failure::new("panic", text.unwrap_or_default())
            }
        })
    })
}

pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) service: Service,
    pub(crate) watch: Watch,
}

/// What is looked at after every step of driver or device.
pub(crate) struct Watch {
    pub(crate) clients: Clients,
    /// The device has given cause to give it up.
    may_give_up: bool,
    /// Flushes that have failed in the device so far.
    failed_flushes: u64,
    /// The size the device has.
    pub(crate) sectors: u64,
    /// Its configuration does not stand still.
    restless: bool,
}

impl Watch {
    fn look(&mut self, service: &mut Service) -> Result<(), Failure> {
        if let Some((kind, what)) = service.system().misuse.take() {
            return Err(Failure::new(kind, what));
        }
        let failed = service.faults.failed_flushes();
        for _ in self.failed_flushes..failed {
            self.clients.flush_failed();
        }
        self.failed_flushes = failed;
        self.clients.given_up = service.is_given_up();
        if self.clients.given_up && !self.may_give_up {
            return Err(Failure::new("given up", "the device was given up for no reason".into()));
        }
        for answer in std::mem::take(&mut service.system().answers) {
            if answer.spilt {
                let what = format!("the memory around the buffers of request {} has changed", answer.id);
                return Err(Failure::new("memory", what));
            }
            if answer.exposed && !self.clients.given_up {
                let what = format!(
                    "the device could still use the memory of request {} at its answer",
                    answer.id
                );
                return Err(Failure::new("memory", what));
            }
            self.clients.answered(&service.model, &answer)?;
        }
        for violation in service.model.take_violations() {
            // A request that was on its way when the disk became smaller is no fault of the driver.
            let shrunk = violation.id == "BLK-D-12" && self.clients.knows_larger_disk(self.sectors);
            if !shrunk {
                return Err(Failure::new("violation", violation.to_string()));
            }
        }
        let live = DeviceStatus::DRIVER_OK | DeviceStatus::DEVICE_NEEDS_RESET;
        let is_live = service.model.status() & live == DeviceStatus::DRIVER_OK;
        if is_live && !self.restless && !service.model.interrupt_line() {
            self.clients.size_is_known(self.sectors);
        }
        Ok(())
    }
}

fn first_content(world: &World) -> Vec<u8> {
    let mut disk = contents(0, 0, MOST_SECTORS);
    if let Some(parts) = world.partitions() {
        let none = PartitionEntry::new(SystemId::NONE, 0, 0);
        let mut table = [none; 4];
        for (entry, (first, count)) in table.iter_mut().zip(parts) {
            *entry = PartitionEntry::new(SystemId(0x83), first as u32, count as u32);
        }
        let sector = disk.first_chunk_mut().expect("a sector");
        write_table(sector, &table);
    }
    disk
}

fn client(number: u8) -> (Endpoint, IpcStatus) {
    let call = if number == 0 { IpcCall::SENDREC } else { IpcCall::SENDA };
    (Endpoint(100 + i32::from(number)), IpcStatus::new(call, false))
}

impl Run {
    fn new(world: &World) -> Self {
        let disk = first_content(world);
        let table = disk[..TABLE_SECTORS as usize * 512].to_vec();
        Self {
            world: world.clone(),
            service: Service::start(world, &disk),
            watch: Watch {
                clients: Clients::new(world, table),
                may_give_up: false,
                failed_flushes: 0,
                sectors: world.sectors,
                restless: false,
            },
        }
    }

    fn run(mut self, steps: &[PlanStep], seed: u64) -> Result<Totals, Failure> {
        for step in steps {
            self.step(step)?;
        }
        self.step(&PlanStep::Honest)?;
        self.expect_no_needless_flush()?;
        self.try_the_disk()?;
        self.rest()?;
        self.cut_power(seed)?;
        let totals = Totals::of(
            &self.service.counters(),
            &self.service.model.counters(),
            self.service.is_given_up(),
        );
        self.service.end();
        Ok(totals)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let watch = &mut self.watch;
        self.service.settle(|service| watch.look(service))
    }

    pub(crate) fn pass(&mut self, micros: u64) -> Result<(), Failure> {
        let until = self.service.now() + micros;
        loop {
            self.settle()?;
            if self.service.now() >= until {
                return Ok(());
            }
            let next = self.service.next_event(until);
            self.service.set_now(next);
        }
    }

    fn step(&mut self, step: &PlanStep) -> Result<(), Failure> {
        let model = self.service.model.clone();
        let mut harm = true;
        match *step {
            PlanStep::Open { client, minor, write } => {
                harm = false;
                let access = if write {
                    BdevAccess::READ | BdevAccess::WRITE
                } else {
                    BdevAccess::READ
                };
                let body = BdevRequest {
                    access,
                    ..BdevRequest::default()
                };
                self.ask(
                    client,
                    minor,
                    MessageType::BDEV_OPEN,
                    body,
                    ClientOperation::Open { write },
                    false,
                );
            }
            PlanStep::Close { client, minor } => {
                harm = false;
                self.ask(
                    client,
                    minor,
                    MessageType::BDEV_CLOSE,
                    BdevRequest::default(),
                    ClientOperation::Close,
                    false,
                );
            }
            PlanStep::Flush { client, minor } => {
                harm = false;
                self.flush(client, minor, false);
            }
            PlanStep::SetCache { client, on } => {
                harm = false;
                self.set_cache(client, on);
            }
            PlanStep::Transfer(ref transfer) => {
                harm = false;
                self.transfer(transfer, false);
            }
            PlanStep::Range(ref range) => {
                harm = false;
                self.range(range, false);
            }
            PlanStep::Report { client, minor, report } => {
                harm = false;
                self.report(client, minor, report);
            }
            PlanStep::Pace(pace) => {
                harm = pace == Pace::Stalled;
                self.service.pace = pace;
            }
            PlanStep::Faults { target, kind, times } => {
                harm = !matches!(kind, FaultKind::NoInterrupt | FaultKind::ForcedInterrupt);
                self.service.faults.add(target, kind, times);
            }
            PlanStep::Hold(count) => {
                model.hold(count);
            }
            PlanStep::Return => {
                harm = false;
                model.complete_held();
            }
            PlanStep::NeedsReset if model.status().contains(DeviceStatus::DRIVER_OK) => model.needs_reset(),
            PlanStep::NeedsReset => {}
            PlanStep::Starts { fault, times } => model.set_start_faults((0..times).map(|_| fault)),
            PlanStep::HoldResets(held) => model.hold_resets(held),
            PlanStep::ResetReads(reads) => {
                harm = false;
                model.set_reset_reads(reads);
            }
            PlanStep::Restless(restless) => self.set_restless(restless),
            PlanStep::Resize(sectors) => {
                harm = false;
                self.watch.sectors = sectors;
                self.watch.clients.resized(sectors);
                model.resize(sectors);
            }
            PlanStep::ReadOnly(read_only) => {
                self.watch.clients.becomes_read_only();
                model.set_read_only_after_reset(read_only);
            }
            PlanStep::Spurious(causes) => {
                harm = false;
                model.spurious_interrupt(causes);
            }
            PlanStep::Honest => {
                harm = false;
                self.service.pace = Pace::Prompt;
                self.service.faults.clear();
                model.set_start_faults([]);
                model.hold_resets(false);
                model.set_reset_reads(0);
                self.set_restless(false);
                self.wait_for_answers()?;
                self.watch.clients.heal();
            }
            PlanStep::Pass(micros) => {
                harm = false;
                self.pass(micros)?;
            }
        }
        if harm {
            self.watch.clients.harm();
            let matters = !matches!(step, PlanStep::Hold(_) | PlanStep::Pace(_));
            self.watch.may_give_up |= matters;
        }
        let watch = &mut self.watch;
        watch.look(&mut self.service)
    }

    fn set_restless(&mut self, restless: bool) {
        let was = std::mem::replace(&mut self.watch.restless, restless);
        self.service.model.set_restless(restless);
        if was && !restless {
            // What has changed last is announced, too.
            self.service.model.spurious_interrupt(2);
        }
    }

    pub(crate) fn ask(
        &mut self,
        number: u8,
        minor: i32,
        kind: MessageType,
        body: BdevRequest,
        operation: ClientOperation,
        must_work: bool,
    ) {
        self.ask_with(number, minor, kind, body, operation, must_work, Vec::new(), 0);
    }

    #[expect(clippy::too_many_arguments, reason = "a request has as many parts")]
    fn ask_with(
        &mut self,
        number: u8,
        minor: i32,
        kind: MessageType,
        body: BdevRequest,
        operation: ClientOperation,
        must_work: bool,
        grants: Vec<GrantId>,
        data: usize,
    ) {
        let id = self.watch.clients.asks(minor, operation, must_work);
        let (from, how) = client(number);
        self.service.system().sent(from, how, id, grants, data);
        let body = BdevRequest {
            id,
            minor: Minor(minor),
            ..body
        };
        self.service.receives(from, how, kind, &body);
    }

    pub(crate) fn flush(&mut self, client: u8, minor: i32, must_work: bool) {
        let body = BdevRequest {
            request: IoctlCode::DIOCFLUSH,
            user: Endpoint::NONE,
            ..BdevRequest::default()
        };
        self.ask(
            client,
            minor,
            MessageType::BDEV_IOCTL,
            body,
            ClientOperation::Flush,
            must_work,
        );
    }

    fn set_cache(&mut self, number: u8, on: bool) {
        let system = self.service.system();
        let mut buffer = Buffer::new(system.machine(), 4, 16, Layout::Contiguous);
        buffer.fill(system.machine(), &i32::from(on).to_le_bytes());
        let grant = system.grant(client(number).0, buffer, Access::Read);
        let body = BdevRequest {
            request: IoctlCode::DIOCSETWC,
            grant,
            user: Endpoint::NONE,
            ..BdevRequest::default()
        };
        let kind = MessageType::BDEV_IOCTL;
        self.ask_with(
            number,
            0,
            kind,
            body,
            ClientOperation::SetCache { on },
            false,
            vec![grant],
            0,
        );
    }

    pub(crate) fn range(&mut self, range: &Range, must_work: bool) {
        let mut flags = RangeFlags::empty();
        flags.set(RangeFlags::FORCE, range.force);
        flags.set(RangeFlags::UNMAP, range.kind == RangeKind::Zero { unmap: true });
        let code = match range.kind {
            RangeKind::Discard => IoctlCode::VBLKDISCARD,
            RangeKind::Zero { .. } => IoctlCode::VBLKZERO,
            RangeKind::Erase => IoctlCode::VBLKERASE,
        };
        let number = self.watch.clients.next_write();
        let request = RangeRequest::new(flags, range.sector, range.count);
        let operation = ClientOperation::Range {
            kind: range.kind,
            force: range.force,
            first: range.sector,
            count: range.count,
            number,
        };
        let argument = (request.as_bytes(), Access::Both);
        self.control(range.client, range.minor, code, argument, operation, must_work);
    }

    fn report(&mut self, number: u8, minor: i32, report: Report) {
        let code = match report {
            Report::Info => IoctlCode::VBLKINFO,
            Report::Stat => IoctlCode::VBLKSTAT,
            Report::Regs => IoctlCode::VBLKREGS,
            Report::Queue => IoctlCode::VBLKQUEUE,
            Report::Log => IoctlCode::VBLKLOG,
            Report::Version => IoctlCode::VBLKVERSION,
        };
        let memory = vec![0xEE; code.argument_bytes()];
        let operation = ClientOperation::Report(report);
        self.control(number, minor, code, (&memory, Access::Fill), operation, false);
    }

    /// A control request with an argument.
    fn control(
        &mut self,
        number: u8,
        minor: i32,
        code: IoctlCode,
        (argument, access): (&[u8], Access),
        operation: ClientOperation,
        must_work: bool,
    ) {
        let system = self.service.system();
        let mut buffer = Buffer::new(system.machine(), argument.len() as u64, 16, Layout::Scattered);
        buffer.fill(system.machine(), argument);
        let grant = system.grant(client(number).0, buffer, access);
        let body = BdevRequest {
            request: code,
            grant,
            user: Endpoint::NONE,
            ..BdevRequest::default()
        };
        let kind = MessageType::BDEV_IOCTL;
        self.ask_with(number, minor, kind, body, operation, must_work, vec![grant], 1);
    }

    pub(crate) fn transfer(&mut self, transfer: &Transfer, must_work: bool) {
        let clients = &mut self.watch.clients;
        let number = if transfer.write { clients.next_write() } else { 0 };
        let mut sector = clients.base(transfer.minor) + transfer.sector;
        let system = self.service.system();
        let (from, _) = client(transfer.client);
        let mut grants = Vec::new();
        let mut vector = Vec::new();
        for &count in &transfer.elements {
            let bytes = count * 512;
            let mut buffer = Buffer::new(system.machine(), bytes, transfer.skew, transfer.layout);
            if transfer.write {
                let data = contents(number, sector, count);
                buffer.fill(system.machine(), &data);
            }
            sector += count;
            let access = if transfer.write { Access::Read } else { Access::Fill };
            let grant = system.grant(from, buffer, access);
            // The padding of an element is as it was.
            vector.extend(grant.0.to_le_bytes());
            vector.extend([0xDE, 0xAD, 0xBE, 0xEF]);
            vector.extend(bytes.to_le_bytes());
            grants.push(grant);
        }
        let data = grants.len();
        let count: u64 = transfer.elements.iter().sum();
        let (grant, length) = if data == 1 {
            (grants[0], count * 512)
        } else {
            let mut buffer = Buffer::new(system.machine(), vector.len() as u64, 8, Layout::Contiguous);
            buffer.fill(system.machine(), &vector);
            let grant = system.grant(from, buffer, Access::Read);
            grants.push(grant);
            (grant, data as u64)
        };
        let kind = match (transfer.write, data) {
            (false, 1) => MessageType::BDEV_READ,
            (true, 1) => MessageType::BDEV_WRITE,
            (false, _) => MessageType::BDEV_GATHER,
            (true, _) => MessageType::BDEV_SCATTER,
        };
        let body = BdevRequest {
            position: transfer.sector * 512,
            count: length as i32,
            grant,
            flags: if transfer.force {
                BdevFlags::FORCEWRITE
            } else {
                BdevFlags::empty()
            },
            ..BdevRequest::default()
        };
        let operation = ClientOperation::Transfer {
            write: transfer.write,
            force: transfer.force,
            first: transfer.sector,
            count,
            number,
        };
        let minor = transfer.minor;
        self.ask_with(transfer.client, minor, kind, body, operation, must_work, grants, data);
    }

    /// Waits until everybody has an answer.
    pub(crate) fn wait_for_answers(&mut self) -> Result<(), Failure> {
        let until = self.service.now() + TIME_LIMIT;
        loop {
            self.settle()?;
            if self.service.system().unanswered() == 0 {
                return Ok(());
            }
            let next = self.service.next_event(until);
            if next >= until {
                let waiting = self.watch.clients.waiting().join("\n  ");
                let what = format!("no answer on an honest device:\n  {waiting}");
                return Err(Failure::new("hang", what));
            }
            self.service.set_now(next);
        }
    }
}
