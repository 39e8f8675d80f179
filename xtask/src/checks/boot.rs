//! The vocabulary of the checks that boot: each boot is written as the flags a person would type, so that a failure can be
//! repeated by hand, and says what must be seen beyond the run's own verdict.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use guest_protocol::{Device, Record};

use super::check::{Check, Context, Guest, Verdict};
use crate::cli;
use crate::console::Console;
use crate::disk::Input;
use crate::progress::Progress;
use crate::report::{Report, records, screen, total};
use crate::tools::find_program;
use crate::{run, session};

/// What must be seen in a boot.
pub(super) type Expectation = fn(&Run) -> Verdict;

/// Name of the check, flags, and what must be seen.
pub(super) type Variant = (&'static str, &'static str, Expectation);

/// Images that tools make which are not on every machine, and not ours to install: name, tool, size in bytes.
const MADE_BY: [(&str, &[&str], u64); 6] = [
    ("ext4", &["mkfs.ext4", "-q", "-F"], 48 << 20),
    ("minix", &["mkfs.minix", "-3"], 16 << 20),
    ("floppy", &["true"], 1440 << 10),
    ("empty", &["true"], 0),
    ("two-sectors", &["true"], 1000),
    // Larger than what is read whole, and not a whole number of 4096-byte blocks.
    ("sampled", &["true"], (200 << 20) + 512),
];

/// A check that boots with these flags, or with these and more. The flags say which guest, and so does the start of its name.
pub(super) fn boots(
    name: &str,
    flags: impl Into<String>,
    work: impl Fn(&Context, &str) -> Verdict + Send + Sync + 'static,
) -> Check {
    let flags = flags.into();
    let (guest, prefix) = match flags.contains("--bare") {
        true => (Guest::Bare, "qemu"),
        false => (Guest::Minix, "minix"),
    };
    Check {
        boots: Some(guest),
        foreign: flags.contains("--foreign"),
        faults: flags.contains("--scenario faults"),
        ..Check::new(format!("{prefix}/{name}"), move |context| work(context, &flags))
    }
}

/// A boot of the disk that is made, which must pass, and what must be seen in it.
pub(super) fn passes(
    name: &str,
    flags: impl Into<String>,
    expectation: impl Fn(&Run) -> Verdict + Send + Sync + 'static,
) -> Check {
    boots(name, flags, move |context, flags| {
        let run = Run::of(context, flags, &Disk::Prepared)?;
        run.judge(|run| {
            run.passed()?;
            run.found()?;
            expectation(run)
        })
    })
}

/// A boot, and its console output.
pub(super) struct Run {
    pub(super) report: Report,
    pub(super) text: String,
}

impl Run {
    pub(super) fn of(context: &Context, flags: &str, disk: &Disk) -> Result<Run, String> {
        Run::with_input(context, flags, disk, run::Input::None)
    }

    pub(super) fn with_input(context: &Context, flags: &str, disk: &Disk, keyboard: run::Input) -> Result<Run, String> {
        let named = match disk {
            Disk::Prepared => None,
            Disk::File { path, .. } => Some(path.display().to_string()),
            Disk::Url(url) => Some(url.clone()),
        };
        let args = cli::qemu_args(flags, named.as_deref())?;
        let input = named
            .as_deref()
            .map(|name| Input::check(name, args.format))
            .transpose()
            .map_err(|error| format!("{error:#}"))?;
        let mut console = Console::default();
        let outcome = session::run(
            context.setup()?,
            &args,
            input.as_ref(),
            keyboard,
            &mut console,
            Progress::Silent,
        );
        let mut text = format!("$ cargo xtask qemu {flags}\n{}", console.text());
        let report = outcome.map_err(|error| format!("{error:#}\n{text}"))?;
        text += &screen::screen(&report, &args, input.as_ref(), &console.guest_text(), None).join("\n");
        Ok(Run { report, text })
    }

