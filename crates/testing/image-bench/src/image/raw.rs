//! A raw ring: descriptors, headers and ring entries are written once for a workload. A batch is then one index, a notification if
//! the device asks for it, and another index. No driver can do less, so its rate is the measure of the others.

use alloc::vec::Vec;
use core::alloc::Layout;
use core::sync::atomic::{AtomicU16, Ordering};

use bare_image::memory::DmaMemory;
use bare_image::report::stop;
use bare_image::windows::Transport;
use guest_protocol::Case;
use virtio_core::{
    Dma as _, DmaRegion, FeatureChoice, Features, Init, PollLimit, QueueIndex, QueueNotifier as _, QueueSetup,
    QueueSize, fence,
};

use super::contender::{Contender, Events};
use super::workload::{SECTOR_BYTES, Workload};

/// Descriptors of the ring. All chains are direct, which a device reads fastest.
pub(crate) const DESCRIPTORS: usize = image_bench::disks::RAW_QUEUE;

/// Where the parts of the ring are in its memory.
const AVAILABLE: usize = 16 * DESCRIPTORS;
const USED: usize = AVAILABLE + (6 + 2 * DESCRIPTORS).next_multiple_of(4096);
/// Headers of 16 bytes, then status bytes, one of each for a request.
const HEADERS: usize = USED + (6 + 8 * DESCRIPTORS).next_multiple_of(4096);
const STATUSES: usize = HEADERS + 16 * DESCRIPTORS;
const BYTES: usize = STATUSES + DESCRIPTORS;

/// Flags of a descriptor.
const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;

/// The status of a request that no device has answered.
const UNANSWERED: u8 = 0xFF;

/// The memory of the ring.
struct Memory(DmaRegion);

impl Memory {
    /// Stores a value at `offset` bytes.
    fn store<T>(&self, offset: usize, value: T) {
        assert!(offset.is_multiple_of(size_of::<T>()) && offset + size_of::<T>() <= self.0.len());
        // SAFETY: as just checked, the place lies in the region, which this value owns, and is aligned.
        unsafe { self.0.as_ptr().byte_add(offset).cast::<T>().write_volatile(value) }
    }

    /// The byte at `offset`.
    fn byte(&self, offset: usize) -> u8 {
        assert!(offset < self.0.len());
        // SAFETY: as just checked, the place lies in the region, which this value owns.
        unsafe { self.0.as_ptr().byte_add(offset).read_volatile() }
    }

    /// The 16 bits at `offset`, which both sides may use at any time.
    fn shared(&self, offset: usize) -> &AtomicU16 {
        assert!(offset.is_multiple_of(2) && offset + 2 <= self.0.len());
        // SAFETY: as just checked, the place lies in the region, which lives as long as this value, and is aligned. It is only
        // used as an atomic.
        unsafe { self.0.as_ptr().byte_add(offset).cast().as_ref() }
    }

    fn address(&self, offset: usize) -> u64 {
        self.0.device_addr().get() + offset as u64
    }
}

/// The ring on its disk.
pub(crate) struct Raw {
    /// Nothing else may use the device.
    _transport: Transport,
    doorbell: <Transport as virtio_core::Transport>::Notifier,
    memory: Memory,
    workload: Workload,
    /// Chains made available so far, and chains seen back, both modulo 2^16.
    available: u16,
    seen: u16,
    notifies: u64,
    /// Data of all workloads so far, by size. It is shared by them, as only one is in flight at a time.
    data: Vec<(usize, Vec<DmaRegion>)>,
}

impl Raw {
    /// Takes the device into use.
    pub(crate) fn start(mut transport: Transport) -> Self {
        const {
            assert!(DESCRIPTORS.is_power_of_two());
        }
        let layout = Layout::from_size_align(BYTES, 4096).unwrap_or_else(|_| failed("layout"));
        let region = DmaMemory.allocate(layout).unwrap_or_else(|_| failed("memory"));
        let memory = Memory(region);
        let address = |offset| virtio_core::DeviceAddr(memory.address(offset));
        let setup = QueueSetup {
            size: QueueSize::new(DESCRIPTORS as u16).unwrap_or_else(|| failed("size")),
            descriptor_table: address(0),
            driver_area: address(AVAILABLE),
            device_area: address(USED),
            legacy_align: 4096,
            cpu: None,
            vector: None,
        };
        let choice = FeatureChoice {
            supported: Features::EVENT_IDX,
            required: Features::EVENT_IDX,
        };
        let init = Init::begin(&mut transport, &mut PollLimit::default());
        let init = init.and_then(|init| init.acknowledge().driver()?.negotiate(choice));
        let mut init = init.unwrap_or_else(|_| failed("handshake"));
        // SAFETY: the memory is zeroed, belongs to the ring, and is never freed. What the descriptors name is memory of the ring
        // or data that belongs to it and is never freed.
        unsafe { init.enable_queue(QueueIndex(0), &setup) }.unwrap_or_else(|_| failed("queue"));
        let doorbell = init.notifier(QueueIndex(0));
        init.finish().unwrap_or_else(|_| failed("device"));
        Self {
            _transport: transport,
            doorbell,
            memory,
            workload: Workload::reads(0),
            available: 0,
            seen: 0,
            notifies: 0,
            data: Vec::new(),
        }
    }

