//! The initialisation sequence, written once, as types.
//!
//! The specification lists eight steps (VirtIO 1.4, "Device Initialization"; `INIT-D-06`). Each step here consumes
//! the value that the step before it returned, so no driver can skip one or change their order:
//!
//! ```text
//! Init::begin -- reset --> Clean -- acknowledge --> Acknowledged -- driver --> Negotiating
//!                   -- negotiate --> Negotiated (queues, configuration) -- finish --> live
//! ```
//!
//! Dropping the value half-way is giving up, and the device is told so: FAILED is set (`INIT-D-18`).

use core::fmt;
use core::marker::PhantomData;

use crate::{
    DeviceGone, DeviceStatus, Features, Interface, QueueIndex, QueueSetup, QueueSetupError, ResetError, Transport, Wait,
};

/// The device is reset: step 1 is done.
#[derive(Debug)]
pub enum Clean {}
/// ACKNOWLEDGE is set: step 2 is done.
#[derive(Debug)]
pub enum Acknowledged {}
/// DRIVER is set: step 3 is done, features may be read and chosen.
#[derive(Debug)]
pub enum Negotiating {}
/// The features are settled: steps 4 to 6 are done, queues may be set up.
#[derive(Debug)]
pub enum Negotiated {}

/// The features that a driver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FeatureChoice {
    /// The features the driver has code for. No other one is ever accepted (`FEAT-D-03`).
    pub supported: Features,
    /// Those of them without which the driver cannot work.
    pub required: Features,
}

/// Why initialisation failed. The device has been told, FAILED is set, unless it did not even finish its reset, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HandshakeError {
    /// The device did not finish its reset in time. It is left alone, since it may still be at work.
    #[error("the device did not finish its reset in time")]
    ResetTimedOut,
    /// There is no device any more.
    #[error("the device is gone")]
    Gone,
    /// A modern interface that does not offer VERSION_1 (`FEAT-D-12`).
    #[error("the device has a modern interface but does not offer VERSION_1")]
    NotVersion1,
    /// The device lacks these required features.
    #[error("the device does not offer required features ({:#x})", .0.bits())]
    MissingFeatures(Features),
    /// The device did not agree to the features accepted (`INIT-D-12`).
    #[error("the device refused the features accepted ({:#x})", .0.bits())]
    FeaturesRefused(Features),
}

impl From<ResetError> for HandshakeError {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::TimedOut => Self::ResetTimedOut,
            ResetError::Gone => Self::Gone,
        }
    }
}

impl From<DeviceGone> for HandshakeError {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

/// The device did not go live when DRIVER_OK was set.
///
/// It has been told of its queues and may be using them: reset it, and only when that has succeeded take their memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NotLive {
    /// It shows this status after DRIVER_OK was set.
    #[error("the device did not go live (status {:#x})", .0.bits())]
    Status(DeviceStatus),
    /// There is no device any more. It uses no memory.
    #[error("the device is gone")]
    Gone,
}

impl From<DeviceGone> for NotLive {
    fn from(_: DeviceGone) -> Self {
        Self::Gone
    }
}

/// Sets FAILED when it is dropped before the device went live.
struct Guard<'t, T: Transport> {
    transport: &'t mut T,
    live: bool,
}

impl<T: Transport> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if !self.live {
            give_up(self.transport);
        }
    }
}

/// Marks a device as failed, unless it is gone.
#[cold]
#[inline(never)]
fn give_up<T: Transport>(transport: &mut T) {
    warn!("initialisation given up, device marked as failed");
    add_status(transport, DeviceStatus::FAILED);
}

/// Adds `bits` to the status without losing any that the driver or the device has set (`INIT-D-02`). A device that is gone has
/// none; the read that follows in each step finds that.
// A call, since each step has one, and each way out of a bring-up that failed.
#[inline(never)]
fn add_status<T: Transport>(transport: &mut T, bits: DeviceStatus) {
    if let Ok(status) = transport.status() {
        transport.write_status(status | bits);
    }
}

/// A device on its way from reset to live. `S` says how far it has come.
pub struct Init<'t, T: Transport, S> {
    guard: Guard<'t, T>,
    offered: Features,
    accepted: Features,
    step: PhantomData<S>,
}

impl<'t, T: Transport, S> Init<'t, T, S> {
    fn transport(&mut self) -> &mut T {
        self.guard.transport
    }

    fn step<N>(mut self, bits: DeviceStatus) -> Init<'t, T, N> {
        add_status(self.transport(), bits);
        self.enter()
    }

    fn enter<N>(self) -> Init<'t, T, N> {
        Init {
            guard: self.guard,
            offered: self.offered,
            accepted: self.accepted,
            step: PhantomData,
        }
    }
}

impl<'t, T: Transport> Init<'t, T, Clean> {
    /// Step 1: resets the device and waits until it is. Between two looks at the status it asks `wait`.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::ResetTimedOut`] or [`HandshakeError::Gone`]; nothing more was done to the device, since it may still be
    /// at work.
    pub fn begin(transport: &'t mut T, wait: &mut dyn Wait) -> Result<Self, HandshakeError> {
        transport.reset(wait)?;
        Ok(Self {
            guard: Guard { transport, live: false },
            offered: Features::empty(),
            accepted: Features::empty(),
            step: PhantomData,
        })
    }

