//! VFS: knows which service drives which major number, and opens its disk again when the service is up.
//!
//! It asks by asynchronous messages and expects the answers in the same way. It has other things to do as well: for a
//! while after each message it does not receive, and a message for it stays in the table of its sender. A sender that
//! leaves before VFS has fetched the message takes it along.
//!
//! Programs open, close and control block special files, write to standard output and sleep ([`programs`]).
//!
//! A driver that announces itself while no file is open on it is opened, and closed again. Files that the scenario has opened
//! stay open, and so do those of programs; they are opened anew on the next instance, once for each time.

mod files;
mod programs;

use core::fmt::Write;

use board_qemu_virt::println;
use guest_protocol::Outcome;
use heapless::{Deque, String, Vec};
use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::grant::{GrantFlags, MagicGrant};
use minix_abi::ioctl::IoctlCode;
use minix_abi::ipc::IpcCall;
use minix_abi::minor::Minor;
use minix_abi::process::STACK;
use minix_abi::{Endpoint, GrantId, Message, MessageType, Status};
use testkernel::scenario::VfsRequest;

use crate::kernel::deliver::{post, vfs_is_busy};
use crate::kernel::process::Slot;
use crate::kernel::state::Kernel;
use crate::kernel::{report, senda};

use self::files::Files;
use self::programs::Call;

/// Requests of programs that wait for a driver.
const WAITING: usize = 16;
/// Drivers that can be mapped.
const DRIVERS: usize = 8;
/// Where the argument of a control request is in the memory of its user: at the far end of the stack, which is not used.
const ARGUMENT: u64 = STACK.start;

/// A request that VFS waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// A look at a driver that has announced itself.
    Open,
    /// The end of that look.
    Close,
    /// Files that were open before; so many are still to be opened, with this one.
    Reopen(u32, Minor, BdevAccess),
    /// The scenario opens the disk.
    Hold,
    /// The scenario closes the disk.
    Release,
    /// The scenario asks how often the disk is open, for this process, with a grant to its memory.
    Count(Endpoint, GrantId),
    /// A program asks.
    Program(Call),
}

