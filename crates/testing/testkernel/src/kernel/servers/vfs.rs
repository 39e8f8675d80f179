//! VFS: knows which service drives which major number, and opens its disk again when the service is up.
//!
//! It asks by asynchronous messages and expects the answers in the same way. It has other things to do as well: for a
//! while after each message it does not receive, and what was sent to it lies in the table of its sender. A sender that
//! leaves before it was fetched takes it along.
//!
//! A driver that nothing is open on is looked at when it announces itself: opened, and closed again. What the scenario
//! has opened stays open, and is opened anew on the next instance, once for each time.

use board_qemu_virt::println;
use guest_protocol::{Outcome, Record, pattern};
use heapless::{String, Vec};
use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::grant::{GrantEntry, GrantFlags, MagicGrant};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcCall;
use minix_abi::minor::Minor;
use minix_abi::process::STACK;
use minix_abi::{Endpoint, Errno, GrantId, Message, MessageType, Status};

use testkernel::scenario::VfsRequest;

use crate::kernel::process::Slot;
use crate::kernel::{Kernel, ipc, scenario_run, senda};

/// Drivers that can be mapped.
const DRIVERS: usize = 8;
/// The longest time that VFS does something else after a message, in microseconds.
const BUSY_US: u64 = 5000;
const SEED: u64 = 0x5646_5321;
/// Where the argument of a control request is in the memory of its user: at the end of the stack that nobody reaches.
const ARGUMENT: u64 = STACK.start;

/// What VFS waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// A look at a driver that has announced itself.
    Open,
    /// The end of that look.
    Close,
    /// What was open before; so many times are still to come.
    Reopen(u32),
    /// The scenario wants the disk open.
    Hold,
    /// It does not any more.
    Release,
    /// It wants to know how often it is open, for this process.
    Count(Endpoint),
}

