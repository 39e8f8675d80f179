//! Disks that behave as devices in the field do: a back-end (`vhost-user-disk`) serves each to QEMU over a socket, and reports
//! afterwards on the requests.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use vhost_user_disk::{Behaviour, READY, Report, UsedLength};

use crate::build;
use crate::child::{self, Child};
use crate::cli::{Foreign, QemuArgs};
use crate::disk::{Attachment, escaped};
use crate::machine::{serial, typed};
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Package and program are called the same.
const NAME: &str = "vhost-user-disk";

/// Another one, which comes with `qemu-img`.
const DAEMON: &str = "qemu-storage-daemon";

/// Longest path of a socket, in bytes.
const SOCKET_PATH: usize = 107;

/// How long a back-end may take to end once QEMU is gone.
const END: Duration = Duration::from_secs(5);
/// How long QEMU may take to end once its back-end has.
const MOMENT: Duration = Duration::from_secs(2);
/// How long the daemon may take until it accepts connections.
const START: Duration = Duration::from_secs(20);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(10);

impl Foreign {
    /// The options for the back-end of a disk.
    fn behaviour(self, args: &QemuArgs, number: usize) -> Behaviour {
        let plain = Behaviour {
            no_event_idx: args.no_event_idx,
            read_only: args.read_only,
            id: serial(number),
            ..Behaviour::default()
        };
        let used_length = match self {
            Foreign::OneSegment => {
                return Behaviour {
                    one_segment: true,
                    ..plain
                };
            }
            Foreign::Plain | Foreign::StorageDaemon => UsedLength::Exact,
            Foreign::UsedLengthNone => UsedLength::None,
            Foreign::UsedLengthOne => UsedLength::One,
            Foreign::UsedLengthDataOnly => UsedLength::DataOnly,
            Foreign::UsedLengthTooMuch => UsedLength::TooMuch,
        };
        Behaviour {
            used_length,
            indirect: !args.no_indirect,
            ..plain
        }
    }
}

/// Where the program is once it is built.
pub(crate) fn path(workspace: &Workspace) -> PathBuf {
    workspace.target.join("debug").join(NAME)
}

/// Builds the program and returns its path.
pub(crate) fn build(workspace: &Workspace, progress: Progress) -> Result<PathBuf> {
    build::programs(workspace, "building the back-end of the disk", &[NAME], &[], progress)?;
    Ok(path(workspace))
}

/// The command for the back-end of a disk. None: QEMU serves it.
fn command(program: &Path, args: &QemuArgs, number: usize, disk: &Attachment) -> Option<Command> {
    let (foreign, socket) = args.foreign.zip(disk.socket.as_ref())?;
    if foreign == Foreign::StorageDaemon {
        return Some(daemon(args, number, disk, socket));
    }
    let mut command = Command::new(program);
    command.arg("--image").arg(&disk.file);
    command.arg("--socket").arg(socket);
    command.arg("--report").arg(report_file(socket));
    command.args(foreign.behaviour(args, number).arguments());
    Some(command)
}

/// The command for `qemu-storage-daemon`.
fn daemon(args: &QemuArgs, number: usize, disk: &Attachment, socket: &Path) -> Command {
    let mut command = Command::new(DAEMON);
    let (file, access) = (escaped(&disk.file), if args.read_only { "off" } else { "on" });
    command.arg("--blockdev").arg(format!(
        "driver=file,filename={file},node-name=n{number},discard=unmap,auto-read-only=on"
    ));
    command.arg("--export").arg(format!(
        "type=vhost-user-blk,id=e{number},node-name=n{number},addr.type=unix,addr.path={},writable={access},num-queues={}",
        escaped(&socket.display().to_string()),
        args.hardware.queues
    ));
    command
}

/// Where the back-end that listens there writes its report.
fn report_file(socket: &Path) -> PathBuf {
    socket.with_extension("json")
}

/// The back-ends of a run as they would be typed, one a line.
pub(crate) fn command_lines(program: &Path, args: &QemuArgs, disks: &[Attachment]) -> Vec<String> {
    let commands = disks.iter().enumerate();
    commands
        .filter_map(|(number, disk)| command(program, args, number, disk))
        .map(|command| typed(&command))
        .collect()
}

pub(crate) fn check_length(socket: &Path) -> Result<()> {
    let length = socket.as_os_str().len();
    ensure!(
        length <= SOCKET_PATH,
        "{}: too long for a socket, {SOCKET_PATH} bytes are allowed: move the workspace to a shorter path",
        socket.display()
    );
    Ok(())
}

