//! Opens and closes, and what the first and the last of them do to the disk.

use minix_abi::bdev::BdevAccess;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};

use crate::bounds::{block_bytes, capacity};
use crate::exclusive::{Outcome, Task};
use crate::{BlockDevice, BlockDriver, DeviceError, DiskInfo, Kernel, OpenError, Scan, ScanRead, StagingBlock};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Opens a minor. The first open of the disk looks for partitions before it is answered.
    pub(crate) fn open(&mut self, minor: Minor, access: BdevAccess, disk: Option<&DiskInfo>) -> Outcome {
        if self.table.get(minor).is_none() || self.terminating {
            return Errno::ENXIO.into();
        }
        let Some(disk) = disk else {
            return Errno::EIO.into();
        };
        if disk.read_only && access.contains(BdevAccess::WRITE) {
            return Errno::EACCES.into();
        }
        if self.opens.total() > 0 {
            return self.count_open(minor).into();
        }
        let bytes = capacity(disk);
        self.table.reset(bytes);
        self.scan = Some(Scan::new(bytes, block_bytes(disk) as u32));
        self.next_scan(minor)
    }

    /// A read of the scan is over.
    pub(crate) fn scanned(
        &mut self,
        minor: Minor,
        read: ScanRead,
        staging: Option<StagingBlock>,
        result: Result<(), DeviceError>,
    ) -> Outcome {
        if let Some(scan) = &mut self.scan {
            let bytes = staging.and_then(|block| self.device.staging(block));
            let bytes = bytes.and_then(|bytes| bytes.get(..read.bytes));
            scan.feed(&mut self.table, bytes.filter(|_| result.is_ok()));
        }
        if let Some(block) = staging {
            self.staging.give_back(block);
        }
        self.next_scan(minor)
    }

    fn next_scan(&mut self, minor: Minor) -> Outcome {
        match self.scan.as_ref().and_then(Scan::next_read) {
            Some(read) => Outcome::Needs(Task::Scan { read, staging: None }),
            None => {
                self.scan = None;
                self.count_open(minor).into()
            }
        }
    }

    fn count_open(&mut self, minor: Minor) -> Status {
        match self.opens.open(minor) {
            Ok(_) => Status::OK,
            Err(OpenError::UnknownMinor) => Errno::ENXIO.into(),
            Err(OpenError::TooMany) => Errno::EMFILE.into(),
        }
    }

    /// Closes a minor. The last close of the disk flushes what was written, if it was not flushed since; a device that was
    /// given up cannot. The last close of a minor tells of a flush that has failed.
    pub(crate) fn close(&mut self, minor: Minor, disk: Option<&DiskInfo>) -> Outcome {
        if self.table.get(minor).is_none() {
            return Errno::ENXIO.into();
        }
        let Ok(was_last) = self.opens.close(minor) else {
            return Errno::EINVAL.into();
        };
        if was_last && self.write_back.is_owed() {
            return match disk {
                Some(_) => Outcome::Needs(Task::Flush),
                None => Errno::EIO.into(),
            };
        }
        if self.opens.count(minor) == 0 && self.opens.take_failure(minor) {
            return Errno::EIO.into();
        }
        Status::OK.into()
    }
}
