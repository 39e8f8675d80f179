//! The service without its process: driver, disk, device, interrupt line and clock, in the order in which the real main loop
//! uses them.

use std::collections::VecDeque;
use std::rc::Rc;

use minix_abi::ipc::IpcStatus;
use minix_abi::{Endpoint, Message, MessageType};
use minix_blockdriver::{BlockDriver, Counters, Micros, Options};
use minix_virtio_blk::disk::{DiskHome, ListTable, VirtioDisk};
use virtio_blk_model::{Model, ModelConfig, feature};
use virtio_core::{Interface, QueueSize};
use virtio_mmio::{MmioTransport, probe};

use crate::dma::BoundedDma;
use crate::kernel::System;
use crate::plan::{MOST_SECTORS, Pace, TIMEOUT, World};
use crate::run::Failure;
use crate::weather::{Faults, Registers, Window};

/// Requests that are worked on at a time.
const JOBS: usize = 16;
/// Microseconds of a clock tick, which alarms are rounded up to.
const TICK: u64 = 1000;
/// Microseconds of a round of the main loop.
const ROUND: u64 = 3;
/// Rounds without a pause that make sense: each answers a request, or gives the device some.
const ROUNDS: u32 = 2000;
/// Resets in so many microseconds that make sense.
const RESETS: u64 = 64;
const RESET_WINDOW: u64 = 100_000;

type Transport = MmioTransport<Registers>;
type Driver = BlockDriver<VirtioDisk<Transport, BoundedDma>, System, JOBS>;

pub(crate) struct Service {
    pub(crate) model: Model,
    pub(crate) faults: Faults,
    pub(crate) system: System,
    driver: Driver,
    window: Rc<Window>,
    pub(crate) dma: BoundedDma,
    /// What the driver borrows for good, to be taken back when it is gone.
    tables: (*mut ListTable, *mut DiskHome<Transport>),
    pub(crate) now: u64,
    pub(crate) pace: Pace,
    /// When a device that works by the clock works next.
    next_work: u64,
    /// The kernel has masked the interrupt line.
    masked: bool,
    /// Messages on their way to the service.
    inbox: VecDeque<(IpcStatus, Message)>,
    /// Messages that wait for room in the driver.
    backlog: VecDeque<(IpcStatus, Message)>,
    /// Resets so far when the window for counting them began, and when that was.
    resets_before: (u64, u64),
    /// The device was reset too often. What else goes wrong is told first.
    pub(crate) storm: Option<String>,
}

fn config(world: &World) -> ModelConfig {
    let mut base = if world.legacy {
        ModelConfig::legacy()
    } else {
        ModelConfig::modern()
    };
    if world.one_descriptor {
        base = base.with_one_data_descriptor();
    }
    let mut offered = 0;
    if world.size_max.is_some() {
        offered |= feature::SIZE_MAX;
    }
    if world.read_only {
        offered |= feature::RO;
    }
    ModelConfig {
        queue_size_max: world.queue,
        seg_max: world.seg_max,
        size_max: world.size_max.unwrap_or(1 << 20),
        block_size: world.block_bytes,
        capacity: world.sectors,
        order: world.order,
        service: if world.on_notify {
            virtio_blk_model::Service::OnNotify
        } else {
            virtio_blk_model::Service::Manual
        },
        used_length: world.used_length,
        write_cache: world.offers(feature::FLUSH),
        failed_flush_forgets: world.failed_flush_forgets,
        memory_bytes: 32 << 20,
        ..base.offer(offered).withdraw(world.withdrawn)
    }
}

impl Service {
    /// A service on a device that holds `content`.
    pub(crate) fn start(world: &World, content: &[u8]) -> Self {
        assert_eq!(content.len() as u64, MOST_SECTORS * 512);
        assert!(matches!(config(world).interface, Interface::Legacy) == world.legacy);
        let model = Model::new(config(world));
        model.write_disk(0, content);
        let faults = Faults::default();
        model.set_fault(faults.clone());
        let window = Window::new(model.registers());
        let transport = probe(Registers::new(&window)).device().expect("the model is a device");
        let tables = (
            Box::into_raw(Box::<ListTable>::default()),
            Box::into_raw(Box::<DiskHome<_>>::default()),
        );
        // SAFETY: both were just made, and `drop` takes them back when the driver that borrows them is gone.
        let (lists, home) = unsafe { (&mut *tables.0, &mut *tables.1) };
        let dma = BoundedDma::new(&model, world.pages);
        let queue = QueueSize::new(world.driver_queue).expect("a power of two");
        let disk = VirtioDisk::start(transport, dma.clone(), queue, lists, home).expect("the device comes up");
        let options = Options {
            request_timeout: TIMEOUT,
            depth: world.depth,
            reads_before_write: world.reads_before_write,
            flush_after: world.flush_after,
            replays: world.replays,
            ..Options::default()
        };
        Self {
            system: System::new(&model, world.ranges_at_once),
            driver: BlockDriver::new(disk, options),
            model,
            faults,
            window,
            dma,
            tables,
            now: 5_000_000,
            pace: Pace::Prompt,
            next_work: 0,
            masked: false,
            inbox: VecDeque::new(),
            backlog: VecDeque::new(),
            resets_before: (0, 0),
            storm: None,
        }
    }

