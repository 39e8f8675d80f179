//! QEMU has the terminal of `--bare --shell`, and sets it up for itself. However xtask ends, the terminal shows again what is typed.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::check::{Check, Guest, Verdict};
use super::command_line::{Folder, command, runs, wait};
use crate::interrupt;
use crate::pty::Pty;

/// Name, signal, the program that plays QEMU, and whether the signal is sent until xtask has ended.
#[rustfmt::skip]
const CASES: [(&str, Signal, &str, bool); 6] = [
    ("interrupted", Signal::INT, "untidy", false),
    ("terminated", Signal::TERM, "untidy", false),
    ("hung-up", Signal::HUP, "untidy", false),
    ("quit", Signal::QUIT, "untidy", false),
    ("interrupted-twice", Signal::INT, "stubborn", true),
    ("terminated-twice", Signal::TERM, "stubborn", true),
];

pub(super) fn checks() -> impl Iterator<Item = Check> {
    CASES.into_iter().map(|(name, signal, qemu, again)| Check {
        boots: Some(Guest::Bare),
        ..Check::new(format!("usage/terminal/{name}"), move |_| ended_by(signal, qemu, again))
    })
}

fn ended_by(signal: Signal, qemu: &str, again: bool) -> Verdict {
    let failed = |error: std::io::Error| error.to_string();
    let folder = Folder::new()?;
    let pty = Pty::open().map_err(failed)?;
    let mut child = command(folder.path(), &format!("qemu --bare --shell --qemu ./{qemu}"))?
        .stdin(pty.stdin().map_err(failed)?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let number = wait(60, || {
        let number = std::fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
        number.ends_with('\n').then(|| number.trim().to_owned())
    });
    let number = number.ok_or("nothing was started")?;
    let was_usual = pty.is_usual().map_err(failed)?;
    let xtask = Pid::from_raw(child.id().cast_signed()).ok_or("no process")?;
    let mut ended = None;
    // Between two signals the first has time to be seen; two that come together are one.
    while ended.is_none() {
        kill_process(xtask, signal).map_err(|error| error.to_string())?;
        ended = if again {
            thread::sleep(Duration::from_millis(100));
            child.try_wait().map_err(failed)?
        } else {
            Some(child.wait().map_err(failed)?)
        };
    }
    let is_left = runs(&number);
    if let Some(left) = number.parse().ok().and_then(Pid::from_raw).filter(|_| is_left) {
        kill_process(left, Signal::KILL).map_err(|error| error.to_string())?;
    }
    let code = ended.and_then(|status| status.code());
    match (was_usual, code, pty.is_usual().map_err(failed)?) {
        (true, ..) => Err("what plays QEMU has not set the terminal up".to_owned()),
        (_, _, false) => Err("the terminal is left as QEMU had set it".to_owned()),
        (_, code, _) if code != Some(interrupt::EXIT_CODE.into()) => Err(format!("ended with {code:?}")),
        // A process that does not end is waited for, unless there is a second signal.
        _ if is_left != again => Err(format!("the process of QEMU is left: {is_left}")),
        _ => Ok(()),
    }
}