impl Talk {
    const fn name_and_request(self) -> (&'static str, MessageType) {
        match self {
            Self::Open => ("vfs-open", MessageType::BDEV_OPEN),
            Self::Close => ("vfs-close", MessageType::BDEV_CLOSE),
            Self::Reopen(..) => ("vfs-reopen", MessageType::BDEV_OPEN),
            Self::Hold => ("vfs-hold", MessageType::BDEV_OPEN),
            Self::Release => ("vfs-release", MessageType::BDEV_CLOSE),
            Self::Count(..) => ("vfs-openct", MessageType::BDEV_IOCTL),
            Self::Program(call) => ("vfs-program", call.kind()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Driver {
    major: u32,
    /// `NONE` while there is none, but a file is open.
    endpoint: Endpoint,
    /// It is dead, and its successor is not mapped.
    is_dead: bool,
    talk: Option<Talk>,
    /// Open files, each of which has opened the disk.
    files: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Vfs {
    drivers: Vec<Driver, DRIVERS>,
    files: Files,
    /// Requests of programs, the oldest first.
    waiting: Deque<Call, WAITING>,
    /// The last request of the scenario has failed, or is not answered yet.
    has_failed: bool,
}

impl Vfs {
    /// RS ties a major number to a service.
    pub(super) fn map(&mut self, major: u32, endpoint: Endpoint) {
        if let Some(driver) = self.drivers.iter_mut().find(|driver| driver.major == major) {
            (driver.endpoint, driver.is_dead, driver.talk) = (endpoint, false, None);
            return;
        }
        let driver = Driver {
            major,
            endpoint,
            is_dead: false,
            talk: None,
            files: 0,
        };
        self.drivers.push(driver).expect("more drivers than VFS knows here");
    }

    /// A driver is gone. Files that are open on it wait for the next one.
    pub(super) fn forget(&mut self, kernel: &mut Kernel, endpoint: Endpoint) {
        self.hang_up(kernel, endpoint);
        if let Some(driver) = self.driver(endpoint) {
            driver.endpoint = Endpoint::NONE;
        }
        self.drivers
            .retain(|driver| driver.files != 0 || driver.endpoint != Endpoint::NONE);
    }

    /// A driver is dead. It may be replaced under its endpoint. Programs get an error for what they have asked of it.
    pub(super) fn hang_up(&mut self, kernel: &mut Kernel, endpoint: Endpoint) {
        let Some(driver) = self.driver(endpoint) else { return };
        driver.is_dead = true;
        let (major, talk) = (driver.major, driver.talk.take());
        if let Some(Talk::Program(call)) = talk {
            self.failed(kernel, call);
        }
        self.go_on(kernel, major);
    }

    /// Whether VFS waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.drivers.iter().any(|driver| driver.talk.is_some())
    }

    /// Whether the last request of the scenario did not succeed.
    pub(crate) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn driver(&mut self, endpoint: Endpoint) -> Option<&mut Driver> {
        self.drivers.iter_mut().find(|driver| driver.endpoint == endpoint)
    }

    /// A service has announced that it is up.
    pub(super) fn driver_up(&mut self, kernel: &mut Kernel, service: Slot) {
        let endpoint = kernel.processes[service].endpoint;
        if let Some(driver) = self.drivers.iter_mut().find(|driver| driver.endpoint == endpoint) {
            driver.is_dead = false;
            let talk = match driver.files + self.files.of_major(driver.major).count() as u32 {
                0 => Talk::Open,
                left => reopen(&self.files, driver.major, left),
            };
            ask(kernel, driver, service, talk);
        }
    }

    /// The scenario makes a request.
    pub(in crate::kernel) fn request(
        &mut self,
        kernel: &mut Kernel,
        service: Slot,
        request: VfsRequest,
    ) -> Result<(), &'static str> {
        let endpoint = kernel.processes[service].endpoint;
        let driver = self.driver(endpoint).ok_or("it has no major number")?;
        if driver.talk.is_some() {
            return Err("VFS waits for an answer from it already");
        }
        let talk = match request {
            VfsRequest::Open => Talk::Hold,
            VfsRequest::Close => Talk::Release,
            VfsRequest::OpenCount => {
                let (user, grant) = grant_argument(kernel, service)?;
                Talk::Count(user, grant)
            }
        };
        ask(kernel, driver, service, talk);
        self.has_failed = true;
        Ok(())
    }

    /// A driver leaves. An answer that VFS has not fetched is lost.
    pub(super) fn lost(&mut self, kernel: &mut Kernel, service: Slot) {
        if let Some(driver) = self.driver(kernel.processes[service].endpoint)
            && let Some(talk) = driver.talk
            && senda::has_pending(kernel, service, Endpoint::VFS)
        {
            record(kernel, talk, Outcome::Fail, "reply lost");
        }
    }

    /// A message to VFS.
    pub(super) fn receive(&mut self, kernel: &mut Kernel, caller: Slot, message: &Message, call: IpcCall) {
        if call == IpcCall::SENDREC {
            self.call(kernel, caller, message);
            return;
        }
        let endpoint = kernel.processes[caller].endpoint;
        let driver = { self.drivers.iter_mut() }.find(|driver| driver.endpoint == endpoint);
        let driver = driver.filter(|_| message.kind == MessageType::BDEV_REPLY);
        let Some((driver, talk)) = driver.and_then(|driver| driver.talk.take().map(|talk| (driver, talk))) else {
            println!("VFS: {:?} from {} ignored", message.kind, endpoint.0);
            return;
        };
        let (status, major, files) = (message.payload::<BdevReply>().status, driver.major, driver.files);
        if let Talk::Program(call) = talk {
            self.answered(kernel, call, status);
            self.go_on(kernel, major);
            return;
        }
        let mut detail = String::<48>::new();
        let _ = write!(detail, "{status:?}");
        let mut is_fine = status == Status::OK;
        if let Talk::Count(user, grant) = talk {
            let count = take_argument(kernel, user, grant);
            let _ = write!(detail, " count {count}");
            // Other users may have the disk open as well.
            is_fine &= u32::try_from(count).is_ok_and(|count| count >= files);
        }
        kernel.clock.look_now();
        if !is_fine {
            record(kernel, talk, Outcome::Fail, &detail);
            self.go_on(kernel, major);
            return;
        }
        if talk != Talk::Close {
            record(kernel, talk, Outcome::Pass, &detail);
        }
        match talk {
            Talk::Open => ask(kernel, driver, caller, Talk::Close),
            Talk::Reopen(left @ 2.., ..) => ask(kernel, driver, caller, reopen(&self.files, major, left - 1)),
            Talk::Hold => driver.files += 1,
            Talk::Release => driver.files = driver.files.saturating_sub(1),
            Talk::Close | Talk::Reopen(..) | Talk::Count(..) | Talk::Program(_) => {}
        }
        if matches!(talk, Talk::Hold | Talk::Release | Talk::Count(..)) {
            self.has_failed = false;
        }
        self.go_on(kernel, major);
    }
}

/// The next open after a restart: of the files of programs the last ones first, after the opens of the scenario.
fn reopen(files: &Files, major: u32, left: u32) -> Talk {
    let file = files.of_major(major).nth(left as usize - 1);
    let (minor, access) = file.map_or((Minor(0), BdevAccess::READ), |file| (file.minor, file.access));
    Talk::Reopen(left, minor, access)
}

fn ask(kernel: &mut Kernel, driver: &mut Driver, to: Slot, talk: Talk) {
    driver.talk = Some(talk);
    let mut request = BdevRequest {
        minor: Minor(0),
        access: BdevAccess::READ,
        user: Endpoint::NONE,
        ..Default::default()
    };
    match talk {
        Talk::Count(user, grant) => {
            (request.user, request.request, request.grant) = (user, IoctlCode::DIOCOPENCT, grant);
        }
        Talk::Reopen(_, minor, access) => (request.minor, request.access) = (minor, access),
        Talk::Program(call) => call.fill(&mut request),
        _ => {}
    }
    vfs_is_busy(kernel);
    let message = Message::with_payload(talk.name_and_request().1, &request);
    post(kernel, Endpoint::VFS, to, message, true);
}

/// Grants a driver an argument in the memory of another process, which is the user of a control request.
fn grant_argument(kernel: &mut Kernel, driver: Slot) -> Result<(Endpoint, GrantId), &'static str> {
    let user = kernel.processes.iter().find(|&slot| slot != driver);
    let user = user.ok_or("there is no process to ask it for")?;
    // Not a number of opens: to see whether the driver has written.
    kernel
        .write_user(user, ARGUMENT, &(-1_i32).to_le_bytes())
        .map_err(|_| "the stack has no end")?;
    let magic = MagicGrant {
        owner: kernel.processes[user].endpoint,
        grantee: kernel.processes[driver].endpoint,
        start: ARGUMENT,
        bytes: size_of::<i32>() as u64,
    };
    let grant = kernel.ports.vfs_grants.grant(GrantFlags::WRITE, magic);
    Ok((magic.owner, grant.ok_or("VFS has no grant left")?))
}

/// Revokes that grant. The argument, or -1.
fn take_argument(kernel: &mut Kernel, user: Endpoint, grant: GrantId) -> i32 {
    kernel.ports.vfs_grants.revoke(grant);
    let mut count = [0xFF; 4];
    if let Some(slot) = kernel.processes.find(user) {
        // It is there: the kernel has written it.
        let _ = kernel.read_user(slot, ARGUMENT, &mut count);
    }
    i32::from_le_bytes(count)
}

fn record(kernel: &mut Kernel, talk: Talk, result: Outcome, detail: &str) {
    report::test(talk.name_and_request().0, result, format_args!("{detail}"));
    kernel.failures.0 += u64::from(result == Outcome::Fail);
}
