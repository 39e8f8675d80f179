//! The memory of a process: its regions and their pages.
//!
//! Nothing is mapped that was not asked for and granted. Memory on demand, of which the stack is made, gets its frames when
//! it is first touched.

use core::ops::Range;

use heapless::Vec;
use minix_abi::PAGE_BYTES;
use minix_abi::process::{RESERVED, STACK};

use super::frames::{Batch, FrameAllocator, MemoryError};
use super::paging::{self, Access, FINISHER, Page, PageTable, RAM};
use super::physical;

/// Regions a process can have.
const MAX_REGIONS: usize = 64;

/// Where the stack and with it the space of a process ends.
const TOP: u64 = STACK.end;

/// Where the frames of new memory come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// On first use, scattered.
    OnDemand,
    /// At once, scattered.
    Allocated,
    /// At once, in a row.
    Contiguous,
}

/// What a process was about to do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageUse {
    Read,
    Write,
    Execute,
}

#[derive(Clone, Debug)]
struct Region {
    range: Range<u64>,
    access: Access,
    is_device: bool,
    /// For a device whose registers the kernel accesses in the place of the process: the first of them.
    mediated: Option<u64>,
}

/// The memory of a process.
#[derive(Debug)]
pub(crate) struct AddressSpace {
    table: PageTable,
    regions: Vec<Region, MAX_REGIONS>,
    /// Whether the hart may remember pages that have changed.
    is_stale: bool,
}

impl AddressSpace {
    /// A space with nothing in it.
    pub(super) fn new(frames: &mut FrameAllocator) -> Result<Self, MemoryError> {
        Ok(Self {
            table: PageTable::new(frames)?,
            regions: Vec::new(),
            is_stale: false,
        })
    }

    /// Makes it the space the hart is in, if it is not.
    pub(super) fn activate(&mut self, active: &mut u64) {
        let satp = self.table.satp();
        if self.is_stale || *active != satp {
            paging::activate(satp);
            *active = satp;
            self.is_stale = false;
        }
    }

    /// Copies out of the process. The kernel looks at the user bit only. Nothing is faulted in.
    pub(crate) fn read(&self, from: u64, into: &mut [u8]) -> Result<(), MemoryError> {
        self.check(from, into.len() as u64)?;
        let mut done = 0;
        for (address, bytes) in pieces(from, into.len() as u64) {
            physical::read(self.translate(address)?, &mut into[done..done + bytes]);
            done += bytes;
        }
        Ok(())
    }

    /// Copies into the process. As MINIX riscv64 does, it ignores write protection. Nothing is faulted in.
    pub(crate) fn write(&self, to: u64, from: &[u8]) -> Result<(), MemoryError> {
        self.check(to, from.len() as u64)?;
        let mut done = 0;
        for (address, bytes) in pieces(to, from.len() as u64) {
            physical::write(self.translate(address)?, &from[done..done + bytes]);
            done += bytes;
        }
        Ok(())
    }

    /// Whether all of a range is present memory of the process.
    pub(crate) fn check(&self, address: u64, bytes: u64) -> Result<(), MemoryError> {
        if address.checked_add(bytes).is_none_or(|end| end > TOP) {
            return Err(MemoryError::Unmapped);
        }
        pieces(address, bytes).try_for_each(|(address, _)| self.translate(address).map(drop))
    }

    /// The physical address for an address of the process's memory. Nothing is faulted in. Devices do not count.
    pub(crate) fn translate(&self, address: u64) -> Result<u64, MemoryError> {
        match self.table.page(address) {
            Some(page) if page.is_user && physical::contains(page.physical, PAGE_BYTES) => {
                Ok(page.physical + address % PAGE_BYTES)
            }
            Some(_) => Err(MemoryError::Unmapped),
            None if self.region(address).is_some_and(|region| !region.is_device) => Err(MemoryError::Absent),
            None => Err(MemoryError::Unmapped),
        }
    }

    /// Makes every page of a range present.
    pub(crate) fn fault_in(
        &mut self,
        frames: &mut FrameAllocator,
        address: u64,
        bytes: u64,
    ) -> Result<(), MemoryError> {
        if address.checked_add(bytes).is_none_or(|end| end > TOP) {
            return Err(MemoryError::Unmapped);
        }
        for (address, _) in pieces(address, bytes) {
            match self.translate(address) {
                Err(MemoryError::Absent) => self.allocate(frames, address)?,
                other => {
                    other?;
                }
            }
        }
        Ok(())
    }

