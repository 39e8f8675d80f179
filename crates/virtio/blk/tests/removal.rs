//! A device that is taken off the bus at each register access in turn: typed answers, no spinning, and everything back once.

mod common;

use common::{Hooked, Rig, TestTransport, every_ring, pattern};
use virtio_blk::{DiskOptions, InitError, IoError, Liveness, Request, SubmitError, WriteCache, WriteCacheError};
use virtio_blk_model::{Model, ModelConfig};
use virtio_core::{ConfigError, DeviceGone, DeviceStatus, ResetError, Transport, Wait};
use virtio_mmio::{Probe, probe};
use virtqueue::DeviceFault;

/// Accesses to a device that is gone, in all of a life from there on: a few for each call that is made.
const FEW: u64 = 40;

/// The transport of a model that answers `accesses` accesses; `None` if it is gone before it was found.
fn found(model: &Model, accesses: u64) -> Option<TestTransport> {
    model.go_away_after(accesses);
    match probe(Hooked::new(model.registers())) {
        Probe::Device(transport) => Some(transport),
        Probe::WrongMagic(u32::MAX) | Probe::UnknownVersion(u32::MAX) => None,
        other => panic!(
            "the model shows {other:?}",
            other = other.device().map(|it| it.device_type())
        ),
    }
}

/// The answer, unless it is that the device is gone, which is told only then.
fn told<V, E: PartialEq + std::fmt::Debug>(model: &Model, answer: Result<V, E>, gone: E) -> Option<V> {
    answer
        .map_err(|error| {
            assert_eq!(error, gone);
            assert!(model.is_gone(), "the device is there");
        })
        .ok()
}

/// What a driver does with a disk between its start and its end. `None` as soon as it is told that the device is gone.
fn use_disk(rig: &mut Rig<16>) -> Option<()> {
    let model = rig.model.clone();
    for sector in 0..3 {
        rig.submit_write(sector, &pattern(sector, 512), &[512]);
    }
    rig.serve();
    for done in told(&model, rig.poll(), DeviceFault::Gone)? {
        assert!(done.result.is_ok());
    }

    told(&model, rig.drain(), DeviceFault::Gone)?;
    rig.submit_read(0, &[512]);
    rig.serve();
    let (seen, done) = told(&model, rig.interrupt(), DeviceFault::Gone)?;
    assert!(model.is_gone() || seen.completions == 1 && done[0].content == pattern(0, 512));

    model.resize(2048);
    told(&model, rig.interrupt(), DeviceFault::Gone)?;
    told(&model, rig.disk.refresh_config(), ConfigError::Gone)?;
    told(&model, rig.poll(), DeviceFault::Gone)?;

    if !model.is_gone() && rig.disk.queue().in_flight() == 0 {
        let switched = rig.disk.set_write_cache(WriteCache::WriteThrough);
        told(&model, switched, WriteCacheError::Gone)?;
        assert!(!model.is_gone(), "a switch that is lost is no success");
        told(&model, rig.disk.write_cache(), DeviceGone)?;
    }

    // Of these the device has done two, and begun none of the others.
    for sector in 0..5 {
        if let Err(error) = rig.try_submit_read(sector, &[512]) {
            assert_eq!(error, SubmitError::QueueFull);
            assert!(model.is_gone(), "earlier requests came back");
        }
    }
    rig.disk.notify();
    model.process(2);
    Some(())
}

/// One life of a disk whose device answers `accesses` accesses. Returns whether it was cut short.
fn live(config: ModelConfig, accesses: u64) -> bool {
    let model = Model::new(config);
    let Some(transport) = found(&model, accesses) else {
        assert!(model.unanswered_accesses() <= FEW);
        return true;
    };
    let mut rig = match Rig::<16>::on(model.clone(), transport, &DiskOptions::default()) {
        Ok(rig) => rig,
        Err(failed) => {
            assert_eq!(failed.error, InitError::Gone);
            assert_eq!(model.allocations(), 0, "its memory is free");
            assert!(model.is_gone() && model.unanswered_accesses() <= FEW);
            return true;
        }
    };
    if use_disk(&mut rig).is_none() {
        assert_eq!(rig.disk.liveness(), Liveness::Gone);
        // A look that changes nothing has told nothing to the queue.
        assert_eq!(rig.disk.refresh_config(), Err(ConfigError::Gone));
        assert_eq!(rig.poll(), Err(DeviceFault::Gone));
        let refused = rig.try_submit(Request::flush);
        assert_eq!(refused, Err(SubmitError::Broken(DeviceFault::Gone)));
        assert!(!rig.disk.notify());
    }
    let finished = rig.disk.queue().ring_state().used_index;
    let taken = rig.disk.queue().ring_state().used_seen;
    // Every token and every buffer comes back once, and all memory: `abandon` looks.
    let (transport, counters, ended) = rig.abandon();
    let good = ended.iter().filter(|done| done.result.is_ok()).count();
    assert_eq!(good, usize::from(finished.wrapping_sub(taken)), "what was done is done");
    let aborted = ended.iter().filter(|done| done.result == Err(IoError::Aborted)).count();
    assert_eq!(good + aborted, ended.len());
    assert_eq!(counters.queue.faults, 0, "the end of a device is no lie");
    if model.is_gone() {
        let again = Rig::<16>::on(model.clone(), transport, &DiskOptions::default()).err();
        assert_eq!(again.expect("nothing is there").error, InitError::Gone);
    }
    assert!(model.unanswered_accesses() <= FEW, "{}", model.unanswered_accesses());
    model.assert_clean();
    model.is_gone()
}

#[test]
fn a_device_may_go_away_at_any_register_access() {
    every_ring(|config| {
        let mut accesses = 0;
        while live(config.clone(), accesses) {
            accesses += 1;
        }
        assert!(accesses > 50, "a life has more accesses than {accesses}");
    });
}

/// A [`Wait`] that must not be asked about a device that is gone.
struct Impatient<'m> {
    model: &'m Model,
    waits: u32,
}

impl Wait for Impatient<'_> {
    fn wait(&mut self) -> bool {
        assert!(!self.model.is_gone(), "there is nothing to wait for");
        self.waits += 1;
        self.waits < 100
    }
}

#[test]
fn a_wait_ends_when_the_device_goes_away() {
    let slow = ModelConfig {
        reset_reads: 20,
        ..ModelConfig::modern()
    };
    for accesses in 0..20 {
        let model = Model::new(slow.clone());
        let mut transport = found(&model, 3 + accesses).expect("a probe takes three accesses");
        let mut wait = Impatient {
            model: &model,
            waits: 0,
        };
        assert_eq!(transport.reset(&mut wait), Err(ResetError::Gone));
        assert_eq!(
            u64::from(wait.waits),
            accesses.saturating_sub(1),
            "one between two looks"
        );
        assert_eq!(model.unanswered_accesses(), if accesses == 0 { 3 } else { 2 });
    }
}

#[test]
fn a_status_of_all_ones_is_no_end_while_the_magic_value_answers() {
    let mut rig = Rig::<16>::new(ModelConfig::modern());
    rig.registers
        .hook(|access| (access == common::Access::Read(common::register::STATUS)).then_some(u32::MAX));
    let status = rig.disk.control().transport().status();
    assert_eq!(status, Ok(DeviceStatus::all()));
    assert_eq!(rig.disk.liveness(), Liveness::NeedsReset);
    rig.registers.unhook();
    rig.works();
    rig.finish();
}
