//! The programs of `examples/`: which there are, the disks that they get, and how to tell that they have worked.
//!
//! Each has a module here with its [`Example`]. `cargo xtask qemu --example NAME` and the check `example/NAME` do the same.

mod blocking;
#[cfg(test)]
mod copied;
mod ext4;
mod fat;
mod file_system;
mod interrupts;
mod kernel;
#[cfg(test)]
mod quoted;
mod read_sector;
mod tasks;
mod two_disks;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::build;
use crate::cli::{Format, QemuArgs};
use crate::console::{Console, complain, say};
use crate::disk::{self, Attachment, Choice, Input};
use crate::interrupt;
use crate::machine::{self, Boot, Machine};
use crate::minix::scenario::Extras;
use crate::progress::Progress;
use crate::report::{Frames, Strings};
use crate::run::{self, Next, Outputs};
use crate::session::run_directory;
use crate::tools::{self, Package, Qemu, Wanted};
use crate::workspace::{RISCV, Workspace};

/// The examples, by the names of their packages and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    ReadSector,
    Blocking,
    Interrupts,
    TwoDisks,
    Kernel,
    Async,
    Fat,
    Ext4,
}

impl Name {
    /// The name of the package and its program.
    pub(crate) fn package(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it needs and does.
    pub(crate) fn example(self) -> &'static Example {
        match self {
            Name::ReadSector => &read_sector::EXAMPLE,
            Name::Blocking => &blocking::EXAMPLE,
            Name::Interrupts => &interrupts::EXAMPLE,
            Name::TwoDisks => &two_disks::EXAMPLE,
            Name::Kernel => &kernel::EXAMPLE,
            Name::Async => &tasks::EXAMPLE,
            Name::Fat => &fat::EXAMPLE,
            Name::Ext4 => &ext4::EXAMPLE,
        }
    }
}

/// An example.
pub(crate) struct Example {
    /// Harts of its machine.
    pub(crate) harts: u16,
    /// Packages with the programs that make or judge its disks.
    pub(crate) needs: &'static [Package],
    /// Makes each of its disks, as a raw image in a file of this path.
    pub(crate) disks: &'static [fn(&Path) -> Result<()>],
    /// Says what is wrong after a run that has ended well, if anything is.
    pub(crate) judge: fn(&Ran) -> Result<()>,
}

/// Where an example is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) workspace: &'a Workspace,
    /// Whether a tool that is missing may be installed.
    pub(crate) may_install: bool,
}

/// A run of an example that has ended with success.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What the example printed.
    pub(crate) text: String,
    /// The raw images of its disks, as it left them.
    pub(crate) disks: Vec<PathBuf>,
}

impl Ran {
    /// The example has printed this line.
    pub(crate) fn has_line(&self, line: &str) -> Result<()> {
        if self.text.lines().any(|found| found == line) {
            return Ok(());
        }
        bail!("the example has not printed the line `{line}`")
    }

