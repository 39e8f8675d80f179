//! The parts of the service that need no machine, against a device and a kernel in software.

mod disk;
mod memory;
mod system;
mod windows;
