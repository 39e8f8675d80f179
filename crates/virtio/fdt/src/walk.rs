//! Walking the tree while remembering the way down.
//!
//! The meaning of a node depends on the nodes above it: they define how many cells an address has, where interrupts go
//! and whether a bus passes an address on. So a walk yields each node together with its ancestors.
//!
//! The way is a fixed table. [`MAX_DEPTH`] bounds it, and with it the work a hostile tree can cause.

use core::fmt;

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};
use heapless::Vec;

use crate::property;

/// Deepest nesting of nodes that is read, the root included. Real trees stay below ten.
pub const MAX_DEPTH: usize = 16;

/// A node and the nodes above it.
#[derive(Clone)]
pub(crate) struct Place<'a> {
    /// The node itself.
    pub(crate) node: FdtNode<'a>,
    /// Root first, parent last.
    pub(crate) ancestors: Vec<FdtNode<'a>, MAX_DEPTH>,
}

impl<'a> Place<'a> {
    fn root(fdt: Fdt<'a>) -> Self {
        Self {
            node: fdt.root(),
            ancestors: Vec::new(),
        }
    }

    /// The child of that name, by the rule of the path syntax: without a unit address it matches any unit address.
    fn child(&self, name: &str) -> Option<Self> {
        let node = self.node.child(name)?;
        let mut ancestors = self.ancestors.clone();
        ancestors.push(self.node).ok()?;
        Some(Self { node, ancestors })
    }

    /// The node above; `None` for the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let mut ancestors = self.ancestors.clone();
        let node = ancestors.pop()?;
        Some(Self { node, ancestors })
    }

    /// Whether this node and all nodes above it are enabled: the devices on a disabled bus are disabled, too.
    pub(crate) fn is_enabled(&self) -> bool {
        property::is_enabled(&self.node) && self.ancestors.iter().all(property::is_enabled)
    }

    /// Whether the node's name without its unit address is `name`.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.node.name_without_address() == name
    }
}

type Children<'a> = <FdtNode<'a> as Node>::Children<'a>;

struct Level<'a> {
    node: FdtNode<'a>,
    children: Children<'a>,
}

/// All nodes of a tree, parents before children, in the order of the blob.
pub(crate) struct Walk<'a> {
    root: Option<FdtNode<'a>>,
    levels: Vec<Level<'a>, MAX_DEPTH>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(fdt: Fdt<'a>) -> Self {
        Self {
            root: Some(fdt.root()),
            levels: Vec::new(),
        }
    }

    fn descend(&mut self, node: FdtNode<'a>) -> Option<Place<'a>> {
        let ancestors = self.levels.iter().map(|level| level.node).collect();
        let children = node.children();
        // The check of the blob has bounded the depth.
        self.levels.push(Level { node, children }).ok()?;
        Some(Place { node, ancestors })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        if let Some(root) = self.root.take() {
            return self.descend(root);
        }
        loop {
            match self.levels.last_mut()?.children.next() {
                Some(node) => return self.descend(node),
                None => {
                    self.levels.pop();
                }
            }
        }
    }
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("depth", &self.levels.len()).finish()
    }
}

/// The node at an absolute path.
pub(crate) fn at_path<'a>(fdt: Fdt<'a>, path: &str) -> Option<Place<'a>> {
    path.strip_prefix('/')?
        .split('/')
        .filter(|name| !name.is_empty())
        .try_fold(Place::root(fdt), |place, name| place.child(name))
}

/// The node that carries a phandle.
pub(crate) fn by_phandle<'a>(fdt: Fdt<'a>, phandle: u32) -> Option<Place<'a>> {
    // All ones and zero are not phandles; firmware uses the former to blank out an interrupt entry.
    if matches!(phandle, 0 | u32::MAX) {
        return None;
    }
    Walk::new(fdt).find(|place| property::phandle(&place.node) == Some(phandle))
}
