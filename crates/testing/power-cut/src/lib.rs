#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod content;
mod history;
mod judge;
mod log;
mod replay;
mod steps;

pub use content::{Content, Request};
pub use history::{BadEvent, Event, History, Promise, Reason, Time};
pub use judge::{Judge, Tally, Violation};
pub use log::{Entry, Log, LogError};
pub use replay::{Image, Pick, Replay};
pub use steps::{Clock, Step, of_log};