    /// The verdict. A failure comes with all that was printed.
    pub(super) fn judge(&self, expectation: impl FnOnce(&Run) -> Verdict) -> Verdict {
        expectation(self).map_err(|reason| format!("{reason}\n{}", self.text))
    }

    pub(super) fn passed(&self) -> Verdict {
        expect(self.report.passed, &self.report.reasons.join("\n"))
    }

    /// The screen says what was found. The service tells it in its log alone: where the wording changes, so must `report::screen`.
    fn found(&self) -> Verdict {
        let found = self.text.split("\nFound\n").last().unwrap_or_default();
        let has = |row: &str| found.lines().any(|line| line.starts_with(&format!("  {row}  ")));
        let missing = ["device", "disk", "features"].into_iter().find(|row| !has(row));
        missing.map_or(Ok(()), |row| Err(format!("the screen has no row `{row}`")))
    }

    /// The guest stopped with one error of this kind, whose text has this in it.
    pub(super) fn refused(&self, kind: &str, part: &str) -> Verdict {
        let errors = records!(self.report.guest, Record::Error { kind, text, .. } => (kind, text));
        let errors: Vec<_> = errors.collect();
        let [(found, text)] = errors[..] else {
            return Err(format!("{} errors, wanted one", errors.len()));
        };
        let ended = !self.report.passed && self.report.exit_status.is_some();
        expect(
            ended && found == kind && text.contains(part),
            &format!("stopped with {found}: {text}"),
        )
    }

    /// The text is there so many times.
    pub(super) fn says(&self, text: &str, times: usize) -> Verdict {
        same(&format!("`{text}`"), self.text.matches(text).count(), times)
    }

    pub(super) fn block_tests(&self, runs: usize) -> Verdict {
        same("runs of the block test", self.report.guest.block_tests().len(), runs)
    }

    /// The number of disks the guest says it changed.
    pub(super) fn changed_disks(&self, number: usize) -> Verdict {
        let changed = (0..8).filter(|disk| !self.report.guest.changes(*disk).is_empty());
        same("changed disks", changed.count(), number)
    }

    /// How many sectors changed, as the guest reported.
    pub(super) fn changed_sectors(&self) -> u64 {
        let comparison = self.report.host.comparison.as_ref();
        comparison.map_or(0, |comparison| comparison.changed_as_reported)
    }

    /// The first disk as the bare image sees it.
    pub(super) fn device(&self) -> Result<Device<'_>, String> {
        let device = self.report.guest.device(0);
        device.ok_or_else(|| "the guest reported no device".to_owned())
    }

    pub(super) fn queue(&self, size: u32) -> Verdict {
        same("descriptors in the queue", self.device()?.queue_size, size)
    }

    pub(super) fn offered(&self, bit: u32, on: bool) -> Verdict {
        let offered = self.device()?.offered >> bit & 1 == 1;
        same(&format!("feature bit {bit} offered"), offered, on)
    }

    /// The bit is offered and accepted, or neither.
    pub(super) fn feature(&self, bit: u32, on: bool) -> Verdict {
        self.offered(bit, on)?;
        let accepted = self.device()?.accepted >> bit & 1 == 1;
        same(&format!("feature bit {bit} accepted"), accepted, on)
    }

    /// The driver took interrupts, or none.
    pub(super) fn interrupts(&self, some: bool) -> Verdict {
        let interrupts = records!(self.report.guest, Record::Driver { interrupts, .. } => interrupts);
        let interrupts: Vec<u64> = interrupts.collect();
        same("reports of the driver", interrupts.len(), 1)?;
        same("interrupts came", total(interrupts) > 0, some)
    }

    /// The report of the back-end of the only disk.
    pub(super) fn backend(&self) -> Result<&vhost_user_disk::Report, String> {
        match self.report.host.backends.as_slice() {
            [seen] => seen
                .report
                .as_ref()
                .ok_or_else(|| "no report of the back-end".to_owned()),
            other => Err(format!("{} back-ends, wanted 1", other.len())),
        }
    }
}

