//! A function that is there, while its registers answer nothing any more.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use virtio_blk::{Disk, DiskOptions, InitError, IoError, Request};
use virtio_blk_model::{Model, ModelBar, ModelConfig, ModelFunction, PciForm};
use virtio_core::{DeviceStatus, Interface, InterruptSource, PollLimit};
use virtio_pci::{BarRange, Doorbell, MapBar, PciFunction, RegisterAccess, probe};

/// Accesses that are answered, and after those the ones that are not.
type Silence = Rc<Cell<(u64, u64)>>;

fn is_silent(silence: &Silence) -> bool {
    let (heard, unheard) = silence.get();
    if heard > 0 {
        silence.set((heard - 1, unheard));
        return false;
    }
    silence.set((0, unheard.saturating_sub(1)));
    unheard > 0
}

/// A piece of a BAR that can fall silent.
struct Silent<T>(T, Silence);

// SAFETY: the registers are those of a model, which uses no memory but its own.
unsafe impl RegisterAccess for Silent<ModelBar> {
    type Doorbell = Silent<<ModelBar as RegisterAccess>::Doorbell>;

    fn read_u8(&self, offset: u32) -> u8 {
        if is_silent(&self.1) {
            u8::MAX
        } else {
            self.0.read_u8(offset)
        }
    }

    fn read_u16(&self, offset: u32) -> u16 {
        if is_silent(&self.1) {
            u16::MAX
        } else {
            self.0.read_u16(offset)
        }
    }

    fn read_u32(&self, offset: u32) -> u32 {
        if is_silent(&self.1) {
            u32::MAX
        } else {
            self.0.read_u32(offset)
        }
    }

    unsafe fn write_u8(&mut self, offset: u32, value: u8) {
        if !is_silent(&self.1) {
            // SAFETY: the caller keeps the contract, here and below.
            unsafe { self.0.write_u8(offset, value) }
        }
    }

    unsafe fn write_u16(&mut self, offset: u32, value: u16) {
        if !is_silent(&self.1) {
            // SAFETY: as above.
            unsafe { self.0.write_u16(offset, value) }
        }
    }

    unsafe fn write_u32(&mut self, offset: u32, value: u32) {
        if !is_silent(&self.1) {
            // SAFETY: as above.
            unsafe { self.0.write_u32(offset, value) }
        }
    }

    unsafe fn doorbell(&self, offset: u32) -> Self::Doorbell {
        // SAFETY: as above.
        Silent(unsafe { self.0.doorbell(offset) }, Rc::clone(&self.1))
    }
}

impl<D: Doorbell> Doorbell for Silent<D> {
    fn ring_u16(&self, value: u16) {
        if !is_silent(&self.1) {
            self.0.ring_u16(value);
        }
    }

    fn ring_u32(&self, value: u32) {
        if !is_silent(&self.1) {
            self.0.ring_u32(value);
        }
    }
}

// SAFETY: it asks the model.
unsafe impl MapBar for Silent<ModelFunction> {
    type Window = Silent<ModelBar>;

    fn map(&mut self, range: &BarRange) -> Option<Silent<ModelBar>> {
        Some(Silent(self.0.map(range)?, Rc::clone(&self.1)))
    }
}

/// Two requests are in flight when the function falls silent after `heard` accesses, for `unheard`. Whether it did so at all.
///
/// If it is heard again, writes of before are lost. So it may be in any state then, and a reset of it need not end.
fn falls_silent(config: &ModelConfig, heard: u64, unheard: u64) -> bool {
    let model = Model::new(config.clone());
    let form = match config.interface {
        Interface::Legacy => PciForm::Legacy,
        Interface::Modern => PciForm::Modern,
    };
    let function = model.on_pci(form, 3);
    let silence: Silence = Rc::new(Cell::new((heard, unheard)));
    // SAFETY: a model; it uses no memory but its own.
    let handle = unsafe { PciFunction::new(function.clone(), function.address()) };
    let transport = probe(handle, &mut Silent(function.clone(), Rc::clone(&silence))).expect("nothing was read");
    let mut dma = model.dma();
    let few = PollLimit(20);
    let for_good = unheard == u64::MAX;
    let cut_off = |model: &Model| {
        assert_eq!(model.allocations(), 0, "memory was lost after {heard}");
        let reset = !model.status().contains(DeviceStatus::DRIVER_OK);
        assert!(
            reset || !function.masters_the_bus(),
            "memory was taken from it after {heard}"
        );
        model.process(usize::MAX);
    };
    let options = DiskOptions::default();
    match Disk::<_, common::Scatter, u32, 256>::start(transport, &mut dma, &options, &mut few.clone()) {
        Err(failed) => {
            if matches!(failed.error, InitError::Stuck { .. }) {
                assert!(!for_good, "after {heard}");
                return true;
            }
            cut_off(&model);
        }
        Ok(mut disk) => {
            for token in [1, 2] {
                disk.submit(Request::flush(token)).unwrap();
            }
            disk.notify();
            model.process(1);
            let mut done = Vec::new();
            let _ = disk.poll(|completion| done.push(completion.token));
            let _ = disk.on_interrupt(InterruptSource::Line, |completion| done.push(completion.token));
            let _ = disk.liveness();
            let ended = disk.shut_down(&mut dma, &mut few.clone(), |completion| {
                assert!(!for_good || matches!(completion.result, Ok(_) | Err(IoError::Aborted)));
                done.push(completion.token);
            });
            if ended.is_err() {
                assert!(!for_good, "after {heard}");
                return true;
            }
            done.sort_unstable();
            assert_eq!(done, [1, 2]);
            cut_off(&model);
        }
    }
    if for_good {
        model.assert_clean();
    }
    silence.get().0 == 0
}

#[test]
fn a_silent_function_loses_no_request_and_no_memory() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let mut heard = 0;
        while falls_silent(&config, heard, u64::MAX) {
            heard += 1;
        }
        assert!(heard > 30, "{heard}");
    }
}

#[test]
fn a_function_that_was_silent_for_a_while_keeps_its_memory() {
    for config in [ModelConfig::modern(), ModelConfig::legacy()] {
        let times: &[u64] = if cfg!(miri) { &[5] } else { &[1, 2, 3, 5, 8, 13, 21] };
        for &unheard in times {
            (0..).find(|&heard| !falls_silent(&config, heard, unheard));
        }
    }
}
