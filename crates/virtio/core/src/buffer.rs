//! Data buffers: DMA memory as the caller of a driver sees it.
//!
//! A buffer is readable as a slice while the program owns it; while a request is in flight the driver owns it. [`DmaSegments`] is what a driver asks of a buffer, so that callers can bring types of their own.

use core::alloc::Layout;
use core::ops::{Deref, DerefMut};

use crate::{Dma, DmaError, DmaRegion, Segment};

/// Memory that a driver can hand to a device as the data of a request.
///
/// # Safety
///
/// As long as the driver owns a value of this type and until it returns the value:
///
/// * every segment describes memory which the device may read and write, and which the program neither reads nor
///   writes nor frees;
/// * [`segments`](Self::segments) keeps answering the same, also after the value was moved.
///
/// The contract binds a value only while a driver owns it. Before and after that its segments may change, so they must not be
/// kept apart from it: what strings several buffers together asks each of them when it is asked itself, or knows their type.
///
/// A driver may keep the value for ever: one that is leaked or forgotten never returns anything, and the device works on. So memory that is merely borrowed, `&mut [u8]`, cannot keep this contract, for its lender gets it back when the
/// borrow ends, whether the driver has returned it or not.
///
/// ```compile_fail,E0277
/// # use virtio_core::DmaSegments;
/// # fn driver_takes(_: impl DmaSegments) {}
/// let mut memory = [0; 512];
/// driver_takes(&mut memory[..]);
/// ```
pub unsafe trait DmaSegments {
    /// The pieces of the buffer in order, each contiguous for the device.
    fn segments(&self) -> &[Segment];

    /// The sum of the lengths of all segments, in bytes.
    fn total_bytes(&self) -> u64 {
        self.segments().iter().map(|s| u64::from(s.len)).sum()
    }
}

/// A contiguous data buffer the program can look into while no request owns it.
#[derive(Debug)]
pub struct DmaBuffer {
    region: DmaRegion,
    segment: Segment,
}

impl DmaBuffer {
    /// Makes a data buffer of a region.
    ///
    /// # Errors
    ///
    /// The region comes back if it is empty or has 4 GiB or more, which no single descriptor can describe.
    pub fn new(region: DmaRegion) -> Result<Self, DmaRegion> {
        match u32::try_from(region.len()) {
            Ok(len) if len > 0 => Ok(Self {
                segment: Segment::new(region.device_addr(), len),
                region,
            }),
            _ => Err(region),
        }
    }

    /// Allocates a zeroed buffer of `len` bytes, aligned to `align` bytes (a power of two).
    ///
    /// # Errors
    ///
    /// Those of [`Dma::allocate`]; [`DmaError::UnsupportedLayout`] for an empty or oversized buffer.
    pub fn allocate(dma: &mut (impl Dma + ?Sized), len: usize, align: usize) -> Result<Self, DmaError> {
        if len == 0 || u32::try_from(len).is_err() {
            return Err(DmaError::UnsupportedLayout);
        }
        let layout = Layout::from_size_align(len, align).map_err(|_| DmaError::UnsupportedLayout)?;
        let region = dma.allocate(layout)?;
        Self::new(region).map_err(|region| {
            dma.release(region);
            DmaError::UnsupportedLayout
        })
    }

    /// The memory, to return it to [`Dma::release`].
    pub fn into_region(self) -> DmaRegion {
        self.region
    }

    /// Narrows the buffer to `offset..offset + len` for transfers; the rest of the memory is left alone.
    ///
    /// # Errors
    ///
    /// The buffer comes back if the part is empty or reaches past its end.
    pub fn slice(self, offset: usize, len: usize) -> Result<DmaSlice, Self> {
        let mut slice = DmaSlice {
            buffer: self,
            offset: 0,
        };
        if slice.reslice(offset, len) {
            Ok(slice)
        } else {
            Err(slice.buffer)
        }
    }
}

impl Deref for DmaBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the region owns these initialised bytes, and the device does not use them now: requests own their buffers
        // while in flight.
        unsafe { core::slice::from_raw_parts(self.region.as_ptr().as_ptr(), self.region.len()) }
    }
}

impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the exclusive borrow makes this the only view.
        unsafe { core::slice::from_raw_parts_mut(self.region.as_ptr().as_ptr(), self.region.len()) }
    }
}

// SAFETY: the region is exclusively owned, stays where it is when the value moves, and the segment lies inside it.
unsafe impl DmaSegments for DmaBuffer {
    #[inline]
    fn segments(&self) -> &[Segment] {
        core::slice::from_ref(&self.segment)
    }
}

/// A part of a [`DmaBuffer`], made by [`DmaBuffer::slice`].
#[derive(Debug)]
pub struct DmaSlice {
    buffer: DmaBuffer,
    offset: usize,
}

impl DmaSlice {
    /// Chooses another part of the buffer: `offset..offset + len` of it. Returns whether there is one; if it is empty or reaches
    /// past the end, the slice stays as it is.
    pub fn reslice(&mut self, offset: usize, len: usize) -> bool {
        let buffer = &mut self.buffer;
        let end = offset.checked_add(len);
        if len == 0 || end.is_none_or(|end| end > buffer.region.len()) {
            return false;
        }
        // Both fit: `offset + len <= region.len() <= u32::MAX`.
        buffer.segment = Segment::new(buffer.region.device_addr().wrapping_add(offset as u64), len as u32);
        self.offset = offset;
        true
    }

