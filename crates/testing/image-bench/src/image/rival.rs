//! The crate `virtio-drivers`: its calls that wait, and its calls that do not.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use board_qemu_virt::counters;
use guest_protocol::Case;
use virtio_core::{DeviceAddr, Dma as _, DmaRegion};
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};
use virtio_mmio::MmioWindow;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::bracket::settle;
use super::contender::{Contender, Events, TURN_REQUESTS};
use super::workload::{Operation, SECTOR_BYTES, Workload};

/// Descriptors of its queue; a constant in the crate.
const DESCRIPTORS: usize = 16;

/// The most requests that it can have in flight, by the kind of chains: three descriptors each, or one.
pub(crate) const DEPTH_DIRECT: usize = DESCRIPTORS / 3;
pub(crate) const DEPTH_INDIRECT: usize = DESCRIPTORS;

/// The used ring that was allocated last, to wait for completions without taking them.
static USED_RING: AtomicUsize = AtomicUsize::new(0);

/// The platform of the crate: nothing is translated and nothing is copied.
pub(crate) struct Platform;

// SAFETY: `DmaMemory` gives whole zeroed pages that nothing else uses, and devices see them at the same addresses.
unsafe impl Hal for Platform {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let layout = Layout::from_size_align(pages * virtio_drivers::PAGE_SIZE, virtio_drivers::PAGE_SIZE);
        match layout.map(|layout| DmaMemory.allocate(layout)) {
            Ok(Ok(region)) => {
                if direction == BufferDirection::DeviceToDriver {
                    USED_RING.store(region.as_ptr().as_ptr().expose_provenance(), Ordering::Relaxed);
                }
                (region.device_addr().get(), region.as_ptr())
            }
            _ => stop("run", "no-memory", &"virtio-drivers gets no memory"),
        }
    }

    unsafe fn dma_dealloc(address: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        let bytes = pages * virtio_drivers::PAGE_SIZE;
        // SAFETY: the caller gives back what `dma_alloc` has given, which was a region with these numbers.
        DmaMemory.release(unsafe { DmaRegion::from_raw_parts(start, bytes, DeviceAddr(address)) });
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _size: usize) -> NonNull<u8> {
        // No address is zero where a device is.
        NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize)).unwrap_or(NonNull::dangling())
    }

    #[inline]
    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    #[inline]
    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// The index of a used ring.
#[derive(Clone, Copy)]
struct UsedIndex(NonNull<AtomicU16>);

impl UsedIndex {
    /// That of the ring that was allocated last.
    fn latest() -> Self {
        let ring = core::ptr::with_exposed_provenance_mut::<AtomicU16>(USED_RING.load(Ordering::Relaxed));
        // The index follows sixteen bits of flags.
        match NonNull::new(ring.wrapping_add(1)) {
            Some(index) => Self(index),
            None => stop("init", "no-used-ring", &"virtio-drivers has allocated no used ring"),
        }
    }

    fn load(self) -> u16 {
        // SAFETY: the ring was allocated by the disk that this belongs to, and is freed after it. All sides use the index as an
        // atomic.
        unsafe { self.0.as_ref() }.load(Ordering::Acquire)
    }
}

/// A transport of the crate that can be made again and again.
pub(crate) trait Registers: Transport {
    /// The registers of a window.
    fn of(window: &MmioWindow) -> Self;
}

impl Registers for MmioTransport<'static> {
    fn of(window: &MmioWindow) -> Self {
        let header = window.base().cast::<VirtIOHeader>();
        // SAFETY: the window is that of a VirtIO device for as long as the machine runs, and its owner uses it in no other way.
        match unsafe { MmioTransport::new(header, window.bytes()) } {
            Ok(transport) => transport,
            Err(error) => stop("init", "no-rival", &format_args!("{error:?}")),
        }
    }
}

/// A disk of the crate, which is started anew from time to time.
///
/// The crate compares the available index as a number. After 65,536 requests, when the index starts from zero, it can take a
/// notification for unnecessary that is not, and wait for ever. No contender should lose by that, so it does not come that far.
struct RivalDisk<T: Registers> {
    window: MmioWindow,
    disk: Option<Box<VirtIOBlk<Platform, T>>>,
    used: UsedIndex,
    /// Turns until the next start.
    turns: u16,
}

