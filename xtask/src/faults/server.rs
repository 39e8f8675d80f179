//! A server of the disk on a socket, which hangs, is slow and fails as it is told: `nbdkit`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::child::{self, Child};
use crate::foreign::check_length;
use crate::tools::NBDKIT;

/// How long it may take to start, and to answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the socket is tried.
const TICK: Duration = Duration::from_millis(20);
/// How long QEMU waits for a server that is away, in seconds. Then requests fail. A device that is reset meanwhile waits for all of it,
/// and QEMU answers nothing.
const RECONNECT_SECONDS: u64 = 10;

/// A server. It ends when the value goes.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    command: Command,
    /// Where it serves the disk, and where it takes commands.
    sockets: [PathBuf; 2],
    /// Requests fail while this file is there.
    trigger: PathBuf,
    /// What it complains about.
    log: PathBuf,
}

impl Server {
    /// Starts a server of a raw image. Its files in `directory` begin with `name`. Each request takes `delay` longer.
    pub(super) fn start(directory: &Path, name: &str, image: &Path, delay: Duration) -> Result<Server> {
        let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
        let (socket, control, trigger) = (file("sock"), file("pause"), file("fails"));
        check_length(&socket)?;
        let mut command = Command::new(NBDKIT.name);
        command.arg("--foreground").arg("--unix").arg(&socket);
        command.args(["--filter=error", "--filter=pause", "--filter=delay", "file"]);
        command.arg(image);
        command.arg(format!("pause-control={}", control.display()));
        for (kind, rate) in [("pread", 25), ("pwrite", 25), ("trim", 100)] {
            command.arg(format!("error-{kind}=EIO"));
            command.arg(format!("error-{kind}-rate={rate}%"));
            command.arg(format!("error-{kind}-file={}", trigger.display()));
        }
        for kind in ["read", "write"] {
            command.arg(format!("delay-{kind}={}ms", delay.as_millis()));
        }
        let mut command = child::bound(&command);
        let log = file("log");
        let complaints = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        let sockets = [socket, control];
        Ok(Server {
            child: started(&mut command, &sockets, &log)?,
            command,
            sockets,
            trigger,
            log,
        })
    }

    fn socket(&self) -> &Path {
        &self.sockets[0]
    }

    /// The node of QEMU's that is a client of it, by its name.
    pub(super) fn node(&self, name: &str) -> Value {
        json!({
            "driver": "nbd",
            "node-name": name,
            "server": { "type": "unix", "path": self.socket().display().to_string() },
            "discard": "unmap",
            "reconnect-delay": RECONNECT_SECONDS,
        })
    }

    /// From now on no request is done. Those that it has are done first.
    pub(super) fn pause(&self) -> Result<()> {
        self.control(b'p', b'P')
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.control(b'r', b'R')
    }

    fn control(&self, command: u8, answer: u8) -> Result<()> {
        let mut stream = UnixStream::connect(&self.sockets[1]).context("cannot reach nbdkit")?;
        stream
            .set_read_timeout(Some(LIMIT))
            .context("cannot set a time limit")?;
        stream.write_all(&[command]).context("cannot reach nbdkit")?;
        let mut byte = [0];
        stream.read_exact(&mut byte).context("nbdkit does not answer")?;
        ensure!(byte == [answer], "nbdkit answers {byte:?}");
        Ok(())
    }

    /// From now on a part of the requests fails, or none.
    pub(super) fn fail(&self, on: bool) -> Result<()> {
        let done = if on {
            std::fs::write(&self.trigger, "")
        } else {
            std::fs::remove_file(&self.trigger)
        };
        done.with_context(|| format!("cannot change {}", self.trigger.display()))
    }

    /// Stops the process where it is, or lets it go on.
    pub(super) fn freeze(&self, on: bool) -> Result<()> {
        let pid = i32::try_from(self.child.process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("nbdkit has no process")?;
        kill_process(pid, if on { Signal::STOP } else { Signal::CONT }).context("cannot signal nbdkit")
    }

    /// Kills it in the middle of its work.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.process.kill().context("cannot kill nbdkit")?;
        self.child.wait().map(drop)
    }

    /// Starts it in the place of the one that was killed.
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.child = started(&mut self.command, &self.sockets, &self.log)?;
        Ok(())
    }
}

fn started(command: &mut Command, sockets: &[PathBuf; 2], log: &Path) -> Result<Child> {
    // Those of a server before it, which stay when it ends.
    for socket in sockets {
        let _ = std::fs::remove_file(socket);
    }
    let mut child = Child::start(command)?;
    let started = Instant::now();
    while UnixStream::connect(&sockets[0]).is_err() {
        if child.has_ended() || started.elapsed() > LIMIT {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{} does not start: {}", NBDKIT.name, log.trim_end());
        }
        thread::sleep(TICK);
    }
    Ok(child)
}