impl Talk {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "vfs-open",
            Self::Close => "vfs-close",
            Self::Reopen(_) => "vfs-reopen",
            Self::Hold => "vfs-hold",
            Self::Release => "vfs-release",
            Self::Count(_) => "vfs-openct",
        }
    }

    const fn request(self) -> MessageType {
        match self {
            Self::Open | Self::Reopen(_) | Self::Hold => MessageType::BDEV_OPEN,
            Self::Close | Self::Release => MessageType::BDEV_CLOSE,
            Self::Count(_) => MessageType::BDEV_IOCTL,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Driver {
    major: u32,
    /// `NONE` while there is none, but something is open.
    endpoint: Endpoint,
    talk: Option<Talk>,
    /// Open files, each of which has opened the disk.
    files: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Vfs {
    drivers: Vec<Driver, DRIVERS>,
    /// When it receives again.
    ready_at: u64,
    messages: u64,
    /// What the scenario has asked for last did not succeed, or not yet.
    has_failed: bool,
    /// The one grant that VFS makes.
    grant: Option<GrantEntry>,
}

impl Vfs {
    /// RS ties a major number to a service.
    pub(super) fn map(&mut self, major: u32, endpoint: Endpoint) {
        if let Some(driver) = self.drivers.iter_mut().find(|driver| driver.major == major) {
            (driver.endpoint, driver.talk) = (endpoint, None);
            return;
        }
        let driver = Driver {
            major,
            endpoint,
            talk: None,
            files: 0,
        };
        self.drivers.push(driver).expect("more drivers than VFS knows here");
    }

    /// A driver is gone. What was open on it waits for the next one.
    pub(super) fn forget(&mut self, endpoint: Endpoint) {
        self.hang_up(endpoint);
        if let Some(index) = self.position(endpoint) {
            self.drivers[index].endpoint = Endpoint::NONE;
        }
        self.drivers
            .retain(|driver| driver.files != 0 || driver.endpoint != Endpoint::NONE);
    }

    /// A driver is dead, but will be replaced under its endpoint.
    pub(super) fn hang_up(&mut self, endpoint: Endpoint) {
        if let Some(index) = self.position(endpoint) {
            self.drivers[index].talk = None;
        }
    }

    /// Whether VFS has an answer to come from somebody.
    pub(crate) fn is_busy(&self) -> bool {
        self.drivers.iter().any(|driver| driver.talk.is_some())
    }

    /// Whether the scenario did not get what it has asked for last.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether VFS receives.
    pub(crate) const fn is_ready(&self, now: u64) -> bool {
        now >= self.ready_at
    }

    /// The entry of its table of grants, if it grants something.
    pub(crate) const fn grant(&self) -> Option<&GrantEntry> {
        self.grant.as_ref()
    }

    fn position(&self, endpoint: Endpoint) -> Option<usize> {
        self.drivers.iter().position(|driver| driver.endpoint == endpoint)
    }
}

/// VFS has sent or received a message, and does something else now.
fn be_busy(kernel: &mut Kernel) {
    let now = kernel.now_micros();
    let vfs = &mut kernel.high.vfs;
    vfs.messages += 1;
    vfs.ready_at = now.saturating_add(pattern::word(SEED, vfs.messages, 0) % (BUSY_US + 1));
    let at = vfs.ready_at;
    kernel.high.run.look_at(at);
}

/// Fetches a message that waits for VFS, if it receives.
pub(in crate::kernel) fn look(kernel: &mut Kernel, now: u64) {
    if kernel.high.vfs.is_ready(now) {
        senda::fetch(kernel, Endpoint::VFS);
    }
}

fn ask(kernel: &mut Kernel, index: usize, to: Slot, talk: Talk) {
    kernel.high.vfs.drivers[index].talk = Some(talk);
    let mut request = BdevRequest {
        minor: Minor(0),
        access: BdevAccess::READ,
        user: Endpoint::NONE,
        ..Default::default()
    };
    if let Talk::Count(user) = talk {
        (request.user, request.request, request.grant) = (user, IoctlCode::DIOCOPENCT, GrantId(0));
    }
    be_busy(kernel);
    let message = Message::with_payload(talk.request(), &request);
    super::post(kernel, Endpoint::VFS, to, message, true);
}

/// A service has announced that it is up.
pub(super) fn driver_up(kernel: &mut Kernel, service: Slot) {
    let endpoint = kernel.processes[service].endpoint;
    let Some(index) = kernel.high.vfs.position(endpoint) else {
        return;
    };
    let talk = match kernel.high.vfs.drivers[index].files {
        0 => Talk::Open,
        files => Talk::Reopen(files),
    };
    ask(kernel, index, service, talk);
}

/// The scenario wants something of VFS.
pub(in crate::kernel) fn request(kernel: &mut Kernel, service: Slot, request: VfsRequest) -> Result<(), &'static str> {
    let endpoint = kernel.processes[service].endpoint;
    let index = kernel.high.vfs.position(endpoint).ok_or("it has no major number")?;
    if kernel.high.vfs.drivers[index].talk.is_some() {
        return Err("VFS is at something with it already");
    }
    let talk = match request {
        VfsRequest::Open => Talk::Hold,
        VfsRequest::Close => Talk::Release,
        VfsRequest::OpenCount => {
            let mut others = kernel.processes.iter().filter(|&slot| slot != service);
            let user = others.next().ok_or("there is no process to ask it for")?;
            // Not a number of opens: to see whether the driver has written.
            kernel
                .write_user(user, ARGUMENT, &(-1_i32).to_le_bytes())
                .map_err(|_| "the stack has no end")?;
            let owner = kernel.processes[user].endpoint;
            let magic = MagicGrant {
                owner,
                grantee: endpoint,
                start: ARGUMENT,
                bytes: size_of::<i32>() as u64,
            };
            kernel.high.vfs.grant = Some(GrantEntry::magic(0, GrantFlags::WRITE, magic));
            Talk::Count(owner)
        }
    };
    kernel.high.vfs.has_failed = true;
    ask(kernel, index, service, talk);
    Ok(())
}

/// A driver leaves with an answer that VFS has not fetched.
pub(super) fn lost(kernel: &mut Kernel, driver: Slot) {
    let endpoint = kernel.processes[driver].endpoint;
    let talk = kernel
        .high
        .vfs
        .position(endpoint)
        .and_then(|index| kernel.high.vfs.drivers[index].talk);
    if let Some(talk) = talk
        && senda::has_pending(kernel, driver, Endpoint::VFS)
    {
        record(kernel, talk, Outcome::Fail, "reply lost");
    }
}

fn record(kernel: &mut Kernel, talk: Talk, outcome: Outcome, detail: &str) {
    scenario_run::emit(&Record::Test {
        group: "test kernel",
        number: 0,
        name: talk.name(),
        outcome,
        detail,
    });
    if outcome == Outcome::Fail {
        kernel.high.run.failures += 1;
    }
}

/// Somebody has sent a message to VFS.
pub(super) fn sent(kernel: &mut Kernel, caller: Slot, message: &Message, call: IpcCall) {
    let endpoint = kernel.processes[caller].endpoint;
    ipc::watch_reply(kernel, endpoint, Endpoint::VFS, message);
    if call == IpcCall::SENDREC {
        // No request of a service is known here.
        super::reply(kernel, Endpoint::VFS, caller, Message::reply(Errno::ENOSYS.into()));
        return;
    }
    be_busy(kernel);
    let position = kernel.high.vfs.position(endpoint);
    let asked = position.and_then(|index| Some((index, kernel.high.vfs.drivers[index].talk?)));
    let Some((index, talk)) = asked.filter(|_| message.kind == MessageType::BDEV_REPLY) else {
        println!("VFS: {:?} from {} ignored", message.kind, endpoint.0);
        return;
    };
    kernel.high.vfs.drivers[index].talk = None;
    let status = message.payload::<BdevReply>().status;
    let mut detail = String::<48>::new();
    let _ = core::fmt::write(&mut detail, format_args!("{status:?}"));
    let mut is_fine = status == Status::OK;
    if let Talk::Count(user) = talk {
        is_fine &= is_counted(kernel, index, user, &mut detail);
    }
    if !is_fine {
        record(kernel, talk, Outcome::Fail, &detail);
    } else {
        if talk != Talk::Close {
            record(kernel, talk, Outcome::Pass, &detail);
        }
        let files = &mut kernel.high.vfs.drivers[index].files;
        match talk {
            Talk::Hold => *files += 1,
            Talk::Release => *files = files.saturating_sub(1),
            _ => {}
        }
        match talk {
            Talk::Open => ask(kernel, index, caller, Talk::Close),
            Talk::Reopen(left @ 2..) => ask(kernel, index, caller, Talk::Reopen(left - 1)),
            Talk::Hold | Talk::Release | Talk::Count(_) => kernel.high.vfs.has_failed = false,
            Talk::Close | Talk::Reopen(_) => {}
        }
    }
    kernel.high.run.poke();
}

/// Whether the user of a control request has got a number that can be: others may have the disk open as well.
fn is_counted(kernel: &mut Kernel, index: usize, user: Endpoint, detail: &mut String<48>) -> bool {
    kernel.high.vfs.grant = None;
    let mut count = [0xFF; 4];
    if let Some(slot) = kernel.processes.find(user) {
        // Written a moment ago, so it is there.
        let _ = kernel.read_user(slot, ARGUMENT, &mut count);
    }
    let count = i32::from_le_bytes(count);
    let _ = core::fmt::write(detail, format_args!(" count {count}"));
    u32::try_from(count).is_ok_and(|count| count >= kernel.high.vfs.drivers[index].files)
}
