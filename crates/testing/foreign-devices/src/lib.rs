#![doc = include_str!("../README.md")]

mod buffer;
pub mod device;
mod ledger;
mod reference;
mod run;

pub use run::{Plan, Totals, run};
