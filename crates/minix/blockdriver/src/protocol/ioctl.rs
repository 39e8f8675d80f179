//! Control requests.

use core::time::Duration;

use minix_abi::bdev::BdevRequest;
use minix_abi::ioctl::{CacheFlags, IoctlCode, PartGeom};
use minix_abi::minor::Minor;
use minix_abi::trace::TraceControl;
use minix_abi::{Endpoint, Errno, GrantId, Instant, Status};
use zerocopy::IntoBytes;

use super::trace::BufferChange;
use crate::device::{BlockDevice, DiskInfo};
use crate::driver::BlockDriver;
use crate::engine::barrier::{Next, Task};
use crate::kernel::Kernel;
use crate::partition::geometry::{extent_of, part_geom};

impl<D: BlockDevice<Range = K::Range>, K: Kernel, const JOBS: usize> BlockDriver<D, K, JOBS> {
    /// Carries out a control request. Its argument is in a grant of `from`. There is no `disk` if the device was
    /// given up.
    pub(crate) fn ioctl(
        &mut self,
        kernel: &mut K,
        now: Instant,
        from: Endpoint,
        request: &BdevRequest,
        disk: Option<&DiskInfo>,
    ) -> Next {
        let (minor, grant) = (request.minor, request.grant);
        let result = match request.request {
            IoctlCode::DIOCSETP => self.set_partition(kernel, from, grant, minor),
            // Only a minor that exists can have a trace, so these need not ask.
            IoctlCode::BIOCTRACECTL => self.trace_control(kernel, now, from, grant, minor),
            IoctlCode::BIOCTRACEGET => return self.trace_fetch(kernel, from, grant, minor).unwrap_or_else(Into::into),
            IoctlCode::DIOCFLUSH
            | IoctlCode::DIOCSETWC
            | IoctlCode::DIOCGETWC
            | IoctlCode::DIOCGETP
            | IoctlCode::DIOCOPENCT
            | IoctlCode::DIOCTIMEOUT
            | IoctlCode::DIOCEJECT
            | IoctlCode::BIOCTRACEBUF
            | IoctlCode::DIOCGCACHE
            | IoctlCode::DIOCSCACHE
            | IoctlCode::DIOCCACHESYNC
            | IoctlCode::DIOCGMEDIASIZE
            | IoctlCode::DIOCGSECTORSIZE
            | IoctlCode::VBLKINFO
            | IoctlCode::VBLKDISCARD
            | IoctlCode::VBLKZERO
            | IoctlCode::VBLKERASE
                if !self.partitions.exists(minor) =>
            {
                Err(Errno::ENXIO)
            }
            // NetBSD's name. Whether it is forced makes no difference: it is not left out.
            IoctlCode::DIOCFLUSH | IoctlCode::DIOCCACHESYNC => match disk {
                None => Err(Errno::EIO),
                Some(disk) if !disk.can_flush => Err(Errno::EOPNOTSUPP),
                Some(_) => return Next::Needs(Task::Flush),
            },
            IoctlCode::DIOCSETWC => match self.set_write_cache(kernel, from, grant, disk) {
                Ok(task) => return Next::Needs(task),
                Err(error) => Err(error),
            },
            IoctlCode::DIOCGETWC => disk.ok_or(Errno::EIO).and_then(|disk| {
                let on = i32::from(disk.write_cache);
                put(kernel, from, grant, &on)
            }),
            IoctlCode::DIOCGETP => self.get_partition(kernel, from, grant, minor, disk),
            IoctlCode::DIOCOPENCT => {
                let count = self.partitions.open_count() as i32;
                put(kernel, from, grant, &count)
            }
            IoctlCode::DIOCTIMEOUT => self.set_timeout(kernel, from, grant),
            IoctlCode::DIOCEJECT => Err(Errno::EOPNOTSUPP),
            IoctlCode::DIOCGCACHE => disk.ok_or(Errno::EIO).and_then(|disk| {
                let mut flags = CacheFlags::empty();
                flags.set(CacheFlags::WRITE, disk.write_cache);
                flags.set(CacheFlags::WRITE_CHANGE, disk.cache_switch);
                put(kernel, from, grant, &flags)
            }),
            IoctlCode::DIOCSCACHE => match self.set_caches(kernel, from, grant, disk) {
                Ok(task) => return Next::Needs(task),
                Err(error) => Err(error),
            },
            IoctlCode::DIOCGMEDIASIZE => self.media_size(kernel, from, grant, minor, disk),
            IoctlCode::DIOCGSECTORSIZE => disk.ok_or(Errno::EIO).and_then(|disk| {
                let bytes = disk.block() as u32;
                put(kernel, from, grant, &bytes)
            }),
            IoctlCode::VBLKINFO if disk.is_some() => return Next::Needs(Task::Identify),
            IoctlCode::VBLKINFO => return self.report_disk(kernel, from, grant).into(),
            IoctlCode::VBLKDISCARD | IoctlCode::VBLKZERO | IoctlCode::VBLKERASE => {
                match self.range_request(kernel, (from, grant), minor, request.request, disk) {
                    Ok(task) => return Next::Needs(task),
                    Err(error) => Err(error),
                }
            }
            IoctlCode::BIOCTRACEBUF => self.trace_buffer(kernel, from, grant, minor),
            _ => Err(Errno::ENOTTY),
        };
        Status::from(result).into()
    }

