//! A system in software: VM, and as much of the kernel as finding devices and memory takes.

use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::kernel_call::{IrqCtl, IrqHook, IrqRequest, Umap, UmapReply};
use minix_abi::vm::{MapPhys, Mmap, UnmapPhys};
use minix_abi::{Endpoint, Errno, Message, MessageType, Status};
use minix_rt::Ipc;

/// What was asked for, and pages that lie at physical addresses.
#[derive(Default)]
pub(crate) struct State {
    /// Mappings of contiguous memory so far, in bytes.
    pub(crate) contiguous: Vec<usize>,
    /// VM has no more memory.
    pub(crate) no_memory: bool,
    /// Physical pages of devices: where they are in this process.
    pub(crate) pages: BTreeMap<u64, usize>,
    /// Pages that are mapped.
    pub(crate) mapped: Vec<usize>,
    /// Lines that have a hook of this endpoint's, of a dead instance to begin with.
    pub(crate) hooked: Vec<i32>,
    /// The kernel opens no physical memory.
    pub(crate) closed: bool,
}

#[derive(Clone, Default)]
pub(crate) struct System(pub(crate) Rc<RefCell<State>>);

/// A page of zeroes that stays for good.
pub(crate) fn page() -> usize {
    pages(4096)
}

fn pages(bytes: usize) -> usize {
    let layout = Layout::from_size_align(bytes, 4096).expect("whole pages");
    // SAFETY: the size is not zero.
    unsafe { std::alloc::alloc_zeroed(layout) }.expose_provenance()
}

/// What is added to an address to make it physical.
pub(crate) const OFFSET: u64 = 0x10_0000_0000_0000;

// SAFETY: memory that is mapped is allocated for that, cleared, and never given back; windows are pages allocated by the test.
// No device sees any of it.
unsafe impl Ipc for System {
    fn send(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn receive(&mut self, _: Endpoint, _: &mut Message) -> Result<IpcStatus, Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn sendrec(&mut self, to: Endpoint, message: &mut Message) -> Result<(), Errno> {
        assert_eq!(to, Endpoint::VM);
        let mut state = self.0.borrow_mut();
        let status = match message.kind {
            MessageType::VM_MMAP if state.no_memory => Errno::ENOMEM.into(),
            MessageType::VM_MMAP => {
                let mut request: Mmap = message.payload();
                state.contiguous.push(request.bytes as usize);
                request.mapped_at = pages(request.bytes as usize) as u64;
                message.set_payload(&request);
                Status::OK
            }
            MessageType::VM_MAP_PHYS => {
                let mut request: MapPhys = message.payload();
                match state.pages.get(&request.physical).copied() {
                    Some(page) => {
                        state.mapped.push(page);
                        request.mapped_at = page as u64;
                        message.set_payload(&request);
                        Status::OK
                    }
                    None => Errno::EPERM.into(),
                }
            }
            MessageType::VM_UNMAP_PHYS => {
                let request: UnmapPhys = message.payload();
                let before = state.mapped.len();
                state.mapped.retain(|&page| page as u64 != request.address);
                assert_eq!(state.mapped.len() + 1, before);
                Status::OK
            }
            kind => panic!("unexpected: {kind:?}"),
        };
        message.kind = status.into();
        Ok(())
    }

    fn notify(&mut self, _: Endpoint) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    fn sendnb(&mut self, _: Endpoint, _: &Message) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    unsafe fn senda(&mut self, _: *mut AsyncMessage, _: usize) -> Result<(), Errno> {
        unreachable!("nothing under test here calls this")
    }

    unsafe fn kernel_call(&mut self, message: &mut Message) -> Result<u32, Errno> {
        match message.kind {
            MessageType::SYS_PRIVCTL if self.0.borrow().closed => Err(Errno::ECALLDENIED),
            MessageType::SYS_PRIVCTL => Ok(0),
            MessageType::SYS_IRQCTL => {
                let request: IrqCtl = message.payload();
                let hooked = &mut self.0.borrow_mut().hooked;
                match request.request {
                    IrqRequest::SETPOLICY if hooked.contains(&request.vector) => {}
                    IrqRequest::SETPOLICY => hooked.push(request.vector),
                    IrqRequest::RMPOLICY => hooked.retain(|&line| line != request.hook_id),
                    other => panic!("unexpected: {other:?}"),
                }
                // The number of a hook is that of its line here.
                message.set_payload(&IrqHook {
                    hook_id: request.vector,
                });
                Ok(0)
            }
            MessageType::SYS_UMAP => {
                let request: Umap = message.payload();
                message.set_payload(&UmapReply {
                    physical: request.address + OFFSET,
                });
                Ok(0)
            }
            kind => panic!("unexpected: {kind:?}"),
        }
    }
}
