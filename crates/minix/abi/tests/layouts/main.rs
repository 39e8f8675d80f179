//! Every structure, byte for byte, against offsets that are written down here a second time.

mod block;
mod disk_control;
mod kernel;
mod messages;
mod programs;
mod servers;

use minix_abi::{Endpoint, Message, MessageType, Payload};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const A: u64 = 0x1122_3344_5566_7788;
pub(crate) const B: u64 = 0x99AA_BBCC_DDEE_FF01;
pub(crate) const C: u64 = 0x0203_0405_0607_0809;

/// Something that goes somewhere.
pub(crate) fn at32(offset: usize, value: i32) -> (usize, Vec<u8>) {
    (offset, value.to_le_bytes().to_vec())
}

pub(crate) fn at16(offset: usize, value: u16) -> (usize, Vec<u8>) {
    (offset, value.to_le_bytes().to_vec())
}

pub(crate) fn at64(offset: usize, value: u64) -> (usize, Vec<u8>) {
    (offset, value.to_le_bytes().to_vec())
}

/// `value` is `size` bytes: the parts where they belong, and zeroes in between. And the bytes make the value.
pub(crate) fn check<T>(value: T, size: usize, parts: &[(usize, Vec<u8>)])
where
    T: IntoBytes + FromBytes + Immutable + KnownLayout + PartialEq + core::fmt::Debug,
{
    let mut bytes = vec![0; size];
    let mut end = 0;
    for (offset, part) in parts {
        assert!(*offset >= end, "the test's offsets are out of order");
        end = offset + part.len();
        bytes[*offset..end].copy_from_slice(part);
    }
    assert_eq!(value.as_bytes(), bytes, "{value:?}");
    assert_eq!(T::read_from_bytes(&bytes).unwrap(), value);
}

/// The same, inside a message: everything is eight bytes further.
pub(crate) fn check_payload<T>(value: T, size: usize, parts: &[(usize, Vec<u8>)])
where
    T: Payload + PartialEq + core::fmt::Debug,
{
    let mut message = Message::with_payload(MessageType(0x0A0B_0C0D), &value);
    message.source = Endpoint(0x0102_0304);
    let mut bytes = [0; 104];
    bytes[..8].copy_from_slice(&[4, 3, 2, 1, 0x0D, 0x0C, 0x0B, 0x0A]);
    for (offset, part) in parts {
        bytes[8 + offset..][..part.len()].copy_from_slice(part);
    }
    assert_eq!(message.as_bytes(), bytes);
    let back = Message::read_from_bytes(&bytes).unwrap();
    assert_eq!(back.payload::<T>(), value);
    check(value, size, parts);
}
