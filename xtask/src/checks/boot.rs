//! What all checks that boot have in common: a run written as the flags a person would type, on a disk of some origin.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Context, Verdict};
use crate::cli;
use crate::console::Console;
use crate::disk::Input;
use crate::progress::Progress;
use crate::report::{Report, print};
use crate::tools::find_program;
use crate::{run, session};

/// Images that tools make which are not on every machine, and not ours to install: name, tool, size in bytes.
const MADE_BY: [(&str, &[&str], u64); 4] = [
    ("ext4", &["mkfs.ext4", "-q", "-F"], 48 << 20),
    ("minix", &["mkfs.minix", "-3"], 16 << 20),
    ("floppy", &["true"], 1440 << 10),
    // Larger than what is read whole, and not a whole number of 4096-byte blocks.
    ("sampled", &["true"], (200 << 20) + 512),
];

/// The disk of a run.
pub(super) enum Disk {
    Prepared,
    Foreign {
        path: PathBuf,
        _directory: tempfile::TempDir,
    },
    Url(String),
}

pub(super) fn foreign(make: impl FnOnce(&Path) -> std::io::Result<bool>) -> Result<Disk, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("disk, with comma.img");
    match make(&path) {
        Ok(true) => Ok(Disk::Foreign {
            path,
            _directory: directory,
        }),
        Ok(false) => Err("the tool that makes the image failed".to_owned()),
        Err(error) => Err(format!("cannot make the image: {error}")),
    }
}

/// Images that other tools make, as far as those are on this machine: what they are called, and how to make one.
pub(super) fn made_by_others() -> impl Iterator<Item = (&'static str, impl Fn() -> Result<Disk, String> + Send + Sync)>
{
    MADE_BY.into_iter().filter_map(|(name, maker, bytes)| {
        let (program, arguments) = maker.split_first()?;
        let program = find_program(program)?;
        let make = move || {
            foreign(|path| {
                std::fs::File::create(path)?.set_len(bytes)?;
                succeeds(Command::new(&program).args(arguments).arg(path))
            })
        };
        Some((name, make))
    })
}

/// A run that must pass.
pub(super) fn boot(context: &Context, flags: &str, disk: &Disk) -> Result<Report, String> {
    let (report, text) = run_once(context, flags, disk, None)?;
    if report.passed {
        Ok(report)
    } else {
        Err(format!("{}\n{text}", report.reasons.join("\n")))
    }
}

/// A run, with all it printed.
pub(super) fn run_once(
    context: &Context,
    flags: &str,
    disk: &Disk,
    script: Option<&[&str]>,
) -> Result<(Report, String), String> {
    let named = match disk {
        Disk::Prepared => None,
        Disk::Foreign { path, .. } => Some(path.display().to_string()),
        Disk::Url(url) => Some(url.clone()),
    };
    let args = cli::qemu_args(flags, named.as_deref())?;
    let fail = |error: anyhow::Error| format!("{error:#}");
    let input = named
        .as_deref()
        .map(|name| Input::check(name, args.format, args.block_size))
        .transpose()
        .map_err(fail)?;
    let keyboard = match script {
        Some(lines) => run::Input::Script(lines.iter().map(|line| (*line).to_owned()).collect()),
        None => run::Input::None,
    };
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
    text += &print::screen(&report, &args, input.as_ref(), &console.guest_text(), None).join("\n");
    Ok((report, text))
}

pub(super) fn expect(met: bool, reason: &str) -> Verdict {
    if met { Ok(()) } else { Err(reason.to_owned()) }
}

pub(super) fn succeeds(command: &mut Command) -> std::io::Result<bool> {
    Ok(command.output()?.status.success())
}

/// A disk on the network, or what stands for it: a server on a socket in a directory.
pub(super) struct NbdServer {
    server: Child,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl NbdServer {
    pub(super) fn start() -> Result<NbdServer, String> {
        let program = find_program("qemu-nbd").ok_or("qemu-nbd is missing")?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let socket = directory.path().join("socket");
        let image = directory.path().join("image");
        let text = |error: std::io::Error| format!("cannot serve a disk: {error}");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(8 << 20))
            .map_err(text)?;
        let mut command = Command::new(program);
        command
            .args(["--read-only", "--persistent", "--shared=4", "--format=raw", "--socket"])
            .arg(&socket)
            .arg(&image);
        let server = command.stdin(Stdio::null()).spawn().map_err(text)?;
        let server = NbdServer {
            server,
            socket,
            _directory: directory,
        };
        for _ in 0..100 {
            if server.socket.exists() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("qemu-nbd does not start".to_owned())
    }

    pub(super) fn url(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }
}

impl Drop for NbdServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
