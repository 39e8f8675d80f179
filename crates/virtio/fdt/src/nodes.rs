//! All nodes of one kind.

use core::fmt;
use core::marker::PhantomData;

use dtoolkit::fdt::Fdt;

use crate::NodeError;
use crate::property::is_compatible;
use crate::walk::{Place, Walk};

/// What a node of one kind says.
pub trait Described<'a>: Sized {
    /// The names of the kind.
    #[doc(hidden)]
    const COMPATIBLE: &'static [&'static str];

    /// Reads a node.
    #[doc(hidden)]
    fn read(node: Node<'_, 'a>) -> Result<Self, NodeError>;
}

/// A node in its tree, seen from outside of this crate as nothing.
pub struct Node<'p, 'a> {
    pub(crate) fdt: Fdt<'a>,
    pub(crate) place: &'p Place<'a>,
}

/// Iterator over the enabled nodes of one kind in the order of the blob.
///
/// A broken node comes as an error, and the iteration goes on.
pub struct Nodes<'a, T> {
    fdt: Fdt<'a>,
    walk: Walk<'a>,
    kind: PhantomData<fn() -> T>,
}

impl<'a, T> Nodes<'a, T> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self {
            fdt,
            walk: Walk::new(fdt),
            kind: PhantomData,
        }
    }
}

impl<'a, T: Described<'a>> Iterator for Nodes<'a, T> {
    type Item = Result<T, NodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self
            .walk
            .find(|place| is_compatible(&place.node, T::COMPATIBLE) && place.is_enabled())?;
        let fdt = self.fdt;
        Some(T::read(Node { fdt, place: &place }))
    }
}

impl<T> fmt::Debug for Nodes<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("walk", &self.walk).finish()
    }
}
