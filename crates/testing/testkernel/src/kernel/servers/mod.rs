//! The servers that a block driver talks to. They only know what drivers and their clients need.

pub(super) mod ds;
pub(super) mod instance;
pub(super) mod rs;
pub(super) mod serve;
pub(super) mod service;
pub(super) mod system;
pub(super) mod vfs;
mod vm;
