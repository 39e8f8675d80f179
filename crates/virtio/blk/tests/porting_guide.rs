//! What `docs/porting.md` shows, compiled: the names and signatures in the guide are those of the crates.

use virtio_blk::proto::Sector;
use virtio_blk::{Answer, DiskOptions, IoError, Rejected, Request, SubmitError};
use virtio_blk_model::{Model, ModelConfig, ModelDma, ModelRegisters};
use virtio_core::{DmaBuffer, ResetTimeout};

const QUEUE: usize = 256;

type Transport = virtio_mmio::MmioTransport<ModelRegisters>;
type Token = u32;
type Disk = virtio_blk::Disk<Transport, DmaBuffer, Token, QUEUE>;

fn wake(_: Token, _: Option<DmaBuffer>, result: Result<Answer, IoError>) {
    assert_eq!(result, Ok(Answer::Done));
}

fn queue_for_later(_: Request<DmaBuffer, Token>) {}

fn fail(rejected: Rejected<DmaBuffer, Token>) {
    panic!("{}", rejected.error);
}

fn abandon(_: Disk) {}

/// Sections 3 to 6 in the order of the guide.
fn guide(
    model: &Model,
    transport: Transport,
    mut dma: ModelDma,
    token: Token,
) -> Result<(), Box<dyn core::error::Error>> {
    let options = DiskOptions::default();
    let mut disk = Disk::start(transport, &mut dma, &options)?;
    let buffer = DmaBuffer::allocate(&mut dma, 4096, 4096)?;

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
    match disk.shut_down(&mut dma, |done| match done.result {
        Err(IoError::Aborted) => again.push(done.into_request()),
        _ => wake(done.token, done.buffer, done.result),
    }) {
        Ok((transport, _counters)) => disk = Disk::start(transport, &mut dma, &options)?,
        Err((ResetTimeout, stuck)) => {
            abandon(stuck);
            return Err(ResetTimeout.into());
        }
    }
    for request in again {
        disk.submit(request).map_err(|rejected| rejected.error)?;
    }
    assert_eq!(disk.queue().in_flight(), 0);
    Ok(())
}

#[test]
fn the_guide_works() {
    let model = Model::new(ModelConfig::modern());
    let transport = match virtio_mmio::probe(model.registers()) {
        virtio_mmio::Probe::Device(transport) => transport,
        _ => panic!("the model is a device"),
    };
    guide(&model, transport, model.dma(), 7).expect("the model behaves");
    model.assert_clean();
}
