//! The one type of data buffer all requests of the image have: a contiguous piece of memory, or many of them.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use heapless::Vec;
use virtio_core::{DmaSegments, DmaSlice, Segment};

/// Pieces of a small vector.
pub(crate) const FEW: usize = 6;
/// Pieces of a large vector: three times what the driver puts into one request with indirect tables.
pub(crate) const MANY: usize = 96;

/// Pieces on their way into a vector or out of it.
pub(crate) type Pieces = Vec<DmaSlice, MANY>;

/// A scattered buffer: pieces that one request fills or drains in order.
#[derive(Debug)]
pub(crate) struct Vector {
    pieces: Pieces,
    /// Those of the pieces. A slice has the same one for as long as it lives, so they can be kept here.
    segments: Vec<Segment, MANY>,
}

impl Vector {
    /// Strings `pieces` together.
    pub(crate) fn new(pieces: Pieces) -> Self {
        let segments = pieces.iter().flat_map(DmaSegments::segments).copied().collect();
        Self { pieces, segments }
    }

    /// The pieces, to look into.
    pub(crate) fn pieces(&self) -> &[DmaSlice] {
        &self.pieces
    }

    /// The pieces back.
    pub(crate) fn into_pieces(self) -> Pieces {
        self.pieces
    }
}

/// Where a vector lies while a request uses it. The driver has room for a thousand requests, so the vector itself stays
/// outside and only the reference travels.
pub(crate) type VectorPlace = Option<Vector>;

/// The place, and whether it was given out.
struct Place {
    taken: AtomicBool,
    place: UnsafeCell<VectorPlace>,
}

// SAFETY: `place` is reached through `vector_place` alone, by the one caller that finds `taken` clear.
unsafe impl Sync for Place {}

static PLACE: Place = Place {
    taken: AtomicBool::new(false),
    place: UnsafeCell::new(None),
};

/// The place of the vector, to the first caller, who keeps it.
///
/// A driver may keep a buffer for ever, if it is leaked, and then the device works on. So a place that is lent for less than
/// for ever does not do (see [`DmaSegments`]): its owner would have it back.
pub(crate) fn vector_place() -> Option<&'static mut VectorPlace> {
    if PLACE.taken.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the flag is never cleared, so this is the only reference there ever is.
    Some(unsafe { &mut *PLACE.place.get() })
}

/// The data of a request.
pub(crate) enum Buffer {
    One(DmaSlice),
    Scattered(&'static mut VectorPlace),
}

impl Buffer {
    fn kind(&self) -> &'static str {
        match self {
            Self::One(_) => "one",
            Self::Scattered(_) => "scattered",
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffer").field(&self.kind()).finish()
    }
}

// SAFETY: both kinds own what they describe: a slice itself, and a vector through an exclusive reference that nobody gets
// back but by getting this value back, so nothing can use or change it while the driver holds the value, also if it holds
// it for ever. Both answer the same after a move.
unsafe impl DmaSegments for Buffer {
    fn segments(&self) -> &[Segment] {
        match self {
            Self::One(slice) => slice.segments(),
            Self::Scattered(Some(vector)) => &vector.segments,
            Self::Scattered(None) => &[],
        }
    }
}
