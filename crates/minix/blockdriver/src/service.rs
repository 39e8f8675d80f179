//! The main loop of a service: messages, interrupts, alarms and completions, and when to wait for which.

mod crowd;
mod interrupts;
mod knowledge;
mod poller;

use crate::log_line;
use core::time::Duration;

use heapless::Deque;
use minix_abi::ipc::IpcStatus;
use minix_abi::{Errno, Instant, Message};

use self::crowd::Crowd;
pub use self::interrupts::LOOK_EVERY;
use self::interrupts::{Finding, Interrupts};
pub(crate) use self::poller::Awaited;
use self::poller::Poller;
pub use self::poller::WatchOptions;
use crate::device::{BlockDevice, Listen};
use crate::driver::BlockDriver;
use crate::kernel::Kernel;
use crate::statistics::Guesses;

/// Requests that wait for room in the driver. When this is full as well, no message is received until there is room: clients
/// wait in the kernel.
const BACKLOG: usize = 128;

/// How many completions in a row may renew a watch before messages get their turn.
const RENEWALS: u32 = 4;

/// Failures of receiving in a row that end the service, so that the system starts another one.
const MAX_RECEIVE_FAILURES: u32 = 16;

/// Time that a service which is done waits for its last replies to be fetched.
const REPLY_TIMEOUT: Duration = Duration::from_millis(100);

/// What the system has for the main loop to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message for the driver, which came like this.
    Message(IpcStatus),
    /// The device has interrupted. Its line stays masked until it is [enabled](System::enable_interrupts).
    Interrupt,
    /// It is time, or a little earlier.
    Alarm,
    /// The service is told to end.
    Terminate,
    /// Nothing for the loop: the system has dealt with a message itself, or was disturbed.
    Other,
}

/// What may end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Any event.
    ForAll,
    /// An alarm, and nothing else.
    ForAlarm,
}

/// What the main loop asks of the system beyond what its driver does.
pub trait System: Kernel {
    /// The time, which never goes back.
    fn now(&self) -> Instant;

    /// Waits for the next event. There is an alarm by the time `until`, rounded up to a tick of the system's clock and at least
    /// the next tick from now; without one, there need not be any. An alarm may come early. A message is put into `message`.
    ///
    /// # Errors
    ///
    /// What the system says if nothing can be received.
    fn receive(&mut self, wait: Wait, until: Option<Instant>, message: &mut Message) -> Result<Event, Errno>;

    /// Enables the interrupt line of the device, which an interrupt has masked.
    fn enable_interrupts(&mut self);

    /// Whether replies wait for their receivers.
    fn has_replies_waiting(&mut self) -> bool;
}

/// A service, ready to run: a driver, its system, and the requests that wait for room.
pub struct Service<D: BlockDevice<Range = S::Range>, S: System, const JOBS: usize> {
    system: S,
    driver: BlockDriver<D, S, JOBS>,
    interrupts: Interrupts,
    poller: Poller,
    crowd: Crowd,
    /// The last wait was one that an interrupt could end.
    hears_interrupts: bool,
    backlog: Deque<(IpcStatus, Message), BACKLOG>,
    receive_failures: u32,
    /// When a service that is done stops waiting for its last replies to be fetched.
    replies_until: Option<Instant>,
}

impl<D: BlockDevice<Range = S::Range>, S: System, const JOBS: usize> Service<D, S, JOBS> {
    /// A service that has not received anything yet. Before it waits for an interrupt it watches the device, as `watch` says.
    // Into its caller, which has a place for it: not by way of the stack.
    #[inline(always)]
    pub fn new(system: S, driver: BlockDriver<D, S, JOBS>, watch: WatchOptions) -> Self {
        Self {
            system,
            driver,
            interrupts: Interrupts::new(),
            poller: Poller::new(watch),
            crowd: Crowd::new(),
            hears_interrupts: false,
            backlog: Deque::new(),
            receive_failures: 0,
            replies_until: None,
        }
    }

    /// The driver.
    pub fn driver(&self) -> &BlockDriver<D, S, JOBS> {
        &self.driver
    }

    /// The driver, and the system.
    pub fn parts_mut(&mut self) -> (&mut BlockDriver<D, S, JOBS>, &mut S) {
        (&mut self.driver, &mut self.system)
    }

