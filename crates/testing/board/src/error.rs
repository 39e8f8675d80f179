//! Why the board could not be brought up.

use thiserror::Error;
use virtio_fdt::{FdtError, NodeError};

/// A defect of the device tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BoardError {
    /// There is no device tree.
    #[error("the firmware gave no device tree")]
    NoTree,
    /// The blob of the firmware is no device tree.
    #[error("{0}")]
    Tree(FdtError),
    /// A node is broken.
    #[error("{part}: {error}")]
    Node {
        /// The part of the machine.
        part: &'static str,
        /// The defect.
        error: NodeError,
    },
    /// A part of the machine is missing, or not as this board needs it.
    #[error("{0}")]
    Unusable(&'static str),
    /// There is neither a PLIC nor an APLIC.
    #[error("no PLIC and no APLIC: interrupts go to {instead}, which this board does not drive")]
    NoInterruptController {
        /// The name of the controller that the devices have instead.
        instead: &'static str,
    },
    /// No controller reaches this hart in S-mode.
    #[error("no interrupt controller reaches hart {hart_id} in S-mode")]
    NoInterruptContext {
        /// The hart.
        hart_id: usize,
    },
}

/// Names the part of the machine that a broken node describes.
pub(crate) fn node(part: &'static str) -> impl Fn(NodeError) -> BoardError {
    move |error| BoardError::Node { part, error }
}
