//! The clients as a whole, against the driver of the product on a fake disk: as it is, it passes; with one bug, the client that
//! is there for it finds it.

mod bugs;
mod files;
mod right;
mod served;
mod witness;
