//! The one type of data buffer all requests of the image have: a contiguous piece of memory, or many of them.

use core::fmt;

use heapless::Vec;
use virtio_core::{DmaSegments, DmaSlice, DmaVector, Segment};

/// Pieces of a small vector.
pub(crate) const FEW: usize = 6;
/// Pieces of a large vector: three times what the driver puts into one request with indirect tables.
pub(crate) const MANY: usize = 96;

/// Pieces on their way into a vector or out of it.
pub(crate) type Pieces = Vec<DmaSlice, MANY>;

/// A scattered buffer.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one place for a vector in the whole image, and no heap"
)]
pub(crate) enum Vector {
    Few(DmaVector<DmaSlice, FEW>),
    Many(DmaVector<DmaSlice, MANY>),
}

impl Vector {
    #[expect(
        clippy::result_large_err,
        reason = "the pieces must not be lost, and there is no heap"
    )]
    fn gather<const N: usize>(pieces: Pieces) -> Result<DmaVector<DmaSlice, N>, Pieces> {
        DmaVector::new(pieces.into_array::<N>()?).map_err(Pieces::from_iter)
    }

    /// A vector of exactly [`FEW`] or [`MANY`] pieces; the pieces come back if there is another number of them.
    #[expect(
        clippy::result_large_err,
        reason = "the pieces must not be lost, and there is no heap"
    )]
    pub(crate) fn new(pieces: Pieces) -> Result<Self, Pieces> {
        if pieces.len() == FEW {
            Self::gather(pieces).map(Self::Few)
        } else {
            Self::gather(pieces).map(Self::Many)
        }
    }

    /// The pieces, to look into.
    pub(crate) fn pieces(&self) -> &[DmaSlice] {
        match self {
            Self::Few(vector) => vector.buffers(),
            Self::Many(vector) => vector.buffers(),
        }
    }

    /// The pieces back.
    pub(crate) fn into_pieces(self) -> Pieces {
        match self {
            Self::Few(vector) => Pieces::from_iter(vector.into_buffers()),
            Self::Many(vector) => Pieces::from_iter(vector.into_buffers()),
        }
    }
}

/// Where a vector lies while a request uses it. The driver has room for a thousand requests, so the vector itself stays
/// outside and only the reference travels.
pub(crate) type VectorPlace = Option<Vector>;

/// The data of a request.
pub(crate) enum Buffer<'b> {
    One(DmaSlice),
    Scattered(&'b mut VectorPlace),
}

impl Buffer<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::One(_) => "one",
            Self::Scattered(_) => "scattered",
        }
    }
}

impl fmt::Debug for Buffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffer").field(&self.kind()).finish()
    }
}

// SAFETY: both kinds own what they describe: a slice itself, and a vector through an exclusive reference, so nobody can
// use or change it while the driver holds the value. Both answer the same after a move.
unsafe impl DmaSegments for Buffer<'_> {
    fn segments(&self) -> &[Segment] {
        match self {
            Self::One(slice) => slice.segments(),
            Self::Scattered(Some(Vector::Few(vector))) => vector.segments(),
            Self::Scattered(Some(Vector::Many(vector))) => vector.segments(),
            Self::Scattered(None) => &[],
        }
    }
}
