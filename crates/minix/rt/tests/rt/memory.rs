//! Memory from VM.

use std::ptr::NonNull;

use minix_abi::kernel_call::{Umap, UmapReply};
use minix_abi::vm::{MapFlags, MapPhys, Mmap, Protection, UnmapPhys};
use minix_abi::{Endpoint, Errno, Message, MessageType};
use minix_rt::memory;

use fake_minix::Script;

const AT: u64 = 0xEFB0_0000;

fn mapped(script: Script, bytes: u64, flags: MapFlags, at: u64) -> Script {
    script.sendrec(Endpoint::VM, move |message| {
        assert_eq!(message.kind, MessageType::VM_MMAP);
        let mut request: Mmap = message.payload();
        assert_eq!((request.bytes, request.flags, request.file), (bytes, flags, -1));
        assert_eq!(request.protection, Protection::READ | Protection::WRITE);
        request.mapped_at = at;
        *message = Message::with_payload(MessageType(0), &request);
    })
}

fn unmapped(script: Script, at: u64, bytes: u64) -> Script {
    script.sendrec(Endpoint::VM, move |message| {
        assert_eq!(message.kind, MessageType::VM_MUNMAP);
        let request: Mmap = message.payload();
        assert_eq!((request.address, request.bytes), (at, bytes));
        message.kind = MessageType(0);
    })
}

fn contiguous() -> MapFlags {
    MapFlags::ANON | MapFlags::PREALLOC | MapFlags::CONTIG
}

fn place(address: u64) -> NonNull<u8> {
    NonNull::new(std::ptr::without_provenance_mut(address as usize)).expect("not null")
}

#[test]
fn contiguous_memory_has_a_physical_address() {
    let mut script = mapped(Script::new(), 8192, contiguous(), AT).call(MessageType::SYS_UMAP, |message| {
        assert_eq!(message.payload::<Umap>(), Umap::own(AT, 8192));
        message.set_payload(&UmapReply { physical: 0x8123_4000 });
    });
    let memory = memory::map_contiguous(&mut script, 4097).expect("VM has some");
    assert_eq!((memory.start.addr().get() as u64, memory.bytes), (AT, 8192));
    assert_eq!(memory.physical, 0x8123_4000);
    script.over();
}

#[test]
fn contiguous_memory_without_a_physical_address_is_unmapped() {
    let script = mapped(Script::new(), 4096, contiguous(), AT).call_fails(MessageType::SYS_UMAP, Errno::EFAULT);
    let mut script = unmapped(script, AT, 4096);
    assert_eq!(memory::map_contiguous(&mut script, 1), Err(Errno::EFAULT));
    script.over();
}

#[test]
fn requests_that_could_bring_the_kernel_down_are_not_made() {
    for bytes in [0, (1 << 20) + 1, usize::MAX] {
        assert_eq!(memory::map_contiguous(&mut Script::new(), bytes), Err(Errno::EINVAL));
    }
    let mut script = mapped(Script::new(), 1 << 20, contiguous(), 0);
    // Memory at address zero is no memory.
    assert_eq!(memory::map_contiguous(&mut script, 1 << 20), Err(Errno::EFAULT));
    script.over();
}

#[test]
fn ordinary_memory_is_there_from_the_start() {
    let flags = MapFlags::ANON | MapFlags::PREALLOC | MapFlags::PRIVATE;
    let mut script = mapped(Script::new(), 4096, flags, AT);
    let memory = memory::map_anonymous(&mut script, 100).expect("VM has some");
    assert_eq!(memory.len(), 100);
    script.over();
    let mut script = Script::new().sendrec(Endpoint::VM, |message| {
        *message = Message::reply(Errno::ENOMEM.into());
    });
    assert_eq!(memory::map_anonymous(&mut script, 100), Err(Errno::ENOMEM));
    assert_eq!(memory::map_anonymous(&mut script, 0), Err(Errno::EINVAL));
    script.over();
    let mut script = unmapped(Script::new(), AT, 4096);
    // SAFETY: nothing was ever there.
    assert_eq!(unsafe { memory::unmap(&mut script, place(AT), 100) }, Ok(()));
    script.over();
}

#[test]
fn device_registers_keep_their_offset_in_the_page() {
    let mut script = Script::new().sendrec(Endpoint::VM, |message| {
        assert_eq!(message.kind, MessageType::VM_MAP_PHYS);
        let mut request: MapPhys = message.payload();
        assert_eq!(
            (request.process, request.physical, request.bytes),
            (Endpoint::SELF, 0x1000_1200, 0x200)
        );
        request.mapped_at = AT + 0x200;
        *message = Message::with_payload(MessageType(0), &request);
    });
    let start = memory::map_device(&mut script, 0x1000_1200, 0x200).expect("it is allowed");
    assert_eq!(start.addr().get() as u64, AT + 0x200);
    script.over();
    let mut script = Script::new().sendrec(Endpoint::VM, |message| {
        assert_eq!(message.kind, MessageType::VM_UNMAP_PHYS);
        // VM wants the page.
        assert_eq!(message.payload::<UnmapPhys>().address, AT);
        *message = Message::reply(Errno::EFAULT.into());
    });
    // SAFETY: nothing was ever there.
    let result = unsafe { memory::unmap_device(&mut script, start) };
    assert_eq!(result, Err(Errno::EFAULT));
    script.over();
}
