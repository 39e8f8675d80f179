//! The load on all harts: each queue of a disk has a hart of its own, which writes its part of the scratch region with its own marks
//! and reads it back, while all others do the same. What queues, vectors and harts have counted goes to the host.

mod counted;
mod crew;
mod marks;
mod signal;
mod watch;
mod worker;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use bare_image::disks::{Found, Transport};
use bare_image::memory::DmaMemory;
use bare_image::report::record;
use board_qemu_virt::{Board, Ecam, Slot, Source, Ticks, counters};
use guest_protocol::{Record, pattern};
use image_blk::options::{Removal, SectorRange};
use virtio_blk::{DeviceControl, DiskOptions, IoError, Vectors};
use virtio_core::{PollLimit, QueueIndex};

use super::routes::{Interrupt, Routes};
use super::selftest::{TestResult, skip};
use super::session::Failure;
use crew::{MOST_HARTS, Shift};
use marks::Marks;
use signal::{Bell, Signal, Taken, Told};
use watch::Watch;
use worker::{End, Queue, Worker, sectors_of_request};

/// Bells of what queues share, by the number of the vector; a line has the first.
static BELLS: [Bell; MOST_HARTS + 1] = [const { AtomicU32::new(0) }; MOST_HARTS + 1];

/// Sectors for each queue at least: that leaves a few requests, also of large blocks.
const LEAST_SECTORS: u64 = 64;

/// How long a reset may take.
const RESET_MILLIS: u64 = 10_000;

type Control = Box<DeviceControl<Transport>>;

/// What the load works on.
pub(crate) struct Load<'a> {
    pub(crate) board: &'a Board,
    pub(crate) disk: Found,
    pub(crate) options: DiskOptions,
    pub(crate) polls: bool,
    /// Queues that are wanted.
    pub(crate) queues: u16,
    /// How long it goes on; 0: each part is written once.
    pub(crate) seconds: u32,
    /// The sectors that may be written.
    pub(crate) area: SectorRange,
}

/// Everything is started.
struct Started {
    control: Option<Control>,
    routes: Routes,
    shifts: Vec<Box<Shift>>,
    /// Interrupts that all harts had claimed before.
    claimed: u64,
    began: Ticks,
}

/// What became of all requests, and what the disk holds.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) submitted: u64,
    /// Requests that came back with an answer.
    pub(crate) completed: u64,
    /// Requests that came back without one, after the end of the device.
    pub(crate) given_back: u64,
    pub(crate) marks: Vec<Marks>,
    /// What went wrong on a hart.
    trouble: Option<String>,
}

