//! The runtime against a scripted kernel.

mod arguments;
mod calls;
mod data_store;
mod grants;
mod lines;
mod logging;
mod mail;
mod memory;
mod running;
mod starting;
