//! The kernel: one hart, and never interrupted while it runs itself. The README lists the modules from the bottom up.

mod archive;
mod calls;
mod clock;
mod context;
mod deliver;
mod device;
mod dispatch;
mod exec;
mod frames;
mod grants;
mod interrupts;
mod ipc;
mod irq;
mod paging;
mod physical;
mod ports;
mod process;
mod report;
mod scenario;
mod senda;
mod servers;
mod space;
mod start;
mod state;
mod statements;
mod vfs_grants;

pub(crate) use start::main;
