//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Write the rows to this file, as a list in JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the page with the charts, and the charts as SVG files, to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) page: Option<PathBuf>,

    /// Take the instructions counted now as the budget that `cargo xtask test` holds the driver to.
    #[arg(long)]
    pub(crate) bless: bool,

    /// Also measure the driver natively, over vhost-user, beside another driver.
    #[arg(long)]
    pub(crate) native: bool,

    /// Also tell where the instructions go, by function and by source line.
    #[arg(long)]
    pub(crate) profile: bool,

    /// Use this QEMU (qemu-system-riscv64, 7.0 or newer) instead of looking for one.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}
