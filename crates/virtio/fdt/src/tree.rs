//! A checked blob, and everything that can be read from it.

use core::fmt;

use dtoolkit::fdt::Fdt;
use heapless::Vec;

use crate::aplic::Aplic;
use crate::cpu::{self, Harts};
use crate::imsic::Imsic;
use crate::interrupt::Controller;
use crate::nodes::Nodes;
use crate::pci::PciHost;
use crate::plic::Plic;
use crate::property;
use crate::reg::PhysRange;
use crate::uart::{self, Uart};
use crate::virtio::{MmioWindows, SortedWindows};
use crate::walk::at_path;
use crate::{Block, Defect, FdtError, NodeError, check, finisher, memory};

const MAGIC: u32 = 0xd00d_feed;

/// A flattened device tree whose structure was checked from end to end.
///
/// Copying it copies a reference. Each method walks the blob again. Nothing is cached and nothing allocated: a system
/// asks a few questions at start.
#[derive(Clone, Copy)]
pub struct DeviceTree<'a> {
    fdt: Fdt<'a>,
    blob: &'a [u8],
}

impl<'a> DeviceTree<'a> {
    /// Bytes of the header, enough for [`total_size`](Self::total_size).
    pub const HEADER_BYTES: usize = check::HEADER_BYTES;

    /// The size of the whole blob in bytes, read from its first [`HEADER_BYTES`](Self::HEADER_BYTES) bytes.
    ///
    /// A caller that has only a pointer reads the header first, and then that many bytes.
    ///
    /// # Errors
    ///
    /// [`FdtError::Truncated`] for fewer bytes than a header, [`FdtError::NotADeviceTree`] without the magic number,
    /// [`FdtError::Corrupt`] for a size smaller than the header itself.
    pub fn total_size(header: &[u8]) -> Result<usize, FdtError> {
        let truncated = FdtError::Truncated {
            have_bytes: header.len(),
            need_bytes: Self::HEADER_BYTES,
        };
        let Some(header) = header.first_chunk::<{ DeviceTree::HEADER_BYTES }>() else {
            return Err(truncated);
        };
        let ([magic, size, ..], _) = header.as_chunks::<4>() else {
            return Err(truncated);
        };
        if u32::from_be_bytes(*magic) != MAGIC {
            return Err(FdtError::NotADeviceTree);
        }
        match u32::from_be_bytes(*size) as usize {
            size if size < Self::HEADER_BYTES => Err(FdtError::Corrupt {
                block: Block::Header,
                offset_bytes: 4,
                defect: Defect::TooSmall,
            }),
            size => Ok(size),
        }
    }

    /// Checks a blob from end to end. Bytes after the size in the header are ignored.
    ///
    /// The blocks of the blob may come in any order. No alignment is asked of `blob`.
    ///
    /// # Errors
    ///
    /// Any [`FdtError`]; no method on an accepted blob reads outside of it.
    pub fn parse(blob: &'a [u8]) -> Result<Self, FdtError> {
        let size_bytes = Self::total_size(blob)?;
        let exact = blob.get(..size_bytes).ok_or(FdtError::Truncated {
            have_bytes: blob.len(),
            need_bytes: size_bytes,
        })?;
        check::check(exact)?;
        Ok(Self {
            // The checks of `dtoolkit` have been made here, and more. Its own would refuse an unusual order of the blocks.
            fdt: Fdt::new_unchecked(exact),
            blob: exact,
        })
    }

    /// The size of the blob in bytes.
    pub const fn size_bytes(&self) -> usize {
        self.blob.len()
    }

    /// The address of the blob's first byte in the address space of the program.
    ///
    /// A memory allocator must leave the blob out.
    pub fn address(&self) -> usize {
        self.blob.as_ptr().addr()
    }

