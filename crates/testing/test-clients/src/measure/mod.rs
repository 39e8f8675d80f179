//! Measures a driver with requests of one kind: their latency, and the driver's instructions and kernel calls.
//!
//! With one request at a time the client waits for each, as file systems do. With more it posts them, and a reply is
//! followed by the next request. Requests do not touch each other, so that none are merged. The client times each request;
//! a kernel that knows [marks](crate::client::Client::mark) reports what the driver took meanwhile.

#[cfg(target_arch = "riscv64")]
mod calibrate;
mod plan;
mod program;
mod run;

#[cfg(target_arch = "riscv64")]
pub use program::main;
pub use program::program;
