//! Ranges of physical memory that other processes have granted, fit to be given to a device.

use core::fmt;

use minix_abi::kernel_call::{GrantedRange, PhysRange};

/// Physical memory that another process has granted to this one, in one piece.
///
/// Only [`vumap`](super::vumap) makes these, so a driver that gives a device nothing else of its clients' needs no `unsafe`, and
/// cannot send the device anywhere else by mistake. A range can be looked at and cut, and cannot be made from numbers:
///
/// ```compile_fail,E0423
/// use minix_abi::kernel_call::PhysRange;
/// use minix_rt::kernel::LentRange;
///
/// // Any memory of any process, or of this one.
/// let range = LentRange(PhysRange { address: 0x8020_0000, bytes: 512 });
/// ```
///
/// # Why a device may have it
///
/// Safe code may give such a range to a device at any time, and as often as it likes. No reference of this program can see
/// what the device does there, because the memory is not this program's:
///
/// * The kernel answers for grants. A grant is for memory of the process that made it, or for memory that was granted to that
///   process in turn.
/// * `vumap` does not ask the kernel for addresses of this process itself ([`SELF`](minix_abi::Endpoint::SELF)).
/// * A grant can still lead to own memory, if this program has granted it: to itself, or to a process that hands it on. Every
///   such grant is made by [`Grants::direct`](crate::grant::Grants::direct), which is `unsafe`: its caller has promised that the
///   program leaves the memory alone as long as a device may be at work on it.
///
/// Nothing pins the memory. A client keeps granted memory until it has its answer. The system answers for the memory of a client
/// that dies earlier, as with every other driver. No lifetime in this program could change that, since the
/// device works on after the call that submits a request.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct LentRange(PhysRange);

impl LentRange {
    /// Takes a range that another wrapper of the kernel's call has found.
    ///
    /// # Safety
    ///
    /// From now on a device may read and write the range at any time. So either it is memory of another process, which has granted it
    /// to this one; or it is memory that nothing in this program uses as long as a device may be at work on it, and in which
    /// every content is valid.
    pub const unsafe fn new(range: PhysRange) -> Self {
        Self(range)
    }
}

impl GrantedRange for LentRange {
    const EMPTY: Self = Self(PhysRange { address: 0, bytes: 0 });

    fn address(&self) -> u64 {
        self.0.address
    }

    fn bytes(&self) -> u64 {
        self.0.bytes
    }

    fn split_at(self, bytes: u64) -> (Self, Self) {
        let PhysRange { address, bytes: all } = self.0;
        let first = bytes.min(all);
        let rest = PhysRange {
            // The end of memory at the end of the address space is no address, and no byte is there.
            address: address.wrapping_add(first),
            bytes: all - first,
        };
        (Self(PhysRange { address, bytes: first }), Self(rest))
    }
}

impl Default for LentRange {
    /// A range without a byte.
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for LentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LentRange({:#x}, {} bytes)", self.0.address, self.0.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: u64, bytes: u64) -> LentRange {
        // SAFETY: no device sees it.
        unsafe { LentRange::new(PhysRange { address, bytes }) }
    }

    #[test]
    fn a_cut_covers_the_range_and_no_byte_more() {
        let whole = range(0x8000_0000, 4096);
        let (first, rest) = whole.split_at(512);
        assert_eq!((first, rest), (range(0x8000_0000, 512), range(0x8000_0200, 3584)));
        for bytes in [4096, 4097, u64::MAX] {
            assert_eq!(whole.first(bytes), whole);
            assert_eq!(whole.split_at(bytes).1.bytes(), 0);
        }
        assert_eq!(whole.split_at(0), (range(0x8000_0000, 0), whole));
        let (first, rest) = range(u64::MAX - 511, 512).split_at(512);
        assert_eq!((first.bytes(), rest.bytes()), (512, 0));
        assert_eq!(LentRange::default().bytes(), 0);
    }
}
