//! What the service asks of the system for its clients.

use fake_minix::System as Minix;
use minix_abi::kernel_call::IrqPolicy;
use minix_abi::{Endpoint, Errno};
use minix_blockdriver::Kernel as _;
use minix_rt::kernel::IrqLine;
use minix_virtio_blk::system::{MAX_TRACE_ENTRIES, MinixSystem, ReplyTable};

use crate::journal;

#[test]
fn a_trace_takes_memory_but_not_all_there_is() {
    let mut process = Minix::default().process(Endpoint(40), "disk");
    let replies: &mut ReplyTable = Box::leak(Box::default());
    let line = IrqLine::attach(&mut process, 1, 0, IrqPolicy::empty()).expect("it is free");
    let mut system = MinixSystem::new(process.clone(), replies, journal::now, line, 1000, journal::logger());
    assert_eq!(system.allocate_trace(MAX_TRACE_ENTRIES + 1).err(), Some(Errno::ENOMEM));
    assert_eq!(system.allocate_trace(usize::MAX).err(), Some(Errno::ENOMEM));
    assert!(process.state().mappings.is_empty());
    let trace = system.allocate_trace(MAX_TRACE_ENTRIES).expect("VM has some");
    assert_eq!(trace.as_ref().len(), MAX_TRACE_ENTRIES);
    assert_eq!(process.state().mappings, [2 << 20]);
}
