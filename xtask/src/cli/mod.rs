//! The command line of `cargo xtask`.

mod bench;
mod culprit;
mod evidence;
mod generate;
mod hardware;
mod qemu;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use bench::BenchArgs;
pub(crate) use evidence::{CoverageArgs, FuzzArgs, MutantsArgs, PowerCutArgs, RequirementsArgs};
pub(crate) use generate::{GenerateArgs, Kind};
pub(crate) use hardware::{Aia, Bus, Removal};
pub(crate) use qemu::{Foreign, Format, QemuArgs};

/// Builds, boots and tests the RISC-V programs of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build what goes into MINIX: leaves the service `virtio_blk_mmio` with its `system.conf` in `target/minix`.
    Build,
    /// Boot the service on QEMU with a disk and clients, and verify the disk afterwards.
    ///
    /// Without options: a 64 MiB disk with known content is made, and the test kernel runs the MINIX service and three clients
    /// that put it to the test; after power-off the content of the disk is compared with what the clients say they did. With
    /// --bare, an image without any kernel drives the disk instead, and with --example, a program of examples/.
    Qemu(QemuArgs),
    /// Measure the driver on QEMU beside others, and beside what the device can do at all.
    Bench(BenchArgs),
    /// Commands about programs for MINIX.
    #[command(subcommand, arg_required_else_help = false)]
    Minix(MinixCommand),
    /// Measure how much of each published crate its tests run, in lines and regions. Needs cargo-llvm-cov.
    Coverage(CoverageArgs),
    /// Make docs/evidence.md of what fuzz, mutants, requirements --prove, coverage and other long runs have shown.
    Evidence,
    /// Look for input that breaks a crate. Needs a nightly toolchain and cargo-fuzz.
    Fuzz(FuzzArgs),
    /// Change the code of the product at random, one place at a time, and see whether a test fails. Needs cargo-mutants.
    Mutants(MutantsArgs),
    /// Count the driver requirements by their evidence, and break them one by one to see that their tests fail.
    Requirements(RequirementsArgs),
    /// Write the texts of the repository that are made from the code: public APIs, sizes, the C headers.
    Generate(GenerateArgs),
    /// Judge every disk that a power cut can leave, by what clients of the service were told.
    ///
    /// The service writes to a disk in QEMU, which logs all that reaches it, while clients write, flush, close, discard and zero, the
    /// service is killed and its device is reset. The figures go to target/evidence/power-cut.json.
    PowerCut(PowerCutArgs),
    /// Run every check of the workspace; ends with `N passed, N failed`.
    Test(TestArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MinixCommand {
    /// Verify that MINIX can load these programs, and print what it would load.
    Check(CheckArgs),
    /// Put the service and its program into a built MINIX tree for riscv64, or into a root file system.
    ///
    /// What was there before is kept beside each file, with `.before-virtio-blk-mmio` behind its name, and --uninstall gives it
    /// back. Changes that others have made since to other parts of a text are kept. A second run changes nothing, or brings the
    /// files up to date.
    Install(InstallArgs),
}

#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub(crate) struct InstallArgs {
    /// A source tree in which MINIX was built for riscv64. Its ramdisk and what it has installed get the files.
    #[arg(long, value_name = "DIR", group = "where")]
    pub(crate) tree: Option<PathBuf>,

    /// The object directory of the tree, if it is not the only `obj.*` in it.
    #[arg(long, value_name = "DIR", requires = "tree", conflicts_with = "root")]
    pub(crate) obj: Option<PathBuf>,

    /// The root file system of a MINIX, mounted or staged.
    #[arg(long, value_name = "DIR", group = "where")]
    pub(crate) root: Option<PathBuf>,

    /// Build, and print what would be done to each file; change none.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Give back what was there before.
    #[arg(long)]
    pub(crate) uninstall: bool,
}

impl InstallArgs {
    /// The directory that it is about.
    pub(crate) fn directory(&self) -> &Path {
        self.tree.as_deref().or(self.root.as_deref()).unwrap_or(Path::new("."))
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// The programs, as ELF files.
    #[arg(required = true, value_name = "ELF")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    /// Run only the checks whose name contains this.
    pub(crate) filter: Option<String>,

    /// Leave out everything that boots QEMU.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Leave out nothing: without the nightly toolchain that Miri needs, this fails.
    #[arg(long)]
    pub(crate) complete: bool,

    /// Also the checks that take an hour each: all tests of `virtio-blk`, and of the service, under Miri.
    #[arg(long)]
    pub(crate) long: bool,

    /// Print the names of the checks and do nothing.
    #[arg(long)]
    pub(crate) list: bool,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// Reads a command line, program name first.
pub(crate) fn parse<I, T>(arguments: I) -> clap::error::Result<Command>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let words: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let mut cli = negative_numbers_are_values(Cli::command());
    let matches = cli
        .try_get_matches_from_mut(&words)
        .map_err(|error| culprit::named::<Cli>(error, &words))?;
    let Cli { command } = Cli::from_arg_matches(&matches)?;
    if let Command::Qemu(args) = &command
        && let Some(line) = args.contradiction()
    {
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, line));
    }
    Ok(command)
}

/// So that the message about `--rounds -1` names the option, and not an argument `-1`.
fn negative_numbers_are_values(command: clap::Command) -> clap::Command {
    let takes_value = |arg: &Arg| arg.get_action().takes_values();
    command
        .mut_args(|arg| {
            if takes_value(&arg) {
                arg.allow_negative_numbers(true)
            } else {
                arg
            }
        })
        .mut_subcommands(negative_numbers_are_values)
}

/// Reads the flags of `cargo xtask qemu` from one string, as a person would type them. The disk is apart, as its name may
/// hold spaces.
pub(crate) fn qemu_args(flags: &str, disk: Option<&str>) -> Result<QemuArgs, String> {
    let words = ["xtask", "qemu"].into_iter().chain(flags.split_whitespace());
    match parse(words.chain(disk.into_iter().flat_map(|disk| ["--disk", disk]))) {
        Ok(Command::Qemu(args)) => Ok(args),
        Ok(_) => unreachable!("the subcommand is fixed above"),
        Err(error) => Err(error.to_string()),
    }
}