    /// How often interrupts were found lost, and how many completions were found although their interrupts were.
    pub fn lost_interrupts(&self) -> (u64, u64) {
        (self.interrupts.losses(), self.interrupts.found_without())
    }

    /// What came of the guesses that a message comes before a completion.
    pub fn guesses(&self) -> Guesses {
        self.crowd.guesses()
    }

    /// Whether no request waits for room in the driver.
    pub fn is_backlog_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Serves until told to end.
    pub fn run(&mut self) {
        self.driver.inherit_writes(self.system.now());
        while self.round() {}
    }

    /// Does what there is to do, waits for one event and deals with it. Whether to go on.
    ///
    /// A service that is done goes on as long as its last replies wait for their receivers, but no longer than 100 ms. Their memory
    /// is its own, so with it they would be gone. Until then it receives from all: the system may ping it, and clients
    /// that call are told of its exit, which they understand better than its death.
    pub fn round(&mut self) -> bool {
        // As long as there is work, the device is polled in any case.
        self.driver.device_mut().listen(Listen::Polled);
        let now = self.system.now();
        if self.driver.deadline().is_some_and(|deadline| deadline <= now) {
            self.driver.on_time(&mut self.system, now);
        }
        self.feed(now);
        if self.poll(now) > 0 {
            let _ = self.crowd.answered();
        }
        self.watch();
        self.driver.device_mut().listen(Listen::Interrupts);
        if self.poll(self.system.now()) > 0 && self.crowd.answered() && self.driver.in_flight() > 0 {
            // The device was not watched since a message was expected. It is not left to its interrupt without that.
            return true;
        }
        let done = self.driver.may_exit() && self.backlog.is_empty();
        if done && !self.replies_wait() {
            return false;
        }
        if self.driver.has_room() && !self.backlog.is_empty() {
            return true;
        }
        // From here on the device interrupts when it has completed something, and nothing is completed that was not seen.
        self.wait(done)
    }

    /// Waits for the last replies to be fetched, but not for long. Nothing is received meanwhile but alarms: this is for ends in
    /// trouble, when requests could not be worked on. Otherwise [`round`](Self::round) has waited.
    pub fn flush_replies(&mut self) {
        while self.replies_wait() {
            let next_tick = Some(self.system.now());
            let mut message = Message::default();
            if self.system.receive(Wait::ForAlarm, next_tick, &mut message).is_err() {
                return;
            }
        }
    }

    /// Whether there are replies that are worth waiting for.
    fn replies_wait(&mut self) -> bool {
        let now = self.system.now();
        let until = *self.replies_until.get_or_insert(now.after(REPLY_TIMEOUT));
        now < until && self.system.has_replies_waiting()
    }

    /// Gives the driver requests that waited for room.
    fn feed(&mut self, now: Instant) {
        while self.driver.has_room()
            && let Some((status, message)) = self.backlog.pop_front()
        {
            self.request(now, status, &message);
        }
    }

    #[inline(never)]
    fn poll(&mut self, now: Instant) -> u32 {
        self.driver.poll(&mut self.system, now)
    }

    /// Watches the device, if that promises to be quicker than its interrupt, and no message is about to come. A completion is
    /// answered before the next look; after some of them messages get their turn.
    fn watch(&mut self) {
        if !self.poller.watches() {
            return;
        }
        self.crowd.forget();
        let mut now = self.system.now();
        // What the device has completed at once takes no watch.
        if self.driver.in_flight() > 0 && self.poll(now) > 0 {
            let _ = self.crowd.answered();
        }
        for _ in 0..=RENEWALS {
            let Some(awaited) = self.driver.awaited() else {
                return;
            };
            let Some(watch) = self.poller.begin(now, awaited) else {
                return;
            };
            let may_wait = self.poller.gives_way() && self.takes_requests();
            if may_wait && self.crowd.waits(now, awaited.asked, watch.span()) {
                return;
            }
            let completed = loop {
                now = self.system.now();
                let completed = self.driver.poll(&mut self.system, now);
                if completed > 0 || watch.is_over(now) {
                    break completed;
                }
                core::hint::spin_loop();
            };
            self.driver.watched(completed > 0, watch.lasted(now));
            if completed == 0 {
                return self.poller.missed(watch, now);
            }
            self.poller.hit(watch, now);
            let _ = self.crowd.answered();
        }
    }

