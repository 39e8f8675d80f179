//! Devices of `qemu-storage-daemon`: disks that do nothing, at once or after a time.
//!
//! A thread of their own keeps that time: the one that QEMU's own devices run in counts milliseconds.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::child::{self, Child};
use crate::tools::find_program;

const PROGRAM: &str = "qemu-storage-daemon";

/// The daemon's name of the thread that keeps the time.
const THREAD: &str = "clock";

/// How long the daemon may take until it accepts connections.
const START: Duration = Duration::from_secs(20);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(10);

/// A daemon with some disks, stopped when this value goes.
#[derive(Debug)]
pub(super) struct Daemon {
    // Stopped before its sockets go.
    _process: Child,
    directory: TempDir,
    disks: usize,
}

impl Daemon {
    /// Starts a daemon with this many disks, and returns when they can be used. A disk takes so long for each request, and does
    /// many at once.
    pub(super) fn start(disks: usize, latency: Duration) -> Result<Daemon> {
        let program = program()?;
        // Short, because the path of a socket is limited.
        let directory = tempfile::tempdir().context("cannot make a directory for sockets")?;
        let complaints = directory.path().join("errors");
        let mut command = Command::new(program);
        if !latency.is_zero() {
            command.args(["--object", &format!("iothread,id={THREAD}")]);
        }
        for disk in 0..disks {
            command.args(["--blockdev", &blockdev(disk, latency)]);
            command.args(["--export", &export(disk, &socket(&directory, disk), latency)]);
        }
        let mut command = child::bound(&command);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&complaints).context("cannot make a file")?);
        let mut process = Child::start(&mut command)?;
        let started = Instant::now();
        for disk in 0..disks {
            while UnixStream::connect(socket(&directory, disk)).is_err() {
                if process.has_ended() || started.elapsed() > START {
                    let text = std::fs::read_to_string(&complaints).unwrap_or_default();
                    bail!("{PROGRAM} does not start: {}", text.trim());
                }
                thread::sleep(TICK);
            }
        }
        Ok(Daemon {
            _process: process,
            directory,
            disks,
        })
    }

    /// The sockets of the disks.
    pub(super) fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.disks).map(|disk| socket(&self.directory, disk))
    }

    /// A file of the user's choice beside the sockets.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Makes sure that there is a daemon.
pub(super) fn ensure() -> Result<()> {
    program().map(drop)
}

/// Where the daemon is.
fn program() -> Result<PathBuf> {
    find_program(PROGRAM).with_context(|| {
        format!("{PROGRAM} is missing: it comes with QEMU's tools (Debian and Ubuntu: apt install qemu-utils)")
    })
}

fn socket(directory: &TempDir, disk: usize) -> PathBuf {
    directory.path().join(format!("{disk}.sock"))
}

/// A disk of 1 GiB that leaves buffers as they are.
fn blockdev(disk: usize, latency: Duration) -> String {
    let nanos = latency.as_nanos();
    format!("driver=null-co,node-name=n{disk},size=1073741824,read-zeroes=off,latency-ns={nanos}")
}

fn export(disk: usize, socket: &std::path::Path, latency: Duration) -> String {
    let mut export = format!(
        "type=vhost-user-blk,id=e{disk},addr.type=unix,addr.path={},node-name=n{disk},writable=on,num-queues=1",
        socket.display()
    );
    if !latency.is_zero() {
        export += &format!(",iothread={THREAD}");
    }
    export
}
