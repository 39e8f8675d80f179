//! Looking at the device until it has answered, or the hook gives up.

use core::ops::Range;

use virtio_blk::{Completion, Disk, Liveness, Request};
use virtio_bounce::{BounceOr, Span};
use virtio_core::{DmaBuffer, DmaSegments, InterruptSource, Transport};

use crate::{BufferError, Error, WaitHook};

/// The disk below a [`BlockingDisk`](crate::BlockingDisk), to be started as any other.
pub type BounceDisk<T, const N: usize, B = DmaBuffer> = Disk<T, BounceOr<B>, Place, N>;

/// Which bytes of a bounce buffer go where: the token of the requests of this crate, which nothing else can make.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place {
    /// In the bounce buffer, from here on.
    pub(crate) skip: usize,
    /// In the memory of the caller.
    pub(crate) bytes: Range<usize>,
}

impl Place {
    /// That of a request whose data goes nowhere by itself.
    pub(crate) const NONE: Self = Self { skip: 0, bytes: 0..0 };

    pub(crate) fn of(span: &Span) -> Self {
        Self {
            skip: span.wanted.start,
            bytes: span.place.clone(),
        }
    }

    /// The bytes of the bounce buffer.
    pub(crate) fn in_block(&self) -> Range<usize> {
        self.skip..self.skip + self.bytes.len()
    }
}

/// How completions are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Completions {
    /// By looking. The device is asked not to interrupt.
    #[default]
    Polled,
    /// The device is asked for an interrupt before each [wait](WaitHook::wait), and after it an interrupt by this source is followed up and
    /// acknowledged. The hook waits for it, as by `wfi`, and looks after the interrupt controller.
    ///
    /// The interrupt must not be handled elsewhere meanwhile. One that comes before the hook waits has to stay pending, or the hook
    /// sleeps over it.
    Interrupts(InterruptSource),
}

/// A polled device is looked at once in so many vain looks whether it is still live, as its ring does not show that.
const LOOKS_FOR_LIVENESS: u32 = 1024;

/// The disk and how to wait for it.
pub(crate) struct Engine<T: Transport, W, B, const N: usize> {
    pub(crate) disk: BounceDisk<T, N, B>,
    pub(crate) hook: W,
    pub(crate) completions: Completions,
}

/// The completion of a request of this crate.
pub(crate) type Done<B> = Completion<BounceOr<B>, Place>;

/// How the waiting of one operation goes.
pub(crate) struct Watch {
    /// Looks in a row that have found nothing.
    vain: u32,
    /// Device requests that had come back by then.
    returned: u64,
}

impl<T: Transport, W: WaitHook, B: DmaSegments, const N: usize> Engine<T, W, B, N> {
    /// Whether the device has no request.
    pub(crate) fn is_idle(&self) -> bool {
        self.disk.queue().in_flight() == 0
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch {
            vain: 0,
            returned: self.disk.queue().returned(),
        }
    }

    /// Looks at the device once. If nothing has come back, waits for a moment. Each completion goes to `each`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the hook gives up and a last look finds nothing either, [`Error::NotLive`] and [`Error::Broken`].
    pub(crate) fn step(&mut self, watch: &mut Watch, each: &mut dyn FnMut(Done<B>)) -> Result<(), Error> {
        match self.completions {
            Completions::Polled => self.disk.poll(&mut *each)?,
            Completions::Interrupts(_) => self.disk.drain(&mut *each)?,
        };
        if self.has_moved(watch) {
            return Ok(());
        }
        let vain = watch.vain;
        watch.vain = vain.saturating_add(1);
        let goes_on = self.hook.wait(vain);
        if let Completions::Interrupts(source) = self.completions {
            let seen = self.disk.on_interrupt(source, &mut *each)?;
            if seen.config.is_some_and(|change| change.needs_reset) {
                return Err(Error::NotLive(Liveness::NeedsReset));
            }
        }
        if goes_on && vain % LOOKS_FOR_LIVENESS != LOOKS_FOR_LIVENESS - 1 {
            return Ok(());
        }
        let liveness = self.disk.liveness();
        if !goes_on {
            self.disk.poll(&mut *each)?;
            if self.has_moved(watch) {
                return Ok(());
            }
        }
        match (liveness, goes_on) {
            (Liveness::Live, true) => Ok(()),
            (Liveness::Live, false) => Err(Error::TimedOut),
            (liveness, _) => Err(Error::NotLive(liveness)),
        }
    }

    /// Whether device requests have come back since the last look.
    fn has_moved(&self, watch: &mut Watch) -> bool {
        let returned = self.disk.queue().returned();
        let moved = returned != watch.returned;
        if moved {
            *watch = Watch { vain: 0, returned };
        }
        moved
    }

    /// Carries out one request on an idle device. Returns its completion.
    ///
    /// # Errors
    ///
    /// With the buffer if the request was refused, and without if the device has not answered.
    pub(crate) fn run(&mut self, request: Request<BounceOr<B>, Place>) -> Result<Done<B>, BufferError<BounceOr<B>>> {
        if let Err(rejected) = self.disk.submit(request) {
            return Err(BufferError::new(rejected.error, rejected.request.into_parts().0));
        }
        self.disk.notify();
        let mut watch = self.watch();
        let mut done = None;
        loop {
            let step = self.step(&mut watch, &mut |completion| done = Some(completion));
            match (done.take(), step) {
                (Some(done), _) => return Ok(done),
                (None, Ok(())) => {}
                (None, Err(error)) => return Err(BufferError::new(error, None)),
            }
        }
    }
}