    /// Waits for an event and deals with it. Without room for another request that is an alarm: the device is looked at in a
    /// tick, so that there is room again. A service that is `done` looks for its replies every tick. Whether to go on.
    fn wait(&mut self, done: bool) -> bool {
        let now = self.system.now();
        self.hears_interrupts = !self.backlog.is_full();
        let is_busy = self.driver.in_flight() > 0;
        let every_tick = done || !self.hears_interrupts || self.interrupts.wants_tick(is_busy);
        let look = is_busy.then(|| now.after(LOOK_EVERY));
        let until = Instant::earliest(&[every_tick.then_some(now), self.driver.deadline(), look]);
        let wait = if self.hears_interrupts {
            Wait::ForAll
        } else {
            Wait::ForAlarm
        };
        let mut message = Message::default();
        match self.system.receive(wait, until, &mut message) {
            Ok(event) => {
                self.receive_failures = 0;
                self.dispatch(event, &message);
                true
            }
            Err(errno) => {
                log_line!(Error, "cannot receive: {errno}");
                self.receive_failures += 1;
                self.receive_failures < MAX_RECEIVE_FAILURES
            }
        }
    }

    fn dispatch(&mut self, event: Event, message: &Message) {
        let now = self.system.now();
        match event {
            Event::Message(status) => {
                if self.poller.watches() {
                    self.crowd.arrived(message.source, self.driver.asked());
                }
                if self.takes_requests() {
                    self.request(now, status, message);
                } else {
                    // There is room: if not, only an alarm is waited for.
                    let _ = self.backlog.push_back((status, *message));
                }
            }
            Event::Interrupt => self.interrupt(now),
            // What is due is done in the next round.
            Event::Alarm => self.ticked(now),
            Event::Terminate => {
                log_line!(Debug, "told to stop, {} opens left", self.driver.open_count());
                self.driver.terminate();
            }
            Event::Other => {}
        }
    }

    /// Whether the driver takes the next request at once.
    fn takes_requests(&self) -> bool {
        self.driver.has_room() && self.backlog.is_empty()
    }

    fn request(&mut self, now: Instant, status: IpcStatus, message: &Message) {
        if !self.driver.on_message(&mut self.system, now, status, message) {
            let (kind, source) = (message.kind, message.source);
            log_line!(Debug, "message {kind:?} from {source} is no request");
            self.driver.note_refused(now, message);
        }
    }

    /// An alarm has woken the service. The device is still asked to interrupt, so its completions until now have raised an
    /// interrupt. Unless only an alarm was waited for, that has come, is about to come, or is lost.
    fn ticked(&mut self, now: Instant) {
        if !self.hears_interrupts {
            return;
        }
        if self.interrupts.are_lost() {
            // What only an interrupt tells of, such as a new size, would not be seen otherwise.
            self.driver.device_mut().interrupted();
        }
        let completed = self.poll(now);
        if completed > 0 {
            self.crowd.completed(now);
        }
        if self.interrupts.ticked(completed) == Finding::Lost {
            log_line!(
                Warn,
                "an interrupt of the device is lost: the device is looked at every tick until one comes"
            );
            self.driver.note_lost_interrupt(now, self.interrupts.losses());
            self.system.enable_interrupts();
        }
    }

    /// The line is masked. It is enabled once the device is quiet. What the device completes meanwhile is found in the next
    /// round.
    fn interrupt(&mut self, now: Instant) {
        if let Some(found) = self.interrupts.came() {
            log_line!(Info, "interrupts come again, {found} requests were found without");
            self.driver.note_interrupts_again(now, found);
        }
        self.driver.device_mut().interrupted();
        if self.poll(now) > 0 {
            self.crowd.completed(now);
        }
        self.driver.take_events(now);
        // If the driver did not get to it.
        self.driver.device_mut().dismiss_interrupt();
        if self.driver.is_broken() {
            // A device that is given up could go on interrupting for ever.
            return;
        }
        self.system.enable_interrupts();
        self.poll(now);
    }
}
