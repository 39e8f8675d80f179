//! What clients asked for and what they were told, in the order in which they reported it, and what follows from it.

use std::collections::BTreeMap;
use std::fmt;

use guest_protocol::{Ask, Fate, Record, SectorRange};
use thiserror::Error;

use crate::content::{Content, Request};

/// The number of an event, from 1. 0 is before all of them.
pub type Time = usize;

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client is about to send this request to a driver.
    Asked {
        request: Request,
        driver: i32,
        ask: Ask,
        range: SectorRange,
    },
    /// A client has heard of the end of its request.
    Heard { request: Request, fate: Fate },
    /// The driver has left in good order. Everything that it or drivers before it completed is on the medium.
    Left,
}

impl Event {
    /// The event that a record of a guest is, if it is one.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        match *record {
            Record::Asked {
                client,
                number,
                driver,
                ask,
                range,
            } => Some(Self::Asked {
                request: Request { client, number },
                driver,
                ask,
                range,
            }),
            Record::Heard { client, number, fate } => Some(Self::Heard {
                request: Request { client, number },
                fate,
            }),
            Record::Down { forced: false, .. } => Some(Self::Left),
            _ => None,
        }
    }
}

/// Why an event makes no sense after those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadEvent {
    #[error("{0} was asked twice")]
    AskedTwice(Request),
    #[error("the end of {0} came without it, or twice")]
    HeardUnasked(Request),
}

/// A request, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Story {
    driver: i32,
    ask: Ask,
    range: SectorRange,
    asked: Time,
    end: Option<(Time, Fate)>,
}

impl Story {
    fn was_done(&self) -> Option<Time> {
        self.end.and_then(|(at, fate)| (fate == Fate::Done).then_some(at))
    }

    fn covers(&self, sector: u64) -> bool {
        (self.range.first..self.range.end()).contains(&sector)
    }
}

/// From a certain time on, what this request wrote or something newer has to be on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub request: Request,
    pub range: SectorRange,
    /// When the request was sent. What was over before that is older than what it wrote.
    pub asked: Time,
    /// When it was promised.
    pub at: Time,
    pub by: Reason,
}

/// The answer that makes a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// To the write itself, which was forced.
    Forced,
    Flushed(Request),
    Closed(Request),
    Left,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("forced"),
            Self::Flushed(by) => write!(f, "flushed by {by}"),
            Self::Closed(by) => write!(f, "flushed by the last close, {by}"),
            Self::Left => f.write_str("flushed by the driver before it left"),
        }
    }
}

/// All that was reported.
#[derive(Clone, Debug, Default)]
pub struct History {
    stories: BTreeMap<Request, Story>,
    /// Those that make zeroes, or may.
    clearing: Vec<Request>,
    left: Vec<Time>,
    /// How many events there were.
    now: Time,
}

impl History {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next event.
    ///
    /// # Errors
    ///
    /// [`BadEvent`]; the event is left out.
    pub fn push(&mut self, event: Event) -> Result<(), BadEvent> {
        self.now += 1;
        match event {
            Event::Asked {
                request,
                driver,
                ask,
                range,
            } => {
                let story = Story {
                    driver,
                    ask,
                    range,
                    asked: self.now,
                    end: None,
                };
                if self.stories.contains_key(&request) {
                    return Err(BadEvent::AskedTwice(request));
                }
                self.stories.insert(request, story);
                if matches!(ask, Ask::Zero | Ask::Discard) {
                    self.clearing.push(request);
                }
            }
            Event::Heard { request, fate } => match self.stories.get_mut(&request) {
                Some(story) if story.end.is_none() => story.end = Some((self.now, fate)),
                _ => return Err(BadEvent::HeardUnasked(request)),
            },
            Event::Left => self.left.push(self.now),
        }
        Ok(())
    }

    /// The time of the last event.
    pub fn now(&self) -> Time {
        self.now
    }

    /// When a request was sent.
    pub(crate) fn asked(&self, request: Request) -> Option<Time> {
        self.stories.get(&request).map(|story| story.asked)
    }

    /// When a request was answered with success, if it was.
    pub(crate) fn done(&self, request: Request) -> Option<Time> {
        self.stories.get(&request).and_then(Story::was_done)
    }

    /// How many requests of a kind were answered with success.
    pub fn answered(&self, kind: Ask) -> usize {
        let done = self.stories.values().filter(|story| story.was_done().is_some());
        done.filter(|story| story.ask == kind).count()
    }

    /// How many requests ended in this way.
    pub fn ended(&self, fate: Fate) -> usize {
        let ends = self.stories.values().filter_map(|story| story.end);
        ends.filter(|(_, found)| *found == fate).count()
    }

