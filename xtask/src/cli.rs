//! What can be typed after `cargo xtask`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Builds, boots and tests the RISC-V image of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Boot the image on QEMU with a disk, and verify the disk afterwards.
    ///
    /// Without options: a 64 MiB disk with known content is made, the image tests the driver on it and measures it, and after
    /// power-off the content of the disk is compared with what the image says it did.
    Qemu(QemuArgs),
    /// Run every check of the workspace; ends with `N passed, N failed`.
    Test(TestArgs),
}

/// The format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Raw,
    Qcow2,
}

impl Format {
    /// The name QEMU knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct QemuArgs {
    /// Use this disk: a raw or qcow2 image, or a URL that QEMU understands (nbd://host/export). The file is never changed
    /// unless --write is given: what the guest writes lands in a throw-away overlay.
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) disk: Option<String>,

    /// Attach the disk of --disk directly, so that writes reach it. The self-test still only reads; the commands of --shell write.
    #[arg(long, requires = "disk", conflicts_with = "read_only")]
    pub(crate) write: bool,

    /// Offer the legacy register layout (version 1) instead of the modern one.
    #[arg(long)]
    pub(crate) legacy: bool,

    /// Make the device refuse writes.
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Logical and physical block size of the device, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = block_size)]
    pub(crate) block_size: u32,

    /// Largest queue size the driver may use, in descriptors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32768))]
    pub(crate) queue_size: Option<u16>,

    /// Do not offer the event index (VIRTIO_F_EVENT_IDX).
    #[arg(long)]
    pub(crate) no_event_idx: bool,

    /// Do not offer indirect descriptors (VIRTIO_F_INDIRECT_DESC).
    #[arg(long)]
    pub(crate) no_indirect: bool,

    /// Write-through: the device offers neither flush nor a switch for its write cache.
    #[arg(long, visible_alias = "write-through")]
    pub(crate) no_flush: bool,

    /// Format of the disk that is made; with --disk, the format to take it for instead of looking.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// Memory of the machine, e.g. 256M.
    #[arg(long, value_name = "SIZE", default_value = "128M", value_parser = memory_size)]
    pub(crate) memory: String,

    /// Number of harts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) smp: u16,

    /// Wait for completions by polling instead of interrupts.
    #[arg(long)]
    pub(crate) poll: bool,

    /// Start the monitor on this terminal instead of the self-test. Input that is no terminal is fed one line per prompt.
    #[arg(long)]
    pub(crate) shell: bool,

    /// Leave out the measurements.
    #[arg(long)]
    pub(crate) no_bench: bool,

    /// Stop at the first instruction and wait for gdb on port 1234.
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Print the QEMU command line and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write the result of the run to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Stop the guest after this many seconds. Does not apply to --gdb and to --shell on a terminal.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,

    /// Use this QEMU (qemu-system-riscv64, 7.0 or newer) instead of looking for one.
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,

    /// Install nothing; stop with the command to type instead.
    #[arg(long)]
    pub(crate) no_install: bool,

    /// Also print the machine-readable records of the image and the QEMU command line.
    #[arg(long, short)]
    pub(crate) verbose: bool,
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
        Ok(cli) => Ok(cli.command),
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
        Ok(Command::Test(_)) => unreachable!("the subcommand is fixed above"),
        Err(Stop::Usage(line) | Stop::Help(line)) => Err(line),
    }
}

/// clap explains itself over several lines; this is the first, with what can be given instead.
fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command given: try `cargo xtask qemu`, `cargo xtask test` or `cargo xtask --help`".to_owned();
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut line = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
        && !values.is_empty()
    {
        line += &format!(" (possible: {})", values.join(", "));
    }
    // Missing arguments are listed on lines of their own.
    if line.ends_with(':') {
        for rest in text.lines().skip(1).take_while(|rest| !rest.is_empty()) {
            line += &format!(" {}", rest.trim());
        }
    }
    line
}

fn block_size(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bytes @ (512 | 1024 | 2048 | 4096)) => Ok(bytes),
        _ => Err("a block is 512, 1024, 2048 or 4096 bytes".to_owned()),
    }
}

/// A size as QEMU takes it after `-m`: digits and one of the letters K, M, G (none: MiB).
fn memory_size(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let number: u64 = digits
        .parse()
        .map_err(|_| "give a size such as 128M or 1G".to_owned())?;
    let shift = match &text[digits.len()..] {
        "" | "M" | "m" => 20,
        "K" | "k" => 10,
        "G" | "g" => 30,
        _ => return Err("give a size such as 128M or 1G".to_owned()),
    };
    let bytes = number.checked_mul(1 << shift).ok_or("that is too much")?;
    if bytes < 32 << 20 {
        return Err("the image needs at least 32M".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(line: &str) -> String {
        match parse(line.split(' ')) {
            Err(Stop::Usage(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bad_values_are_refused_in_one_line() {
        for (line, part) in [
            ("xtask", "no command given"),
            ("xtask qem", "unrecognized subcommand 'qem'"),
            ("xtask qemu --format vdi", "(possible: raw, qcow2)"),
            ("xtask qemu --block-size 513", "512, 1024, 2048 or 4096"),
            ("xtask qemu --queue-size 0", "0 is not in 1..=32768"),
            ("xtask qemu --memory lots", "128M"),
            ("xtask qemu --memory 1M", "at least 32M"),
            ("xtask qemu --smp 0", "0 is not in 1..=8"),
            ("xtask qemu --timeout 0", "--timeout"),
            ("xtask qemu --write", "--disk"),
            ("xtask qemu --disk a --write --read-only", "cannot be used with"),
            ("xtask qemu --frobnicate", "--frobnicate"),
            ("xtask test a b", "'b'"),
        ] {
            let text = usage(line);
            assert!(text.contains(part), "{line}: {text}");
            assert!(!text.contains('\n'), "{line}: {text}");
        }
    }

    #[test]
    fn plain_qemu_has_the_documented_defaults() {
        let args = qemu_args("", None).unwrap();
        assert_eq!(
            (args.block_size, args.smp, args.timeout, args.memory.as_str()),
            (512, 1, 120, "128M")
        );
        assert!(args.disk.is_none() && args.format.is_none() && args.queue_size.is_none());
    }

    #[test]
    fn help_is_help() {
        assert!(matches!(parse(["xtask", "qemu", "--help"]), Err(Stop::Help(_))));
        assert!(matches!(parse(["xtask", "--help"]), Err(Stop::Help(_))));
    }
}
