//! Opens and closes, and what the first and the last of them do to the disk.

use minix_abi::bdev::BdevAccess;
use minix_abi::minor::Minor;
use minix_abi::{Errno, Status};

use crate::bounds::{block_bytes, capacity};
use crate::exclusive::{Outcome, Task};
use crate::{BlockDevice, BlockDriver, DeviceError, Kernel, OpenError, Scan, ScanRead, StagingBlock};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Opens a minor. The first open of the disk looks for partitions before it is answered.
    pub(crate) fn open(&mut self, minor: Minor, access: BdevAccess) -> Outcome {
        if self.table.get(minor).is_none() || self.terminating {
            return Errno::ENXIO.into();
        }
        if self.is_broken() {
            return Errno::EIO.into();
        }
        let disk = self.device.info();
        if disk.read_only && access.contains(BdevAccess::WRITE) {
            return Errno::EACCES.into();
        }
        if self.opens.total() > 0 {
            return self.count_open(minor).into();
        }
        let bytes = capacity(&disk);
        self.table.reset(bytes);
        self.scan = Some(Scan::new(bytes, block_bytes(&disk) as u32));
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

    /// Closes a minor. The last close of the disk flushes what lingers in its write cache.
    pub(crate) fn close(&mut self, minor: Minor) -> Outcome {
        if self.table.get(minor).is_none() {
            return Errno::ENXIO.into();
        }
        match self.opens.close(minor) {
            Err(_) => Errno::EINVAL.into(),
            Ok(true) if self.device.info().can_flush && self.device.write_cache() => Outcome::Needs(Task::Flush),
            Ok(_) => Status::OK.into(),
        }
    }
}
