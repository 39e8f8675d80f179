//! Control requests on ranges of sectors: discard, write zeroes, erase.

use core::mem::offset_of;

use minix_abi::disk_control::{RangeFlags, RangeRequest, VERSION};
use minix_abi::ioctl::IoctlCode;
use minix_abi::minor::Minor;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Status};
use zerocopy::IntoBytes;

use crate::device::{BlockDevice, DeviceError, DiskInfo, RangeOperation, SECTOR_BYTES};
use crate::driver::BlockDriver;
use crate::engine::barrier::{RangeWork, Task};
use crate::engine::flush::flush_status;
use crate::engine::job::JobId;
use crate::kernel::Kernel;
use crate::partition::table::Extent;

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Checks a request on a range, in the order that [`RangeRequest`] tells. Returns what the device is to do.
    pub(crate) fn range_request(
        &mut self,
        kernel: &mut K,
        (from, grant): (Endpoint, GrantId),
        minor: Minor,
        code: IoctlCode,
        disk: Option<&DiskInfo>,
    ) -> Result<Task, Errno> {
        let mut request = RangeRequest::default();
        kernel.copy_from(from, grant, 0, request.as_mut_bytes())?;
        let (operation, known) = match code {
            IoctlCode::VBLKDISCARD => (RangeOperation::Discard, RangeFlags::FORCE),
            IoctlCode::VBLKZERO => {
                let may_unmap = request.flags.contains(RangeFlags::UNMAP);
                (
                    RangeOperation::WriteZeroes { may_unmap },
                    RangeFlags::FORCE.union(RangeFlags::UNMAP),
                )
            }
            _ => (RangeOperation::Erase, RangeFlags::FORCE),
        };
        if request.version != VERSION || request.flags.bits() & !known.bits() != 0 {
            return Err(Errno::EINVAL);
        }
        let disk = disk.ok_or(Errno::EIO)?;
        if disk.read_only {
            return Err(Errno::EACCES);
        }
        if disk.range_limit(operation).is_none() {
            return Err(Errno::EOPNOTSUPP);
        }
        let extent = self.partitions.extent(minor, disk.capacity()).ok_or(Errno::ENXIO)?;
        let (first, sectors) = sectors_of(&request, extent, disk).ok_or(Errno::EINVAL)?;
        if !request.flags.contains(RangeFlags::FORCE) && self.partitions.is_open_elsewhere(minor, disk.capacity()) {
            return Err(Errno::EBUSY);
        }
        let work = RangeWork {
            operation,
            first,
            sectors,
        };
        // No flush goes beside it, and it may be long.
        if disk.needs_flushes() && self.write_back.is_owed() {
            return Ok(Task::FlushBeforeRange(work));
        }
        Ok(Task::Range(work))
    }

    /// The device is done with a range. Returns how the request ends.
    #[cold]
    pub(crate) fn range_completed(
        &mut self,
        kernel: &mut K,
        now: Instant,
        id: JobId,
        work: RangeWork,
        result: Result<(), DeviceError>,
    ) -> Status {
        if self.is_cached() {
            // Also if it has failed: a part of it may be done.
            self.write_back.wrote(now);
        }
        if result.is_err() {
            return flush_status(result);
        }
        let job = &self.intake[id];
        let place = offset_of!(RangeRequest, done) as u64;
        kernel
            .copy_to(job.caller.endpoint, job.request.grant, place, work.sectors.as_bytes())
            .into()
    }
}

/// The sectors of the disk that a request on a minor means: where they start, and how many. `None` if there are none, or they are
/// outside of the minor or the disk, or are not whole blocks.
fn sectors_of(request: &RangeRequest, extent: Extent, disk: &DiskInfo) -> Option<(u64, u64)> {
    let offset = request.first.checked_mul(SECTOR_BYTES)?;
    let room = extent.size_bytes.checked_sub(offset)?;
    let bytes = match request.count {
        RangeRequest::ALL => room,
        count => count.checked_mul(SECTOR_BYTES).filter(|&bytes| bytes <= room)?,
    };
    let first = extent.base_bytes.checked_add(offset)?;
    let end = first.checked_add(bytes)?;
    let is_whole = (first | bytes) & (disk.block() - 1) == 0;
    (bytes > 0 && end <= disk.capacity() && is_whole).then_some((first / SECTOR_BYTES, bytes / SECTOR_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::disk;

    const KIB: u64 = 1024;

    fn sectors(first: u64, count: u64, base_bytes: u64, size_bytes: u64) -> Option<(u64, u64)> {
        let disk = DiskInfo {
            block_bytes: 1024,
            ..disk(100)
        };
        let request = RangeRequest::new(RangeFlags::empty(), first, count);
        let extent = Extent { base_bytes, size_bytes };
        sectors_of(&request, extent, &disk)
    }

    #[test]
    fn a_range_lies_in_its_minor_and_on_the_disk() {
        assert_eq!(sectors(0, 2, 0, 50 * KIB), Some((0, 2)));
        assert_eq!(sectors(98, 2, 0, 50 * KIB), Some((98, 2)));
        assert_eq!(sectors(98, 4, 0, 50 * KIB), None);
        assert_eq!(sectors(100, 2, 0, 50 * KIB), None);
        assert_eq!(sectors(2, 4, 10 * KIB, 3 * KIB), Some((22, 4)));
        assert_eq!(sectors(2, 6, 10 * KIB, 3 * KIB), None);
        assert_eq!(sectors(0, 20, 41 * KIB, 10 * KIB), None, "beyond the disk");
    }

    #[test]
    fn all_is_to_the_end_of_the_minor() {
        assert_eq!(sectors(0, RangeRequest::ALL, 10 * KIB, 3 * KIB), Some((20, 6)));
        assert_eq!(sectors(4, RangeRequest::ALL, 10 * KIB, 3 * KIB), Some((24, 2)));
        assert_eq!(sectors(6, RangeRequest::ALL, 10 * KIB, 3 * KIB), None);
        assert_eq!(sectors(8, RangeRequest::ALL, 10 * KIB, 3 * KIB), None);
    }

    #[test]
    fn what_is_not_whole_blocks_is_refused() {
        assert_eq!(sectors(1, 2, 0, 50 * KIB), None);
        assert_eq!(sectors(0, 1, 0, 50 * KIB), None);
        assert_eq!(sectors(0, 2, 512, 50 * KIB), None);
        assert_eq!(
            sectors(1, 2, 512, 49 * KIB),
            Some((2, 2)),
            "the start on the disk counts"
        );
        assert_eq!(sectors(0, RangeRequest::ALL, 0, 512), None);
        assert_eq!(sectors(0, 0, 0, 50 * KIB), None);
    }

    #[test]
    fn numbers_without_bounds_are_outside() {
        for number in [1 << 54, 1 << 55, 1 << 63, u64::MAX - 1] {
            assert_eq!(sectors(number, 2, 0, u64::MAX), None);
            assert_eq!(sectors(0, number, 0, u64::MAX), None);
            assert_eq!(sectors(2, 2, number, u64::MAX), None);
        }
        assert_eq!(sectors(u64::MAX, RangeRequest::ALL, 0, u64::MAX), None);
    }
}
