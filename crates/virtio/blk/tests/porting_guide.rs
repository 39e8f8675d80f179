//! Code that `docs/porting.md` quotes, run.

use virtio_blk::proto::Sector;
use virtio_blk::proto::zoned::{ZoneId, ZoneReport};
use virtio_blk::{
    Answer, DeviceControl, DiskOptions, IoError, Rejected, Request, SubmitError, TrackedZone, Vectors, ZoneTable,
};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters, feature};
use virtio_core::{Dma, DmaBuffer, InterruptSource, PollLimit};

const QUEUE: usize = 256;

type Transport = virtio_mmio::MmioTransport<ModelRegisters>;
type Token = u32;
type Disk = virtio_blk::Disk<Transport, DmaBuffer, Token, QUEUE>;

fn wake(_: Token, _: Option<DmaBuffer>, result: Result<Answer, IoError>) {
    assert_eq!(result, Ok(Answer::Done));
}

fn queue_for_later(_: Request<DmaBuffer, Token>) {}

fn fail(rejected: Rejected<DmaBuffer, Token>) {
    panic!("{rejected}");
}

fn abandon(_: Disk) {}

/// An own loop, and what to do when the device misbehaves.
fn guide(
    model: &Model,
    transport: Transport,
    mut dma: ModelDma,
    token: Token,
) -> Result<(), Box<dyn core::error::Error>> {
    // A kernel may have its platform behind a pointer.
    let dma: &mut dyn Dma = &mut dma;
    let options = DiskOptions::default();
    let mut disk = Disk::start(transport, dma, &options, &mut PollLimit::default())?;
    let buffer = DmaBuffer::allocate(dma, 4096, 4096)?;

    match disk.submit(Request::read(Sector(16), buffer, token)) {
        Ok(()) => {}
        Err(rejected) if rejected.error == SubmitError::QueueFull => queue_for_later(rejected.request),
        Err(rejected) => fail(rejected),
    }
    disk.notify();
    model.process(usize::MAX);

    let done = disk.poll(|done| wake(done.token, done.buffer, done.result))?;
    assert_eq!(done, 1);
    assert!(!disk.refresh_config()?.needs_reset);

    assert!(disk.liveness().is_live());
    let mut again = Vec::new();
    match disk.shut_down(dma, &mut PollLimit::default(), |done| match done.result {
        Err(IoError::Aborted) => again.push(done.into_request()),
        _ => wake(done.token, done.buffer, done.result),
    }) {
        Ok((transport, _counters)) => disk = Disk::start(transport, dma, &options, &mut PollLimit::default())?,
        Err((error, stuck)) => {
            abandon(stuck);
            return Err(error.into());
        }
    }
    for request in again {
        disk.submit(request)?;
    }
    assert_eq!(disk.queue().in_flight(), 0);
    Ok(())
}

fn place(_: Token, result: Result<Answer, IoError>) {
    assert_eq!(result, Ok(Answer::Appended(Sector(64))));
}

fn learn(zones: &mut ZoneTable<'_>, buffer: Option<DmaBuffer>) {
    let buffer = buffer.expect("a report has a buffer");
    let report = ZoneReport::parse(&buffer).expect("room for a report");
    assert_eq!(zones.learn(&report), Ok(64));
}

/// Zoned disks.
fn zoned_guide(
    model: &Model,
    transport: Transport,
    mut dma: ModelDma,
    token: Token,
) -> Result<(), Box<dyn core::error::Error>> {
    let mut disk = Disk::start(
        transport,
        &mut dma,
        &DiskOptions::default().with_zones(),
        &mut PollLimit::default(),
    )?;
    let buffer = DmaBuffer::allocate(&mut dma, 65 * 64, 8)?;
    let data = DmaBuffer::allocate(&mut dma, 4096, 4096)?;
    let zone = ZoneId::starting_at(Sector(64));

    let mut memory = [TrackedZone::UNKNOWN; 64];
    let mut zones = ZoneTable::new(disk.limits(), &mut memory).ok_or("no zones")?;

    let report = Request::report_zones(Sector(0), buffer, token);
    disk.submit(report)?;
    disk.notify();
    model.process(usize::MAX);
    disk.poll(|done| learn(&mut zones, done.buffer))?;

    let append = Request::append(zone, data, token);
    disk.submit_to_zones(&mut zones, append)?;
    disk.notify();
    model.process(usize::MAX);
    disk.poll(|done| {
        zones.completed(&done);
        place(done.token, done.result);
    })?;
    Ok(())
}

/// Several queues.
fn queues_guide(model: &Model, transport: Transport, mut dma: ModelDma) -> Result<(), Box<dyn core::error::Error>> {
    const HARTS: usize = 2;
    type Queue = virtio_blk::DeviceQueue<Transport, DmaBuffer, Token, QUEUE>;
    let (options, mut wait) = (DiskOptions::default(), PollLimit::default());

    let mut places: [Option<Queue>; HARTS] = [const { None }; HARTS];
    let vectors = Vectors::NONE;
    let mut control = DeviceControl::start(transport, &mut dma, &options, vectors, &mut wait, &mut places)?;
    let mut queues: Vec<Queue> = places.into_iter().flatten().collect();
    assert_eq!(usize::from(control.queues()), queues.len());

    for queue in &mut queues {
        queue.submit(Request::flush(7))?;
        queue.notify();
    }
    model.process(usize::MAX);
    let mut count = 0;
    control.on_interrupt(InterruptSource::Line, || {
        let drain = |queue: &mut Queue| queue.drain(|done| wake(done.token, done.buffer, done.result));
        let drained: u32 = queues
            .iter_mut()
            .map(|queue| drain(queue).expect("the device is honest"))
            .sum();
        count += drained;
        drained > 0
    });
    assert_eq!(count, 2);

    let mut reset = control.shut_down(&mut wait).map_err(|(error, _)| error)?;
    for queue in queues {
        reset.release(queue, &mut dma, |_| ())?;
    }
    let (_transport, _interrupts) = reset.finish(&mut dma).map_err(|missing| missing.to_string())?;
    Ok(())
}

#[test]
fn the_guide_works_for_several_queues() {
    let model = Model::new(ModelConfig {
        queues: 4,
        ..ModelConfig::modern().offer(feature::MQ)
    });
    queues_guide(&model, transport(&model), model.dma()).expect("the model behaves");
    assert_eq!(model.allocations(), 0);
    model.assert_clean();
}

fn transport(model: &Model) -> Transport {
    match virtio_mmio::probe(model.registers()) {
        virtio_mmio::Probe::Device(transport) => transport,
        _ => panic!("the model is a device"),
    }
}

#[test]
fn the_guide_works_on_a_zoned_disk() {
    let model = Model::new(ModelConfig::modern().offer(feature::ZONED));
    zoned_guide(&model, transport(&model), model.dma(), 7).expect("the model behaves");
    model.assert_clean();
}

#[test]
fn the_guide_works() {
    let model = Model::new(ModelConfig::modern());
    guide(&model, transport(&model), model.dma(), 7).expect("the model behaves");
    model.assert_clean();
}