    /// All promises, in the order in which they were made.
    ///
    /// * A forced write is one when it is answered.
    /// * A flush is one for all that was answered before it was asked for.
    /// * So is the last close, for what the same driver was asked for: a fresh driver does not know what an earlier one has
    ///   written, and flushes it in the background.
    /// * A driver that leaves has flushed all.
    pub fn promises(&self) -> Vec<Promise> {
        let mut barriers: Vec<Barrier> = self.left.iter().map(|&at| Barrier::left(at)).collect();
        for (&request, story) in &self.stories {
            let Some(at) = story.was_done() else { continue };
            let barrier = |by, driver| Barrier {
                asked: story.asked,
                at,
                driver,
                by,
            };
            match story.ask {
                Ask::Flush => barriers.push(barrier(Reason::Flushed(request), None)),
                Ask::Close if self.is_last_close(request, story, at) => {
                    barriers.push(barrier(Reason::Closed(request), Some(story.driver)));
                }
                _ => {}
            }
        }
        barriers.sort_by_key(|barrier| barrier.at);
        let written = self.stories.iter().filter(|(_, story)| {
            // The content of what is discarded is nothing that can be promised.
            matches!(story.ask, Ask::Write | Ask::Force | Ask::Zero)
        });
        let promises = written.filter_map(|(&request, story)| {
            let done = story.was_done()?;
            let covers =
                |barrier: &&Barrier| barrier.asked > done && barrier.driver.is_none_or(|driver| driver == story.driver);
            let (at, by) = match story.ask {
                Ask::Force => (done, Reason::Forced),
                _ => barriers.iter().find(covers).map(|barrier| (barrier.at, barrier.by))?,
            };
            Some(Promise {
                request,
                range: story.range,
                asked: story.asked,
                at,
                by,
            })
        });
        let mut promises: Vec<Promise> = promises.collect();
        promises.sort_by_key(|promise| promise.at);
        promises
    }

    /// Whether no other client can have had the disk open when this close was served. A client has it open from its request to
    /// open it until the answer to its close.
    fn is_last_close(&self, close: Request, story: &Story, heard: Time) -> bool {
        let others = self
            .stories
            .iter()
            .filter(|(request, _)| request.client != close.client);
        let mut open: BTreeMap<u32, Time> = BTreeMap::new();
        let mut closed: BTreeMap<u32, Time> = BTreeMap::new();
        for (request, other) in others {
            match other.ask {
                Ask::Open if other.asked < heard => {
                    let last = open.entry(request.client).or_default();
                    *last = other.asked.max(*last);
                }
                Ask::Close => {
                    if let Some(at) = other.was_done().filter(|&at| at < story.asked) {
                        let last = closed.entry(request.client).or_default();
                        *last = at.max(*last);
                    }
                }
                _ => {}
            }
        }
        open.iter()
            .all(|(client, opened)| closed.get(client).is_some_and(|closed| closed > opened))
    }

    /// Whether a sector may hold a content, if everything that was over at `floor` is older than what has to be there. What
    /// brought it there happened before `latest`.
    pub(crate) fn allows(&self, sector: u64, content: Content, floor: Time, latest: Time) -> bool {
        let is_over = |story: &Story| story.end.is_some_and(|(at, _)| at <= floor);
        match content {
            Content::Original => floor == 0,
            Content::Strange => false,
            Content::Written(request) => self.stories.get(&request).is_some_and(|story| {
                matches!(story.ask, Ask::Write | Ask::Force) && story.covers(sector) && !is_over(story)
            }),
            Content::Zeros => {
                let mut clearing = self.clearing.iter().filter_map(|request| self.stories.get(request));
                clearing.any(|story| story.covers(sector) && story.asked < latest && !is_over(story))
            }
        }
    }
}

/// What makes everything durable that was over when it was asked for.
struct Barrier {
    asked: Time,
    at: Time,
    /// Only what this driver was asked for.
    driver: Option<i32>,
    by: Reason,
}

