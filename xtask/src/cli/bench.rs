//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Write the rows to this file, as a list in JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the page with the charts, and the charts as SVG files, to this directory instead of `target/bench`.
    #[arg(long, value_name = "DIR")]
    pub(crate) page: Option<PathBuf>,

    /// Measure nothing; print and draw the rows that an earlier run wrote with --json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "bless", "native"])]
    pub(crate) from: Option<PathBuf>,

    /// Only count instructions, and take them as the budget that `cargo xtask test` holds the driver to.
    #[arg(long, conflicts_with_all = ["page", "native", "profile"])]
    pub(crate) bless: bool,

    /// Also measure the driver natively, over vhost-user, beside another driver.
    #[arg(long)]
    pub(crate) native: bool,

    /// Measure nothing; tell where the instructions of one kind of request go, by function and by source line. The kind is given by
    /// words as `operation=write,depth=1`: contender, operation, mode, chains, buffer, depth, segments, bytes.
    #[arg(long, value_name = "WORDS", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["json", "page", "from", "bless", "native"])]
    pub(crate) profile: Option<String>,

    /// Use this QEMU (qemu-system-riscv64, 7.0 or newer) instead of looking for one.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}
