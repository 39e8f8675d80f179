//! The service without its process: the real main loop with its driver and disk, on a device, an interrupt line and a clock in
//! software.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use minix_abi::ipc::IpcStatus;
use minix_abi::{Endpoint, Errno, Instant, Message, MessageType};
use minix_blockdriver::{BlockDriver, DriverCounters, DriverOptions, Event, Service as MainLoop, Wait, WatchOptions};
use minix_virtio_blk::disk::{DiskMemory, ListTable, VirtioDisk};
use virtio_blk_model::{Limits, Model, ModelConfig, feature};
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

/// What the main loop waits for.
pub(crate) struct Events {
    now: u64,
    /// Messages on their way to the service.
    inbox: VecDeque<(IpcStatus, Message)>,
    model: Model,
    window: Rc<Window>,
    /// The kernel has masked the interrupt line.
    masked: bool,
    alarm: Option<u64>,
    /// The service waits, and nothing has come.
    idle: bool,
}

impl Events {
    fn next(&mut self, wait: Wait, message: &mut Message) -> Option<Event> {
        let for_all = wait == Wait::ForAll;
        if for_all && !self.masked && self.model.interrupt_line() {
            self.masked = true;
            return Some(Event::Interrupt);
        }
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            return Some(Event::Alarm);
        }
        let (how, next) = for_all.then(|| self.inbox.pop_front())??;
        *message = next;
        Some(Event::Message(how))
    }
}

impl minix_blockdriver::System for System {
    fn now(&self) -> Instant {
        Instant::from_micros(self.events.now)
    }

    fn receive(&mut self, wait: Wait, until: Option<Instant>, message: &mut Message) -> Result<Event, Errno> {
        let events = &mut self.events;
        events.window.begin_call();
        let wanted = until.map(|at| at.as_micros().max(events.now + 1).next_multiple_of(TICK));
        events.alarm = [events.alarm, wanted].into_iter().flatten().min();
        events.now += ROUND;
        let event = events.next(wait, message);
        events.idle = event.is_none();
        Ok(event.unwrap_or(Event::Other))
    }

    fn enable_interrupts(&mut self) {
        self.events.masked = false;
    }

    fn has_replies_waiting(&mut self) -> bool {
        false
    }
}

pub(crate) struct Service {
    pub(crate) model: Model,
    pub(crate) faults: Faults,
    main_loop: MainLoop<VirtioDisk<Transport, BoundedDma>, System, JOBS>,
    window: Rc<Window>,
    pub(crate) dma: BoundedDma,
    /// What the driver borrows for good, to be taken back when it is gone.
    tables: (*mut ListTable, *mut DiskMemory<Transport>),
    pub(crate) pace: Pace,
    /// When a device that works by the clock works next.
    next_work: u64,
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
    offered |= feature::SECURE_ERASE | feature::LIFETIME;
    if world.read_only {
        offered |= feature::RO;
    }
    let limits = Limits {
        max_sectors: world.range_blocks * world.block_bytes / 512,
        max_segments: 1,
        alignment: world.block_bytes / 512,
    };
    ModelConfig {
        discard: limits,
        write_zeroes: limits,
        secure_erase: limits,
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
            Box::into_raw(Box::<DiskMemory<_>>::default()),
        );
        // SAFETY: both were just made, and `drop` takes them back when the driver that borrows them is gone.
        let (lists, home) = unsafe { (&mut *tables.0, &mut *tables.1) };
        let dma = BoundedDma::new(&model, world.pages);
        let queue = QueueSize::new(world.driver_queue).expect("a power of two");
        let disk = VirtioDisk::start(transport, dma.clone(), queue, lists, home).expect("the device comes up");
        let options = DriverOptions {
            request_timeout: Duration::from_micros(TIMEOUT),
            depth: world.depth,
            reads_before_write: world.reads_before_write,
            flush_after: Duration::from_micros(world.flush_after),
            replays: world.replays,
            ..DriverOptions::default()
        };
        let events = Events {
            now: 5_000_000,
            inbox: VecDeque::new(),
            model: model.clone(),
            window: Rc::clone(&window),
            masked: false,
            alarm: None,
            idle: false,
        };
        let system = System::new(&model, world.ranges_at_once, events);
        Self {
            main_loop: MainLoop::new(system, BlockDriver::new(disk, options), WatchOptions::NEVER),
            model,
            faults,
            window,
            dma,
            tables,
            pace: Pace::Prompt,
            next_work: 0,
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
        self.system().events.inbox.push_back((
            how,
            Message {
                source: from,
                ..message
            },
        ));
    }

