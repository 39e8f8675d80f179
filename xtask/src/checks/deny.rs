//! What `cargo deny` says of the dependencies, by `deny.toml`: licences, versions, origins, advisories.
//!
//! Where `cargo-deny` is not installed these checks are left out, and said to be; with `--complete` that is a failure. The database of
//! advisories is fetched from where a machine may have no way to, so without it only that check is left out.

use std::process::Command;

use anyhow::{Result, ensure};

use super::cargo::run;
use super::check::Check;
use crate::tools::find_program;
use crate::workspace::{Workspace, cargo_home};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// What is published, with what it links.
const PRODUCT: [&str; 2] = ["--exclude-dev", "--exclude-unpublished"];

/// The checks, or why there are none.
pub(super) fn checks() -> Result<Vec<Check>> {
    ensure!(
        find_program("cargo-deny").is_some() || cargo_home().join("bin/cargo-deny").is_file(),
        "cargo-deny is not installed; to install it, type: cargo install cargo-deny --locked --version {VERSION}"
    );
    Ok(vec![
        deny("licences", &[], &["licenses"]),
        deny("origins", &[], &["sources"]),
        deny("versions", &PRODUCT, &["bans"]),
    ])
}

/// The check of advisories, or why there is none.
pub(super) fn advisories() -> Result<Vec<Check>> {
    let is_there =
        std::fs::read_dir(cargo_home().join("advisory-dbs")).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        is_there,
        "there is no database of advisories; to fetch it, type: cargo deny fetch db"
    );
    Ok(vec![deny("advisories", &["--offline"], &["advisories"])])
}

fn deny(name: &str, graph: &'static [&str], words: &'static [&str]) -> Check {
    Check::new(format!("deny/{name}"), move |context| {
        run(&mut command(&context.workspace, graph, words)).map(drop)
    })
}

fn command(workspace: &Workspace, graph: &[&str], words: &[&str]) -> Command {
    let mut command = workspace.cargo();
    command.args(["deny", "--locked", "--all-features", "--color", "never"]);
    command.args(graph).arg("check").args(words);
    command
}