    /// Bytes of the whole buffer.
    pub fn buffer_len(&self) -> usize {
        self.buffer.region.len()
    }

    /// The whole buffer again.
    pub fn into_buffer(self) -> DmaBuffer {
        let mut buffer = self.buffer;
        // The conversion succeeded when the buffer was made.
        buffer.segment = Segment::new(buffer.region.device_addr(), buffer.region.len() as u32);
        buffer
    }
}

impl Deref for DmaSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let len = self.buffer.segment.len as usize;
        &self.buffer[self.offset..self.offset + len]
    }
}

impl DerefMut for DmaSlice {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.buffer.segment.len as usize;
        &mut self.buffer[self.offset..self.offset + len]
    }
}

// SAFETY: a part of a buffer that this value owns.
unsafe impl DmaSegments for DmaSlice {
    #[inline]
    fn segments(&self) -> &[Segment] {
        self.buffer.segments()
    }
}

/// The raw door: segments of memory that the program does not own, such as that of another address space.
///
/// `S` is anything that yields a slice of segments: an array, a `heapless::Vec`, a boxed slice.
#[derive(Debug)]
pub struct RawSegments<S>(S);

impl<S: AsRef<[Segment]>> RawSegments<S> {
    /// Vouches for `segments`.
    ///
    /// # Safety
    ///
    /// The caller keeps the contract of [`DmaSegments`] for every segment whenever a driver owns the value: the memory
    /// is accessible to the device, stays where it is, and is not used by other code. `as_ref` must keep
    /// answering the same segments, also after a move.
    ///
    /// A value that came back can be submitted again, and that is safe code. So the promise lasts for as long as the
    /// value exists: before the memory goes away, take the list out with [`into_inner`](Self::into_inner) or drop it.
    pub unsafe fn new(segments: S) -> Self {
        Self(segments)
    }

    /// The list back.
    pub fn into_inner(self) -> S {
        self.0
    }
}

// SAFETY: the maker of the value promised it in `new`.
unsafe impl<S: AsRef<[Segment]>> DmaSegments for RawSegments<S> {
    fn segments(&self) -> &[Segment] {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use core::ptr::NonNull;

    use super::*;
    use crate::DeviceAddr;

    fn region(memory: &mut [u8], addr: u64) -> DmaRegion {
        let start = NonNull::new(memory.as_mut_ptr()).unwrap();
        // SAFETY: the tests keep `memory` alive and untouched while the region is in use.
        unsafe { DmaRegion::from_raw_parts(start, memory.len(), DeviceAddr(addr)) }
    }

    #[test]
    fn a_slice_has_its_own_address_and_returns_the_buffer() {
        let mut memory = [0u8; 64];
        let buffer = DmaBuffer::new(region(&mut memory, 0x1000)).unwrap();
        let mut slice = buffer.slice(3, 8).unwrap();
        slice.copy_from_slice(b"8 bytes!");
        assert_eq!(slice.segments(), [Segment::new(DeviceAddr(0x1003), 8)]);
        let buffer = slice.into_buffer();
        assert_eq!(&buffer[3..11], b"8 bytes!");
        assert_eq!(buffer.segments(), [Segment::new(DeviceAddr(0x1000), 64)]);
    }

    #[test]
    fn a_slice_outside_the_buffer_is_refused_and_loses_nothing() {
        let mut memory = [0u8; 64];
        let buffer = DmaBuffer::new(region(&mut memory, 0)).unwrap();
        let buffer = buffer.slice(60, 5).unwrap_err();
        let buffer = buffer.slice(usize::MAX, 2).unwrap_err();
        let buffer = buffer.slice(0, 0).unwrap_err();
        assert_eq!(buffer.len(), 64);
        assert!(buffer.slice(63, 1).is_ok());
    }

    #[test]
    fn a_slice_moves_inside_its_buffer_and_not_out_of_it() {
        let mut memory = [0u8; 64];
        let mut slice = DmaBuffer::new(region(&mut memory, 0x1000))
            .unwrap()
            .slice(8, 8)
            .unwrap();
        for (offset, len) in [(60, 5), (usize::MAX, 2), (0, 0)] {
            assert!(!slice.reslice(offset, len), "{len} bytes from {offset} on");
        }
        assert_eq!(slice.segments(), [Segment::new(DeviceAddr(0x1008), 8)]);
        assert!(slice.reslice(60, 4));
        slice.copy_from_slice(b"tail");
        assert_eq!(slice.segments(), [Segment::new(DeviceAddr(0x103C), 4)]);
        assert_eq!(slice.buffer_len(), 64);
        assert_eq!(&slice.into_buffer()[60..], b"tail");
    }

    #[test]
    fn an_empty_region_is_no_buffer() {
        let mut memory = [0u8; 0];
        assert!(DmaBuffer::new(region(&mut memory, 0)).is_err());
    }
}
