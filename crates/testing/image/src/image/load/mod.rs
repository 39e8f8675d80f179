//! The load on all harts: each queue of a disk has a hart of its own, which writes its part of the scratch region with its own marks
//! and reads it back, while all others do the same. What queues, vectors and harts have counted goes to the host.

mod crew;
mod signal;
mod worker;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use bare_image::disks::{Found, Transport};
use bare_image::memory::DmaMemory;
use bare_image::report::record;
use board_qemu_virt::{Board, counters};
use guest_protocol::{Record, pattern};
use image_blk::options::SectorRange;
use virtio_blk::{DeviceControl, DiskOptions, IoError};
use virtio_core::{PollLimit, QueueIndex};

use super::routes::{Interrupt, Routes};
use super::scratch;
use super::selftest::{TestResult, skip};
use super::session::Failure;
use crew::{MOST_HARTS, Shift};
use signal::{Bell, Signal, Taken, Told};
use worker::{Queue, Worker, sectors_of_request};

/// Bells of what queues share, by the number of the vector; a line has the first.
static BELLS: [Bell; MOST_HARTS + 1] = [const { AtomicU32::new(0) }; MOST_HARTS + 1];

/// Sectors for each queue at least: that leaves a few requests, also of large blocks.
const LEAST_SECTORS: u64 = 64;

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

