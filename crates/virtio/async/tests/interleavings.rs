//! Interrupts, other harts and drops between any two critical sections of an operation: no wake-up is lost, and everything ends.
//!
//! All that tasks and the handler share is under one lock. So what can happen in between is what can happen after a section has ended, and
//! the lock of these tests lets it happen there: after the first section, after the second, and so on, for each pair of places.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{LockedDisk, Task, finish, pattern, serve, small, start_with};
use mutex::{ConstInit, ScopedRawMutex};
use virtio_blk_async::{AsyncBlockIo, Error, Sector, mutex};
use virtio_blk_model::Model;

/// A lock that runs [`BETWEEN`] when it was given back.
struct Hooked(AtomicBool);

thread_local! {
    static BETWEEN: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

impl ConstInit for Hooked {
    const INIT: Self = Self(AtomicBool::new(false));
}

// SAFETY: a lock that is taken is not given again.
unsafe impl ScopedRawMutex for Hooked {
    fn try_with_lock<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if self.0.swap(true, Ordering::Acquire) {
            return None;
        }
        let answer = work();
        self.0.store(false, Ordering::Release);
        // What happens in between is not interrupted itself.
        let between = BETWEEN.take();
        if let Some(mut between) = between {
            between();
            BETWEEN.set(Some(between));
        }
        Some(answer)
    }

    fn with_lock<R>(&self, work: impl FnOnce() -> R) -> R {
        self.try_with_lock(work).expect("a hart takes the lock once at a time")
    }

    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Fewer bounce buffers than a transfer would use.
type Disk = LockedDisk<Hooked, 2>;

const BLOCK: usize = 512;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A read of three requests.
    Read,
    /// Changes of bytes of the same block.
    First,
    Second,
    Flush,
}

impl Kind {
    async fn run(self, disk: Rc<Disk>) -> Result<(), Error> {
        match self {
            Self::Read => {
                let mut memory = [0; 3 * BLOCK];
                disk.read(Sector(0), &mut memory).await?;
                assert_eq!(memory[..], pattern(1, 3 * BLOCK));
                Ok(())
            }
            Self::First => disk.write_bytes(5 * 512 + 10, &[0xAA; 100]).await,
            Self::Second => disk.write_bytes(5 * 512 + 110, &[0xBB; 100]).await,
            Self::Flush => disk.flush().await,
        }
    }
}

/// What happens in between.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// The device answers a request and interrupts.
    Interrupt,
    /// Another hart polls the other task, if that was woken.
    OtherHart,
    /// The other task is dropped.
    Drop,
}

const EVENTS: [Event; 3] = [Event::Interrupt, Event::OtherHart, Event::Drop];

/// Those of a run, except the one that is being polled.
type Tasks = Rc<RefCell<Vec<Option<Task<'static, Result<(), Error>>>>>>;

/// Polls a task that was woken. Returns whether there was one.
fn poll_one(tasks: &Tasks) -> bool {
    let is_next = |task: &Option<Task<'_, _>>| task.as_ref().is_some_and(|task| task.is_woken() && !task.is_over());
    let place = tasks.borrow().iter().position(is_next);
    let Some(place) = place else {
        return false;
    };
    let taken = tasks.borrow_mut()[place].take();
    if let Some(mut task) = taken {
        task.poll();
        tasks.borrow_mut()[place] = Some(task);
    }
    true
}

/// Runs two operations to their end, with the events after those numbers of sections. Returns how many sections there were.
fn run(kinds: [Kind; 2], events: &[(u32, Event)]) -> u32 {
    let model = Model::new(small());
    let before = pattern(1, 8 * BLOCK);
    model.write_disk(0, &before);
    let disk = Rc::new(start_with::<Hooked, 2>(&model, BLOCK));
    let tasks: Tasks = Rc::default();
    tasks
        .borrow_mut()
        .extend(kinds.map(|kind| Some(Task::new(kind.run(Rc::clone(&disk))))));
    let sections = Rc::new(Cell::new(0));
    let (seen, device, handler, others) = (Rc::clone(&sections), model.clone(), Rc::clone(&disk), Rc::clone(&tasks));
    let events = events.to_vec();
    BETWEEN.set(Some(Box::new(move || {
        seen.set(seen.get() + 1);
        for (_, event) in events.iter().filter(|(after, _)| *after == seen.get()) {
            match event {
                Event::Interrupt => drop(serve(&device, &handler, 1)),
                Event::OtherHart => drop(poll_one(&others)),
                Event::Drop => {
                    let other = others.borrow_mut().iter_mut().find_map(|task| match task {
                        Some(found) if !found.is_over() => task.take(),
                        _ => None,
                    });
                    drop(other);
                }
            }
        }
    })));
    let is_over = |task: &Option<Task<'_, _>>| task.as_ref().is_none_or(Task::is_over);
    while !tasks.borrow().iter().all(is_over) {
        if !poll_one(&tasks) {
            let answered = serve(&model, &disk, 1);
            let is_woken = tasks.borrow().iter().flatten().any(Task::is_woken);
            assert!(answered > 0 || is_woken, "a wake-up is lost");
        }
    }
    BETWEEN.set(None);
    while serve(&model, &disk, 1) > 0 {}

    let ended: Vec<_> = tasks.take();
    let after = model.read_disk(5, 1);
    let mut kept = before[5 * BLOCK..6 * BLOCK].to_vec();
    for (kind, task) in kinds.into_iter().zip(ended) {
        let is_done = task.is_some();
        if let Some(task) = task {
            assert_eq!(task.result(), Ok(()));
        }
        let (bytes, value) = match kind {
            Kind::First => (10..110, 0xAA),
            Kind::Second => (110..210, 0xBB),
            Kind::Read | Kind::Flush => continue,
        };
        // One that was dropped may have been carried out.
        if is_done || after[bytes.start] == value {
            kept[bytes].fill(value);
        }
    }
    assert_eq!(after, kept, "a change was undone");
    let disk = Rc::into_inner(disk).expect("no task has it any more");
    finish(&model, disk);
    sections.get()
}

/// Runs the operations with every event after every section, and with every pair of events.
fn run_all(kinds: [Kind; 2]) {
    let sections = run(kinds, &[]);
    assert!(sections > 10, "{sections}");
    let step = if cfg!(miri) { 7 } else { 1 };
    for first in (1..=sections).step_by(step) {
        for event in EVENTS {
            run(kinds, &[(first, event)]);
        }
        if cfg!(miri) {
            continue;
        }
        for second in first..=sections {
            for (one, two) in [
                (Event::Interrupt, Event::OtherHart),
                (Event::OtherHart, Event::Interrupt),
                (Event::OtherHart, Event::OtherHart),
            ] {
                run(kinds, &[(first, one), (second, two)]);
            }
        }
    }
}

#[test]
fn two_changes_of_a_block_are_both_made() {
    run_all([Kind::First, Kind::Second]);
}

#[test]
fn a_large_read_and_a_change_both_end() {
    run_all([Kind::Read, Kind::First]);
}

#[test]
fn a_flush_and_a_large_read_both_end() {
    run_all([Kind::Flush, Kind::Read]);
}