    /// The service is told to end.
    pub(crate) fn terminate(&mut self) {
        self.main_loop.parts_mut().0.terminate();
    }

    pub(crate) fn may_exit(&mut self) -> bool {
        let arrived = self.system().events.inbox.is_empty();
        arrived && self.driver().may_exit() && self.main_loop.is_backlog_empty()
    }

    fn driver(&self) -> &BlockDriver<VirtioDisk<Transport, BoundedDma>, System, JOBS> {
        self.main_loop.driver()
    }

    pub(crate) fn system(&mut self) -> &mut System {
        self.main_loop.parts_mut().1
    }

    pub(crate) fn now(&mut self) -> u64 {
        self.system().events.now
    }

    pub(crate) fn set_now(&mut self, now: u64) {
        self.system().events.now = now;
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.driver().is_broken()
    }

    pub(crate) fn counters(&self) -> DriverCounters {
        self.driver().counters()
    }

    /// Requests, replies, whether all are answered, and requests in flight.
    pub(crate) fn tally(&self) -> (u64, u64, bool, usize) {
        let (driver, counters) = (self.driver(), self.counters());
        (
            counters.requests,
            counters.replies,
            driver.is_idle(),
            driver.in_flight(),
        )
    }

    /// One round of the main loop. Whether something came for it.
    fn round(&mut self) -> bool {
        self.window.begin_call();
        self.main_loop.round() && !self.system().events.idle
    }

    fn is_due(&mut self) -> bool {
        let now = self.now();
        self.driver().deadline().is_some_and(|at| at.as_micros() <= now)
    }

    /// The device works. How many requests it served.
    fn device_works(&mut self) -> usize {
        let (pace, now) = (self.pace, self.now());
        match pace {
            Pace::Prompt => self.model.process(usize::MAX),
            Pace::Every { micros, requests } if self.next_work <= now => {
                self.next_work = now + micros;
                self.model.process(requests)
            }
            Pace::Every { .. } | Pace::Stalled => 0,
        }
    }

    /// When something happens next, with nothing to do until then.
    pub(crate) fn next_event(&mut self, until: u64) -> u64 {
        let now = self.now();
        let work = match self.pace {
            Pace::Every { .. } if self.model.pending() > 0 => Some(self.next_work.max(now + 1)),
            _ => None,
        };
        let alarm = self.system().events.alarm;
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
        let (now, resets) = (self.now(), self.model.counters().resets);
        let (before, since) = self.resets_before;
        if now - since > RESET_WINDOW {
            self.resets_before = (resets, now);
        } else if resets - before > RESETS {
            let what = || format!("{} resets within {} microseconds", resets - before, now - since);
            self.storm.get_or_insert_with(what);
        }
    }

    /// Ends the run: the driver goes, and everything it had from the model goes back.
    pub(crate) fn end(self) {
        let Self {
            main_loop, tables, dma, ..
        } = self;
        drop(main_loop);
        dma.release_all();
        // SAFETY: they were made in `start`, and the driver, which alone had borrowed them, is gone.
        unsafe {
            drop(Box::from_raw(tables.0));
            drop(Box::from_raw(tables.1));
        }
    }
}
