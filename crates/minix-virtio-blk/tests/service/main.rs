//! The parts of the service that need no machine, against a device and a kernel in software.

mod disk;
mod machine;
mod memory;
mod order;
mod replies;
mod serving;
mod system;
mod windows;
