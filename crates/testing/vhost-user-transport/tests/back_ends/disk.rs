//! The driver on a back-end, with helpers that wait for completions.

use std::path::Path;
use std::time::{Duration, Instant};

use virtio_blk::proto::Sector;
use virtio_blk::{Answer, Completion, DiskOptions, Request};
use virtio_core::{DeviceType, Dma, DmaBuffer, PollLimit};
use virtio_vhost_user::{SharedMemory, VhostUser};

pub(crate) type Disk = virtio_blk::Disk<VhostUser, DmaBuffer, u32, 64>;
pub(crate) type Done = Completion<DmaBuffer, u32>;

/// How long a back-end may take to answer before a test gives it up.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection to the back-end at `socket`, and memory to share with it.
pub(crate) fn connect(socket: &Path) -> (VhostUser, SharedMemory) {
    let memory = SharedMemory::new(16 << 20).unwrap();
    let transport = VhostUser::connect(socket, DeviceType::BLOCK, &memory).unwrap();
    (transport, memory)
}

/// A started disk on the back-end at `socket`.
pub(crate) fn start(socket: &Path) -> (Disk, SharedMemory) {
    let (transport, mut memory) = connect(socket);
    let disk = Disk::start(
        transport,
        &mut memory,
        &DiskOptions::default(),
        &mut PollLimit::default(),
    )
    .unwrap();
    (disk, memory)
}

/// A buffer of `bytes` whose content follows from `seed`.
pub(crate) fn filled(memory: &mut SharedMemory, bytes: usize, seed: u32) -> DmaBuffer {
    let mut buffer = DmaBuffer::allocate(memory, bytes, 512).unwrap();
    for (index, word) in buffer.chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&(seed ^ index as u32).to_le_bytes());
    }
    buffer
}

/// Whether a buffer has the content that follows from `seed`.
pub(crate) fn is_filled(bytes: &[u8], seed: u32) -> bool {
    let mut words = bytes.chunks_exact(4).enumerate();
    words.all(|(index, word)| word == (seed ^ index as u32).to_le_bytes())
}

/// Polls until `count` requests are back.
pub(crate) fn collect(disk: &mut Disk, count: usize) -> Vec<Done> {
    let mut done = Vec::new();
    let started = Instant::now();
    while done.len() < count {
        assert!(started.elapsed() < LIMIT, "the back-end does not answer");
        disk.poll(|completion| done.push(completion)).unwrap();
        std::thread::yield_now();
    }
    done
}

/// Does one request to its end.
pub(crate) fn complete(disk: &mut Disk, request: Request<DmaBuffer, u32>) -> Done {
    disk.submit(request).unwrap();
    disk.notify();
    collect(disk, 1).remove(0)
}

/// Writes and reads many blocks of several sizes, many at a time, and compares every byte.
pub(crate) fn write_and_verify(disk: &mut Disk, memory: &mut SharedMemory) {
    const SIZES: [usize; 4] = [512, 4096, 12 * 1024, 64 * 1024];
    const AREA: u64 = 128;
    for write in [true, false] {
        for seed in 0..16_u32 {
            let bytes = SIZES[seed as usize % SIZES.len()];
            let first = Sector(u64::from(seed) * AREA);
            let request = if write {
                Request::write(first, filled(memory, bytes, seed), seed)
            } else {
                let mut buffer = DmaBuffer::allocate(memory, bytes, 512).unwrap();
                buffer.fill(0xEE);
                Request::read(first, buffer, seed)
            };
            disk.submit(request).unwrap();
        }
        disk.notify();
        let mut tokens: Vec<_> = collect(disk, 16)
            .into_iter()
            .map(|done| {
                assert_eq!(done.result, Ok(Answer::Done));
                let buffer = done.buffer.unwrap();
                assert!(is_filled(&buffer, done.token), "request {}", done.token);
                memory.release(buffer.into_region());
                done.token
            })
            .collect();
        tokens.sort_unstable();
        assert_eq!(tokens, Vec::from_iter(0..16));
    }
    assert_eq!(complete(disk, Request::flush(99)).result, Ok(Answer::Done));
}