    fn set_write_cache(
        &mut self,
        kernel: &mut K,
        from: Endpoint,
        grant: GrantId,
        disk: Option<&DiskInfo>,
    ) -> Result<Task, Errno> {
        let mut on = 0_i32;
        kernel.copy_from(from, grant, 0, on.as_mut_bytes())?;
        switch(on != 0, disk)
    }

    /// NetBSD's way to switch the write cache. A disk has no read cache that could be switched, so it is not asked about one. It does
    /// not keep the state over a power cycle.
    fn set_caches(
        &mut self,
        kernel: &mut K,
        from: Endpoint,
        grant: GrantId,
        disk: Option<&DiskInfo>,
    ) -> Result<Task, Errno> {
        let mut flags = CacheFlags::empty();
        kernel.copy_from(from, grant, 0, flags.as_mut_bytes())?;
        if flags.contains(CacheFlags::SAVE) {
            return Err(Errno::EOPNOTSUPP);
        }
        switch(flags.contains(CacheFlags::WRITE), disk)
    }

    fn media_size(
        &mut self,
        kernel: &mut K,
        from: Endpoint,
        grant: GrantId,
        minor: Minor,
        disk: Option<&DiskInfo>,
    ) -> Result<(), Errno> {
        let disk = disk.ok_or(Errno::EIO)?;
        let extent = self.partitions.extent(minor, disk.capacity()).ok_or(Errno::ENXIO)?;
        // It is a signed number, and a client may have placed the minor anywhere.
        let bytes = i64::try_from(extent.size_bytes).unwrap_or(i64::MAX);
        put(kernel, from, grant, &bytes)
    }

    fn set_partition(&mut self, kernel: &mut K, from: Endpoint, grant: GrantId, minor: Minor) -> Result<(), Errno> {
        let mut geom = PartGeom::default();
        kernel.copy_from(from, grant, 0, geom.as_mut_bytes())?;
        self.partitions.place(minor, extent_of(&geom))
    }

    fn get_partition(
        &mut self,
        kernel: &mut K,
        from: Endpoint,
        grant: GrantId,
        minor: Minor,
        disk: Option<&DiskInfo>,
    ) -> Result<(), Errno> {
        let disk = disk.ok_or(Errno::EIO)?;
        let extent = self.partitions.extent(minor, disk.capacity()).ok_or(Errno::ENXIO)?;
        put(kernel, from, grant, &part_geom(extent, disk.geometry))
    }

    /// The time the device may take for a request is told and set in clock ticks; zero stands for the one from the start.
    /// Too little is told as it was set, but not done.
    fn set_timeout(&mut self, kernel: &mut K, from: Endpoint, grant: GrantId) -> Result<(), Errno> {
        let hz = u64::from(self.options.hz);
        let mut ticks = 0_i32;
        kernel.copy_from(from, grant, 0, ticks.as_mut_bytes())?;
        let ticks = u64::try_from(ticks).map_err(|_| Errno::EINVAL)?;
        let former = self.health.told_timeout().as_micros() * u128::from(hz) / 1_000_000;
        let former = i32::try_from(former).unwrap_or(i32::MAX);
        put(kernel, from, grant, &former)?;
        if ticks == 0 {
            self.health.restore_timeout(&self.options);
        } else {
            let micros = (ticks * 1_000_000).div_ceil(hz);
            self.health.set_timeout(Duration::from_micros(micros));
        }
        Ok(())
    }

    fn trace_buffer(&mut self, kernel: &mut K, from: Endpoint, grant: GrantId, minor: Minor) -> Result<(), Errno> {
        self.trace.check_buffer()?;
        let mut entries = 0_u64;
        kernel.copy_from(from, grant, 0, entries.as_mut_bytes())?;
        let unused = match self.trace.change_buffer(minor, entries)? {
            BufferChange::Nothing => None,
            BufferChange::Release(memory) => Some(memory),
            BufferChange::Allocate(entries) => {
                let memory = kernel.allocate_trace(entries)?;
                self.trace.install(minor, memory)
            }
        };
        if let Some(memory) = unused {
            kernel.release_trace(memory);
        }
        Ok(())
    }

    fn trace_control(
        &mut self,
        kernel: &mut K,
        now: Instant,
        from: Endpoint,
        grant: GrantId,
        minor: Minor,
    ) -> Result<(), Errno> {
        self.trace.check_control(minor)?;
        let mut control = TraceControl::default();
        kernel.copy_from(from, grant, 0, control.as_mut_bytes())?;
        self.trace.control(minor, control, now)
    }

    fn trace_fetch(&mut self, kernel: &mut K, from: Endpoint, grant: GrantId, minor: Minor) -> Result<Next, Errno> {
        let entries = self.trace.fetch(minor)?;
        let count = entries.len();
        if count > 0 {
            kernel.copy_to(from, grant, 0, entries.as_bytes())?;
        }
        self.trace.fetched(count);
        Ok(Status(count as i32).into())
    }
}

/// What the device has to do for its write cache to be on or off.
fn switch(on: bool, disk: Option<&DiskInfo>) -> Result<Task, Errno> {
    let disk = disk.ok_or(Errno::EIO)?;
    // No client was promised that what is in the cache is durable, but one that switches it off wants that.
    if !on && disk.needs_flushes() {
        return Ok(Task::FlushBeforeCacheOff);
    }
    Ok(Task::SwitchCache { on })
}

/// Copies a value to the caller.
fn put<K: Kernel, T: IntoBytes + zerocopy::Immutable>(
    kernel: &mut K,
    to: Endpoint,
    grant: GrantId,
    value: &T,
) -> Result<(), Errno> {
    kernel.copy_to(to, grant, 0, value.as_bytes())
}
