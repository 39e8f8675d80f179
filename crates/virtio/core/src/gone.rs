//! The end of a device: taken off the bus, or its other end has hung up.

/// The device is gone: its registers read as all ones, or its other end has hung up.
///
/// It reaches no memory any more, as the [`Transport`](crate::Transport) promises, so all that it had can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[error("the device is gone")]
pub struct DeviceGone;

/// Why a reset did not end with a device that is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResetError {
    /// The device did not report status 0 before the caller gave up. It may still be using memory.
    #[error("the device did not finish its reset in time")]
    TimedOut,
    /// There is no device any more. It uses no memory, as after a reset.
    #[error("the device is gone")]
    Gone,
}

impl From<DeviceGone> for ResetError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}
