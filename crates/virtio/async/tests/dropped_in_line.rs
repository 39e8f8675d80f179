//! Operations that are dropped at every await point while another one is before them in the line, or after them.

mod common;

use common::drops::{KINDS, Rival, drop_at_every_await};

#[test]
fn a_drop_in_the_line_lets_those_behind_go_on() {
    let dropped: u32 = KINDS.iter().map(|&kind| drop_at_every_await(kind, Rival::Before)).sum();
    assert!(dropped >= 60, "{dropped}");
}

#[test]
fn a_drop_before_another_operation_lets_it_go_on() {
    let dropped: u32 = KINDS.iter().map(|&kind| drop_at_every_await(kind, Rival::After)).sum();
    assert!(dropped >= 60, "{dropped}");
}