    /// Step 2: sets ACKNOWLEDGE. The next step finds a device that is gone.
    #[must_use]
    pub fn acknowledge(self) -> Init<'t, T, Acknowledged> {
        self.step(DeviceStatus::ACKNOWLEDGE)
    }
}

impl<'t, T: Transport> Init<'t, T, Acknowledged> {
    /// Step 3: sets DRIVER and reads what the device offers.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Gone`].
    pub fn driver(self) -> Result<Init<'t, T, Negotiating>, HandshakeError> {
        let mut next = self.step(DeviceStatus::DRIVER);
        next.offered = next.transport().offered_features()?;
        Ok(next)
    }
}

impl<'t, T: Transport> Init<'t, T, Negotiating> {
    /// What the device offers.
    pub fn offered_features(&self) -> Features {
        self.offered
    }

    /// The transport, to look at the configuration before choosing (`INIT-D-15`); it must not be written here
    /// (`INIT-D-16`), which is why the reference is shared.
    pub fn peek(&mut self) -> &T {
        self.transport()
    }

    /// Steps 4 to 6: accepts what both sides can do, sets FEATURES_OK and reads it back.
    ///
    /// VERSION_1 is required and accepted on a modern interface without being asked for (`FEAT-D-11`). On a legacy
    /// interface there is no FEATURES_OK, and only the first 32 bits exist (`LEG-D-05`).
    ///
    /// # Errors
    ///
    /// All of [`HandshakeError`] but the time-out; FAILED is set then, if there is a device.
    pub fn negotiate(mut self, choice: FeatureChoice) -> Result<Init<'t, T, Negotiated>, HandshakeError> {
        let transport = self.transport();
        let modern = transport.interface() == Interface::Modern;
        let by_transport = transport.supported_features();
        let mut supported = choice.supported | choice.required;
        if modern {
            supported -= Features::LEGACY_ONLY;
            supported |= Features::VERSION_1;
            // Of the bits that the transport has a part in, only those it supports.
            supported &= !TRANSPORT_RANGE | by_transport;
        } else {
            supported &= Features::LEGACY;
        }
        let accepted = self.offered & supported;
        let missing = choice.required - accepted;
        if modern && !accepted.contains(Features::VERSION_1) {
            return Err(HandshakeError::NotVersion1);
        }
        if !missing.is_empty() {
            return Err(HandshakeError::MissingFeatures(missing));
        }
        self.accepted = accepted;
        self.transport().write_accepted_features(accepted);
        if !modern {
            return Ok(self.enter());
        }
        let mut next = self.step(DeviceStatus::FEATURES_OK);
        if next.transport().status()?.contains(DeviceStatus::FEATURES_OK) {
            Ok(next)
        } else {
            Err(HandshakeError::FeaturesRefused(accepted))
        }
    }
}

/// Feature bits that the transport has a part in: 33 and 36 to 41.
const TRANSPORT_RANGE: Features = Features::ACCESS_PLATFORM
    .union(Features::ORDER_PLATFORM)
    .union(Features::SR_IOV)
    .union(Features::NOTIFICATION_DATA)
    .union(Features::NOTIF_CONFIG_DATA)
    .union(Features::RING_RESET)
    .union(Features::ADMIN_VQ);

impl<T: Transport> Init<'_, T, Negotiated> {
    /// What the device offered.
    pub fn offered_features(&self) -> Features {
        self.offered
    }

    /// What was accepted.
    pub fn accepted_features(&self) -> Features {
        self.accepted
    }

    /// The doorbell of `queue`, for the features that were accepted.
    pub fn notifier(&mut self, queue: QueueIndex) -> T::Notifier {
        let accepted = self.accepted;
        self.transport().notifier(queue, accepted)
    }

    /// The transport, for the device's own set-up: configuration and vectors.
    ///
    /// With it the status can be written out of turn. That breaks rules of the specification and none of memory: the device
    /// learns of queues by `unsafe` code only, whose caller has to expect DRIVER_OK at any time.
    pub fn device(&mut self) -> &mut T {
        self.transport()
    }

    /// Step 7, once per queue: tells the device where the queue lies.
    ///
    /// # Errors
    ///
    /// Those of [`Transport::enable_queue`].
    ///
    /// # Safety
    ///
    /// The contract of [`Transport::enable_queue`].
    pub unsafe fn enable_queue(&mut self, queue: QueueIndex, setup: &QueueSetup) -> Result<(), QueueSetupError> {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.transport().enable_queue(queue, setup) }
    }

    /// Step 8: sets DRIVER_OK, and looks whether the device is live. Returns the features in force.
    ///
    /// # Errors
    ///
    /// [`NotLive`] if the device asks for a reset at once (`INIT-V-03`), shows FAILED, or has taken DRIVER_OK back; FAILED is
    /// set then. Unlike after the errors of earlier steps the device may be using its queues: reset it before their memory is
    /// touched. [`NotLive::Gone`] if there is no device any more.
    pub fn finish(mut self) -> Result<Features, NotLive> {
        add_status(self.transport(), DeviceStatus::DRIVER_OK);
        let status = self.transport().status()?;
        let trouble = DeviceStatus::DEVICE_NEEDS_RESET | DeviceStatus::FAILED;
        if !status.contains(DeviceStatus::DRIVER_OK) || status.intersects(trouble) {
            return Err(NotLive::Status(status));
        }
        self.guard.live = true;
        Ok(self.accepted)
    }
}

impl<T: Transport, S> fmt::Debug for Init<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("offered", &self.offered)
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}