    /// A message is sent to the service.
    pub(crate) fn receives(
        &mut self,
        from: Endpoint,
        how: IpcStatus,
        kind: MessageType,
        body: &minix_abi::bdev::BdevRequest,
    ) {
        let message = Message::with_payload(kind, body);
        self.inbox.push_back((
            how,
            Message {
                source: from,
                ..message
            },
        ));
    }

    /// The service is told to end.
    pub(crate) fn terminate(&mut self) {
        self.driver.terminate();
    }

    pub(crate) fn may_exit(&self) -> bool {
        self.driver.may_exit() && self.inbox.is_empty() && self.backlog.is_empty()
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.driver.is_broken()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.driver.counters()
    }

    /// Requests, replies, and what is left of them.
    pub(crate) fn tally(&self) -> (u64, u64, usize, usize) {
        let counters = self.driver.counters();
        let (requests, replies) = (counters.requests, counters.replies);
        (requests, replies, self.driver.unanswered(), self.driver.in_flight())
    }

    /// One round of the main loop, with the message or interrupt that it waits for. Whether there was one.
    pub(crate) fn round(&mut self) -> bool {
        self.window.begin_call();
        self.driver.device_mut().watch();
        let now = Micros(self.now);
        if self.is_due() {
            self.driver.on_time(&mut self.system, now);
        }
        while self.driver.has_room()
            && let Some((how, message)) = self.backlog.pop_front()
        {
            self.request(how, &message);
        }
        self.driver.poll(&mut self.system, now);
        self.driver.device_mut().arm();
        self.driver.poll(&mut self.system, now);
        self.now += ROUND;
        if self.driver.has_room() && !self.backlog.is_empty() {
            return true;
        }
        if !self.masked && self.model.interrupt_line() {
            self.masked = true;
            self.interrupt(Micros(self.now));
            return true;
        }
        let Some((how, message)) = self.inbox.pop_front() else {
            return false;
        };
        if self.driver.has_room() && self.backlog.is_empty() {
            self.request(how, &message);
        } else {
            self.backlog.push_back((how, message));
        }
        true
    }

    fn request(&mut self, how: IpcStatus, message: &Message) {
        let taken = self.driver.on_message(&mut self.system, Micros(self.now), how, message);
        assert!(taken, "it was a request");
    }

    fn interrupt(&mut self, now: Micros) {
        self.window.begin_call();
        self.driver.device_mut().interrupted();
        self.driver.poll(&mut self.system, now);
        self.driver.device_mut().silence();
        if self.driver.is_broken() {
            return;
        }
        self.masked = false;
        self.driver.poll(&mut self.system, now);
    }

    fn is_due(&self) -> bool {
        self.driver.deadline().is_some_and(|at| at.0 <= self.now)
    }

    /// The device works. How many requests it served.
    fn device_works(&mut self) -> usize {
        match self.pace {
            Pace::Prompt => self.model.process(usize::MAX),
            Pace::Every { micros, requests } if self.next_work <= self.now => {
                self.next_work = self.now + micros;
                self.model.process(requests)
            }
            Pace::Every { .. } | Pace::Stalled => 0,
        }
    }

    /// When something happens next, with nothing to do until then.
    pub(crate) fn next_event(&self, until: u64) -> u64 {
        let alarm = self
            .driver
            .deadline()
            .map(|at| at.0.max(self.now + 1).next_multiple_of(TICK));
        let work = match self.pace {
            Pace::Every { .. } if self.model.pending() > 0 => Some(self.next_work.max(self.now + 1)),
            _ => None,
        };
        [alarm, work].into_iter().flatten().fold(until, u64::min)
    }

    /// Runs until nothing happens any more at this moment; `each` looks after every step.
    pub(crate) fn settle(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), Failure>) -> Result<(), Failure> {
        for _ in 0..ROUNDS {
            let served = self.device_works();
            each(self)?;
            let busy = self.round();
            each(self)?;
            self.count_resets();
            if served == 0 && !busy && !self.is_due() {
                return Ok(());
            }
        }
        Err(Failure::new("spin", format!("{ROUNDS} rounds without a pause")))
    }

    fn count_resets(&mut self) {
        let resets = self.model.counters().resets;
        let (before, since) = self.resets_before;
        if self.now - since > RESET_WINDOW {
            self.resets_before = (resets, self.now);
        } else if resets - before > RESETS {
            let what = || format!("{} resets within {} microseconds", resets - before, self.now - since);
            self.storm.get_or_insert_with(what);
        }
    }

    /// Ends the run: the driver goes, and everything it had from the model goes back.
    pub(crate) fn end(self) {
        let Self {
            driver, tables, dma, ..
        } = self;
        drop(driver);
        dma.release_all();
        // SAFETY: they were made in `start`, and the driver, which alone had borrowed them, is gone.
        unsafe {
            drop(Box::from_raw(tables.0));
            drop(Box::from_raw(tables.1));
        }
    }
}
