//! The end of a run: the disk works, everything is flushed, the service ends, and a power cut leaves what was promised.

use minix_abi::MessageType;
use minix_abi::bdev::{BdevAccess, BdevRequest};
use virtio_blk_model::feature;

use crate::clients::ClientOperation;
use crate::plan::{Layout, Range, RangeKind, TABLE_SECTORS, TIMEOUT, Transfer};
use crate::rng::Rng;
use crate::run::{Failure, Run, TIME_LIMIT};

impl Run {
    /// Everything works now, unless the device was given up.
    pub(crate) fn try_the_disk(&mut self) -> Result<(), Failure> {
        let works = !self.service.is_given_up();
        let write = works && !self.watch.clients.may_be_read_only();
        let body = BdevRequest {
            access: BdevAccess::READ,
            ..BdevRequest::default()
        };
        self.ask(
            0,
            0,
            MessageType::BDEV_OPEN,
            body,
            ClientOperation::Open { write: false },
            works,
        );
        self.wait_for_answers()?;
        let unit = self.watch.clients.block_sectors();
        let mut transfer = Transfer {
            client: 0,
            minor: 0,
            write,
            force: false,
            sector: TABLE_SECTORS,
            elements: vec![unit],
            layout: Layout::Scattered,
            skew: 510,
        };
        self.transfer(&transfer, write);
        transfer = Transfer {
            write: false,
            force: false,
            ..transfer
        };
        self.transfer(&transfer, works);
        // A block of zeroes, which the read after it finds.
        let offered = self.world.offers(feature::WRITE_ZEROES);
        let zero = Range {
            client: 0,
            minor: 0,
            kind: RangeKind::Zero { unmap: false },
            force: true,
            sector: TABLE_SECTORS,
            count: unit,
        };
        self.range(&zero, write && offered);
        self.transfer(&transfer, works);
        // The last block, and what is beyond the end.
        self.transfer(
            &Transfer {
                sector: self.watch.sectors - unit,
                elements: vec![2 * unit],
                ..transfer
            },
            works,
        );
        // An error that is told late is told once.
        self.flush(0, 0, false);
        self.flush(0, 0, works);
        self.wait_for_answers()?;
        for minor in self.watch.clients.open_minors() {
            self.ask(
                0,
                minor,
                MessageType::BDEV_CLOSE,
                BdevRequest::default(),
                ClientOperation::Close,
                false,
            );
        }
        self.wait_for_answers()
    }

    /// Without requests, what was written is flushed, and nothing goes on.
    pub(crate) fn rest(&mut self) -> Result<(), Failure> {
        self.pass(10 * TIMEOUT)?;
        let (requests, replies, idle, in_flight) = self.service.tally();
        if requests != replies || !idle || in_flight > 0 {
            let what = format!("{requests} requests, {replies} replies, idle: {idle}, {in_flight} in flight");
            return Err(Failure::new("tally", what));
        }
        if let Some(what) = self.service.storm.take() {
            return Err(Failure::new("reset storm", what));
        }
        if !self.watch.clients.ever_harmed && self.service.counters().resets > 0 {
            let what = format!(
                "{} resets of a device that did nothing wrong",
                self.service.counters().resets
            );
            return Err(Failure::new("needless reset", what));
        }
        self.leave()
    }

    /// The service is told to end, and does, with nothing left in the cache of a disk that can be flushed.
    fn leave(&mut self) -> Result<(), Failure> {
        let given_up = self.service.is_given_up();
        self.expect_flushed(given_up)?;
        self.service.terminate();
        let until = self.service.now() + TIME_LIMIT;
        while !self.service.may_exit() {
            if self.service.now() >= until {
                return Err(Failure::new("hang", "the service does not end".to_string()));
            }
            self.pass(TIMEOUT)?;
        }
        Ok(())
    }

    pub(crate) fn expect_no_needless_flush(&self) -> Result<(), Failure> {
        let flushes = self.service.model.counters().requests_of(4);
        if flushes == 0 || self.watch.clients.flush_is_due {
            return Ok(());
        }
        Err(Failure::new(
            "needless flush",
            format!("{flushes} flushes of a disk that was only read"),
        ))
    }

    fn expect_flushed(&self, given_up: bool) -> Result<(), Failure> {
        let left = self.service.model.unflushed_sectors();
        if left == 0 || given_up || self.world.failed_flush_forgets || !self.world.offers(feature::FLUSH) {
            return Ok(());
        }
        Err(Failure::new(
            "unflushed",
            format!("{left} sectors were not flushed in the background"),
        ))
    }

    /// The power fails. What is promised is there, and nothing that was never written.
    pub(crate) fn cut_power(&mut self, seed: u64) -> Result<(), Failure> {
        let mut rng = Rng::new(seed);
        self.service
            .model
            .power_cut_with(|_, count| rng.below(count as u64) as usize);
        let checked = self.watch.clients.history.check_all(&self.service.model);
        checked.map_err(|what| Failure::new("lost", format!("{what}; at the end")))
    }
}
