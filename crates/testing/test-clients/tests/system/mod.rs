//! A made-up system for one client: a kernel that copies by grants, VM that maps, DS that knows one label, and a block
//! driver that does everything right, or one thing wrong.
//!
//! The client runs in the test's own process, so its addresses are addresses here.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod bug;
pub(crate) mod disk;
pub(crate) mod driver;
pub(crate) mod granted;

use std::alloc::{Layout, alloc_zeroed};
use std::cell::RefCell;
use std::rc::Rc;

use minix_abi::bdev::{BdevReply, BdevRequest};
use minix_abi::ds::{DsReply, DsRequest};
use minix_abi::grant::GrantFlags;
use minix_abi::ipc::{AsyncMessage, IpcCall, IpcStatus};
use minix_abi::kernel_call::{DiagCode, DiagCtl, GetInfo, InfoRequest, SetGrant, Umap, UmapReply};
use minix_abi::vm::{MapFlags, Mmap};
use minix_abi::{Endpoint, Errno, Message, MessageType, PAGE_BYTES, Status};
use minix_rt::Ipc;

use bug::Bug;
use driver::Driver;
use granted::Granted;

/// The label of the driver.
pub(crate) const LABEL: &str = "disk";
/// The client.
const CLIENT: Endpoint = Endpoint(40);
/// The first driver; its successors are generations of the same slot.
const DRIVER: Endpoint = Endpoint(41);

pub(crate) struct System {
    granted: Granted,
    pub(crate) driver: Driver,
    endpoint: Endpoint,
    pub(crate) bug: Bug,
    /// Requests answered so far, of all drivers.
    requests: u32,
    alarm: bool,
    /// Lines that were printed.
    pub(crate) console: Vec<String>,
}

/// A client's way into the system. Copies lead into the same one.
#[derive(Clone)]
pub(crate) struct Trap(pub(crate) Rc<RefCell<System>>);

impl Trap {
    pub(crate) fn new(sectors: u64, bug: Bug) -> Self {
        Self(Rc::new(RefCell::new(System {
            granted: Granted::default(),
            driver: Driver::new(sectors, bug),
            endpoint: DRIVER,
            bug,
            requests: 0,
            alarm: false,
            console: Vec::new(),
        })))
    }
}

impl System {
    /// Who the driver is now.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The driver dies, and another one takes its place. What is on the disk stays.
    pub(crate) fn replace_driver(&mut self) {
        self.endpoint = Endpoint(self.endpoint.0 + Endpoint::GENERATION_STEP);
        self.driver.forget();
    }

    fn serve(&mut self, message: &Message) -> Option<Message> {
        self.requests += 1;
        let far = self.bug == Bug::DiesFarAway && message.payload::<BdevRequest>().position == 1 << 60;
        if far || self.bug == Bug::DiesAt(self.requests) {
            self.replace_driver();
            return None;
        }
        let request: BdevRequest = message.payload();
        self.granted.grantee = self.endpoint;
        let status = self.driver.handle(&self.granted, message.kind, &request);
        let mut id = request.id;
        let mut kind = MessageType::BDEV_REPLY;
        match self.bug {
            Bug::WrongIdAt(nth) if nth == self.requests => id ^= 1,
            Bug::WrongTypeAt(nth) if nth == self.requests => kind = MessageType(status.0),
            _ => {}
        }
        let mut reply = Message::with_payload(kind, &BdevReply { status, id });
        reply.source = self.endpoint;
        Some(reply)
    }

    fn vm(&mut self, message: &Message) -> Message {
        let mut request: Mmap = message.payload();
        if message.kind != MessageType::VM_MMAP {
            return Message::reply(Errno::ENOSYS.into());
        }
        let contiguous = request.flags.contains(MapFlags::CONTIG);
        assert!(
            !contiguous || request.bytes <= Mmap::MAX_CONTIGUOUS_BYTES,
            "the kernel would have gone down"
        );
        if request.bytes == 0 || request.file != -1 || contiguous && !request.flags.contains(MapFlags::PREALLOC) {
            return Message::reply(Errno::EINVAL.into());
        }
        let layout = Layout::from_size_align(request.bytes as usize, PAGE_BYTES as usize).unwrap();
        // SAFETY: the layout is not empty. The memory is never given back, as in the client's life it would not be.
        request.mapped_at = unsafe { alloc_zeroed(layout) }.expose_provenance() as u64;
        Message::with_payload(MessageType(0), &request)
    }