impl Load<'_> {
    /// Does the load, and shuts the disk down. The text is for people.
    pub(crate) fn run(mut self) -> TestResult {
        if self.area.count < LEAST_SECTORS * u64::from(self.queues) {
            skip!("the region that may be written is too small");
        }
        let (queues, seconds) = (self.queues, self.seconds);
        if seconds > 0 && queues > 1 {
            // One queue alone first: what the rate of all is compared with.
            (self.queues, self.seconds) = (1, seconds.div_ceil(4));
            self.once(false)?;
            (self.queues, self.seconds) = (queues, seconds);
        }
        self.once(true)
    }

    /// Does the load once. Queues and vectors are reported if `tells`.
    fn once(&mut self, tells: bool) -> TestResult {
        let deadline = counters::now().after(self.board.timebase.ticks_from_millis(u64::from(self.seconds) * 1000));
        let mut started = self.begin(0, End::After(deadline))?;
        let shifts = crew::work(self.board.harts, self.board.timebase, started.shifts, || Ok(()))?;
        let micros = self.board.timebase.micros(counters::now().since(started.began));
        let mut taken = self.config_changes(&started.routes, tells);
        for shift in &shifts {
            taken += counted(shift, tells);
        }
        let claimed = self.board.interrupts.claimed() - started.claimed;
        // A line that an APLIC turns into messages can be claimed twice before it is masked, which is one interrupt to the thread.
        let is_line = matches!(started.routes.queue(QueueIndex(0)), Some(Interrupt::Line(_)));
        let adds_up = taken == claimed || is_line && taken < claimed;
        let outcome = self.end(started.control.take(), shifts)?;
        record(Record::Loaded {
            queues: self.queues.into(),
            requests: outcome.completed,
            micros,
        });
        started.routes.release(self.board, &mut self.disk)?;
        if let Some(trouble) = outcome.trouble {
            return Err(trouble.into());
        }
        let (requests, lost) = (outcome.completed, outcome.given_back);
        if lost > 0 || !adds_up {
            return Err(
                format!("{lost} requests did not complete; {taken} interrupts taken, {claimed} claimed").into(),
            );
        }
        Ok(format!("{requests} requests, {claimed} interrupts"))
    }

    /// Does the load until the disk is gone, and returns what it left.
    pub(crate) fn run_until_gone(mut self, kind: Removal, slot: Option<&mut Slot<Ecam>>) -> Result<Outcome, Failure> {
        let mut started = self.begin(1, End::Gone)?;
        let line = started
            .routes
            .queue(QueueIndex(0))
            .and_then(|interrupt| match interrupt {
                Interrupt::Line(source) => Some(self.taken(source, Some(&BELLS[0]), started.control.take())),
                Interrupt::Vector(..) => None,
            });
        let mut watch = Watch {
            board: self.board,
            kind,
            slot,
            line,
            control: started.control.take(),
        };
        let shifts = crew::work(self.board.harts, self.board.timebase, started.shifts, || watch.run())?;
        let control = watch.line.and_then(|line| line.control).or(watch.control);
        let outcome = self.end(control, shifts)?;
        let Outcome {
            submitted,
            completed,
            given_back,
            ..
        } = outcome;
        record(Record::Removed {
            submitted,
            completed,
            given_back,
        });
        started.routes.forget(self.board);
        match outcome.trouble {
            Some(trouble) => Err(trouble.into()),
            None => Ok(outcome),
        }
    }

    /// Starts the disk, with a shift for each queue, from the hart of this place on.
    fn begin(&mut self, first_hart: usize, end: End) -> Result<Started, Failure> {
        let transport = self.disk.transport.take().ok_or("the disk is in use")?;
        let harts: Vec<usize> = self.board.harts.iter().map(|hart| hart.hart_id).collect();
        let harts = harts
            .get(first_hart..)
            .and_then(|harts| harts.get(..self.queues.into()));
        let harts = harts.ok_or("there is no hart for each queue")?;
        let routes = match self.polls {
            true => Routes::polled(),
            false => Routes::new(self.board, &mut self.disk, harts)?,
        };
        let (control, queues) = self.start(transport, &routes)?;
        if queues.len() != harts.len() {
            return Err(format!("the device has {} queues", queues.len()).into());
        }
        let claimed = self.board.interrupts.claimed();
        if let Some(config) = self.config_alone(&routes) {
            self.board.interrupts.enable(config.source());
        }
        let mut control = Some(control);
        let began = counters::now();
        let shifts = self.shifts(&mut control, queues, harts, &routes, end)?;
        // What a run that hangs leaves there is not known.
        shifts.iter().for_each(|shift| shift.worker.marks.report());
        Ok(Started {
            control,
            routes,
            shifts,
            claimed,
            began,
        })
    }

    fn start(&self, transport: Transport, routes: &Routes) -> Result<(Control, Vec<Queue>), Failure> {
        let mut queues: Vec<Option<Queue>> = (0..self.queues).map(|_| None).collect();
        let plan = routes.plan();
        let vectors = Vectors {
            config: plan.config(),
            queue: &|queue| plan.queue(queue),
        };
        let started = DeviceControl::start(
            transport,
            &mut DmaMemory,
            &self.options,
            vectors,
            &mut PollLimit::default(),
            &mut queues,
        );
        let control = started.map_err(|failed| failed.error)?;
        Ok((Box::new(control), queues.into_iter().flatten().collect()))
    }

    /// The work of each hart. Where the boot hart has a worker and the disk a line, the control half goes with it.
    fn shifts(
        &self,
        control: &mut Option<Control>,
        queues: Vec<Queue>,
        harts: &[usize],
        routes: &Routes,
        end: End,
    ) -> Result<Vec<Box<Shift>>, Failure> {
        let mut shifts = Vec::new();
        for (number, (queue, hart_id)) in (0..).zip(queues.into_iter().zip(harts.iter().copied())) {
            let sectors = sectors_of_request(queue.limits().block_sectors());
            let first = self.area.first.next_multiple_of(sectors);
            let count = self.area.end().saturating_sub(first) / sectors / u64::from(self.queues) * sectors;
            let part = SectorRange {
                first: first + u64::from(number) * count,
                count,
            };
            let signal = self.signal(QueueIndex(number), hart_id, routes, control);
            shifts.push(Box::new(Shift {
                hart_id,
                worker: Worker::new(queue, signal, part, end, self.board.timebase)?,
                // Another one at each boot and for each hart.
                seed: pattern::word(counters::now().0, number.into(), 0),
                trouble: None,
            }));
        }
        Ok(shifts)
    }

    /// How a queue is told of completions. The first of several that share a vector takes it, and the boot hart the line.
    fn signal(&self, queue: QueueIndex, hart_id: usize, routes: &Routes, control: &mut Option<Control>) -> Signal {
        let (vector, source) = match routes.queue(queue) {
            None => return Signal::Polled,
            Some(Interrupt::Line(source)) => (None, source),
            Some(Interrupt::Vector(vector, source)) => (Some(vector), source),
        };
        let bell = &BELLS[vector.map_or(0, |vector| usize::from(vector.0))];
        let sharers = (0..self.queues).filter(|other| routes.queue(QueueIndex(*other)) == routes.queue(queue));
        let sharers: Vec<u16> = sharers.collect();
        let is_shared = sharers.len() > 1;
        let takes = match vector {
            Some(_) => sharers.first() == Some(&queue.0),
            None => hart_id == self.board.hart_id,
        };
        if takes {
            let control = if vector.is_none() { control.take() } else { None };
            return Signal::Taken(self.taken(source, is_shared.then_some(bell), control));
        }
        Signal::Told(Told {
            interrupts: self.board.interrupts,
            timebase: self.board.timebase,
            bell,
            heard: 0,
            count: 0,
        })
    }

    fn taken(&self, source: Source, bell: Option<&'static Bell>, control: Option<Control>) -> Taken {
        Taken {
            interrupts: self.board.interrupts,
            source,
            timebase: self.board.timebase,
            count: 0,
            bell,
            control,
        }
    }

    /// Shuts the device down, takes all queues back, and reports what the disk holds.
    fn end(&mut self, control: Option<Control>, mut shifts: Vec<Box<Shift>>) -> Result<Outcome, Failure> {
        let of_line = shifts.iter_mut().find_map(|shift| match &mut shift.worker.signal {
            Signal::Taken(taken) => taken.control.take(),
            _ => None,
        });
        let control = control.or(of_line).ok_or("the control half is lost")?;
        let limit = counters::now().after(self.board.timebase.ticks_from_millis(RESET_MILLIS));
        let mut wait = || counters::now() < limit;
        let mut reset = control.shut_down(&mut wait).map_err(|(error, _)| error)?;
        let mut outcome = Outcome::default();
        for shift in shifts {
            let Shift {
                worker,
                trouble,
                hart_id,
                ..
            } = *shift;
            outcome.submitted += worker.submitted;
            outcome.completed += worker.completed;
            let released = reset.release(worker.queue, &mut DmaMemory, |completion| {
                let is_lost = completion.result == Err(IoError::Aborted);
                outcome.given_back += u64::from(is_lost);
                // The device had finished it before it was removed. Its data is not checked.
                outcome.completed += u64::from(!is_lost);
            });
            released.map_err(|_| "a queue does not belong to the device")?;
            worker.marks.report();
            outcome.marks.push(worker.marks);
            let trouble = trouble.map(|text| format!("hart {hart_id}: {text}"));
            outcome.trouble = outcome.trouble.take().or(trouble);
        }
        let finished = reset.finish(&mut DmaMemory);
        let (transport, _) = finished.map_err(|_| "not all queues came back")?;
        self.disk.transport = Some(transport);
        Ok(outcome)
    }

    /// What interrupts for changes of the configuration, unless a queue has it too.
    fn config_alone(&self, routes: &Routes) -> Option<Interrupt> {
        let is_shared = (0..self.queues).any(|queue| routes.queue(QueueIndex(queue)) == routes.config());
        routes.config().filter(|_| !is_shared)
    }

    /// Ends the interrupts for changes of the configuration alone. Returns how many came, and reports them if it `tells`.
    fn config_changes(&self, routes: &Routes, tells: bool) -> u64 {
        let Some(interrupt) = self.config_alone(routes) else {
            return 0;
        };
        let (interrupts, source) = (self.board.interrupts, interrupt.source());
        interrupts.disable(source);
        let count = interrupts.take(source).into();
        if tells {
            record(Record::Vector {
                vector: match interrupt {
                    Interrupt::Vector(vector, _) => Some(vector.0.into()),
                    Interrupt::Line(_) => None,
                },
                hart: self.board.hart_id as u64,
                interrupts: count,
            });
        }
        count
    }
}

/// How often the interrupt came that a shift takes. What it and the queue have counted is reported if it `tells`.
fn counted(shift: &Shift, tells: bool) -> u64 {
    if tells {
        report(shift);
    }
    match &shift.worker.signal {
        Signal::Taken(taken) => taken.count,
        _ => 0,
    }
}

/// Reports what a queue and its interrupt have counted.
fn report(shift: &Shift) {
    let Shift { hart_id, worker, .. } = shift;
    let hart = *hart_id as u64;
    let vector = worker.queue.vector().map(|vector| vector.0.into());
    let counters = worker.queue.counters();
    record(Record::Queue {
        number: worker.queue.index().0.into(),
        hart,
        vector,
        requests: worker.completed,
        sent: counters.device_requests,
        notifies: counters.notifies,
        interrupts: worker.signal.count(),
    });
    if let Signal::Taken(taken) = &worker.signal {
        record(Record::Vector {
            vector,
            hart,
            interrupts: taken.count,
        });
    }
}