impl<T: Registers> RivalDisk<T> {
    /// As many turns as need no second round of the index.
    const TURNS: u16 = (65_536 / TURN_REQUESTS) as u16 - 1;

    fn start(window: MmioWindow) -> Self {
        let disk = Some(Self::make(&window));
        Self {
            window,
            disk,
            used: UsedIndex::latest(),
            turns: Self::TURNS,
        }
    }

    fn make(window: &MmioWindow) -> Box<VirtIOBlk<Platform, T>> {
        match VirtIOBlk::new(T::of(window)) {
            Ok(mut disk) => {
                disk.disable_interrupts();
                Box::new(disk)
            }
            Err(error) => failed(&error),
        }
    }

    /// Makes ready for [`TURN_REQUESTS`]. None may be in flight.
    fn begin_turn(&mut self) {
        if self.turns == 0 {
            // The old one takes its queue away from the device when it goes.
            self.disk = None;
            self.disk = Some(Self::make(&self.window));
            self.used = UsedIndex::latest();
            self.turns = Self::TURNS;
        }
        self.turns -= 1;
    }

    #[inline(always)]
    fn disk(&mut self) -> &mut VirtIOBlk<Platform, T> {
        match &mut self.disk {
            Some(disk) => disk,
            None => stop("run", "no-rival", &"virtio-drivers is not started"),
        }
    }
}

/// What a request needs from its caller.
struct Slot {
    request: BlkReq,
    response: BlkResp,
    data: Vec<u8>,
}

/// The slots of a workload.
fn slots(workload: &Workload) -> Vec<Slot> {
    let slot = |_| Slot {
        request: BlkReq::default(),
        response: BlkResp::default(),
        data: vec![0; workload.bytes],
    };
    (0..workload.depth).map(slot).collect()
}

/// The crate by the calls that do not wait.
pub(crate) struct NonBlocking<T: Registers> {
    disk: RivalDisk<T>,
    chains: &'static str,
    workload: Workload,
    slots: Vec<Slot>,
    /// The slot of the request with a token.
    slot_of: [u8; DESCRIPTORS],
    /// The used index when the batch is completed.
    end: u16,
}

impl<T: Registers> NonBlocking<T> {
    /// `chains`: `indirect` if the device offers indirect tables, which the crate then uses.
    pub(crate) fn start(window: MmioWindow, chains: &'static str) -> Self {
        Self {
            disk: RivalDisk::start(window),
            chains,
            workload: Workload::reads(0),
            slots: Vec::new(),
            slot_of: [0; DESCRIPTORS],
            end: 0,
        }
    }

    /// Gives the device up.
    pub(crate) fn end(self) -> MmioWindow {
        self.disk.window
    }
}

impl<T: Registers> Contender for NonBlocking<T> {
    /// The call that submits notifies, too.
    const STAGES: [Option<&'static str>; 3] = [Some("submit"), None, Some("pop")];

    fn prepare(&mut self, workload: &Workload) {
        self.disk.begin_turn();
        self.end = self.disk.used.load();
        if self.workload != *workload {
            self.workload = *workload;
            self.slots = slots(workload);
        }
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        workload.case("virtio-drivers", "polled", self.chains, "")
    }

    #[inline(never)]
    fn submit(&mut self) {
        let sectors = self.workload.bytes / SECTOR_BYTES;
        let mut sector = 0;
        let writes = self.workload.operation == Operation::Write;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Slot {
                request,
                response,
                data,
            } = slot;
            let disk = self.disk.disk();
            // SAFETY: what the slots hold is not touched until the request is completed.
            let token = unsafe {
                match writes {
                    true => disk.write_blocks_nb(sector, request, data, response),
                    false => disk.read_blocks_nb(sector, request, data, response),
                }
            };
            match token {
                Ok(token) => self.slot_of[usize::from(token) % DESCRIPTORS] = index as u8,
                Err(error) => failed(&error),
            }
            sector += sectors;
        }
    }

    #[inline(never)]
    fn publish(&mut self) {
        self.end = self.end.wrapping_add(self.workload.depth as u16);
    }

