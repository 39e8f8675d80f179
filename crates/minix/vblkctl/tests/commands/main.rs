//! Every command against a system that answers by a script. Reports have another number in each field, and texts are compared as a
//! whole, so that a label at the wrong number is seen.

mod control;
mod device;
mod info;
mod log;
mod range;
mod refusals;
mod script;
mod stat;
mod trace;
