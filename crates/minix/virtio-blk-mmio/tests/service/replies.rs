//! What the service asks of the system for its clients.

use minix_abi::Errno;
use minix_abi::kernel_call::IrqPolicy;
use minix_blockdriver::Kernel as _;
use minix_rt::kernel::IrqLine;
use minix_virtio_blk::system::{MAX_TRACE_ENTRIES, MinixSystem, ReplyTable};

use crate::{journal, system};

#[test]
fn a_trace_takes_memory_but_not_all_there_is() {
    let mut vm = system::System::default();
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let line = IrqLine::attach(&mut vm, 1, 0, IrqPolicy::empty()).expect("it is free");
    let mut system = MinixSystem::new(vm.clone(), replies, journal::now, line, 1000, journal::logger());
    assert_eq!(system.allocate_trace(MAX_TRACE_ENTRIES + 1).err(), Some(Errno::ENOMEM));
    assert_eq!(system.allocate_trace(usize::MAX).err(), Some(Errno::ENOMEM));
    assert!(vm.0.borrow().contiguous.is_empty());
    let trace = system.allocate_trace(MAX_TRACE_ENTRIES).expect("VM has some");
    assert_eq!(trace.as_ref().len(), MAX_TRACE_ENTRIES);
    assert_eq!(vm.0.borrow().contiguous, [2 << 20]);
}
