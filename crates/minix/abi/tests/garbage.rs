//! Arbitrary bytes through everything that decodes: nothing panics, nothing is lost.

use minix_abi::bdev::{BdevReply, BdevRequest, VectorElement};
use minix_abi::cdev::{CdevOpen, CdevReply};
use minix_abi::disk_control::{
    DiskReport, LogReport, QueueReport, RangeRequest, RegisterReport, RegisterValue, StatReport, name_in,
};
use minix_abi::ds::{DsReply, DsRequest};
use minix_abi::grant::{DirectGrant, GrantEntry, IndirectGrant, MagicGrant};
use minix_abi::ioctl::PartGeom;
use minix_abi::ipc::{AsyncMessage, IpcStatus};
use minix_abi::kernel_call::*;
use minix_abi::kerninfo::{ClockInfo, KernInfo, Machine, UserInfo};
use minix_abi::notify::{Notification, NotificationKind};
use minix_abi::partition::{PartitionEntry, read_table};
use minix_abi::pm::Exit;
use minix_abi::process::PsStrings;
use minix_abi::rs::{FaultInjection, Init, LuPrepare, RsStart, SignalReceived, Up};
use minix_abi::signal::SigSet;
use minix_abi::terminal::Settings;
use minix_abi::trace::TraceEntry;
use minix_abi::vfs::{Close, Control, MapDriver, OpenPath, Select, TimeValue, Transfer};
use minix_abi::vm::{Brk, MapPhys, Mmap, UnmapPhys, VmInfo};
use minix_abi::{Message, Payload, Status};
use proptest::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `T` from `bytes` and back; too short or too long is refused; what it says can be printed.
fn round_trip<T>(bytes: &[u8]) -> T
where
    T: FromBytes + IntoBytes + KnownLayout + Immutable + core::fmt::Debug,
{
    let size = size_of::<T>();
    let value = T::read_from_bytes(&bytes[..size]).ok().unwrap();
    assert_eq!(value.as_bytes(), &bytes[..size], "{}", core::any::type_name::<T>());
    assert!(T::read_from_bytes(&bytes[..size - 1]).is_err());
    assert!(T::read_from_bytes(&bytes[..size + 1]).is_err());
    assert!(!format!("{value:?}").is_empty());
    value
}

/// The same out of a message, and back into another one.
fn through_a_message<T: Payload + core::fmt::Debug>(bytes: &[u8]) {
    let message: Message = round_trip(bytes);
    let payload: T = message.payload();
    let size = size_of::<T>();
    assert_eq!(payload.as_bytes(), &bytes[8..8 + size]);
    let mut back = message;
    back.set_payload(&payload);
    assert_eq!(back.body[..size], message.body[..size]);
    assert!(back.body[size..].iter().all(|&byte| byte == 0));
    round_trip::<T>(bytes);
}

proptest! {
    #[test]
    fn payloads(bytes in proptest::collection::vec(any::<u8>(), 128)) {
        macro_rules! payloads {
            ($($name:ty)*) => { $( through_a_message::<$name>(&bytes); )* };
        }
        payloads! {
            Notification IrqCtl IrqHook SafeCopy VectorCopy VirCopy Umap UmapReply Vumap VumapReply SetAlarm Times
            TimesReply PrivCtl GetInfo WhoAmI DiagCtl StateCtl SetGrant KernelSignal Brk Mmap MapPhys UnmapPhys VmInfo
            Init LuPrepare SignalReceived FaultInjection Up DsRequest DsReply MapDriver CdevOpen CdevReply BdevRequest
            BdevReply OpenPath Close Transfer Control Select Exit
        }
    }

    #[test]
    fn structures(bytes in proptest::collection::vec(any::<u8>(), 4096)) {
        macro_rules! structures {
            ($($name:ty)*) => { $( round_trip::<$name>(&bytes); )* };
        }
        structures! {
            AsyncMessage SigSet VectorCopyElement MapElement PhysRange MemRange DirectGrant IndirectGrant MagicGrant
            RsStart VectorElement PartGeom TraceEntry PartitionEntry ClockInfo UserInfo Machine PsStrings
            TimeValue Settings
            DiskReport StatReport RegisterReport QueueReport LogReport RangeRequest
        }
    }

    #[test]
    fn decoders(bytes in proptest::collection::vec(any::<u8>(), 512), word: u64, status: i32) {
        let message: Message = round_trip(&bytes);
        let _ = format!("{:?} {:?}", NotificationKind::of(&message), message.status());
        let request: BdevRequest = message.payload();
        let _ = (request.minor.place(), request.request.argument_bytes(), request.request.group());
        let _ = (request.user.slot(), request.user.generation(), request.user.to_string());
        let _ = round_trip::<GrantEntry>(&bytes).grant();
        let _ = round_trip::<KernInfo>(&bytes).check();
        prop_assert!(round_trip::<WhoAmI>(&bytes).name_bytes().len() <= 44);
        prop_assert!(round_trip::<RegisterValue>(&bytes).name().len() <= 24);
        prop_assert!(bytes.starts_with(name_in(&bytes).as_bytes()));
        prop_assert!(read_table(&bytes).is_none() || bytes[510..] == [0x55, 0xAA]);
        let _ = (IpcStatus(word).call(), IpcStatus(word).is_notification());
        match Status(status).result() {
            Ok(count) => prop_assert_eq!(Status::count(count.into()), Some(Status(status))),
            Err(errno) => prop_assert_eq!(Status::from(errno), Status(status)),
        }
    }

    #[test]
    fn any_table_survives_its_sector(mut sector in proptest::collection::vec(any::<u8>(), 512)) {
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        let table = read_table(&sector).unwrap();
        let mut copy: [u8; 512] = sector.clone().try_into().unwrap();
        copy[446..].fill(0);
        minix_abi::partition::write_table(&mut copy, &table);
        prop_assert_eq!(copy.to_vec(), sector);
    }
}
