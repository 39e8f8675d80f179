//! Memory of the program that is mapped for a device while one request uses it: the hook of platforms that have to do something
//! before and after each transfer.

use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::DerefMut;
use core::ptr::NonNull;

use stable_deref_trait::StableDeref;

use crate::{DmaError, DmaSegments, Segment};

/// Which way the data of a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Direction {
    /// The device reads the memory, as for a write to a disk.
    ToDevice,
    /// The device writes the memory, as for a read from a disk.
    FromDevice,
}

/// What a platform does with the memory of a transfer before and after it.
///
/// Memory of [`Dma`](crate::Dma) needs none of this: it is mapped and coherent for good. The hook is for data that lies elsewhere:
///
/// * *an IOMMU*: `map` enters the memory, `unmap` removes the entry and waits until the IOMMU has forgotten it;
/// * *confidential guests*, whose memory the device cannot read: `map` copies what is [for the device](Direction::ToDevice) to shared memory,
///   `unmap` copies what is [from it](Direction::FromDevice) back;
/// * *caches that do not snoop*: `map` cleans the lines, and `unmap` invalidates them after a transfer from the device. Memory that shares a
///   line with other data cannot be treated so; an implementation copies it, or refuses it;
/// * *a constant offset* between addresses of the CPU and of the device: [`LinearMap`](crate::LinearMap).
///
/// The tests of `virtio-blk-blocking` have the first three of these whole, each on a device that a driver uses through it.
///
/// A request whose buffer is a [`Mapped`] has been through the hook. Drivers know nothing of it, so other requests pay nothing.
///
/// # Safety
///
/// What [`map`](Self::map) answers keeps the contract of [`DmaSegments`]: until [`unmap`](Self::unmap) is called with it, each segment describes
/// memory that the device may read and write and no other code uses. The segments have as many bytes as the memory, and
/// `as_ref` keeps answering the same, also after a move. After [`unmap`](Self::unmap) the device cannot reach the memory by these segments
/// any more, as far as the platform has a means to cut it off.
pub unsafe trait DmaMap {
    /// The pieces of mapped memory, in order: `[Segment; 1]` if every memory is contiguous for the device.
    type Segments: AsRef<[Segment]>;

    /// Makes `memory` ready for a transfer in that direction.
    ///
    /// # Errors
    ///
    /// A [`DmaError`] if there is no room for the mapping, or this memory cannot be mapped; nothing is mapped then.
    ///
    /// # Safety
    ///
    /// The memory is initialised, valid for reads and writes, and used by no other code until it is unmapped.
    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<Self::Segments, DmaError>;

    /// Ends the mapping. The device has finished the transfer, or never got it.
    ///
    /// # Safety
    ///
    /// The memory and the direction are those of a call of [`map`](Self::map) of this very hook which has answered `segments`, and which
    /// was not undone yet.
    unsafe fn unmap(&self, memory: NonNull<[u8]>, segments: Self::Segments, direction: Direction);
}

// SAFETY: everything is answered by what is behind the reference.
unsafe impl<M: DmaMap + ?Sized> DmaMap for &M {
    type Segments = M::Segments;

    unsafe fn map(&self, memory: NonNull<[u8]>, direction: Direction) -> Result<Self::Segments, DmaError> {
        // SAFETY: the caller keeps the same contract.
        unsafe { (**self).map(memory, direction) }
    }

    unsafe fn unmap(&self, memory: NonNull<[u8]>, segments: Self::Segments, direction: Direction) {
        // SAFETY: the caller keeps the same contract.
        unsafe { (**self).unmap(memory, segments, direction) }
    }
}

/// Memory of the program, mapped for one request: a `Box<[u8]>`, a `Vec<u8>`, a `&'static mut [u8]`, or any other owner of bytes that stay
/// where they are when the owner moves.
///
/// It is a buffer for requests like a [`DmaBuffer`](crate::DmaBuffer). When the request is over, [`unmap`](Self::unmap) gives the memory
/// back. Until then it cannot be looked at, because it may be elsewhere, or in a cache.
///
/// Dropping it unmaps it and drops the memory. A driver that may have left it with a device does not drop it.
pub struct Mapped<B, M: DmaMap> {
    // Not a plain `B`: a box that is moved asserts that no other access to its memory is under way, and the device has it.
    memory: MaybeUninit<B>,
    bytes: NonNull<[u8]>,
    segments: ManuallyDrop<M::Segments>,
    direction: Direction,
    map: M,
}

// SAFETY: `bytes` is memory that `memory` owns.
unsafe impl<B: Send, M: DmaMap<Segments: Send> + Send> Send for Mapped<B, M> {}
// SAFETY: through a shared reference only the segments can be read.
unsafe impl<B: Sync, M: DmaMap<Segments: Sync> + Sync> Sync for Mapped<B, M> {}

impl<B, M> Mapped<B, M>
where
    B: StableDeref + DerefMut<Target = [u8]> + 'static,
    M: DmaMap,
{
    /// Maps `memory` by `map` for a transfer in that direction.
    ///
    /// A request in the other direction is no danger for memory. What it transfers depends on the platform.
    ///
    /// # Errors
    ///
    /// The memory comes back with the error of the hook, or [`DmaError::UnsupportedLayout`] if it has no bytes.
    pub fn new(memory: B, direction: Direction, map: M) -> Result<Self, (DmaError, B)> {
        if memory.is_empty() {
            return Err((DmaError::UnsupportedLayout, memory));
        }
        let mut memory = MaybeUninit::new(memory);
        // SAFETY: it was just written.
        let bytes = NonNull::from(&mut **unsafe { memory.assume_init_mut() });
        // SAFETY: the bytes are initialised and exclusively owned by `memory`, which lies in this value untouched until it is
        // unmapped. They stay where they are when it moves, and live for as long as it does.
        match unsafe { map.map(bytes, direction) } {
            Ok(segments) => Ok(Self {
                memory,
                bytes,
                segments: ManuallyDrop::new(segments),
                direction,
                map,
            }),
            // SAFETY: as above; nothing was mapped.
            Err(error) => Err((error, unsafe { memory.assume_init() })),
        }
    }
}

impl<B, M: DmaMap> Mapped<B, M> {
    /// Ends the mapping and gives the memory back.
    pub fn unmap(self) -> B {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the value is not dropped, so this is the only call for it, and the hook is dropped only here.
        unsafe {
            let memory = this.end();
            core::ptr::drop_in_place(&raw mut this.map);
            memory
        }
    }

    /// Unmaps, and takes the memory out.
    ///
    /// # Safety
    ///
    /// It is called once, and nothing of the value is used afterwards but the hook, which is left to drop.
    unsafe fn end(&mut self) -> B {
        // SAFETY: the segments were not taken before, and are the answer of this hook for this memory, which is initialised.
        unsafe {
            let segments = ManuallyDrop::take(&mut self.segments);
            self.map.unmap(self.bytes, segments, self.direction);
            self.memory.assume_init_read()
        }
    }
}

impl<B, M: DmaMap> Drop for Mapped<B, M> {
    fn drop(&mut self) {
        // SAFETY: a value is dropped once, and not after `unmap`.
        drop(unsafe { self.end() });
    }
}

// SAFETY: the implementer of the hook has promised it until `unmap`, which takes the value.
unsafe impl<B, M: DmaMap> DmaSegments for Mapped<B, M> {
    #[inline]
    fn segments(&self) -> &[Segment] {
        (*self.segments).as_ref()
    }
}

impl<B, M: DmaMap> fmt::Debug for Mapped<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("segments", &self.segments())
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}
