//! What the service asks of the system for its clients.

use minix_abi::Errno;
use minix_blockdriver::Kernel as _;
use minix_virtio_blk::kernel::{MAX_TRACE_ENTRIES, MailTable, System};

use crate::system;

#[test]
fn a_trace_takes_memory_but_not_all_there_is() {
    let vm = system::System::default();
    let mail: &mut MailTable = Box::leak(Box::default());
    let mut system = System::new(vm.clone(), mail);
    assert_eq!(system.allocate_trace(MAX_TRACE_ENTRIES + 1).err(), Some(Errno::ENOMEM));
    assert_eq!(system.allocate_trace(usize::MAX).err(), Some(Errno::ENOMEM));
    assert!(vm.0.borrow().contiguous.is_empty());
    let trace = system.allocate_trace(MAX_TRACE_ENTRIES).expect("VM has some");
    assert_eq!(trace.as_ref().len(), MAX_TRACE_ENTRIES);
    assert_eq!(vm.0.borrow().contiguous, [2 << 20]);
}
