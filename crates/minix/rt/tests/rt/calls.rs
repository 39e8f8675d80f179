//! Kernel calls as functions.

use minix_abi::kernel_call::{
    GetInfo, GrantedRange as _, InfoRequest, IrqCtl, IrqHook, IrqPolicy, IrqRequest, MapAccess, MapElement, MemRange,
    PhysRange, PrivCtl, SafeCopy, SetAlarm, Vumap, VumapReply,
};
use minix_abi::{Endpoint, Errno, GrantId, MessageType};
use minix_rt::kernel::{self, IrqLine, LentRange};

use fake_minix::Script;
use fake_minix::host::{readable, writable};

const CLIENT: Endpoint = Endpoint(0x8_0033);

#[test]
fn copies_name_own_memory() {
    let mut script = Script::new()
        .call(MessageType::SYS_SAFECOPYFROM, |message| {
            let copy: SafeCopy = message.payload();
            assert_eq!((copy.granter, copy.grant, copy.offset), (CLIENT, GrantId(5), 512));
            writable(copy.address, copy.bytes).copy_from_slice(b"from");
        })
        .call(MessageType::SYS_SAFECOPYTO, |message| {
            let copy: SafeCopy = message.payload();
            assert_eq!(readable(copy.address, copy.bytes), b"to");
        })
        .call_fails(MessageType::SYS_SAFECOPYTO, Errno::EPERM);
    let mut bytes = [0; 4];
    let grant = GrantId(5);
    assert_eq!(
        kernel::safecopy_from(&mut script, CLIENT, grant, 512, &mut bytes),
        Ok(())
    );
    assert_eq!(&bytes, b"from");
    assert_eq!(kernel::safecopy_to(&mut script, CLIENT, grant, 0, b"to"), Ok(()));
    assert_eq!(
        kernel::safecopy_to(&mut script, CLIENT, grant, 0, b"to"),
        Err(Errno::EPERM)
    );
    script.over();
}

/// The kernel reports that many filled ranges.
fn vumap(filled: i32, ranges: &mut [LentRange]) -> Result<usize, Errno> {
    let mut script = Script::new().call(MessageType::SYS_VUMAP, move |message| {
        let request: Vumap = message.payload();
        assert_eq!((request.owner, request.input_count, request.output_max), (CLIENT, 2, 3));
        assert_eq!((request.access, request.offset), (MapAccess::WRITE, 512));
        let output: *mut PhysRange = std::ptr::with_exposed_provenance_mut(request.output as usize);
        // SAFETY: there is room for three.
        unsafe { output.write(PhysRange { address: 1, bytes: 2 }) };
        message.set_payload(&VumapReply { filled });
    });
    let elements = [
        MapElement::granted(GrantId(1), 4096),
        MapElement::granted(GrantId(2), 512),
    ];
    let count = kernel::vumap(&mut script, CLIENT, &elements, 512, MapAccess::WRITE, ranges);
    script.over();
    count
}

#[test]
fn a_kernel_cannot_have_filled_in_more_than_there_is() {
    let mut ranges = [LentRange::EMPTY; 3];
    assert_eq!(vumap(2, &mut ranges), Ok(2));
    assert_eq!((ranges[0].address(), ranges[0].bytes()), (1, 2));
    assert_eq!(vumap(4, &mut ranges), Ok(3));
    assert_eq!(vumap(-1, &mut ranges), Ok(0));
}

#[test]
fn own_addresses_are_not_looked_up_for_a_device() {
    let mine = [0_u8; 512];
    let elements = [MapElement::own(mine.as_ptr().addr() as u64, 512)];
    let mut ranges = [LentRange::EMPTY; 1];
    // The kernel would answer: the script has no step for it.
    let result = kernel::vumap(
        &mut Script::new(),
        Endpoint::SELF,
        &elements,
        0,
        MapAccess::WRITE,
        &mut ranges,
    );
    assert_eq!((result, ranges[0].bytes()), (Err(Errno::EINVAL), 0));
}