    /// The address of the data of a request.
    fn data(&mut self, bytes: usize, index: usize) -> u64 {
        let pool = self.data.iter().position(|(size, _)| *size == bytes);
        let pool = pool.unwrap_or_else(|| {
            self.data.push((bytes, Vec::new()));
            self.data.len() - 1
        });
        let regions = &mut self.data[pool].1;
        while regions.len() <= index {
            let layout = Layout::from_size_align(bytes, 4096).unwrap_or_else(|_| failed("layout"));
            regions.push(DmaMemory.allocate(layout).unwrap_or_else(|_| failed("memory")));
        }
        regions[index].device_addr().get()
    }

    fn descriptor(&self, index: usize, address: u64, bytes: usize, flags: u16) {
        let place = 16 * index;
        self.memory.store(place, address);
        self.memory.store(place + 8, bytes as u32);
        self.memory.store(place + 12, flags);
        self.memory.store(place + 14, (index + 1) as u16);
    }

    /// Ends the run if a request of the last batch was not carried out.
    fn check_statuses(&self) {
        let bad = (0..self.workload.depth).find(|request| self.memory.byte(STATUSES + request) != 0);
        if bad.is_some() {
            failed("request");
        }
    }

    fn used_index(&self) -> u16 {
        self.memory.shared(USED + 2).load(Ordering::Acquire)
    }
}

impl Contender for Raw {
    fn prepare(&mut self, workload: &Workload) {
        if self.workload == *workload {
            return;
        }
        if self.workload.depth > 0 && self.available != 0 {
            self.check_statuses();
        }
        let length = workload.segments + 2;
        assert!(workload.depth.is_power_of_two() && workload.depth * length <= DESCRIPTORS);
        let (sectors, piece) = (workload.bytes / SECTOR_BYTES, workload.bytes / workload.segments);
        for request in 0..workload.depth {
            let writes = workload.operation.writes(request);
            let (header, status, first) = (HEADERS + 16 * request, STATUSES + request, request * length);
            self.memory.store(header, u32::from(writes));
            self.memory.store(header + 4, 0u32);
            self.memory.store(header + 8, (request * sectors) as u64);
            self.memory.store(status, UNANSWERED);
            let data = self.data(workload.bytes, request);
            self.descriptor(first, self.memory.address(header), 16, NEXT);
            let direction = if writes { 0 } else { DEVICE_WRITES };
            for segment in 0..workload.segments {
                let address = data + (segment * piece) as u64;
                self.descriptor(first + 1 + segment, address, piece, NEXT | direction);
            }
            let last = first + length - 1;
            self.descriptor(last, self.memory.address(status), 1, DEVICE_WRITES);
        }
        // A batch is as long as the workload is deep, and both numbers are powers of two: every batch finds its own entries.
        for entry in 0..DESCRIPTORS {
            let slot = (usize::from(self.available) + entry) % DESCRIPTORS;
            let head = entry % workload.depth * length;
            self.memory.store(AVAILABLE + 4 + 2 * slot, head as u16);
        }
        // The device interrupts when the used index passes this, which is as rare as it can be made.
        self.memory
            .store(AVAILABLE + 4 + 2 * DESCRIPTORS, self.available.wrapping_sub(1));
        self.workload = *workload;
    }

    fn case(&self, workload: &Workload) -> Case<'static> {
        workload.case("raw", "polled", "direct", "")
    }

    #[inline(never)]
    fn submit(&mut self) {
        self.available = self.available.wrapping_add(self.workload.depth as u16);
    }

    #[inline(never)]
    fn publish(&mut self) {
        let before = self.available.wrapping_sub(self.workload.depth as u16);
        self.memory
            .shared(AVAILABLE + 2)
            .store(self.available, Ordering::Release);
        fence::store_then_load();
        let event = self.memory.shared(USED + 4 + 8 * DESCRIPTORS).load(Ordering::Relaxed);
        // VirtIO 1.4, "Used Buffer Notification Suppression".
        if self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(before) {
            self.notifies += 1;
            if self.doorbell.notify(self.available).is_err() {
                failed("doorbell");
            }
        }
    }

    fn is_completed(&self) -> bool {
        self.used_index() == self.available
    }

    #[inline(never)]
    fn complete(&mut self) -> usize {
        let used = self.used_index();
        let completed = used.wrapping_sub(self.seen);
        self.seen = used;
        usize::from(completed)
    }

    fn events(&self) -> Events {
        Events {
            notifies: self.notifies,
            interrupts: 0,
        }
    }
}

#[cold]
fn failed(what: &str) -> ! {
    stop(
        "init",
        "no-raw-ring",
        &format_args!("the raw ring has no luck with its {what}"),
    )
}
