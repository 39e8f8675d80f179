//! Tells a waiting person that something is going on.
//!
//! On a terminal: a spinner on standard error while the work goes on. Elsewhere: one line when
//! the work starts, so that logs stay readable. Silent: nothing, for runs inside the test runner.

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::child::{self, Child};
use crate::console::complain;
use crate::interrupt;

/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How to show work in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Spinner,
    Lines,
    Silent,
}

impl Progress {
    /// A spinner on a terminal, lines elsewhere.
    pub(crate) fn for_this_terminal() -> Self {
        if std::io::stderr().is_terminal() {
            Progress::Spinner
        } else {
            Progress::Lines
        }
    }

    /// Does `work` under the given heading.
    pub(crate) fn step<T>(self, heading: &str, work: impl FnOnce(&ProgressStep) -> T) -> T {
        let step = ProgressStep(match self {
            Progress::Spinner => Some(spinner(heading)),
            Progress::Lines => {
                complain(&format!("{heading} ..."));
                None
            }
            Progress::Silent => None,
        });
        work(&step)
    }
}

/// Work in progress.
pub(crate) struct ProgressStep(Option<ProgressBar>);

impl ProgressStep {
    /// Shows the current work on a terminal. Elsewhere only a wait for another cargo.
    pub(crate) fn now(&self, doing: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(doing.to_owned()),
            None if doing.starts_with("Blocking waiting for file lock") => complain(doing),
            None => {}
        }
    }

    /// Runs a command to its end with the last line it printed beside the spinner, and returns all it printed.
    pub(crate) fn command(&self, command: &Command) -> Result<Finished> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let (sender, lines) = mpsc::channel();
        let mut child = {
            let mut command = child::bound(command);
            command.stdin(Stdio::null());
            command
                .stdout(writer.try_clone().context("cannot make a pipe")?)
                .stderr(writer);
            // Here the writing ends of the pipe are closed, or it would never end.
            Child::start_group(&mut command)?
        };
        thread::spawn(move || {
            let lines = BufReader::new(reader).split(b'\n').map_while(std::io::Result::ok);
            lines
                .map(|line| sender.send(line))
                .take_while(std::result::Result::is_ok)
                .count()
        });
        let mut output = String::new();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    let line = String::from_utf8_lossy(&line);
                    self.now(line.trim());
                    output += &line;
                    output.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupt::asked() {
                bail!("interrupted");
            }
        }
        let status = child.wait()?;
        Ok(Finished { status, output })
    }
}

impl Drop for ProgressStep {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A command that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// Both streams, as they came.
    pub(crate) output: String,
}

fn spinner(heading: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed_precise}] {wide_msg:.dim}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(heading.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