    /// Serves a page fault of the process.
    pub(super) fn demand(
        &mut self,
        frames: &mut FrameAllocator,
        address: u64,
        needs: PageUse,
    ) -> Result<(), MemoryError> {
        let region = self.region(address).ok_or(MemoryError::Unmapped)?;
        let is_allowed = match needs {
            PageUse::Read => true,
            PageUse::Write => region.access.write,
            PageUse::Execute => region.access.execute,
        };
        // A page that is there and faults all the same is one that was used against its permissions.
        if region.is_device || !is_allowed || self.table.page(address).is_some() {
            return Err(MemoryError::Unmapped);
        }
        self.allocate(frames, address)
    }

    fn allocate(&mut self, frames: &mut FrameAllocator, address: u64) -> Result<(), MemoryError> {
        let access = self.region(address).ok_or(MemoryError::Unmapped)?.access;
        let frame = frames.take()?;
        self.put(frames, address - address % PAGE_BYTES, frame, access)
    }

    fn put(
        &mut self,
        frames: &mut FrameAllocator,
        address: u64,
        physical: u64,
        access: Access,
    ) -> Result<(), MemoryError> {
        // The hart may remember that nothing was there.
        self.is_stale = true;
        self.table.map(frames, address, physical, access)
    }

    /// Maps cleared memory, at `at` (a multiple of the page) or else as high as there is room below the stack.
    pub(crate) fn map_memory(
        &mut self,
        frames: &mut FrameAllocator,
        at: Option<u64>,
        bytes: u64,
        access: Access,
        backing: Backing,
    ) -> Result<u64, MemoryError> {
        let range = self.reserve(at, bytes, access, false)?;
        if backing == Backing::OnDemand {
            return Ok(range.start);
        }
        let populated = self.populate(frames, range.clone(), access, backing == Backing::Contiguous);
        populated
            .map(|()| range.start)
            // A part of a row that could not be mapped for want of tables is lost. Nothing works any more then anyhow.
            .or_else(|error| self.unmap(frames, range.start, bytes).and(Err(error)))
    }

    fn populate(
        &mut self,
        frames: &mut FrameAllocator,
        range: Range<u64>,
        access: Access,
        is_row: bool,
    ) -> Result<(), MemoryError> {
        let count = (range.end - range.start) / PAGE_BYTES;
        let row = is_row.then(|| frames.take_row(count as usize)).transpose()?;
        for address in pages(range.clone()) {
            let frame = row.map_or_else(|| frames.take(), |row| Ok(row + (address - range.start)))?;
            self.put(frames, address, frame, access)?;
        }
        Ok(())
    }

    /// Maps a physical range, rounded to pages. The answer has the offset in the page that `physical` has.
    ///
    /// RAM is refused: nothing there belongs to a single process. A range that is `is_mediated` faults at every access, and
    /// [`mediated`](Self::mediated) tells which register was meant.
    pub(crate) fn map_device(
        &mut self,
        frames: &mut FrameAllocator,
        physical: u64,
        bytes: u64,
        is_mediated: bool,
    ) -> Result<u64, MemoryError> {
        let offset = physical % PAGE_BYTES;
        let first = physical - offset;
        let end = physical.checked_add(bytes).ok_or(MemoryError::BadPlace)?;
        let is_ram = first < RAM.end && end > RAM.start;
        if bytes == 0 || is_ram || end >= 1 << 56 {
            return Err(MemoryError::BadPlace);
        }
        let range = self.reserve(None, bytes + offset, Access::READ_WRITE, true)?;
        if is_mediated {
            let made = self.regions.iter_mut().find(|region| region.range == range);
            made.ok_or(MemoryError::OutOfMemory)?.mediated = Some(first);
            return Ok(range.start + offset);
        }
        for (address, physical) in pages(range.clone()).zip(pages(first..end)) {
            self.put(frames, address, physical, Access::READ_WRITE)?;
        }
        Ok(range.start + offset)
    }

