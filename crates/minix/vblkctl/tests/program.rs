//! The program itself, on a host.

use std::process::Command;

#[test]
fn on_a_host_it_says_where_it_runs() {
    let output = Command::new(env!("CARGO_BIN_EXE_vblkctl")).output().expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty());
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.starts_with("vblkctl only runs on its target") && said.lines().count() == 1);
}
