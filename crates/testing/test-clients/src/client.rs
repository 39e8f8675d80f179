//! What every client has: the way to the kernel, a table of grants, and an account of its checks.

use core::fmt::{self, Display};

use guest_protocol::{Record, SectorRange};
use minix_abi::grant::GrantFlags;
use minix_abi::{Endpoint, Errno, GrantId};
use minix_rt::grant::{Grants, Table};
use minix_rt::{Ipc, ds, kernel};

use crate::buffer::Piece;
use crate::report::{self, Outcome, Tally};

/// Grants a client can have at a time: several full vectors.
pub const GRANTS: usize = 256;

/// The table of grants of a client. It has to stay where it is: the kernel looks into it.
pub type GrantTable = Table<GRANTS>;

/// A client.
#[derive(Debug)]
pub struct Client<I: Ipc> {
    /// The way to the kernel.
    pub ipc: I,
    grants: Grants<GRANTS>,
    tally: Tally,
    hz: u64,
}

impl<I: Ipc> Client<I> {
    /// Tells the kernel of the grants, and asks how fast its clock is.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(mut ipc: I, grants: &'static mut GrantTable) -> Result<Self, Errno> {
        let mut grants = Grants::new(grants);
        grants.register(&mut ipc)?;
        let hz = u64::from(kernel::hz(&mut ipc)?).max(1);
        Ok(Self {
            ipc,
            grants,
            tally: Tally::default(),
            hz,
        })
    }

    /// Grants a piece of memory.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`](Errno::ENOMEM) if the table is full.
    pub fn grant(&mut self, to: Endpoint, piece: Piece, access: GrantFlags) -> Result<GrantId, Errno> {
        // SAFETY: whoever made the piece has promised that nothing in the program minds.
        unsafe { self.grants.direct(to, piece.address(), piece.bytes(), access) }.ok_or(Errno::ENOMEM)
    }

    /// Takes a grant back. Ids that are none are left alone.
    pub fn revoke(&mut self, grant: GrantId) {
        if grant.is_valid() {
            self.grants.revoke(grant);
        }
    }

    /// Who has the label at the moment.
    ///
    /// # Errors
    ///
    /// [`ESRCH`](Errno::ESRCH) if nobody.
    pub fn find(&mut self, label: &str) -> Result<Endpoint, Errno> {
        ds::find_label(&mut self.ipc, &mut self.grants, label)
    }

    /// The label of this client.
    ///
    /// # Errors
    ///
    /// [`ESRCH`](Errno::ESRCH) if it has none.
    pub fn own_label(&mut self) -> Result<ds::Label, Errno> {
        let own = kernel::who_am_i(&mut self.ipc)?.endpoint;
        ds::own_label(&mut self.ipc, &mut self.grants, own)
    }

    /// Waits about so long, by an alarm. Nothing but the alarm is received meanwhile.
    pub fn pause(&mut self, millis: u64) {
        let ticks = self.ticks(millis);
        if kernel::set_alarm(&mut self.ipc, ticks).is_err() {
            return;
        }
        let mut message = minix_abi::Message::default();
        // An error would mean that there was no wait, which the callers' loops survive: they count their attempts.
        let _ = self.ipc.receive(Endpoint::CLOCK, &mut message);
    }

    /// Ticks of the kernel's clock that are about so long, at least one.
    pub const fn ticks(&self, millis: u64) -> u64 {
        let ticks = millis.saturating_mul(self.hz) / 1000;
        if ticks == 0 { 1 } else { ticks }
    }

    /// Prints a line for people.
    pub fn say(&mut self, text: fmt::Arguments<'_>) {
        report::say(&mut self.ipc, text);
    }

    /// Prints a record for the host.
    pub fn record(&mut self, record: &Record<'_>) {
        report::record(&mut self.ipc, record);
    }

    /// Reports and counts the outcome of a test.
    pub fn test(&mut self, name: &str, outcome: Outcome, detail: &dyn Display) {
        self.record_test("", 0, name, outcome, detail);
        self.say_outcome(name, outcome, detail);
    }

    /// Reports and counts the outcome of a numbered check.
    pub fn check(&mut self, number: u32, group: &str, name: &str, outcome: Outcome, detail: &dyn Display) {
        self.record_test(group, number, name, outcome, detail);
        if outcome == Outcome::Fail {
            self.say(format_args!("  #{number} {group}: {name}: {detail}"));
        }
    }

    fn record_test(&mut self, group: &str, number: u32, name: &str, outcome: Outcome, detail: &dyn Display) {
        self.tally.count(outcome);
        let detail = &report::text(detail);
        self.record(&Record::Test {
            group,
            number,
            name,
            outcome,
            detail,
        });
    }

    /// Reports an error that is none of a test: the program cannot go on.
    pub fn error(&mut self, stage: &str, kind: &str, text: &dyn Display) {
        let cut = &report::text(text);
        self.record(&Record::Error { stage, kind, text: cut });
        self.say(format_args!("{stage}: {text}"));
    }

    /// Reports that so many sectors of the whole disk now hold the pattern of a seed.
    pub fn wrote(&mut self, first: u64, count: u64, seed: u64) {
        let range = SectorRange { first, count };
        self.record(&Record::Wrote { range, seed });
    }

    /// Reports that the content of so many sectors of the whole disk is no longer defined.
    pub fn touched(&mut self, first: u64, count: u64) {
        let range = SectorRange { first, count };
        self.record(&Record::Undefined { range });
    }

    /// The account of checks and tests so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn say_outcome(&mut self, name: &str, outcome: Outcome, detail: &dyn Display) {
        match outcome {
            Outcome::Pass => self.say(format_args!("  {name}: ok")),
            Outcome::Fail | Outcome::Skip => self.say(format_args!("  {name}: {outcome}: {detail}")),
        }
    }
}
