//! The options of the commands that look for what the tests do not see.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

#[derive(Args, Clone, Debug)]
pub(crate) struct CoverageArgs {
    /// Print the lines that no test runs.
    #[arg(long)]
    pub(crate) missing: bool,

    /// Run the tests of this crate only.
    #[arg(long, value_name = "CRATE")]
    pub(crate) only: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct FuzzArgs {
    /// The target; without one, each in turn.
    pub(crate) target: Option<String>,

    /// How long to look, in minutes for each target.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(crate) minutes: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct MutantsArgs {
    /// How many mutants to draw. Those that earlier runs have tried count, and are not tried again.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(crate) sample: u64,

    /// Which mutants are drawn: the same seed draws the same ones, as long as the code is the same.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Try survivors of earlier runs again: the tests may have become better.
    #[arg(long)]
    pub(crate) again: bool,

    /// Draw only mutants whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PowerCutArgs {
    /// How often the service is killed.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) rounds: u32,

    /// Seed of the random times of the kills, and of the disks that are made.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// At how many moments disks are made, some 26 each, and judged by their bytes, beside judging all that there can be.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(crate) points: u64,

    /// Use this QEMU (qemu-system-riscv64) instead of looking for one.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}

impl PowerCutArgs {
    /// The options that decide what is run, as they are typed.
    pub(crate) fn words(&self) -> String {
        let (rounds, seed, points) = (self.rounds, self.seed, self.points);
        format!("--rounds {rounds} --seed {seed} --points {points}")
    }

    /// The same run for `cargo xtask qemu`. A kill takes some two seconds at most on a busy machine.
    pub(crate) fn flags(&self) -> String {
        let limit = 300 + 5 * self.rounds;
        format!("--scenario power-cut {} --timeout {limit}", self.words())
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RequirementsArgs {
    /// Bring the last column of docs/requirements.md up to date with what the tests cite.
    #[arg(long, conflicts_with = "prove")]
    pub(crate) write: bool,

    /// Make the breakages of xtask/breakages.toml, one by one in a copy of the sources, and run the tests that the broken
    /// requirement names: one has to fail. A run can be stopped and gone on with.
    #[arg(long)]
    pub(crate) prove: bool,

    /// Put the bugs of xtask/harness-bugs.toml in, one by one in a copy of the sources, and run the test that is the short form of the
    /// harness: it has to fail.
    #[arg(long, conflicts_with_all = ["write", "prove"])]
    pub(crate) harnesses: bool,

    /// How many breakages to draw; without it, all.
    #[arg(long, value_name = "N", requires = "prove", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(crate) sample: Option<u64>,

    /// Which breakages are drawn.
    #[arg(long, value_name = "S", default_value_t = 1, requires = "prove")]
    pub(crate) seed: u64,

    /// Only requirements whose id contains this.
    #[arg(long, value_name = "TEXT", requires = "prove")]
    pub(crate) only: Option<String>,
}
