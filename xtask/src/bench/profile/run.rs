//! A boot whose every instruction is logged. The log goes through a pipe; none of it is kept.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_protocol::Record;
use image_bench::choice::Choice;
use image_bench::options::Pass;

use super::program::Program;
use super::trace::{Bracket, Trace};
use crate::bench::guest;
use crate::child::{self, Child};
use crate::interrupt;
use crate::progress::{Progress, ProgressStep};
use crate::report::{Guest, records};
use crate::workspace::Workspace;

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How many lines of the log are read between two looks at the clock.
const LOOK: u64 = 1 << 16;

/// Boots the image for one case. Returns what it reported, and its brackets.
pub(super) fn run(
    workspace: &Workspace,
    qemu: &Path,
    choice: Choice<'_>,
    program: &Program<'_>,
    progress: Progress,
) -> Result<(Guest, Vec<Bracket>)> {
    let mut command = guest::command(workspace, qemu, Pass::Profile(choice), true);
    // A block of one instruction is executed as a whole or not at all, and is looked up for each execution.
    command.args(["-accel", "tcg,one-insn-per-tb=on", "-d", "exec,nochain", "-dfilter"]);
    let size = program.code.end - program.code.start;
    command.arg(format!("{:#x}+{size:#x}", program.code.start));
    let (guest, trace, status) = progress.step("logging every instruction", |step| follow(&command, program, step))?;
    if let Some(error) = records!(guest, Record::Error { text, .. } => text).next() {
        bail!("the benchmark image stopped: {error}");
    }
    ensure!(status.success(), "the benchmark image ended with {status}");
    ensure!(guest.done().is_some(), "the benchmark image did not come to its end");
    ensure!(!trace.is_empty(), "this QEMU logs no instructions");
    Ok((guest, trace.end()))
}

/// Runs QEMU to its end and reads its log meanwhile.
fn follow(command: &Command, program: &Program<'_>, step: &ProgressStep) -> Result<(Guest, Trace, ExitStatus)> {
    let started = Instant::now();
    let mut command = child::bound(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Child::start(&mut command)?;
    let (Some(mut uart), Some(log)) = (child.process.stdout.take(), child.process.stderr.take()) else {
        bail!("QEMU has no output");
    };
    let console = thread::spawn(move || {
        let mut guest = Guest::default();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = uart.read(&mut buffer) {
            guest.hear(started.elapsed(), &buffer[..count]);
        }
        guest.end();
        guest
    });
    let mut trace = Trace::new(program.marks.clone());
    let mut log = BufReader::with_capacity(1 << 20, log);
    let (mut line, mut lines) = (Vec::new(), 0_u64);
    while log
        .read_until(b'\n', &mut line)
        .context("cannot read the log of QEMU")?
        > 0
    {
        if !trace.line(&line) {
            let complaint = String::from_utf8_lossy(&line).trim().to_owned();
            ensure!(complaint.is_empty(), "{complaint}");
        }
        line.clear();
        lines += 1;
        if lines.is_multiple_of(LOOK) {
            step.now(&format!("{} million", lines / 1_000_000));
            ensure!(!interrupt::asked(), "interrupted");
            ensure!(
                started.elapsed() < LIMIT,
                "the boot took longer than {} s",
                LIMIT.as_secs()
            );
        }
    }
    let status = child.wait()?;
    ensure!(!interrupt::asked(), "interrupted");
    let guest = console.join().map_err(|_| anyhow::anyhow!("the console was lost"))?;
    Ok((guest, trace, status))
}
