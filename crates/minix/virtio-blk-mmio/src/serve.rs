//! The main loop: messages, interrupts, alarms and completions, and when to wait for which.

use heapless::Deque;
use log::{Log as _, debug, error, info, warn};
use minix_abi::ipc::IpcStatus;
use minix_abi::notify::Notice;
use minix_abi::signal::Signal;
use minix_abi::{Endpoint, Errno, Message};
use minix_blockdriver::{BlockDriver, Micros};
use minix_rt::Ipc;
use minix_rt::kernel::{self, IrqLine};
use minix_rt::logger::Logger;
use minix_rt::sef::{self, Event};
use virtio_core::{Dma, Transport};

use crate::disk::VirtioDisk;
use crate::interrupts::{Finding, Interrupts, LOOK_EVERY};
use crate::kernel::System;
use crate::poller::Poller;

/// Requests of clients that are worked on at a time.
pub const JOBS: usize = 64;

/// Requests that wait for one of those to be answered. When this is full as well, no message is received until there is
/// room: clients wait where they are.
const BACKLOG: usize = 128;

/// Failures of receiving in a row that end the service, so that RS starts another one.
const MAX_RECEIVE_FAILURES: u32 = 16;

/// Microseconds that a service which is done waits for its last replies to be fetched.
const PATIENCE: u64 = 100_000;

/// The service, ready to run.
pub struct Service<I: Ipc, T: Transport + 'static, D: Dma> {
    system: System<I>,
    driver: BlockDriver<VirtioDisk<T, D>, System<I>, JOBS>,
    line: IrqLine,
    interrupts: Interrupts,
    poller: Poller,
    /// Ticks per second.
    hz: u32,
    logger: &'static Logger,
    /// What was received last could have been an interrupt.
    hears_interrupts: bool,
    backlog: Deque<(IpcStatus, Message), BACKLOG>,
    /// When the alarm that is set goes off.
    alarm: Option<Micros>,
    receive_failures: u32,
    /// When a service that is done stops waiting for its last replies to be fetched.
    patience: Option<Micros>,
}

impl<I: Ipc, T: Transport, D: Dma> Service<I, T, D> {
    /// A service that has not received anything yet. `hz` is how many ticks of the system's clock make a second.
    // Into its caller, which has a place for it: not by way of the stack.
    #[inline(always)]
    pub fn new(
        system: System<I>,
        driver: BlockDriver<VirtioDisk<T, D>, System<I>, JOBS>,
        line: IrqLine,
        poller: Poller,
        hz: u32,
        logger: &'static Logger,
    ) -> Self {
        Self {
            system,
            driver,
            line,
            interrupts: Interrupts::new(),
            poller,
            hz,
            logger,
            hears_interrupts: false,
            backlog: Deque::new(),
            alarm: None,
            receive_failures: 0,
            patience: None,
        }
    }

    /// Serves until told to stop, and ends the process. `clock` never goes back.
    pub fn run(&mut self, clock: impl Fn() -> Micros) -> ! {
        self.driver.inherit_writes(clock());
        while self.round(&clock) {}
        self.leave(&clock)
    }

    /// Resets the device, tells what was counted, and ends the process. Replies that wait for their receivers are given
    /// a moment.
    pub fn leave(&mut self, clock: &impl Fn() -> Micros) -> ! {
        self.stop();
        self.see_mail_off(clock);
        info!("counters: {}", self.driver.counters());
        let totals = self.driver.device().totals();
        let outbox = &mut self.system.outbox;
        outbox.refresh();
        info!(
            "counters: interrupts={} spurious={} lost={} found_without={} doorbells={} odd_lengths={} faults={} replies_waiting={} \
             replies_dropped={} replies_failed={}",
            totals.interrupts,
            totals.spurious_interrupts,
            self.interrupts.losses(),
            self.interrupts.found_without(),
            totals.notifies,
            totals.odd_lengths,
            totals.faults,
            outbox.pending(),
            outbox.dropped(),
            outbox.failed(),
        );
        self.logger.flush();
        kernel::exit(&mut self.system.ipc)
    }

