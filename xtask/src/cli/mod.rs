//! What can be typed after `cargo xtask`.

mod qemu;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};

pub(crate) use qemu::{Format, QemuArgs};

/// Builds, boots and tests the RISC-V programs of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the MINIX service: leaves `virtio_blk_mmio` and its `system.conf` in `target/minix`.
    Build,
    /// Boot the service on QEMU with a disk and clients, and verify the disk afterwards.
    ///
    /// Without options: a 64 MiB disk with known content is made, and the test kernel runs the MINIX service and three clients
    /// that put it to the test; after power-off the content of the disk is compared with what the clients say they did. With
    /// --bare, an image without any kernel drives the disk instead.
    Qemu(QemuArgs),
    /// What concerns MINIX.
    #[command(subcommand)]
    Minix(MinixCommand),
    /// Run every check of the workspace; ends with `N passed, N failed`.
    Test(TestArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MinixCommand {
    /// Verify that MINIX can load these programs, and print what it would load.
    Check(CheckArgs),
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

    /// Print the names of the checks and do nothing.
    #[arg(long)]
    pub(crate) list: bool,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// Why there is no command to run.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help was asked for; this is it.
    Help(String),
    /// The command line makes no sense; this line says why.
    Usage(String),
}

/// Reads a command line, program name first.
pub(crate) fn parse<I, T>(arguments: I) -> Result<Command, Stop>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let contradiction = match &cli.command {
                Command::Qemu(args) => args.contradiction(),
                _ => None,
            };
            match contradiction {
                Some(line) => Err(Stop::Usage(line)),
                None => Ok(cli.command),
            }
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => Err(Stop::Help(error.render().to_string())),
            _ => Err(Stop::Usage(usage_line(&error))),
        },
    }
}

/// Reads the flags of `cargo xtask qemu` from one string, as a person would type them. The disk is apart, as its name may
/// hold spaces.
pub(crate) fn qemu_args(flags: &str, disk: Option<&str>) -> Result<QemuArgs, String> {
    let disk = disk.into_iter().flat_map(|disk| ["--disk", disk]);
    match parse(
        ["xtask", "qemu"]
            .into_iter()
            .chain(flags.split_whitespace())
            .chain(disk),
    ) {
        Ok(Command::Qemu(args)) => Ok(args),
        Ok(_) => unreachable!("the subcommand is fixed above"),
        Err(Stop::Usage(line) | Stop::Help(line)) => Err(line),
    }
}

/// clap explains itself over several lines; this is the first, with what can be given instead.
fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // The commands below `minix` are missing in a text of their own.
        if error.render().to_string().contains("Usage: cargo xtask minix") {
            return "no command given: try `cargo xtask minix check ELF`".to_owned();
        }
        return "no command given: try `cargo xtask qemu`, `cargo xtask build`, `cargo xtask test` or `cargo xtask --help`".to_owned();
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut line = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
        && !values.is_empty()
    {
        line += &format!(" (possible: {})", values.join(", "));
    }
    if let Some(suggestion) = suggestion(error) {
        line += &format!("; did you mean `{suggestion}`?");
    } else if matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument) {
        line += "; --help shows what there is";
    }
    // Missing arguments are listed on lines of their own.
    if line.ends_with(':') {
        for rest in text.lines().skip(1).take_while(|rest| !rest.is_empty()) {
            line += &format!(" {}", rest.trim());
        }
    }
    line
}

/// What is most like a word that is not known.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let given = |kind| match error.get(kind)? {
        ContextValue::String(word) => Some(word.as_str()),
        ContextValue::Strings(words) => words.first().map(String::as_str),
        _ => None,
    };
    given(ContextKind::SuggestedSubcommand).or_else(|| given(ContextKind::SuggestedArg))
}