    /// Removes the memory in a range, rounded up to pages; regions may lose a part. The frames are free at once.
    pub(crate) fn unmap(&mut self, frames: &mut FrameAllocator, address: u64, bytes: u64) -> Result<(), MemoryError> {
        let range = page_range(address, bytes)?;
        let mut kept: Vec<Region, MAX_REGIONS> = Vec::new();
        let mut is_mapped = false;
        for region in &self.regions {
            let Range { start, end } = region.range;
            let mut parts = [start..end, 0..0];
            if !region.is_device && start < range.end && range.start < end {
                is_mapped = true;
                parts = [start..range.start, range.end..end];
                for address in pages(start.max(range.start)..end.min(range.end)) {
                    if let Some(page) = self.table.unmap(address) {
                        frames.free(page.physical);
                    }
                }
            }
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                let part = Region {
                    range: part,
                    ..region.clone()
                };
                kept.push(part).map_err(|_| MemoryError::OutOfMemory)?;
            }
        }
        self.regions = kept;
        self.is_stale = true;
        is_mapped.then_some(()).ok_or(MemoryError::Unmapped)
    }

    /// Removes the device region that `address` lies in.
    pub(crate) fn unmap_device(&mut self, address: u64) -> Result<(), MemoryError> {
        let is_it = |region: &Region| region.is_device && region.range.contains(&address);
        let index = self.regions.iter().position(is_it).ok_or(MemoryError::Unmapped)?;
        let region = self.regions.remove(index);
        pages(region.range).for_each(|address| {
            self.table.unmap(address);
        });
        self.is_stale = true;
        Ok(())
    }

    /// Ends the space: its frames are kept back in `batch`, its tables are free. The hart must not be in it.
    pub(super) fn destroy(self, frames: &mut FrameAllocator, batch: Batch) {
        for region in self.regions.iter().filter(|region| !region.is_device) {
            for Page { physical, .. } in pages(region.range.clone()).filter_map(|address| self.table.unmap(address)) {
                frames.quarantine(physical, batch);
            }
        }
        self.table.free(frames);
    }

    /// The register of a device that an address stands for, if the kernel is to access it in the place of the process.
    pub(super) fn mediated(&self, address: u64) -> Option<u64> {
        let region = self.region(address)?;
        Some(region.mediated? + (address - region.range.start))
    }

    fn region(&self, address: u64) -> Option<&Region> {
        self.regions.iter().find(|region| region.range.contains(&address))
    }

    /// Makes a region, at `at` or as high as there is room.
    fn reserve(
        &mut self,
        at: Option<u64>,
        bytes: u64,
        access: Access,
        is_device: bool,
    ) -> Result<Range<u64>, MemoryError> {
        let range = match at {
            Some(start) => page_range(start, bytes).and_then(|range| match self.obstacle(&range) {
                None => Ok(range),
                Some(_) => Err(MemoryError::BadPlace),
            })?,
            None => self.highest_room(page_range(0, bytes)?.end)?,
        };
        let is_like = |region: &Region| !is_device && !region.is_device && region.access == access;
        // Programs that map page after page would soon have too many regions.
        if let Some(above) = self
            .regions
            .iter_mut()
            .find(|region| region.range.start == range.end && is_like(region))
        {
            above.range.start = range.start;
            return Ok(range);
        }
        let region = Region {
            range: range.clone(),
            access,
            is_device,
            mediated: None,
        };
        self.regions.push(region).map_err(|_| MemoryError::OutOfMemory)?;
        Ok(range)
    }

    fn highest_room(&self, bytes: u64) -> Result<Range<u64>, MemoryError> {
        let mut end = STACK.start;
        loop {
            // The lowest page stays empty, for the sake of null pointers.
            let start = end.checked_sub(bytes).filter(|&start| start >= PAGE_BYTES);
            let range = start.ok_or(MemoryError::OutOfMemory)?..end;
            match self.obstacle(&range) {
                None => return Ok(range),
                Some(start) => end = start,
            }
        }
    }

    /// The start of something that is in the way of a range.
    fn obstacle(&self, range: &Range<u64>) -> Option<u64> {
        let beyond = TOP..u64::MAX;
        let own = self.regions.iter().map(|region| &region.range);
        RESERVED
            .iter()
            .chain([&FINISHER, &beyond])
            .chain(own)
            .find(|taken| taken.start < range.end && range.start < taken.end)
            .map(|taken| taken.start)
    }
}

/// A range in pages. `BadPlace` for an address in the middle of one, for zero bytes and for more than there are.
fn page_range(address: u64, bytes: u64) -> Result<Range<u64>, MemoryError> {
    let end = address
        .checked_add(bytes)
        .and_then(|end| end.checked_next_multiple_of(PAGE_BYTES));
    match end {
        Some(end) if address.is_multiple_of(PAGE_BYTES) && bytes != 0 => Ok(address..end),
        _ => Err(MemoryError::BadPlace),
    }
}

fn pages(range: Range<u64>) -> impl Iterator<Item = u64> {
    range.step_by(PAGE_BYTES as usize)
}

/// Cuts a range at the borders of pages: address and size of each piece.
pub(super) fn pieces(address: u64, bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    let end = address.saturating_add(bytes);
    core::iter::successors(Some(address), |&at| Some(at - at % PAGE_BYTES + PAGE_BYTES))
        .take_while(move |&at| at < end)
        .map(move |at| (at, (PAGE_BYTES - at % PAGE_BYTES).min(end - at) as usize))
}
