//! A client: the way to the kernel, a table of grants, and a tally of its checks.

use core::fmt::{self, Display};
use core::time::Duration;

use guest_protocol::{MARK_CODE, Record, SectorRange};
use minix_abi::grant::GrantFlags;
use minix_abi::kernel_call::{DiagCode, DiagCtl};
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, PAGE_BYTES};
use minix_rt::asynsend::{self, Outbox};
use minix_rt::grant::{self, Grants};
use minix_rt::{Ipc, ds, kernel, memory};
use zerocopy::FromZeros;

use crate::buffer::Piece;
use crate::report::{self, Outcome, TEXT_BYTES, Tally};

/// Grants a client can have at a time: several full vectors.
pub const GRANTS: usize = 256;
/// Asynchronous messages that can be on their way at a time.
pub const MESSAGES: usize = 128;

/// The tables that the kernel looks into. They have to stay where they are.
#[derive(Debug, Default)]
pub struct Tables {
    grants: grant::Table<GRANTS>,
    messages: asynsend::Table<MESSAGES>,
}

impl Tables {
    pub const fn new() -> Self {
        Self {
            grants: grant::Table::new(),
            messages: asynsend::Table::new(),
        }
    }
}

/// Keeps the hart for so long. On a host, which has no such clock, it takes no time.
pub(crate) fn spin(span: Duration) {
    #[cfg(target_arch = "riscv64")]
    {
        let end = minix_rt::clock::now().after(span);
        while minix_rt::clock::now() < end {
            core::hint::spin_loop();
        }
    }
    #[cfg(not(target_arch = "riscv64"))]
    let _ = span;
}

/// A client.
#[derive(Debug)]
pub struct Client<I: Ipc> {
    /// The way to the kernel.
    pub ipc: I,
    /// Messages that are sent and not waited for.
    pub outbox: Outbox<MESSAGES>,
    grants: Grants<GRANTS>,
    tally: Tally,
    hz: u64,
}

impl<I: Ipc> Client<I> {
    /// Tells the kernel of the grants, and asks how fast its clock is.
    pub fn new(mut ipc: I, tables: &'static mut Tables) -> Result<Self, Errno> {
        let mut grants = Grants::new(&mut tables.grants);
        grants.register(&mut ipc)?;
        let hz = u64::from(kernel::hz(&mut ipc)?).max(1);
        Ok(Self {
            ipc,
            outbox: Outbox::new(&mut tables.messages),
            grants,
            tally: Tally::default(),
            hz,
        })
    }

    /// Cleared memory for a value that is large, and stays.
    pub fn zeroed<T: FromZeros>(&mut self) -> Result<&'static mut T, Errno> {
        const { assert!(align_of::<T>() <= PAGE_BYTES as usize) };
        let start = memory::map_anonymous(&mut self.ipc, size_of::<T>())?;
        // SAFETY: VM has mapped that much cleared memory, from a page on, for this process alone. It is never unmapped, and
        // zeroes are a valid `T`.
        Ok(unsafe { start.cast().as_mut() })
    }

    /// Grants a piece of memory.
    pub fn grant(&mut self, to: Endpoint, piece: Piece, access: GrantFlags) -> Result<GrantId, Errno> {
        // SAFETY: who made the piece has promised that the program allows it.
        unsafe { self.grants.direct(to, piece.address(), piece.bytes(), access) }.ok_or(Errno::ENOMEM)
    }

    /// Revokes a grant. Ids that are none are left alone.
    pub fn revoke(&mut self, grant: GrantId) {
        if grant.is_valid() {
            self.grants.revoke(grant);
        }
    }

    /// Marks the start of a measurement of a process, or the end of the one with that name. False on a kernel that does not
    /// measure, such as that of MINIX.
    pub fn mark(&mut self, process: Endpoint, name: &str) -> bool {
        let mark = DiagCtl {
            code: DiagCode(MARK_CODE),
            address: name.as_ptr().expose_provenance() as u64,
            bytes: name.len() as i32,
            process,
            ..DiagCtl::default()
        };
        let mut message = Message::with_payload(MessageType::SYS_DIAGCTL, &mark);
        // SAFETY: the kernel reads `name`, which is borrowed for the whole call.
        unsafe { self.ipc.kernel_call(&mut message) }.is_ok()
    }

    /// Who has the label at the moment.
    pub fn find(&mut self, label: &str) -> Result<Endpoint, Errno> {
        ds::find_label(&mut self.ipc, &mut self.grants, label)
    }

    /// The label of this client.
    pub fn own_label(&mut self) -> Result<ds::Label, Errno> {
        let own = kernel::who_am_i(&mut self.ipc)?.endpoint;
        ds::own_label(&mut self.ipc, &mut self.grants, own)
    }

    /// Waits about so long, by an alarm. Nothing but the alarm is received meanwhile.
    pub fn pause(&mut self, millis: u64) {
        let ticks = (millis * self.hz / 1000).max(1);
        if kernel::set_alarm(&mut self.ipc, ticks).is_err() {
            return;
        }
        let mut message = minix_abi::Message::default();
        // An error would mean that there was no wait, which the callers' loops survive: they count their attempts.
        let _ = self.ipc.receive(Endpoint::CLOCK, &mut message);
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
        match outcome {
            Outcome::Pass => self.say(format_args!("  {name}: ok")),
            Outcome::Fail | Outcome::Skip => self.say(format_args!("  {name}: {outcome}: {detail}")),
        }
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
        let detail = &report::text::<TEXT_BYTES>(detail);
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
        let cut = &report::text::<TEXT_BYTES>(text);
        self.record(&Record::Error { stage, kind, text: cut });
        self.say(format_args!("{stage}: {text}"));
    }

    /// Reports that so many sectors of the whole disk now hold the pattern of a seed.
    pub fn wrote(&mut self, first: u64, count: u64, seed: u64) {
        let range = SectorRange { first, count };
        self.record(&Record::Wrote { range, seed });
    }

    /// Reports that so many sectors of the whole disk were zeroed.
    pub fn zeros(&mut self, first: u64, count: u64) {
        let range = SectorRange { first, count };
        self.record(&Record::Zeroed { range });
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
}
