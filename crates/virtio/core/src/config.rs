//! Reading several configuration fields as one consistent snapshot.

use core::cell::Cell;

use crate::{DeviceGone, PollLimit, Transport};

/// Why the configuration could not be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigError {
    /// It kept changing, or the limit is too small for it.
    #[error("the device configuration kept changing while it was read")]
    Unstable,
    /// There is no device any more.
    #[error("the device is gone")]
    Gone,
}

impl From<DeviceGone> for ConfigError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

/// The configuration of a device, to be read within a limit.
///
/// A read that the limit has no room for does not reach the device, nor does one after the device was found to be gone. It
/// answers 0, and [`read_consistent`] discards the snapshot that it belongs to.
#[derive(Debug)]
pub struct ConfigReader<'t, T: ?Sized> {
    transport: &'t T,
    /// Reads that are left. After [`DeviceGone`] more than any look takes, so that 0 means a limit that is used up.
    left: Cell<PollLimit>,
    /// No read was left out. Once one was, so are all after it.
    is_complete: Cell<bool>,
}

impl<'t, T: Transport + ?Sized> ConfigReader<'t, T> {
    fn new(transport: &'t T, limit: PollLimit) -> Self {
        Self {
            transport,
            left: Cell::new(limit),
            is_complete: Cell::new(true),
        }
    }

    /// Reads an 8-bit field at byte `offset`.
    pub fn read_u8(&self, offset: u16) -> u8 {
        self.take(|transport| transport.read_config_u8(offset))
    }

    /// Reads a 16-bit field; `offset` is even.
    pub fn read_u16(&self, offset: u16) -> u16 {
        self.take(|transport| transport.read_config_u16(offset))
    }

    /// Reads a 32-bit field, or half of a 64-bit one; `offset` is a multiple of four.
    pub fn read_u32(&self, offset: u16) -> u32 {
        self.take(|transport| transport.read_config_u32(offset))
    }

    /// The generation. It counts as a read where there is none, too, so that every round costs something.
    fn generation(&self) -> Option<u32> {
        self.take(T::config_generation)
    }

    fn take<V: Default>(&self, read: impl FnOnce(&T) -> Result<V, DeviceGone>) -> V {
        let mut left = self.left.get();
        if self.is_complete.get() && left.take() {
            self.left.set(left);
            if let Ok(value) = read(self.transport) {
                return value;
            }
            self.left.set(PollLimit(u32::MAX));
        }
        self.is_complete.set(false);
        V::default()
    }

    /// What is left of the limit.
    ///
    /// # Errors
    ///
    /// The reason, if a read was left out.
    fn left(&self) -> Result<PollLimit, ConfigError> {
        match self.left.get() {
            left if self.is_complete.get() => Ok(left),
            PollLimit(0) => Err(ConfigError::Unstable),
            _ => Err(ConfigError::Gone),
        }
    }
}

/// Runs `read` until it has seen one unchanged configuration. All register reads for it come out of `limit`, which has as
/// many left afterwards as were not needed.
///
/// With a generation counter the reads are bracketed by it (`CFG-D-03`, `MMIO-N-14`); without one, as on legacy
/// interfaces, two successive snapshots must agree (`LEG-D-06`). Either way no torn value gets out (`CFG-D-01`,
/// `CFG-D-02`). A look at the generation takes one read of the limit; the look
/// at another register that makes all ones sure takes none.
///
/// # Errors
///
/// [`ConfigError::Unstable`] if it did not stand still before the limit was used up, [`ConfigError::Gone`] if the device went
/// away meanwhile.
pub fn read_consistent<T, S>(
    transport: &T,
    limit: &mut PollLimit,
    mut read: impl FnMut(&ConfigReader<'_, T>) -> S,
) -> Result<S, ConfigError>
where
    T: Transport + ?Sized,
    S: PartialEq,
{
    // Of a look that fails nothing is left.
    let given = core::mem::replace(limit, PollLimit(0));
    let reader = ConfigReader::new(transport, given);
    let mut before = reader.generation();
    let mut last = None;
    loop {
        let snapshot = read(&reader);
        let after = reader.generation();
        let left = reader.left()?;
        let unchanged = match (before, after) {
            (Some(before), Some(after)) => before == after,
            _ => last.as_ref() == Some(&snapshot),
        };
        if unchanged {
            *limit = left;
            return Ok(snapshot);
        }
        before = after;
        last = Some(snapshot);
    }
}
