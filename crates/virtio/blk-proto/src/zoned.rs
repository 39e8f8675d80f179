//! Zoned block devices: their configuration, requests and answers.
//!
//! A zoned disk consists of zones of equal size, most of which can only be written in order, at a write pointer that
//! the device keeps. All of it is plain data and pure functions here:
//!
//! * [`ZonedConfig`] and [`ZonedModel`]: the zoned part of the configuration and its consequences;
//! * [`ZoneReport`] with its [`ZoneDescriptor`]s: the zones, each with its [`ZoneId`];
//! * [`AppendTail`]: the position of an append;
//! * the `check_…` functions of [`ZonedConfig`]: a driver's duties, checked before anything reaches the device;
//! * [`ZoneState::after`]: the transitions between states.

mod append;
mod check;
mod config;
mod report;
mod transition;
mod zone;

pub use append::AppendTail;
pub use check::ZoneRequestError;
pub use config::{ZonedConfig, ZonedModel};
pub use report::{ZoneReport, ZoneReportHeader};
pub use transition::ZoneEvent;
pub use zone::{ZoneDescriptor, ZoneId, ZoneState, ZoneType};