pub(super) fn expect(met: bool, reason: &str) -> Verdict {
    if met { Ok(()) } else { Err(reason.to_owned()) }
}

pub(super) fn same<T: PartialEq + std::fmt::Display>(what: &str, found: T, wanted: T) -> Verdict {
    expect(found == wanted, &format!("{what}: {found}, wanted {wanted}"))
}

/// The disk of a boot.
pub(super) enum Disk {
    Prepared,
    File {
        path: PathBuf,
        _directory: tempfile::TempDir,
    },
    Url(String),
}

/// A file that `make` writes; false: it cannot.
pub(super) fn file(make: impl FnOnce(&Path) -> std::io::Result<bool>) -> Result<Disk, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("disk, with comma.img");
    match make(&path) {
        Ok(true) => Ok(Disk::File {
            path,
            _directory: directory,
        }),
        Ok(false) => Err("the tool that makes the image failed".to_owned()),
        Err(error) => Err(format!("cannot make the image: {error}")),
    }
}

/// A file of zeros.
pub(super) fn blank(bytes: u64) -> Result<Disk, String> {
    file(|path| std::fs::File::create(path)?.set_len(bytes).map(|()| true))
}

/// For each image that a tool on this machine makes, a check that boots with it and all of the flags in turn.
pub(super) fn made_by_others(
    flags: &'static [&str],
    expectation: fn(&Run, &str) -> Verdict,
) -> impl Iterator<Item = Check> {
    MADE_BY.into_iter().filter_map(move |(name, maker, bytes)| {
        let (program, arguments) = maker.split_first()?;
        let program = find_program(program)?;
        Some(boots(&format!("image/{name}"), flags[0], move |context, _| {
            let disk = file(|path| {
                std::fs::File::create(path)?.set_len(bytes)?;
                succeeds(Command::new(&program).args(arguments).arg(path))
            })?;
            for flags in flags {
                let run = Run::of(context, flags, &disk)?;
                run.judge(|run| run.passed().and_then(|()| expectation(run, name)))?;
            }
            Ok(())
        }))
    })
}

/// A boot for each size of blocks that file systems do not have, with a disk that ends in the middle of a block.
pub(super) fn large_blocks(flags: &'static str) -> Check {
    boots("image/blocks", flags, |context, flags| {
        let disk = file(|path| std::fs::File::create(path)?.set_len((8 << 20) + 1000).map(|()| true))?;
        for bytes in [8192, 65536] {
            Run::of(context, &format!("{flags} --block-size {bytes}"), &disk)?.judge(Run::passed)?;
        }
        Ok(())
    })
}

pub(super) fn succeeds(command: &mut Command) -> std::io::Result<bool> {
    Ok(command.output()?.status.success())
}

/// A boot with a disk on the network, or what stands for it: a server on a socket in a directory.
pub(super) fn nbd(flags: &str) -> Check {
    boots("image/nbd", flags, |context, flags| {
        let program = find_program("qemu-nbd").ok_or("qemu-nbd is missing")?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (socket, image) = (directory.path().join("socket"), directory.path().join("image"));
        let text = |error: std::io::Error| format!("cannot serve a disk: {error}");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(8 << 20))
            .map_err(text)?;
        let mut command = Command::new(program);
        command
            .args(["--read-only", "--persistent", "--shared=4", "--format=raw", "--socket"])
            .args([&socket, &image]);
        let _server = Server(command.stdin(Stdio::null()).spawn().map_err(text)?);
        for _ in 0..100 {
            if socket.exists() {
                let disk = Disk::Url(format!("nbd+unix:///?socket={}", socket.display()));
                return Run::of(context, flags, &disk)?.judge(Run::passed);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("qemu-nbd does not start".to_owned())
    })
}

/// A process that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