#[test]
fn physical_memory_is_opened_with_its_last_byte() {
    let mut script = Script::new().call(MessageType::SYS_PRIVCTL, |message| {
        let request: PrivCtl = message.payload();
        let range = readable(request.argument, 16);
        let range: MemRange = zerocopy::FromBytes::read_from_bytes(range).expect("16 bytes");
        let expected = MemRange {
            base: 0x1000_1000,
            limit: 0x1000_8FFF,
        };
        assert_eq!(range, expected);
    });
    assert_eq!(kernel::add_mem(&mut script, 0x1000_1000, 0x8000), Ok(()));
    assert_eq!(kernel::add_mem(&mut script, 0x1000_1000, 0), Err(Errno::EINVAL));
    assert_eq!(kernel::add_mem(&mut script, u64::MAX, 2), Err(Errno::EINVAL));
    script.over();
}

fn hz(answer: &'static [u8]) -> Result<u32, Errno> {
    let mut script = Script::new().call(MessageType::SYS_GETINFO, move |message| {
        let request: GetInfo = message.payload();
        assert_eq!(request.request, InfoRequest::HZ);
        assert!(request.bytes as usize >= answer.len());
        writable(request.address, answer.len() as u64).copy_from_slice(answer);
    });
    let hz = kernel::hz(&mut script);
    script.over();
    hz
}

#[test]
fn ticks_per_second_come_in_four_bytes_or_eight() {
    assert_eq!(hz(&[0xE8, 3, 0, 0]), Ok(1000));
    assert_eq!(hz(&[60, 0, 0, 0, 0, 0, 0, 0]), Ok(60));
    assert_eq!(hz(&[0; 4]), Err(Errno::EDOM));
}

#[test]
fn alarms_are_relative_and_zero_is_one() {
    let alarm = |expected: u64| {
        move |message: &mut minix_abi::Message| {
            let request: SetAlarm = message.payload();
            assert_eq!((request.expires, request.absolute), (expected, 0));
        }
    };
    let mut script = Script::new()
        .call(MessageType::SYS_SETALARM, alarm(7))
        .call(MessageType::SYS_SETALARM, alarm(1))
        .call(MessageType::SYS_SETALARM, alarm(0));
    assert_eq!(kernel::set_alarm(&mut script, 7), Ok(()));
    assert_eq!(kernel::set_alarm(&mut script, 0), Ok(()));
    assert_eq!(kernel::cancel_alarm(&mut script), Ok(()));
    script.over();
}

#[test]
fn an_interrupt_line_is_known_by_its_hook() {
    let request = |request: IrqRequest| {
        move |message: &mut minix_abi::Message| {
            let asked: IrqCtl = message.payload();
            assert_eq!((asked.request, asked.hook_id), (request, 3));
        }
    };
    let mut script = Script::new()
        .call(MessageType::SYS_IRQCTL, |message| {
            let asked: IrqCtl = message.payload();
            // Going in, the field holds the notify id.
            assert_eq!(asked, IrqCtl::set_policy(8, IrqPolicy::empty(), 5));
            message.set_payload(&IrqHook { hook_id: 3 });
        })
        .call(MessageType::SYS_IRQCTL, request(IrqRequest::ENABLE))
        .call(MessageType::SYS_IRQCTL, request(IrqRequest::DISABLE))
        .call(MessageType::SYS_IRQCTL, request(IrqRequest::RMPOLICY));
    let line = IrqLine::attach(&mut script, 8, 5, IrqPolicy::empty()).expect("the kernel takes it");
    assert_eq!(line.enable(&mut script), Ok(()));
    assert_eq!(line.disable(&mut script), Ok(()));
    assert_eq!(line.remove(&mut script), Ok(()));
    script.over();
    assert!(line.is_in(0x20) && line.is_in(u64::MAX));
    assert!(!line.is_in(0) && !line.is_in(!0x20));
}

#[test]
fn notify_ids_that_the_kernel_gets_wrong_are_refused() {
    for id in [31, 63, 255] {
        let refused = IrqLine::attach(&mut Script::new(), 8, id, IrqPolicy::empty());
        assert_eq!(refused, Err(Errno::EINVAL));
    }
}

#[test]
fn long_text_is_printed_in_parts() {
    let mut script = Script::new();
    let text: Vec<u8> = (0..4000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    kernel::diag(&mut script, &text);
    let lengths: Vec<usize> = script.printed.iter().map(Vec::len).collect();
    // Not 2000: the kernel damages the last of exactly so many bytes.
    assert_eq!(lengths, [1999, 1999, 2]);
    assert_eq!(script.printed.concat(), text);
    script.printed.clear();
    kernel::diag(&mut script, b"");
    assert!(script.printed.is_empty());
}