impl Load<'_> {
    /// Does the load, and shuts the disk down. The text is for people.
    pub(crate) fn run(mut self) -> TestResult {
        if self.area.count < LEAST_SECTORS * u64::from(self.queues) {
            skip!("the region that may be written is too small");
        }
        let transport = self.disk.transport.take().ok_or("the disk is in use")?;
        let harts: Vec<usize> = self.board.harts.iter().map(|hart| hart.hart_id).collect();
        let harts = harts
            .get(..self.queues.into())
            .ok_or("there is no hart for each queue")?;
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
        let began = counters::now();
        let (control, shifts) = self.shifts(control, queues, harts, &routes)?;
        // What a run that hangs leaves there is not known.
        shifts.iter().for_each(|shift| scratch::undefined(shift.worker.part));
        let shifts = crew::work(self.board.harts, self.board.timebase, shifts)?;
        let micros = self.board.timebase.micros(counters::now().since(began));
        let done = self.finish(control, shifts, &routes, claimed, micros);
        routes.release(self.board, &mut self.disk)?;
        done
    }

    fn start(&self, transport: Transport, routes: &Routes) -> Result<(Control, Vec<Queue>), Failure> {
        let mut queues: Vec<Option<Queue>> = (0..self.queues).map(|_| None).collect();
        let started = DeviceControl::start(
            transport,
            &mut DmaMemory,
            &self.options,
            routes.vectors(),
            &mut PollLimit::default(),
            &mut queues,
        );
        let control = started.map_err(|failed| failed.error)?;
        Ok((Box::new(control), queues.into_iter().flatten().collect()))
    }

    /// The work of each hart. The control half goes to the hart that serves the line, if there is one, and comes back otherwise.
    fn shifts(
        &self,
        control: Control,
        queues: Vec<Queue>,
        harts: &[usize],
        routes: &Routes,
    ) -> Result<(Option<Control>, Vec<Box<Shift>>), Failure> {
        let sectors = sectors_of_request(control.limits().block_sectors());
        let first = self.area.first.next_multiple_of(sectors);
        let count = self.area.end().saturating_sub(first) / sectors / queues.len() as u64 * sectors;
        let timebase = self.board.timebase;
        let deadline = counters::now().after(timebase.ticks_from_millis(u64::from(self.seconds) * 1000));
        let mut control = Some(control);
        let mut shifts = Vec::new();
        for (number, (queue, hart_id)) in (0..).zip(queues.into_iter().zip(harts.iter().copied())) {
            let signal = self.signal(QueueIndex(number), routes, &mut control);
            let part = SectorRange {
                first: first + u64::from(number) * count,
                count,
            };
            shifts.push(Box::new(Shift {
                hart_id,
                worker: Worker::new(queue, signal, part, timebase)?,
                // Another one at each boot and for each hart.
                seed: pattern::word(counters::now().0, number.into(), 0),
                deadline,
                trouble: None,
            }));
        }
        Ok((control, shifts))
    }

    /// How a queue is told of completions. The first of several that share an interrupt takes it.
    fn signal(&self, queue: QueueIndex, routes: &Routes, control: &mut Option<Control>) -> Signal {
        let (interrupts, timebase) = (self.board.interrupts, self.board.timebase);
        let Some(interrupt) = routes.queue(queue) else {
            return Signal::Polled;
        };
        let number = match interrupt {
            Interrupt::Line(_) => 0,
            Interrupt::Vector(vector, _) => usize::from(vector.0),
        };
        let bell = &BELLS[number];
        let sharers = (0..self.queues).filter(|other| routes.queue(QueueIndex(*other)) == Some(interrupt));
        let sharers: Vec<u16> = sharers.collect();
        if sharers.first() != Some(&queue.0) {
            return Signal::Told(Told {
                interrupts,
                timebase,
                bell,
                heard: 0,
                count: 0,
            });
        }
        Signal::Taken(Taken {
            interrupts,
            source: interrupt.source(),
            timebase,
            count: 0,
            bell: (sharers.len() > 1).then_some(bell),
            control: match interrupt {
                Interrupt::Line(_) => control.take(),
                Interrupt::Vector(..) => None,
            },
        })
    }

    /// Shuts the device down, and reports.
    fn finish(
        &self,
        mut control: Option<Control>,
        shifts: Vec<Box<Shift>>,
        routes: &Routes,
        claimed: u64,
        micros: u64,
    ) -> TestResult {
        let mut taken = self.config_changes(routes);
        let mut ended = Vec::new();
        for mut shift in shifts {
            taken += Self::report(&mut shift, &mut control);
            ended.push(shift);
        }
        let claimed = self.board.interrupts.claimed() - claimed;
        let control = control.ok_or("the control half is lost")?;
        let mut reset = control
            .shut_down(&mut PollLimit::default())
            .map_err(|(error, _)| error)?;
        let (mut requests, mut lost) = (0, 0);
        let mut trouble = None;
        for shift in ended {
            let Shift {
                worker,
                trouble: of_hart,
                hart_id,
                ..
            } = *shift;
            requests += worker.done.completed;
            let released = reset.release(worker.queue, &mut DmaMemory, |completion| {
                lost += u64::from(completion.result == Err(IoError::Aborted));
            });
            released.map_err(|_| "a queue does not belong to the device")?;
            trouble = trouble.or(of_hart.map(|text| format!("hart {hart_id}: {text}")));
        }
        let finished = reset.finish(&mut DmaMemory);
        finished.map_err(|_| "not all queues came back")?;
        record(Record::Loaded { requests, micros });
        if let Some(trouble) = trouble {
            return Err(trouble.into());
        }
        if lost > 0 || taken != claimed {
            return Err(
                format!("{lost} requests did not complete; {taken} interrupts taken, {claimed} claimed").into(),
            );
        }
        Ok(format!("{requests} requests, {claimed} interrupts"))
    }

    /// Reports what a queue and its interrupt have counted. Returns how often that came.
    fn report(shift: &mut Shift, control: &mut Option<Control>) -> u64 {
        let Shift { hart_id, worker, .. } = shift;
        let hart = *hart_id as u64;
        let vector = worker.queue.vector().map(|vector| vector.0.into());
        let counters = worker.queue.counters();
        record(Record::Queue {
            number: worker.queue.index().0.into(),
            hart,
            vector,
            requests: worker.done.completed,
            sent: counters.device_requests,
            notifies: counters.notifies,
            interrupts: worker.signal.count(),
        });
        if let Some(seed) = worker.done.seed {
            scratch::wrote(worker.part, seed);
        }
        let Signal::Taken(taken) = &mut worker.signal else {
            return 0;
        };
        *control = control.take().or(taken.control.take());
        record(Record::Vector {
            vector,
            hart,
            interrupts: taken.count,
        });
        taken.count
    }

    /// What interrupts for changes of the configuration, unless a queue has it too.
    fn config_alone(&self, routes: &Routes) -> Option<Interrupt> {
        let is_shared = (0..self.queues).any(|queue| routes.queue(QueueIndex(queue)) == routes.config());
        routes.config().filter(|_| !is_shared)
    }

    /// Ends the interrupts for changes of the configuration alone. Returns how many came.
    fn config_changes(&self, routes: &Routes) -> u64 {
        let Some(interrupt) = self.config_alone(routes) else {
            return 0;
        };
        let (interrupts, source) = (self.board.interrupts, interrupt.source());
        interrupts.disable(source);
        let count = interrupts.take(source).into();
        record(Record::Vector {
            vector: match interrupt {
                Interrupt::Vector(vector, _) => Some(vector.0.into()),
                Interrupt::Line(_) => None,
            },
            hart: self.board.hart_id as u64,
            interrupts: count,
        });
        count
    }
}
