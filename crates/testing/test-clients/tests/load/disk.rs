//! A driver and its disk, made up: it takes requests, does them bit by bit in any order, answers in any order, and dies.

use std::collections::BTreeMap;

use minix_abi::{Errno, Status};
use test_clients::load::{Kind, Order};
use test_clients::random::Random;

/// How to misbehave, from a certain request on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// A write is answered and not done.
    LoseWrite,
    /// A write is answered before one of its sectors is written, and that one never is.
    LoseSector,
    /// A write goes one sector too far down.
    Misplace,
    /// What was written is undone when the driver dies.
    ForgetOnDeath,
    /// A read brings what was there long ago.
    StaleRead,
    AnswerTwice,
    AnswerNobody,
    WrongLength,
}

/// A reply: id, status, and for a read, the seed that each sector holds (`None`: nothing known).
pub(crate) struct Reply {
    pub(crate) id: i32,
    pub(crate) status: Status,
    pub(crate) slot: usize,
    pub(crate) read: Vec<Option<u64>>,
}

struct Request {
    order: Order,
    /// Sectors that have not been written yet.
    to_do: Vec<u64>,
    read: Vec<Option<u64>>,
}

pub(crate) struct Disk {
    pub(crate) sectors: BTreeMap<u64, u64>,
    history: Vec<(u64, Option<u64>)>,
    requests: Vec<Request>,
    random: Random,
    fault: Fault,
    /// Requests until the fault happens.
    patience: u32,
    pub(crate) has_misbehaved: bool,
    again: Option<i32>,
    pub(crate) is_open: bool,
}

impl Disk {
    pub(crate) fn new(seed: u64, fault: Fault, patience: u32) -> Self {
        Self {
            sectors: BTreeMap::new(),
            history: Vec::new(),
            requests: Vec::new(),
            random: Random::new(seed),
            fault,
            patience,
            has_misbehaved: false,
            again: None,
            is_open: true,
        }
    }

    pub(crate) fn take(&mut self, order: Order) {
        let range = order.operation.range;
        let (mut to_do, mut read) = (Vec::new(), Vec::new());
        match order.operation.kind {
            Kind::Write { .. } => to_do.extend(range.first..range.end()),
            Kind::Read => read = self.look(range.first, range.end()),
            Kind::Flush => {}
        }
        self.requests.push(Request { order, to_do, read });
    }

    /// Does a bit of something, and perhaps answers.
    pub(crate) fn step(&mut self) -> Option<Reply> {
        if let Some(id) = self.again.take() {
            return Some(Reply {
                id,
                status: Status::OK,
                slot: 0,
                read: vec![],
            });
        }
        let index = self.random.below(self.requests.len() as u64) as usize;
        let request = self.requests.get_mut(index)?;
        for _ in 0..self.random.below(40) {
            if request.to_do.is_empty() {
                break;
            }
            let sector = request
                .to_do
                .swap_remove(self.random.below(request.to_do.len() as u64) as usize);
            self.history
                .push((sector, self.sectors.insert(sector, request.order.seed)));
        }
        if !request.to_do.is_empty() || self.random.one_in(3) {
            return None;
        }
        let Request { order, mut read, .. } = self.requests.swap_remove(index);
        let range = order.operation.range;
        if !read.is_empty() && self.random.one_in(2) {
            // Done late rather than early.
            read = self.look(range.first, range.end());
        }
        let mut reply = Reply {
            id: order.id,
            status: Status((range.count * 512) as i32),
            slot: order.slot,
            read,
        };
        if !self.is_open {
            reply.status = Errno::ERESTART.into();
            reply.read.clear();
        } else if self.patience > 0 {
            self.patience -= 1;
        } else if !self.has_misbehaved {
            self.has_misbehaved = self.misbehave(&order, &mut reply);
        }
        Some(reply)
    }

    fn misbehave(&mut self, order: &Order, reply: &mut Reply) -> bool {
        let range = order.operation.range;
        let is_write = matches!(order.operation.kind, Kind::Write { .. });
        match self.fault {
            Fault::None | Fault::ForgetOnDeath => return false,
            Fault::LoseWrite | Fault::LoseSector if is_write => {
                let count = if self.fault == Fault::LoseSector {
                    1
                } else {
                    range.count
                };
                self.sectors
                    .extend((range.first..range.first + count).map(|sector| (sector, 1)));
            }
            Fault::Misplace if is_write && range.first > 0 => {
                for sector in range.first..range.end() {
                    // Patterns know their sector, so what is found is no pattern at all.
                    self.sectors.insert(sector - 1, 2);
                }
            }
            Fault::StaleRead if !reply.read.is_empty() => {
                let old = |sector: u64| self.history.iter().find(|(at, old)| *at == sector && old.is_some());
                let now = reply.read[0];
                let Some((_, old)) = old(range.first).filter(|(_, old)| *old != now) else {
                    return false;
                };
                reply.read[0] = *old;
            }
            Fault::AnswerTwice => self.again = Some(order.id),
            Fault::AnswerNobody => self.again = Some(order.id + 1_000_000),
            Fault::WrongLength if range.count > 0 => reply.status = Status(reply.status.0 - 512),
            _ => return false,
        }
        true
    }

    /// The driver dies: what it had is half done, at best.
    pub(crate) fn die(&mut self) {
        for request in std::mem::take(&mut self.requests) {
            for sector in request.to_do {
                if self.random.one_in(2) {
                    self.history
                        .push((sector, self.sectors.insert(sector, request.order.seed)));
                }
            }
        }
        if self.fault == Fault::ForgetOnDeath && self.patience == 0 {
            for (sector, old) in self
                .history
                .split_off(self.history.len().saturating_sub(60))
                .into_iter()
                .rev()
            {
                match old {
                    Some(old) => self.sectors.insert(sector, old),
                    None => self.sectors.remove(&sector),
                };
            }
            self.has_misbehaved = true;
        }
    }

    fn look(&self, first: u64, end: u64) -> Vec<Option<u64>> {
        (first..end).map(|sector| self.sectors.get(&sector).copied()).collect()
    }
}
