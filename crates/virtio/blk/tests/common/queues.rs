//! A device whose control half and queues are apart.

use virtio_blk::{Completion, DeviceControl, DeviceQueue, DiskOptions, QueueCounters, Vectors};
use virtio_blk_model::Model;
use virtio_core::{PollLimit, Transport};

use super::{Rig, Scatter, TestTransport};

pub(crate) type TestControl = DeviceControl<TestTransport>;
pub(crate) type TestQueue<const N: usize> = DeviceQueue<TestTransport, Scatter, u32, N>;

/// The control half and as many queues as the device has, at most `Q`.
pub(crate) fn start_queues<const N: usize, const Q: usize>(model: &Model) -> (TestControl, Vec<TestQueue<N>>) {
    let mut places = [const { None }; Q];
    let options = DiskOptions::default();
    let transport = Rig::<N>::probe(model);
    let wait = &mut PollLimit::default();
    let control =
        DeviceControl::start(transport, &mut model.dma(), &options, Vectors::NONE, wait, &mut places).unwrap();
    (control, places.into_iter().flatten().collect())
}

/// The control half and one queue.
pub(crate) fn start_queue<const N: usize>(model: &Model) -> (TestControl, TestQueue<N>) {
    let (control, mut queues) = start_queues::<N, 1>(model);
    (control, queues.remove(0))
}

/// Resets the device and takes its queues back. Returns what was still in them, and what each has counted.
pub(crate) fn shut_down<T: Transport, const N: usize>(
    model: &Model,
    control: DeviceControl<T>,
    queues: impl IntoIterator<Item = DeviceQueue<T, Scatter, u32, N>>,
) -> (Vec<Completion<Scatter, u32>>, Vec<QueueCounters>) {
    let (mut dma, mut back) = (model.dma(), Vec::new());
    let mut reset = control
        .shut_down(&mut PollLimit::default())
        .map_err(|(error, _)| error)
        .unwrap();
    let release = |queue| {
        reset
            .release(queue, &mut dma, |completion| back.push(completion))
            .unwrap()
    };
    let counters = queues.into_iter().map(release).collect();
    reset.finish(&mut model.dma()).unwrap();
    (back, counters)
}