/// A back-end that has ended.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Seen {
    /// Its report. None: it ended without one.
    pub(crate) report: Option<Report>,
    /// The lines it printed as errors.
    pub(crate) complaints: Vec<String>,
}

/// A back-end that runs, stopped when this value goes.
#[derive(Debug)]
pub(crate) struct Backend {
    child: Child,
    /// Where its report will be. None: it makes none, and does not end by itself.
    report: Option<PathBuf>,
    /// When it was first seen to have ended.
    ended: Option<Instant>,
    /// Whether it was ended on purpose.
    is_killed: bool,
}

impl Backend {
    /// Starts the back-ends of a run, one for each disk that has one.
    pub(crate) fn start_all(program: Option<&Path>, args: &QemuArgs, disks: &[Attachment]) -> Result<Vec<Backend>> {
        let served = disks.iter().enumerate();
        served
            .filter_map(|(number, disk)| Some((number, disk, disk.socket.as_ref()?)))
            .map(|(number, disk, socket)| {
                let program = program.context("the back-end was not built")?;
                let command = command(program, args, number, disk).context("the disk has no back-end")?;
                match args.foreign {
                    Some(Foreign::StorageDaemon) => Backend::start_daemon(&command, socket),
                    _ => Backend::start(&command, socket),
                }
            })
            .collect()
    }

    /// Starts the daemon, which says nothing. Returns when QEMU can connect.
    fn start_daemon(command: &Command, socket: &Path) -> Result<Backend> {
        check_length(socket)?;
        let mut command = child::bound(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut backend = Backend {
            child: Child::start(&mut command)?,
            report: None,
            ended: None,
            is_killed: false,
        };
        let started = Instant::now();
        while UnixStream::connect(socket).is_err() {
            if backend.child.has_ended() || started.elapsed() > START {
                let _ = backend.child.process.kill();
                bail!("{DAEMON} does not start: {}", backend.complaints().join("; "));
            }
            thread::sleep(TICK);
        }
        Ok(backend)
    }

    /// Returns when QEMU can connect.
    fn start(command: &Command, socket: &Path) -> Result<Backend> {
        check_length(socket)?;
        let mut command = child::bound(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut backend = Backend {
            child: Child::start(&mut command)?,
            report: Some(report_file(socket)),
            ended: None,
            is_killed: false,
        };
        let mut line = String::new();
        if let Some(stdout) = backend.child.process.stdout.take() {
            // Without a line it has ended, and says why on the other stream.
            BufReader::new(stdout)
                .read_line(&mut line)
                .context("cannot read what the back-end says")?;
        }
        if line.starts_with(READY) {
            return Ok(backend);
        }
        let complaints = backend.complaints();
        bail!("the back-end does not start: {}", complaints.join("; "));
    }

    /// Kills it in the middle of its work. It makes no report then, and the run goes on without it.
    pub(crate) fn kill(&mut self) {
        self.report = None;
        self.is_killed = true;
        // It may have ended by itself, which its requests will show.
        let _ = self.child.process.kill();
    }

    /// Whether it has ended, and QEMU goes on without it. At the end of a run it may be the first of the two by a moment.
    pub(crate) fn has_left_qemu(&mut self) -> bool {
        if self.ended.is_none() && !self.is_killed && self.child.has_ended() {
            self.ended = Some(Instant::now());
        }
        self.ended.is_some_and(|ended| ended.elapsed() > MOMENT)
    }

    /// Waits for its end, which follows that of QEMU. None: it has no report.
    pub(crate) fn finish(mut self) -> Option<Seen> {
        let report = self.report.take()?;
        if !self.child.ends_within(END) {
            // Nothing connected to it, or it hangs. Either way there will be no report.
            let _ = self.child.process.kill();
        }
        let report = std::fs::read(report).ok();
        Some(Seen {
            report: report.and_then(|text| serde_json::from_slice(&text).ok()),
            complaints: self.complaints(),
        })
    }

    /// Its error output, up to its end.
    fn complaints(&mut self) -> Vec<String> {
        let mut text = Vec::new();
        if let Some(mut stderr) = self.child.process.stderr.take() {
            // What came before an error is still worth telling.
            let _ = stderr.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_that_does_not_start_says_why() {
        let start = |script: &str, socket: &Path| {
            let mut command = Command::new("sh");
            Backend::start(command.args(["-c", script]), socket)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            start("echo 'error: no such image' >&2; exit 2", Path::new("/t/disk.sock")),
            "the back-end does not start: error: no such image"
        );
        let long = PathBuf::from(format!("/{}", "x".repeat(SOCKET_PATH)));
        assert!(start("", &long).contains("too long for a socket"));
    }
}
