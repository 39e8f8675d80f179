//! Padding, and names of values.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes that carry nothing: padding between fields, or parts of a structure without use here.
///
/// Made here they are zero. Read from somebody else they can be anything, since a C compiler leaves padding as it
/// was; so all values of this type are equal, and a structure with padding compares by what it says.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Pad<const N: usize>([u8; N]);

impl<const N: usize> Pad<N> {
    /// Zeroes.
    pub const ZERO: Self = Self([0; N]);
}

impl<const N: usize> Default for Pad<N> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<const N: usize> PartialEq for Pad<N> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<const N: usize> Eq for Pad<N> {}

impl<const N: usize> fmt::Debug for Pad<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// The name of `value` in a list of named values.
pub(crate) fn name_of<T: Copy + PartialEq>(list: &[(&'static str, T)], value: T) -> Option<&'static str> {
    list.iter().find(|(_, named)| *named == value).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn padding_is_kept_but_never_compared() {
        let noise = Pad::<3>::read_from_bytes(&[1, 2, 3]).unwrap();
        assert_eq!(noise.as_bytes(), [1, 2, 3]);
        assert_eq!(noise, Pad::ZERO);
        assert_eq!(Pad::<3>::default().as_bytes(), [0; 3]);
        assert_eq!(format!("{noise:?}"), "_");
    }
}
