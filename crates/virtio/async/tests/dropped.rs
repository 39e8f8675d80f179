//! Operations that are dropped at every await point of each.

mod common;

use common::drops::{KINDS, Kind, Rival, drop_at_every_await};

#[test]
fn a_drop_at_every_await_loses_nothing() {
    // Miri takes some seconds for each drop.
    let kinds: &[Kind] = if cfg!(miri) {
        &[Kind::Change, Kind::ReadBuffer]
    } else {
        &KINDS
    };
    let dropped: u32 = kinds.iter().map(|&kind| drop_at_every_await(kind, Rival::None)).sum();
    assert!(dropped >= if cfg!(miri) { 8 } else { 60 }, "{dropped}");
}
