//! VFS: knows which service drives which major number, and opens its disk again when the service is up.
//!
//! It asks by asynchronous messages and expects the answers in the same way. What it opens it closes right away, so that
//! it is not among the users of the disk.

use board_qemu_virt::println;
use heapless::Vec;
use minix_abi::bdev::{BdevAccess, BdevReply, BdevRequest};
use minix_abi::ipc::IpcCall;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use testkernel::record::{Record, Verdict};

use crate::kernel::process::Slot;
use crate::kernel::{Kernel, ipc, scenario_run};

/// Drivers that can be mapped.
const DRIVERS: usize = 8;

/// What VFS is at with a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Idle,
    Opening,
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Driver {
    major: u32,
    endpoint: Endpoint,
    talk: Talk,
}

#[derive(Debug, Default)]
pub(crate) struct Vfs(Vec<Driver, DRIVERS>);

impl Vfs {
    /// RS ties a major number to a service.
    pub(super) fn map(&mut self, major: u32, endpoint: Endpoint) {
        self.0.retain(|driver| driver.major != major);
        let driver = Driver {
            major,
            endpoint,
            talk: Talk::Idle,
        };
        self.0.push(driver).expect("more drivers than VFS knows here");
    }

    /// A driver is gone.
    pub(super) fn forget(&mut self, endpoint: Endpoint) {
        self.0.retain(|driver| driver.endpoint != endpoint);
    }

    /// A driver is dead, but will be replaced under its endpoint.
    pub(super) fn hang_up(&mut self, endpoint: Endpoint) {
        for driver in self.0.iter_mut().filter(|driver| driver.endpoint == endpoint) {
            driver.talk = Talk::Idle;
        }
    }

    /// Whether VFS has an answer to come from somebody.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.iter().any(|driver| driver.talk != Talk::Idle)
    }

    fn position(&self, endpoint: Endpoint) -> Option<usize> {
        self.0.iter().position(|driver| driver.endpoint == endpoint)
    }
}

fn ask(kernel: &mut Kernel, to: Slot, kind: MessageType) {
    let request = BdevRequest {
        minor: Minor(0),
        access: BdevAccess::READ,
        id: 0,
        user: Endpoint::NONE,
        ..Default::default()
    };
    super::post(kernel, Endpoint::VFS, to, Message::with_payload(kind, &request), true);
}

/// A service has announced that it is up.
pub(super) fn driver_up(kernel: &mut Kernel, service: Slot) {
    let endpoint = kernel.processes[service].endpoint;
    let Some(index) = kernel.high.vfs.position(endpoint) else {
        return;
    };
    kernel.high.vfs.0[index].talk = Talk::Opening;
    ask(kernel, service, MessageType::BDEV_OPEN);
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
    let reply: BdevReply = message.payload();
    let position = kernel
        .high
        .vfs
        .position(endpoint)
        .filter(|_| message.kind == MessageType::BDEV_REPLY);
    let talk = position.map_or(Talk::Idle, |index| kernel.high.vfs.0[index].talk);
    let (Some(index), false) = (position, talk == Talk::Idle) else {
        println!("VFS: {:?} from {} ignored", message.kind, endpoint.0);
        return;
    };
    let result = if reply.status == Status::OK {
        Verdict::Pass
    } else {
        Verdict::Fail
    };
    let name = if talk == Talk::Opening { "vfs-open" } else { "vfs-close" };
    if talk == Talk::Opening || result == Verdict::Fail {
        let mut detail = heapless::String::<32>::new();
        let _ = core::fmt::write(&mut detail, format_args!("{:?}", reply.status));
        scenario_run::emit(&Record::Test {
            name,
            result,
            detail: &detail,
        });
    }
    if result == Verdict::Fail {
        kernel.high.run.failures += 1;
    }
    if talk == Talk::Opening && result == Verdict::Pass {
        kernel.high.vfs.0[index].talk = Talk::Closing;
        ask(kernel, caller, MessageType::BDEV_CLOSE);
    } else {
        kernel.high.vfs.0[index].talk = Talk::Idle;
    }
    kernel.high.run.poke();
}
