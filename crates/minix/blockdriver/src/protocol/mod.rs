//! What clients say and are told.

pub(crate) mod ioctl;
pub(crate) mod range;
pub(crate) mod reply;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod trace;