    /// All enabled `virtio,mmio` windows in the order of the blob.
    ///
    /// A window that cannot be used comes as an error with the reason, and the iteration goes on.
    pub fn virtio_mmio(&self) -> MmioWindows<'a> {
        MmioWindows::new(self.fdt)
    }

    /// All enabled `virtio,mmio` windows, lowest address first, and separately those that cannot be used.
    ///
    /// # Errors
    ///
    /// [`NodeError::TooMany`] if there are more than `N` of either kind.
    pub fn virtio_mmio_sorted<const N: usize>(&self) -> Result<SortedWindows<'a, N>, NodeError> {
        SortedWindows::collect(self.virtio_mmio())
    }

    /// Main memory in the order of the blob. Pieces of size zero are left out.
    ///
    /// # Errors
    ///
    /// That of the first broken entry, or [`NodeError::TooMany`] if there are more than `N`.
    pub fn memory<const N: usize>(&self) -> Result<Vec<PhysRange, N>, NodeError> {
        let mut collector = Collector::default();
        memory::for_each_memory(self.fdt, |range| collector.add(range));
        collector.finish()
    }

    /// The parts of main memory that are reserved: the blob's memory reservations and `/reserved-memory`.
    ///
    /// The blob itself need not be among them.
    ///
    /// # Errors
    ///
    /// As for [`memory`](Self::memory): a reservation that cannot be read must not be overlooked.
    pub fn reserved_memory<const N: usize>(&self) -> Result<Vec<PhysRange, N>, NodeError> {
        let mut collector = Collector::default();
        memory::for_each_reservation(self.fdt, |range| collector.add(range));
        collector.finish()
    }

    /// Frequency of the `time` counter in hertz; never zero.
    ///
    /// # Errors
    ///
    /// `timebase-frequency` is missing, malformed or zero.
    pub fn timebase_hz(&self) -> Result<u64, NodeError> {
        cpu::timebase_hz(self.fdt)
    }

    /// The enabled harts in the order of the blob.
    pub fn harts(&self) -> Harts<'a> {
        Harts::new(self.fdt)
    }

    /// Number of enabled harts, those with a broken node included.
    pub fn hart_count(&self) -> usize {
        self.harts().count()
    }

    /// The first platform-level interrupt controller, if there is one.
    ///
    /// A machine can have several, for instance one for each NUMA node: see [`plics`](Self::plics).
    ///
    /// # Errors
    ///
    /// Its node is broken.
    pub fn plic(&self) -> Result<Option<Plic<'a>>, NodeError> {
        self.plics().next().transpose()
    }

    /// All enabled platform-level interrupt controllers in the order of the blob.
    pub fn plics(&self) -> Nodes<'a, Plic<'a>> {
        Nodes::new(self.fdt)
    }

    /// All enabled advanced platform-level interrupt controllers in the order of the blob, whichever mode they serve.
    pub fn aplics(&self) -> Nodes<'a, Aplic<'a>> {
        Nodes::new(self.fdt)
    }

    /// All enabled incoming message-signalled interrupt controllers in the order of the blob, whichever mode they serve.
    pub fn imsics(&self) -> Nodes<'a, Imsic<'a>> {
        Nodes::new(self.fdt)
    }

    /// All enabled PCI host bridges in the order of the blob.
    pub fn pci_hosts(&self) -> Nodes<'a, PciHost<'a>> {
        Nodes::new(self.fdt)
    }

    /// The name of a controller's node with its unit address, for people; `None` for a controller of another tree.
    pub fn controller_name(&self, controller: Controller) -> Option<&'a str> {
        let name = self
            .blob
            .get(controller.name_offset..)?
            .split(|&byte| byte == 0)
            .next()?;
        core::str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }

    /// The serial port for human text: the one `/chosen/stdout-path` names if it is a 16550, else the first 16550.
    ///
    /// # Errors
    ///
    /// Its node is broken.
    pub fn console(&self) -> Result<Option<Uart>, NodeError> {
        uart::console(self.fdt)
    }

    /// `/chosen/bootargs`: the command line. `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`NodeError::BadString`].
    pub fn boot_args(&self) -> Result<Option<&'a str>, NodeError> {
        match at_path(self.fdt, "/chosen") {
            Some(chosen) => property::string(&chosen.node, "bootargs"),
            None => Ok(None),
        }
    }

    /// The initial RAM disk: a file that the boot loader has put into memory (`linux,initrd-start` and
    /// `linux,initrd-end` in `/chosen`). `None` if there is none, or if it is empty.
    ///
    /// It need not be among the [reservations](Self::reserved_memory).
    ///
    /// # Errors
    ///
    /// One of the two is missing or malformed, or the end lies before the start.
    pub fn initrd(&self) -> Result<Option<PhysRange>, NodeError> {
        match at_path(self.fdt, "/chosen") {
            Some(chosen) => memory::initrd(&chosen.node),
            None => Ok(None),
        }
    }

    /// The registers of the SiFive test finisher, which ends an emulated machine.
    ///
    /// # Errors
    ///
    /// Its node is broken.
    pub fn finisher(&self) -> Result<Option<PhysRange>, NodeError> {
        finisher::find(self.fdt)
    }
}

impl fmt::Debug for DeviceTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTree")
            .field("size_bytes", &self.size_bytes())
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for DeviceTree<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "DeviceTree {{ size_bytes: {=usize} }}", self.size_bytes());
    }
}

/// Gathers ranges until the first error.
struct Collector<const N: usize> {
    found: Vec<PhysRange, N>,
    error: Option<NodeError>,
}

impl<const N: usize> Default for Collector<N> {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            error: None,
        }
    }
}

impl<const N: usize> Collector<N> {
    fn add(&mut self, range: Result<PhysRange, NodeError>) {
        let stored = range.and_then(|range| self.found.push(range).map_err(|_| NodeError::TooMany));
        if let Err(error) = stored {
            self.error.get_or_insert(error);
        }
    }

    fn finish(self) -> Result<Vec<PhysRange, N>, NodeError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }
}
