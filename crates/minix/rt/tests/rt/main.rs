//! The runtime against a scripted kernel.

mod arguments;
mod async_messages;
mod calls;
mod data_store;
mod grants;
mod lines;
mod logging;
mod memory;
mod program;
mod running;
mod starting;
