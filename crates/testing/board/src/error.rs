//! Why the board could not be brought up.

use core::fmt;

use virtio_fdt::{FdtError, NodeError};

/// What the device tree lacks or has wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BoardError {
    /// The firmware gave no device tree.
    NoTree,
    /// What it gave is not one.
    Tree(FdtError),
    /// The node of the console is broken.
    Console(NodeError),
    /// The console's registers do not fit into their block.
    UnusableConsole,
    /// The node of the finisher is broken.
    Finisher(NodeError),
    /// The finisher's register does not fit into its block.
    UnusableFinisher,
    /// The frequency of the clock cannot be read.
    Timebase(NodeError),
    /// The clock has no frequency.
    NoTimebase,
    /// The command line is not a string.
    BootArgs(NodeError),
    /// There is no PLIC. QEMU's `virt` machine has other controllers with `aia=aplic` and `aia=aplic-imsic`.
    NoInterruptController {
        /// The name of the controller that the VirtIO windows have instead.
        instead: Option<&'static str>,
    },
    /// The node of the PLIC is broken.
    InterruptController(NodeError),
    /// No PLIC reaches this hart in S-mode.
    NoInterruptContext {
        /// The hart.
        hart_id: usize,
    },
    /// Main memory or its reservations cannot be read.
    Memory(NodeError),
    /// No RAM is left behind the image.
    NoMemory,
    /// The memory below the image, where the stack is, is reserved or does not exist.
    NoStack,
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTree => f.write_str("the firmware gave no device tree"),
            Self::Tree(error) => write!(f, "{error}"),
            Self::Console(error) => write!(f, "console: {error}"),
            Self::UnusableConsole => f.write_str("console: registers outside of their block"),
            Self::Finisher(error) => write!(f, "power-off: {error}"),
            Self::UnusableFinisher => f.write_str("power-off: register outside of its block"),
            Self::Timebase(error) => write!(f, "clock: {error}"),
            Self::NoTimebase => f.write_str("clock: no frequency"),
            Self::BootArgs(error) => write!(f, "command line: {error}"),
            Self::NoInterruptController { instead: Some(name) } => {
                write!(f, "no PLIC: interrupts go to {name}, which this board does not drive")
            }
            Self::NoInterruptController { instead: None } => f.write_str("no PLIC"),
            Self::InterruptController(error) => write!(f, "PLIC: {error}"),
            Self::NoInterruptContext { hart_id } => {
                write!(f, "PLIC: not connected to hart {hart_id} in S-mode")
            }
            Self::Memory(error) => write!(f, "memory: {error}"),
            Self::NoStack => f.write_str("memory: the place of the stack is taken"),
            Self::NoMemory => f.write_str("memory: nothing is left behind the image"),
        }
    }
}

impl core::error::Error for BoardError {}