    fn is_completed(&self) -> bool {
        self.disk.used.load() == self.end
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        let writes = self.workload.operation == Operation::Write;
        let disk = self.disk.disk();
        let mut completed = 0;
        while let Some(token) = disk.peek_used() {
            let index = self.slot_of[usize::from(token) % DESCRIPTORS];
            let Some(slot) = self.slots.get_mut(usize::from(index)) else {
                continue;
            };
            let Slot {
                request,
                response,
                data,
            } = slot;
            // SAFETY: these are what the request was submitted with.
            let result = unsafe {
                match writes {
                    true => disk.complete_write_blocks(token, request, data, response),
                    false => disk.complete_read_blocks(token, request, data, response),
                }
            };
            if let Err(error) = result {
                failed(&error);
            }
            completed += 1;
        }
        completed
    }

    fn events(&self) -> Events {
        watched_events()
    }
}

/// The crate by the calls that wait.
pub(crate) struct Blocking<T: Registers> {
    disk: RivalDisk<T>,
    chains: &'static str,
    workload: Workload,
    data: Vec<u8>,
}

impl<T: Registers> Blocking<T> {
    /// As [`NonBlocking::start`].
    pub(crate) fn start(window: MmioWindow, chains: &'static str) -> Self {
        Self {
            disk: RivalDisk::start(window),
            chains,
            workload: Workload::reads(1),
            data: Vec::new(),
        }
    }

    /// Gives the device up.
    pub(crate) fn end(self) -> MmioWindow {
        self.disk.window
    }
}

impl<T: Registers> Contender for Blocking<T> {
    /// One call does it all.
    const STAGES: [Option<&'static str>; 3] = [Some(""), None, None];

    fn prepare(&mut self, workload: &Workload) {
        self.disk.begin_turn();
        self.workload = *workload;
        self.data.resize(workload.bytes, 0);
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        workload.case("virtio-drivers", "blocking", self.chains, "")
    }

    #[inline(never)]
    fn submit(&mut self) {
        let result = match self.workload.operation {
            Operation::Write => self.disk.disk().write_blocks(0, &self.data),
            _ => self.disk.disk().read_blocks(0, &mut self.data),
        };
        if let Err(error) = result {
            failed(&error);
        }
    }

    #[inline(never)]
    fn publish(&mut self) {}

    fn is_completed(&self) -> bool {
        true
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        1
    }

    fn events(&self) -> Events {
        watched_events()
    }

    fn waited(&mut self) -> u64 {
        WAITED.swap(0, Ordering::Relaxed)
    }
}

#[cold]
fn failed(error: &virtio_drivers::Error) -> ! {
    stop("run", "rival-failed", &format_args!("virtio-drivers: {error:?}"))
}

/// Notifications through [`Watched`] so far.
static NOTIFIES: AtomicU64 = AtomicU64::new(0);
/// Instructions that [`Watched`] took, since they were last asked for.
static WAITED: AtomicU64 = AtomicU64::new(0);

fn watched_events() -> Events {
    Events {
        notifies: NOTIFIES.load(Ordering::Relaxed),
        interrupts: 0,
    }
}

/// A transport that counts notifications, and waits for the device after each, so that the instructions of waiting can be told
/// from those of the driver.
pub(crate) struct Watched(MmioTransport<'static>);

impl Registers for Watched {
    fn of(window: &MmioWindow) -> Self {
        Self(Registers::of(window))
    }
}

impl Transport for Watched {
    fn notify(&mut self, queue: u16) {
        let used = UsedIndex::latest();
        let before = used.load();
        self.0.notify(queue);
        let start = counters::instructions_retired();
        NOTIFIES.fetch_add(1, Ordering::Relaxed);
        while used.load() == before {
            core::hint::spin_loop();
        }
        settle();
        WAITED.fetch_add(counters::instructions_retired() - start, Ordering::Relaxed);
    }

    fn device_type(&self) -> DeviceType {
        self.0.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.read_device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.0.write_driver_features(driver_features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.0.max_queue_size(queue)
    }

    fn get_status(&self) -> DeviceStatus {
        self.0.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.0.set_status(status);
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        self.0.set_guest_page_size(guest_page_size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.0.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.0.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.0.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.0.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.0.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> virtio_drivers::Result<V> {
        self.0.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, offset: usize, value: V) -> virtio_drivers::Result<()> {
        self.0.write_config_space(offset, value)
    }
}