    fn ds(&mut self, message: &Message) -> Message {
        let request: DsRequest = message.payload();
        if message.kind != MessageType::DS_RETRIEVE {
            return Message::reply(Errno::ENOSYS.into());
        }
        let mut key = vec![0; request.key_bytes as usize];
        self.granted.grantee = Endpoint::DS;
        match self.granted.read(request.key, 0, &mut key) {
            Err(errno) => Message::reply(errno.into()),
            Ok(()) if key.strip_suffix(b"\0") == Some(LABEL.as_bytes()) => {
                let reply = DsReply {
                    value: self.endpoint.0 as u32,
                    value_bytes: 0,
                };
                Message::with_payload(MessageType(0), &reply)
            }
            Ok(()) => Message::reply(Errno::ESRCH.into()),
        }
    }
}

// SAFETY: memory that is mapped is allocated for that, cleared, and never given back. No device sees any of it. Kernel calls
// touch what the message names; requests are served through grants.
unsafe impl Ipc for Trap {
    fn send(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        Err(Errno::ECALLDENIED)
    }

    fn receive(&mut self, from: Endpoint, message: &mut Message) -> Result<IpcStatus, Errno> {
        let mut system = self.0.borrow_mut();
        assert!(from == Endpoint::CLOCK || from == Endpoint::ANY);
        assert!(system.alarm, "the client would wait for ever");
        system.alarm = false;
        *message = Message::new(MessageType(0x1000));
        message.source = Endpoint::CLOCK;
        Ok(IpcStatus::new(IpcCall::NOTIFY, false))
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        let mut system = self.0.borrow_mut();
        *message = match to {
            Endpoint::VM => system.vm(message),
            Endpoint::DS => system.ds(message),
            to if to == system.endpoint => system.serve(message).ok_or(Errno::EDEADSRCDST)?,
            _ => return Err(Errno::EDEADSRCDST),
        };
        Ok(())
    }

    fn notify(&mut self, _: Endpoint) -> Result<(), Errno> {
        Ok(())
    }

    fn sendnb(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        Err(Errno::ENOTREADY)
    }

    unsafe fn senda(&mut self, _: *mut AsyncMessage, _: usize) -> Result<(), Errno> {
        Err(Errno::ECALLDENIED)
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        let mut system = self.0.borrow_mut();
        match message.kind {
            MessageType::SYS_SETGRANT => {
                let SetGrant { table, entries, .. } = message.payload();
                system.granted.table = table;
                system.granted.entries = entries as usize;
            }
            MessageType::SYS_GETINFO => {
                let GetInfo { request, address, .. } = message.payload();
                assert_eq!(request, InfoRequest::HZ);
                // SAFETY: the caller vouches for the address, and has room for four bytes at least.
                unsafe { std::ptr::with_exposed_provenance_mut::<u32>(address as usize).write(1000) };
            }
            MessageType::SYS_SETALARM => system.alarm = true,
            MessageType::SYS_UMAP => {
                let Umap { address, .. } = message.payload();
                message.set_payload(&UmapReply { physical: address });
            }
            MessageType::SYS_DIAGCTL => {
                let DiagCtl {
                    code, address, bytes, ..
                } = message.payload();
                assert_eq!(code, DiagCode::DIAG);
                let start = std::ptr::with_exposed_provenance::<u8>(address as usize);
                // SAFETY: the caller vouches for the text.
                let text = unsafe { std::slice::from_raw_parts(start, bytes as usize) };
                system.console.push(String::from_utf8(text.to_vec()).unwrap());
            }
            other => panic!("{other:?} is not made up yet"),
        }
        message.source = Endpoint::SYSTEM;
        message.kind = Status::OK.into();
        Ok(0)
    }
}

/// What a grant has to allow.
pub(crate) const READ: GrantFlags = GrantFlags::READ;
/// What a grant has to allow.
pub(crate) const WRITE: GrantFlags = GrantFlags::WRITE;