    /// Waits for the last replies to be fetched, but not for long. Here nothing is received any more but the clock: this is for ends in
    /// trouble, when requests could not be worked on. One that ends in peace has waited in [`round`](Self::round).
    fn see_mail_off(&mut self, clock: &impl Fn() -> Micros) {
        while self.mail_waits(clock()) {
            self.alarm = None;
            self.set_alarm(clock(), true);
            match self.system.ipc.receive(Endpoint::CLOCK, &mut Message::default()) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether there are replies that are worth waiting for.
    fn mail_waits(&mut self, now: Micros) -> bool {
        let until = *self.patience.get_or_insert(now.after(PATIENCE));
        self.system.outbox.pending() > 0 && now < until
    }

    /// Resets the device, so that it touches no memory any more, and gives the interrupt line back.
    pub fn stop(&mut self) {
        if !self.driver.device_mut().stop() {
            error!("the device does not finish its reset");
        }
        // The system may take its time to remove the hook of a process that has ended, and the next instance needs the line.
        let _ = self.line.remove(&mut self.system.ipc);
    }

    /// Does what there is to do, waits for one message and deals with it. Whether to go on.
    ///
    /// A service that is done goes on as long as its last replies wait for their receivers, but no longer than 100 ms. Their memory
    /// is its own, so with it they would be gone. Until then it listens to everybody: RS may ping, and clients that call are told that it
    /// is leaving, which they understand better than its death.
    pub fn round(&mut self, clock: &impl Fn() -> Micros) -> bool {
        self.logger.catch_up();
        // As long as there is work, the device is looked at anyhow.
        self.driver.device_mut().watch();
        let now = clock();
        if self.driver.deadline().is_some_and(|deadline| deadline <= now) {
            self.driver.on_time(&mut self.system, now);
        }
        self.feed(now);
        self.poll(now);
        self.look(clock);
        self.driver.device_mut().arm();
        self.poll(clock());
        let done = self.driver.may_exit() && self.backlog.is_empty();
        if done && !self.mail_waits(clock()) {
            return false;
        }
        if self.driver.has_room() && !self.backlog.is_empty() {
            return true;
        }
        // From here on the device interrupts when it has finished something, and nothing is finished that was not seen.
        let source = self.source();
        self.hears_interrupts = source == Endpoint::ANY;
        let is_due = self.interrupts.wants_tick(self.driver.in_flight() > 0);
        self.set_alarm(clock(), done || is_due || !self.hears_interrupts);
        let mut message = Message::default();
        match self.system.ipc.receive(source, &mut message) {
            Ok(status) => {
                self.receive_failures = 0;
                self.dispatch(clock(), status, &message);
                true
            }
            Err(Errno::EINTR) => true,
            Err(errno) => {
                error!("cannot receive: {errno}");
                self.receive_failures += 1;
                self.receive_failures < MAX_RECEIVE_FAILURES
            }
        }
    }

    /// Gives the driver requests that waited for room.
    fn feed(&mut self, now: Micros) {
        while self.driver.has_room()
            && let Some((status, message)) = self.backlog.pop_front()
        {
            self.request(now, status, &message);
        }
    }

    /// Has the driver collect and submit; tells of what changed.
    fn poll(&mut self, now: Micros) -> u32 {
        let finished = self.driver.poll(&mut self.system, now);
        if let Some(change) = self.driver.device_mut().take_change() {
            if let Some(before) = change.resized_from {
                info!(
                    "capacity is now {} sectors, was {}",
                    change.limits.capacity.get(),
                    before.get()
                );
            }
            if change.needs_reset {
                warn!("the device asks for a reset");
            }
        }
        finished
    }

    /// Watches the device for a moment, if that promises to be quicker than its interrupt.
    fn look(&mut self, clock: &impl Fn() -> Micros) {
        if self.driver.in_flight() == 0 {
            return;
        }
        let Some(mut look) = self.poller.begin(clock()) else {
            return;
        };
        loop {
            let now = clock();
            let finished = self.poll(now);
            if !self.poller.goes_on(&mut look, now, finished) || self.driver.in_flight() == 0 {
                break;
            }
            core::hint::spin_loop();
        }
    }

    /// Whom to receive from. Without room for another request that is the clock alone, which comes in a tick: the device
    /// is looked at then, so that there is room again, and nothing is late.
    fn source(&self) -> Endpoint {
        if self.backlog.is_full() {
            Endpoint::CLOCK
        } else {
            Endpoint::ANY
        }
    }

    /// Sees to it that the alarm goes off early enough. One that goes off too early does no harm, so one that is set is
    /// left alone if it can be: setting it takes a call. `next_tick` asks for the very next one.
    fn set_alarm(&mut self, now: Micros, next_tick: bool) {
        let look = (self.driver.in_flight() > 0).then(|| now.after(LOOK_EVERY));
        let missing = self.logger.deadline().map(Micros);
        let wanted = [next_tick.then_some(now), self.driver.deadline(), look, missing];
        let Some(wanted) = wanted.into_iter().flatten().min() else {
            return;
        };
        let ticks = ticks_until(now, wanted, self.hz);
        let at = now.after(micros_of(ticks, self.hz));
        if self.alarm.is_some_and(|set| set <= at) {
            return;
        }
        self.alarm = match kernel::set_alarm(&mut self.system.ipc, ticks) {
            Ok(()) => Some(at),
            Err(errno) => {
                error!("cannot set an alarm: {errno}");
                None
            }
        };
    }

    fn dispatch(&mut self, now: Micros, status: IpcStatus, message: &Message) {
        match sef::handle(&mut self.system.ipc, status, message) {
            Event::Handled => {}
            Event::Signal(Signal::TERM) => {
                debug!("told to stop, {} opens left", self.driver.open_count());
                self.driver.terminate();
            }
            Event::Signal(signal) => debug!("signal {signal:?} ignored"),
            Event::NotForUs if status.is_notification() => self.notice(now, message),
            Event::NotForUs if self.driver.has_room() && self.backlog.is_empty() => {
                self.request(now, status, message);
            }
            // There is room: if not, only the clock is listened to.
            Event::NotForUs => drop(self.backlog.push_back((status, *message))),
        }
    }

    fn request(&mut self, now: Micros, status: IpcStatus, message: &Message) {
        if !self.driver.on_message(&mut self.system, now, status, message) {
            let (kind, source) = (message.kind, message.source);
            debug!("message {kind:?} from {source} is no request");
        }
    }

    fn notice(&mut self, now: Micros, message: &Message) {
        match Notice::of(message) {
            Notice::Interrupts(lines) if self.line.is_in(lines) => self.interrupt(now),
            // What is due is done in the next round.
            Notice::Alarm(_) => {
                self.alarm = None;
                self.ticked(now);
            }
            _ => {}
        }
    }

    /// The clock has woken the service. The device is still asked to interrupt, so what it has finished by now has raised an
    /// interrupt. Unless only the clock was listened to, that has come, is about to come, or is lost.
    fn ticked(&mut self, now: Micros) {
        if !self.hears_interrupts {
            return;
        }
        if self.interrupts.are_lost() {
            // What only an interrupt tells of, such as a new size, would not be seen otherwise.
            self.driver.device_mut().interrupted();
        }
        let finished = self.poll(now);
        if self.interrupts.ticked(finished) == Finding::Lost {
            warn!("an interrupt of the device is lost: the device is looked at every tick until one comes");
            self.enable_line();
        }
    }

    /// The kernel has masked the line. It is unmasked once the device is quiet. What the device finishes meanwhile is found
    /// in the next round.
    fn interrupt(&mut self, now: Micros) {
        if let Some(found) = self.interrupts.came() {
            info!("interrupts come again, {found} requests were found without");
        }
        self.driver.device_mut().interrupted();
        self.poll(now);
        // If the driver did not get to it.
        self.driver.device_mut().silence();
        if self.driver.is_broken() {
            // A device that is given up could go on interrupting for ever.
            return;
        }
        self.enable_line();
        self.poll(now);
    }

    fn enable_line(&mut self) {
        if let Err(errno) = self.line.enable(&mut self.system.ipc) {
            error!("cannot enable the interrupt line: {errno}");
        }
    }
}

/// Ticks from `now` until a point in time, rounded up, at least one.
fn ticks_until(now: Micros, then: Micros, hz: u32) -> u64 {
    then.since(now).saturating_mul(hz.into()).div_ceil(1_000_000).max(1)
}

/// Microseconds of so many ticks.
fn micros_of(ticks: u64, hz: u32) -> u64 {
    ticks.saturating_mul(1_000_000).div_ceil(u64::from(hz).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_rounded_up_to_ticks() {
        let until = |then, hz| ticks_until(Micros(1_000), Micros(then), hz);
        assert_eq!(until(1_000, 1000), 1);
        assert_eq!(until(0, 1000), 1);
        assert_eq!(until(2_000, 1000), 1);
        assert_eq!(until(2_001, 1000), 2);
        assert_eq!(until(10_001_000, 60), 600);
        assert_eq!(until(10_001_001, 60), 601);
        assert_eq!(until(u64::MAX, 1000), u64::MAX / 1_000_000 + 1);
        assert_eq!(micros_of(600, 60), 10_000_000);
        assert_eq!(micros_of(1, 60), 16_667);
    }
}