    /// The content of a disk.
    pub(crate) fn disk(&self, number: usize) -> Result<Vec<u8>> {
        let path = self
            .disks
            .get(number)
            .with_context(|| format!("there is no disk {number}"))?;
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// `cargo xtask qemu --example`; true if the example has worked.
pub(crate) fn command(name: Name, args: &QemuArgs, input: Option<&Input>) -> Result<bool> {
    let workspace = Workspace::load()?;
    let progress = Progress::for_this_terminal();
    let wanted = Wanted {
        emulator: args.qemu.as_deref(),
        image_tool: input.is_some(),
        may_install: !args.no_install,
    };
    if args.dry_run {
        args.qemu.as_deref().map(tools::given_qemu).transpose()?;
        let directory = workspace.scratch().join("run");
        let program = args.qemu.as_deref().unwrap_or(Qemu::usual_name());
        let boot = Boot::example(build::on_target(&workspace, &name.package()), name);
        let disks = attachments(name, args, input, &directory);
        let machine = Machine {
            args,
            program,
            boot: &boot,
            disks: &disks,
            extras: &Extras::default(),
        };
        say(&machine.command_line());
        return Ok(true);
    }
    let qemu = tools::ensure_qemu(&workspace, wanted, progress)?;
    tools::ensure_target(&workspace, RISCV, progress)?;
    let site = Site {
        workspace: &workspace,
        may_install: !args.no_install,
    };
    let mut console = Console::shown();
    let ran = run(&site, &qemu.program, name, args, input, &mut console, progress);
    match ran {
        Ok(()) => say(&format!("example {}: PASS", name.package())),
        // An example that was interrupted has not failed.
        Err(error) if interrupt::asked() => return Err(error),
        Err(error) => {
            say(&format!("example {}: FAIL", name.package()));
            complain(&format!("error: {error:#}"));
            return Ok(false);
        }
    }
    Ok(true)
}

/// Builds the example, boots it and judges it. The error says how it failed.
pub(crate) fn run(
    site: &Site<'_>,
    qemu: &Path,
    name: Name,
    args: &QemuArgs,
    input: Option<&Input>,
    console: &mut Console,
    progress: Progress,
) -> Result<()> {
    let (workspace, package) = (site.workspace, name.package());
    for needed in name.example().needs {
        tools::ensure_package(workspace, *needed, site.may_install, progress)?;
    }
    build::for_target(workspace, "building the example", &[&package], progress)?;
    let program = build::on_target(workspace, &package);
    let directory = run_directory(&workspace.scratch())?;
    let directory = directory.path();
    let disks = attachments(name, args, input, directory);
    progress.step("preparing the disk", |_| match input {
        Some(input) => disk::make(args, Choice::Given(input), 0, directory).map(drop),
        None => name
            .example()
            .disks
            .iter()
            .zip(&disks)
            .try_for_each(|(make, disk)| make(Path::new(&disk.file))),
    })?;
    let boot = Boot::example(program.clone(), name);
    let machine = Machine {
        args,
        program: qemu,
        boot: &boot,
        disks: &disks,
        extras: &Extras::default(),
    };
    if args.verbose {
        console.side("xtask", &machine.command_line());
    }
    if args.gdb {
        say(&format!(
            "waiting for gdb; in another terminal type:\n  {}",
            machine::gdb_line(&program)
        ));
    }
    let strings = Strings::none();
    let mut frames = Frames::follow(directory, &strings);
    let limit = (!args.gdb).then(|| Duration::from_secs(args.timeout));
    let shown = if console.is_shown() { Progress::Silent } else { progress };
    let ended = shown.step("running on QEMU", |step| {
        let outputs = Outputs {
            frames: &mut frames,
            console,
            step,
            show_records: false,
        };
        run::run(&machine.command(), run::Input::None, limit, |_| Next::GoOn, outputs)
    })?;
    match ended.status {
        None => bail!("it did not end within {} s", args.timeout),
        Some(status) if !status.success() => match ended.complaints.last() {
            Some(complaint) => bail!("{complaint}"),
            None => bail!("it ended with {status}: its last line says why"),
        },
        Some(_) => {}
    }
    if input.is_some() {
        // What is on a disk of the user's, only the user knows.
        return Ok(());
    }
    let ran = Ran {
        // A line of a UART ends with a carriage return, too.
        text: console.guest_text().replace('\r', ""),
        disks: disks.iter().map(|disk| PathBuf::from(&disk.file)).collect(),
    };
    (name.example().judge)(&ran)
}

/// How the disks are attached: the user's, or those of the example.
fn attachments(name: Name, args: &QemuArgs, input: Option<&Input>, directory: &Path) -> Vec<Attachment> {
    let made = |number| Attachment {
        file: directory.join(format!("disk{number}.raw")).display().to_string(),
        format: Format::Raw,
        read_only: args.read_only,
        discard: true,
        socket: None,
    };
    match input {
        Some(input) => vec![disk::plan(args, Choice::Given(input), 0, directory)],
        None => (0..name.example().disks.len()).map(made).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_of_examples_is_one_of_the_names() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let folders = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_dir());
        let mut found: Vec<_> = folders
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name != "support")
            .collect();
        let mut names: Vec<_> = Name::value_variants().iter().map(|name| name.package()).collect();
        found.sort();
        names.sort();
        assert_eq!(found, names);
    }
}
