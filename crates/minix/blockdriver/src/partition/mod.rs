//! The minor devices of the disk: where they lie, which are open, and how the tables are found.

pub(crate) mod geometry;
pub(crate) mod gpt;
pub(crate) mod mbr;
pub(crate) mod opens;
pub(crate) mod scan;
pub(crate) mod table;

use minix_abi::bdev::BdevAccess;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};

use crate::device::DiskInfo;
use opens::{OpenError, Opens};
use scan::{Scan, ScanRead};
use table::{DEVICES, DeviceTable, Extent, minor_at};

/// How an open goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenStep {
    /// It is over.
    Answer(Status),
    /// The disk has to be read.
    Read(ScanRead),
}

impl From<Errno> for OpenStep {
    fn from(error: Errno) -> Self {
        Self::Answer(error.into())
    }
}

/// How a close goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CloseStep {
    /// It is over.
    Answer(Status),
    /// It is the last one of the disk.
    LastOfDisk,
}

/// The minors of one disk.
pub(crate) struct Partitions {
    table: DeviceTable,
    opens: Opens,
    /// The search for partitions, while an open waits for it.
    scan: Option<Scan>,
}

impl Partitions {
    pub(crate) const fn new() -> Self {
        Self {
            table: DeviceTable::new(),
            opens: Opens::new(),
            scan: None,
        }
    }

    pub(crate) const fn table(&self) -> &DeviceTable {
        &self.table
    }

    /// Whether there is such a minor.
    pub(crate) fn exists(&self, minor: Minor) -> bool {
        self.table.get(minor).is_some()
    }

    /// Where a minor lies on a disk of that capacity in bytes.
    pub(crate) fn extent(&self, minor: Minor, capacity: u64) -> Option<Extent> {
        self.table.on_disk(minor, capacity)
    }

    /// A client puts a minor somewhere.
    pub(crate) fn place(&mut self, minor: Minor, extent: Extent) -> Result<(), Errno> {
        self.table.set(minor, extent).map_err(|_| Errno::ENXIO)
    }

    /// How often a minor is open.
    pub(crate) fn opens_of(&self, minor: Minor) -> u32 {
        self.opens.count(minor)
    }

    /// Whether a minor is open more than once, or another one that overlaps it is, on a disk of that capacity in bytes.
    pub(crate) fn is_open_elsewhere(&self, minor: Minor, capacity: u64) -> bool {
        let Some(own) = self.extent(minor, capacity) else {
            return false;
        };
        let others = (0..DEVICES).map(minor_at).filter(|&other| other != minor);
        let overlaps = |other: Minor| self.extent(other, capacity).is_some_and(|extent| extent.overlaps(own));
        self.opens.count(minor) > 1
            || others
                .into_iter()
                .any(|other| self.opens.count(other) > 0 && overlaps(other))
    }

    /// Opens of all minors together.
    pub(crate) const fn open_count(&self) -> u32 {
        self.opens.total()
    }

    /// A client tries to open a minor. The minor counts as opened since the start.
    pub(crate) fn mark_opened(&mut self, minor: Minor) {
        self.opens.mark_opened(minor);
    }

    /// Whether a client tried to open the minor since the start.
    pub(crate) fn was_opened(&self, minor: Minor) -> bool {
        self.opens.was_opened(minor)
    }

    /// Opens a minor. The first open of the disk looks for partitions before it is answered. There is no `disk` if the
    /// device was given up.
    pub(crate) fn open(&mut self, minor: Minor, access: BdevAccess, disk: Option<&DiskInfo>) -> OpenStep {
        if !self.exists(minor) {
            return Errno::ENXIO.into();
        }
        let Some(disk) = disk else {
            return Errno::EIO.into();
        };
        if disk.read_only && access.contains(BdevAccess::WRITE) {
            return Errno::EACCES.into();
        }
        if self.opens.total() > 0 {
            return self.count_open(minor);
        }
        let bytes = disk.capacity();
        self.table.reset(bytes);
        self.scan = Some(Scan::new(bytes, disk.block() as u32));
        self.next_scan(minor)
    }

    /// A read of the scan is over: its bytes, or `None` if it failed.
    pub(crate) fn scanned(&mut self, minor: Minor, bytes: Option<&[u8]>) -> OpenStep {
        if let Some(scan) = &mut self.scan {
            scan.feed(&mut self.table, bytes);
        }
        self.next_scan(minor)
    }

    /// The open that waited for the scan is answered otherwise.
    pub(crate) fn stop_scan(&mut self) {
        self.scan = None;
    }

    fn next_scan(&mut self, minor: Minor) -> OpenStep {
        match self.scan.as_ref().and_then(Scan::next_read) {
            Some(read) => OpenStep::Read(read),
            None => {
                self.scan = None;
                self.count_open(minor)
            }
        }
    }

    fn count_open(&mut self, minor: Minor) -> OpenStep {
        match self.opens.open(minor) {
            Ok(_) => OpenStep::Answer(Status::OK),
            Err(OpenError::UnknownMinor) => Errno::ENXIO.into(),
            Err(OpenError::TooMany) => Errno::EMFILE.into(),
        }
    }

    /// Closes a minor. The last close of a minor tells of a flush that has failed, unless it is the last one of the disk and
    /// a flush is `owed`.
    pub(crate) fn close(&mut self, minor: Minor, owed: bool) -> CloseStep {
        let answer = |error: Errno| CloseStep::Answer(error.into());
        if !self.exists(minor) {
            return answer(Errno::ENXIO);
        }
        let Ok(was_last) = self.opens.close(minor) else {
            return answer(Errno::EINVAL);
        };
        if was_last && owed {
            return CloseStep::LastOfDisk;
        }
        if self.opens.count(minor) == 0 && self.opens.take_failure(minor) {
            return answer(Errno::EIO);
        }
        CloseStep::Answer(Status::OK)
    }

    /// A flush has failed: each minor that is open is to be told once. See [`Opens::flush_failed`].
    pub(crate) fn flush_failed(&mut self, asker: Option<Minor>, closing: Option<Minor>) {
        self.opens.flush_failed(asker, closing);
    }

    /// Whether the minor is to be told that a flush has failed. It counts as told then.
    pub(crate) fn take_failure(&mut self, minor: Minor) -> bool {
        self.opens.take_failure(minor)
    }
}