impl Barrier {
    fn left(at: Time) -> Self {
        Self {
            asked: at,
            at,
            driver: None,
            by: Reason::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(client: u32, number: u32) -> Request {
        Request { client, number }
    }

    fn asked(client: u32, number: u32, driver: i32, ask: Ask) -> Event {
        let range = match ask {
            Ask::Open | Ask::Close | Ask::Flush => SectorRange::default(),
            _ => SectorRange { first: 10, count: 2 },
        };
        Event::Asked {
            request: request(client, number),
            driver,
            ask,
            range,
        }
    }

    fn heard(client: u32, number: u32, fate: Fate) -> Event {
        Event::Heard {
            request: request(client, number),
            fate,
        }
    }

    fn history(events: &[Event]) -> History {
        let mut history = History::new();
        for event in events {
            history.push(*event).unwrap();
        }
        history
    }

    /// Numbers and reasons of the promises to client 0.
    fn promised(events: &[Event]) -> Vec<(u32, Time, Reason)> {
        let promises = history(events).promises().into_iter();
        promises
            .filter(|promise| promise.request.client == 0)
            .map(|promise| (promise.request.number, promise.at, promise.by))
            .collect()
    }

    const DONE: Fate = Fate::Done;

    #[test]
    fn a_forced_write_is_promised_when_it_is_answered() {
        let events = [
            asked(0, 1, 7, Ask::Force),
            asked(0, 2, 7, Ask::Force),
            asked(0, 3, 7, Ask::Write),
            heard(0, 2, Fate::Failed),
            heard(0, 3, DONE),
            heard(0, 1, DONE),
        ];
        assert_eq!(promised(&events), [(1, 6, Reason::Forced)]);
        assert_eq!(promised(&events[..5]), []);
    }

    #[test]
    fn a_flush_promises_what_was_answered_before_it_was_asked_for() {
        let events = [
            asked(0, 1, 7, Ask::Write),
            asked(0, 2, 7, Ask::Zero),
            asked(0, 3, 7, Ask::Discard),
            heard(0, 1, DONE),
            heard(0, 3, DONE),
            // Of another client, and to another driver.
            asked(1, 1, 8, Ask::Flush),
            heard(0, 2, DONE),
            heard(1, 1, DONE),
            Event::Left,
        ];
        let by = Reason::Flushed(request(1, 1));
        assert_eq!(promised(&events), [(1, 8, by), (2, 9, Reason::Left)]);
        assert_eq!(promised(&events[..8]), [(1, 8, by)]);
        let mut failed = events;
        failed[7] = heard(1, 1, Fate::Failed);
        assert_eq!(promised(&failed[..8]), []);
    }

    #[test]
    fn the_last_close_promises_what_the_same_driver_was_asked_for() {
        let by = Reason::Closed(request(0, 9));
        let events = |driver, other: &[Event], after: &[Event]| {
            let write = [
                asked(0, 1, 0, Ask::Open),
                heard(0, 1, DONE),
                asked(0, 2, 7, Ask::Write),
                heard(0, 2, DONE),
            ];
            let close = [asked(0, 9, driver, Ask::Close)];
            promised(&[&write, other, &close, after, &[heard(0, 9, DONE)]].concat())
        };
        assert_eq!(events(7, &[], &[]), [(2, 6, by)]);
        assert_eq!(events(8, &[], &[]), [], "a fresh driver does not know");
        let open = [asked(1, 1, 0, Ask::Open)];
        assert_eq!(events(7, &open, &[]), [], "another one has it open, or will soon");
        assert_eq!(events(7, &[], &open), []);
        let closed = [open[0], asked(1, 2, 7, Ask::Close), heard(1, 2, DONE)];
        assert_eq!(events(7, &closed, &[]), [(2, 9, by)]);
        assert_eq!(events(7, &closed[..2], &closed[2..]), [], "both at once");
        let lost = [open[0], asked(1, 2, 7, Ask::Close), heard(1, 2, Fate::Lost)];
        assert_eq!(events(7, &lost, &[]), [], "it was opened again");
    }

    #[test]
    fn what_is_over_is_allowed_until_something_newer_has_to_be_there() {
        let history = history(&[
            asked(0, 1, 7, Ask::Write),
            heard(0, 1, DONE),
            asked(0, 2, 7, Ask::Zero),
            asked(0, 3, 7, Ask::Write),
            heard(0, 2, Fate::Lost),
        ]);
        let allows = |content, floor| history.allows(11, content, floor, Time::MAX);
        let written = |number| Content::Written(request(0, number));
        assert!(allows(Content::Original, 0) && !allows(Content::Original, 1));
        assert!(allows(written(1), 1) && !allows(written(1), 2), "it was over at 2");
        assert!(allows(Content::Zeros, 4) && !allows(Content::Zeros, 5), "lost is over");
        assert!(allows(written(3), 5), "it may still come");
        assert!(!allows(Content::Strange, 0) && !allows(written(2), 0) && !allows(written(9), 0));
        assert!(!history.allows(12, written(1), 0, Time::MAX), "another place");
        assert!(
            !history.allows(11, Content::Zeros, 0, 3),
            "zeroes came before they were asked for"
        );
    }

    #[test]
    fn events_that_make_no_sense_are_refused() {
        let mut history = history(&[asked(0, 1, 7, Ask::Write), heard(0, 1, DONE)]);
        assert_eq!(
            history.push(asked(0, 1, 7, Ask::Write)),
            Err(BadEvent::AskedTwice(request(0, 1)))
        );
        let unasked = |number| Err(BadEvent::HeardUnasked(request(0, number)));
        assert_eq!(history.push(heard(0, 1, DONE)), unasked(1));
        assert_eq!(history.push(heard(0, 2, DONE)), unasked(2));
    }
}
