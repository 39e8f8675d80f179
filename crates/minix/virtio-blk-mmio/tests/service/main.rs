//! The parts of the service that need no machine, against a device and a kernel in software.

mod disk;
mod events;
mod journal;
mod lost;
mod machine;
mod memory;
mod order;
mod registration;
mod removal;
mod replies;
mod serving;
mod speech;
mod starting;
mod watching;
mod windows;
