//! Whether every disk that a power cut can leave holds what was promised.
//!
//! A cut after some steps leaves each sector with what was on the medium there, or with any content that was written to it since:
//! whole writes may be missing, and of others single sectors. What clients were told is about single sectors, too. So it is enough
//! to look at each content that a sector may have. That covers every combination of contents, which are too many to make
//! one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::content::{Content, Request};
use crate::history::{History, Promise, Reason, Time};
use crate::replay::Image;
use crate::steps::{Clock, Step};

/// A sector that may hold what it must not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// How many steps were taken.
    pub cut: usize,
    pub sector: u64,
    pub found: Content,
    /// What has to be there, or something newer. None: the content is wrong whatever was promised.
    pub promised: Option<(Request, Reason)>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cut, sector, found) = (self.cut, self.sector, self.found);
        write!(f, "power cut after step {cut}: sector {sector} may hold {found}")?;
        match self.promised {
            Some((request, reason)) => write!(f, ", although {request} wrote it and was {reason}"),
            None => Ok(()),
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Moments at which the power went.
    pub cuts: u64,
    /// Contents that sectors may have, over all cuts.
    pub contents: u64,
    /// Most sectors at a cut that may hold more than one content.
    pub most_open: usize,
    /// Sectors for which something was promised, over all cuts.
    pub promised: u64,
}

/// A content, and the step that brought it.
#[derive(Clone, Copy, Debug)]
struct Held {
    content: Content,
    step: Option<usize>,
}

/// What is known of a sector at a cut.
#[derive(Clone, Debug)]
struct Sector {
    medium: Held,
    /// Written since, in order.
    cached: Vec<Held>,
    /// What was over at this time is older than what has to be there.
    floor: Time,
    promised: Option<(Request, Reason)>,
}

impl Default for Sector {
    fn default() -> Self {
        let (content, step) = (Content::Original, None);
        Self {
            medium: Held { content, step },
            cached: Vec::new(),
            floor: 0,
            promised: None,
        }
    }
}

/// Goes from cut to cut.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    history: &'a History,
    steps: &'a [Step],
    clock: &'a Clock,
    promises: &'a [Promise],
    kept: usize,
    cut: usize,
    sectors: BTreeMap<u64, Sector>,
    /// Contents that sectors may have.
    contents: u64,
    /// Sectors with more than one.
    open: BTreeSet<u64>,
    /// Sectors with a promise.
    promised: u64,
    pub tally: Tally,
}

impl<'a> Judge<'a> {
    /// At the cut before the first step. The promises are those of the history.
    pub fn new(history: &'a History, promises: &'a [Promise], steps: &'a [Step], clock: &'a Clock) -> Self {
        Self {
            history,
            steps,
            clock,
            promises,
            kept: 0,
            cut: 0,
            sectors: BTreeMap::new(),
            contents: 0,
            open: BTreeSet::new(),
            promised: 0,
            tally: Tally::default(),
        }
    }

    /// Judges every cut. Returns what was looked at.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn all(mut self) -> Result<Tally, Violation> {
        while self.step()? {}
        Ok(self.tally)
    }

    /// How many steps were taken at the cut that is next.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// Judges a cut and takes the next step. False: that was the last cut.
    ///
    /// # Errors
    ///
    /// A violation at this cut.
    pub fn step(&mut self) -> Result<bool, Violation> {
        self.keep_promises()?;
        self.tally.cuts += 1;
        self.tally.contents += self.contents;
        self.tally.promised += self.promised;
        self.tally.most_open = self.tally.most_open.max(self.open.len());
        let Some(step) = self.steps.get(self.cut) else {
            return Ok(false);
        };
        self.cut += 1;
        match step {
            Step::Write {
                first,
                contents,
                durable,
            } => self.write(*first, contents, *durable)?,
            Step::Flush { covers } => self.flush(*covers),
        }
        Ok(true)
    }

    /// Takes the next step, which is a flush, as one that did nothing, and judges the cuts up to the flush after it. From there on
    /// all is as if it had been there.
    ///
    /// # Errors
    ///
    /// A violation: the loss of this flush would be noticed.
    pub fn lose_flush(mut self) -> Result<(), Violation> {
        self.keep_promises()?;
        self.cut += 1;
        loop {
            let is_flush = matches!(self.steps.get(self.cut), Some(Step::Flush { .. }));
            if !self.step()? || is_flush {
                return Ok(());
            }
        }
    }

    /// Judges the bytes of a disk that the power left at this cut, before the next step.
    ///
    /// # Errors
    ///
    /// A violation.
    pub fn image(&mut self, image: &Image) -> Result<(), Violation> {
        self.keep_promises()?;
        // Any step so far may have brought it.
        let step = self.cut.checked_sub(1);
        for (&sector, bytes) in &image.sectors {
            let content = bytes.map_or(Content::Original, |bytes| Content::of(sector, &bytes));
            self.check(sector, Held { content, step })?;
        }
        Ok(())
    }

    fn keep_promises(&mut self) -> Result<(), Violation> {
        let known = self.clock.known(self.cut);
        while let Some(promise) = self.promises.get(self.kept).filter(|promise| promise.at <= known) {
            self.kept += 1;
            for number in promise.range.first..promise.range.end() {
                let sector = self.sectors.entry(number).or_insert_with(|| {
                    self.contents += 1;
                    Sector::default()
                });
                if sector.floor >= promise.asked {
                    continue;
                }
                self.promised += u64::from(sector.promised.is_none());
                sector.floor = promise.asked;
                sector.promised = Some((promise.request, promise.by));
                let held: Vec<Held> = [sector.medium]
                    .into_iter()
                    .chain(sector.cached.iter().copied())
                    .collect();
                for held in held {
                    self.check(number, held)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, first: u64, contents: &[Content], durable: bool) -> Result<(), Violation> {
        let step = Some(self.cut - 1);
        for (number, &content) in (first..).zip(contents) {
            let sector = self.sectors.entry(number).or_insert_with(|| {
                self.contents += 1;
                Sector::default()
            });
            let held = Held { content, step };
            if durable {
                self.open.remove(&number);
                self.contents -= sector.cached.len() as u64;
                sector.cached.clear();
                sector.medium = held;
            } else {
                self.open.insert(number);
                self.contents += 1;
                sector.cached.push(held);
            }
            self.check(number, held)?;
        }
        Ok(())
    }

    fn flush(&mut self, covers: usize) {
        let (sectors, contents) = (&mut self.sectors, &mut self.contents);
        self.open.retain(|number| {
            let Some(sector) = sectors.get_mut(number) else {
                return false;
            };
            let is_covered = |held: &Held| held.step.is_some_and(|step| step < covers);
            // They are in the order of their steps.
            let count = sector.cached.partition_point(is_covered);
            if let Some(last) = sector.cached.drain(..count).next_back() {
                sector.medium = last;
                *contents -= count as u64;
            }
            !sector.cached.is_empty()
        });
    }

    fn check(&self, number: u64, held: Held) -> Result<(), Violation> {
        let sector = self.sectors.get(&number);
        let floor = sector.map_or(0, |sector| sector.floor);
        let latest = held.step.map_or(Time::MAX, |step| self.clock.latest(step));
        if self.history.allows(number, held.content, floor, latest) {
            return Ok(());
        }
        let is_old = self.history.allows(number, held.content, 0, latest);
        Err(Violation {
            cut: self.cut,
            sector: number,
            found: held.content,
            promised: sector.and_then(|sector| sector.promised).filter(|_| is_old),
        })
    }
}
